//! Storage units that come and go while a cluster of real processes runs: where new topics are placed,
//! how empty partitions change their place, and how a unit is emptied and removed.

mod many;
mod placement;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::http::Answer;
use tidegate_tests::wait::wait_for;
use tokio::task::JoinSet;

const GATEWAY: &str = "gateway-1";

async fn get(cluster: &Cluster, path: &str) -> Value {
    let answer = cluster.get(GATEWAY, path).await.expect("an answer");
    assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
    answer.json()
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    let answer = cluster.post(GATEWAY, path, &body.to_string()).await;
    answer.expect("an answer")
}

async fn create(cluster: &Cluster, topic: &str, partitions: u32) {
    let body = json!({ "name": topic, "partitions": partitions, "replication_factor": 1 });
    let answer = post(cluster, "/v1/topics", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// A topic whose partitions are where the list says.
async fn create_at(cluster: &Cluster, topic: &str, units: &[u64]) {
    let units: Vec<[u64; 1]> = units.iter().map(|unit| [*unit]).collect();
    let body = json!({ "name": topic, "partitions": units.len(), "replication_factor": 1,
        "placement": "manual", "assignment": units });
    let answer = post(cluster, "/v1/topics", &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    wait_for("the topic at the gateway", async || {
        let last = units.len() - 1;
        let path = format!("/v1/topics/{topic}/partitions/{last}/offsets");
        let answer = cluster.get(GATEWAY, &path).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
}

/// Appends one record to that partition, in spite of a leader that changes; its offset.
async fn append(cluster: &Cluster, topic: &str, partition: usize) -> u64 {
    let body = json!({ "records": [{ "value": "x", "partition": partition }] });
    let path = format!("/v1/topics/{topic}/records?timeout_ms=30000");
    let answer = post(cluster, &path, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["partitions"][0]["base_offset"]
        .as_u64()
        .expect("an offset")
}

/// Who leads each partition of the topic.
async fn leaders(cluster: &Cluster, topic: &str) -> Vec<u64> {
    let list = get(cluster, &format!("/v1/topics/{topic}/partitions?limit=100")).await;
    let items = list["items"].as_array().expect("partitions").clone();
    let leader = |one: &Value| one["leader"].as_u64().unwrap_or(u64::MAX);
    items.iter().map(leader).collect()
}

/// Asks for long work until it is taken, and waits for its end.
async fn carry_out(cluster: &Cluster, path: &str, body: &Value) -> Value {
    let begun = wait_for("the work to be taken", async || {
        let answer = post(cluster, path, body).await;
        // Leaders tell what they hold once in a while.
        (answer.status == 202).then(|| answer.json())
    })
    .await;
    let id = begun["operation"]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/operations/{id}");
    wait_for("the end of an operation", async || {
        let operation = get(cluster, &path).await;
        operation["ended_at"].is_u64().then_some(operation)
    })
    .await
}

async fn online(cluster: &Cluster, count: usize) {
    wait_for("the units to be online", async || {
        let list = get(cluster, "/v1/spus").await;
        let units = list["items"].as_array()?;
        let online = units
            .iter()
            .filter(|unit| unit["status"]["state"] == "online");
        (online.count() == count).then_some(())
    })
    .await;
}

/// Five units, two of which came later: each gets its share of what is new.
async fn grow(cluster: &mut Cluster) {
    create(cluster, "empty", 6).await;
    create(cluster, "full", 3).await;
    for partition in 0..3 {
        assert_eq!(append(cluster, "full", partition).await, 0);
    }
    let old: BTreeSet<u64> = leaders(cluster, "empty").await.into_iter().collect();
    assert_eq!(old, BTreeSet::from([1, 2, 3]));
    for number in [4, 5] {
        cluster.add_spu(number).await;
    }
    online(cluster, 5).await;
    create(cluster, "new", 6).await;
    let new: BTreeSet<u64> = leaders(cluster, "new").await.into_iter().collect();
    assert_eq!(
        new,
        BTreeSet::from([4, 5]),
        "those that led nothing lead first"
    );
    let units = get(cluster, "/v1/spus").await;
    let racks = units["items"].as_array().expect("units").iter();
    let racks: BTreeSet<_> = racks.filter_map(|unit| unit["rack"].as_str()).collect();
    assert_eq!(racks.len(), 5, "they brought racks of their own: {units}");
}

/// An empty partition goes to another unit and back, and takes records all the while.
async fn reassign(cluster: &Cluster) {
    let home = leaders(cluster, "empty").await[0];
    let path = "/v1/topics/empty/partitions/0/reassign";
    for to in [4, home] {
        let done = carry_out(cluster, path, &json!({ "replicas": [to] })).await;
        assert_eq!(done["state"], "done", "{done}");
        assert_eq!(leaders(cluster, "empty").await[0], to);
    }
    assert_eq!(append(cluster, "empty", 0).await, 0);
    for partition in [1, 2] {
        let path = format!("/v1/topics/empty/partitions/{partition}/reassign");
        let done = carry_out(cluster, &path, &json!({ "replicas": [4] })).await;
        assert_eq!(done["state"], "done", "{done}");
    }

    let path = "/v1/topics/full/partitions/0/reassign";
    let refused = post(cluster, path, &json!({ "replicas": [4], "force": true })).await;
    assert_eq!(refused.code().as_deref(), Some("conflict"));
    assert!(
        refused.text().contains("only copy holds records"),
        "{}",
        refused.text()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_join_take_their_share_and_leave_again_while_the_cluster_runs() {
    let mut cluster = Cluster::start(1, 3, 1);
    placement::check(&cluster).await;
    grow(&mut cluster).await;
    reassign(&cluster).await;
    many::drain_while_others_write(&cluster).await;

    let even = carry_out(&cluster, "/v1/rebalance", &json!({})).await;
    assert_eq!(even["state"], "done", "{even}");

    let gone = leaders(&cluster, "full").await[0];
    let drain = format!("/v1/spus/{gone}/drain");
    let partly = carry_out(&cluster, &drain, &json!({})).await;
    assert_eq!(partly["state"], "failed", "{partly}");
    let reason = partly["reason"].as_str().expect("a reason");
    assert!(reason.contains("partition 0 of topic full"), "{reason}");
    assert_eq!(append(&cluster, "full", 0).await, 1, "it goes on being led");

    let deleted = cluster.delete(GATEWAY, "/v1/topics/full").await;
    assert_eq!(deleted.expect("an answer").status, 204);
    let drained = carry_out(&cluster, &drain, &json!({})).await;
    // The one partition of `empty` that got a record may be there.
    if drained["state"] != "done" {
        let deleted = cluster.delete(GATEWAY, "/v1/topics/empty").await;
        assert_eq!(deleted.expect("an answer").status, 204);
        let drained = carry_out(&cluster, &drain, &json!({})).await;
        assert_eq!(drained["state"], "done", "{drained}");
    }
    assert!(!leaders(&cluster, "new").await.contains(&gone));
    let removed = cluster.delete(GATEWAY, &format!("/v1/spus/{gone}")).await;
    assert_eq!(removed.expect("an answer").status, 204);
    online(&cluster, 4).await;
    for partition in 0..6 {
        append(&cluster, "new", partition).await;
    }
    go_on_after_a_stop(&mut cluster, gone).await;
}

/// A unit is told to stop: what is sent meanwhile waits for it.
async fn go_on_after_a_stop(cluster: &mut Cluster, gone: u64) {
    create(cluster, "after", 8).await;
    let all = leaders(cluster, "after").await;
    let mut held = (1..=3).filter(|unit| *unit != gone);
    let at = held.find_map(|held| all.iter().position(|unit| *unit == held));
    let at = at.expect("a partition on a unit of the first three");
    let name = format!("spu-{}", all[at]);
    cluster.stop_member(&name);
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    let body = json!({ "records": [{ "value": "x", "partition": at }] }).to_string();
    let mut pending = JoinSet::new();
    pending.spawn(async move {
        let path = "/v1/topics/after/records?timeout_ms=30000";
        connection.post(path, "application/json", body).await
    });
    cluster.start_by_hand(&name);
    let answer = pending.join_next().await.expect("one request");
    let answer = answer.expect("it ran").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["partitions"][0]["base_offset"], 0);
}
