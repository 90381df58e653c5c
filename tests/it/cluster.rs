//! A cluster of real processes on this machine: what goes on while one of them is gone.

use serde_json::Value;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::wait::wait_for;

async fn create(cluster: &Cluster, by: &str, topic: &str, partitions: u32) {
    let body = format!(r#"{{"name":"{topic}","partitions":{partitions},"replication_factor":1}}"#);
    let answer = cluster
        .post(by, "/v1/topics", &body)
        .await
        .expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
}

/// Produces one record; what its partition and offset are.
async fn produce(cluster: &Cluster, by: &str, topic: &str, value: &str) -> (u64, u64) {
    let body = format!(r#"{{"records":[{{"value":"{value}"}}]}}"#);
    let path = format!("/v1/topics/{topic}/records");
    let answer = cluster.post(by, &path, &body).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let at = &answer.json()["partitions"][0];
    let number = |field: &str| at[field].as_u64().expect("a number");
    (number("partition"), number("base_offset"))
}

/// All values of the topic, in no order.
async fn values(cluster: &Cluster, by: &str, topic: &str) -> Vec<String> {
    let path = format!("/v1/topics/{topic}/records?from=earliest");
    let answer = cluster.get(by, &path).await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = answer.json()["records"]
        .as_array()
        .expect("records")
        .clone();
    let value = |record: &Value| record["value"].as_str().expect("a text").to_owned();
    let mut found: Vec<String> = found.iter().map(value).collect();
    found.sort();
    found
}

/// Produces until it is taken: what was refused had no effect.
async fn produce_in_time(cluster: &Cluster, by: &str, topic: &str, value: &str) {
    let body = format!(r#"{{"records":[{{"value":"{value}"}}]}}"#);
    let path = format!("/v1/topics/{topic}/records");
    wait_for("a record to be taken", async || {
        let answer = cluster.post(by, &path, &body).await.ok()?;
        if answer.status == 200 {
            return Some(());
        }
        assert_eq!(answer.json()["side_effects"], "none", "{}", answer.text());
        None
    })
    .await;
}

/// Each of two controllers is gone for a while: records go on, and the other makes topics.
async fn kill_each_controller(cluster: &mut Cluster) {
    for (gone, left) in [("sc-1", "sc-2"), ("sc-2", "sc-1")] {
        cluster.kill(gone);
        produce(cluster, "gateway-1", "t", gone).await;
        let topic = format!("made-by-{left}");
        let body = format!(r#"{{"name":"{topic}","partitions":1,"replication_factor":1}}"#);
        wait_for("a topic to be made by the other controller", async || {
            let answer = cluster.post("gateway-2", "/v1/topics", &body).await.ok()?;
            (answer.status == 201 || answer.status == 409).then_some(())
        })
        .await;
        produce_in_time(cluster, "gateway-1", &topic, "first").await;
        cluster.start_by_hand(gone);
    }
}

#[tokio::test]
async fn a_cluster_of_processes_goes_on_while_any_one_of_them_is_killed() {
    let mut cluster = Cluster::start(2, 2, 2);
    create(&cluster, "gateway-1", "t", 4).await;
    wait_for("the topic at the other gateway", async || {
        let answer = cluster.get("gateway-2", "/v1/topics/t/partitions/0/offsets");
        (answer.await.ok()?.status == 200).then_some(())
    })
    .await;
    produce_in_time(&cluster, "gateway-1", "t", "a").await;
    produce(&cluster, "gateway-2", "t", "b").await;
    assert_eq!(values(&cluster, "gateway-1", "t").await, ["a", "b"]);

    kill_each_controller(&mut cluster).await;

    let kept = cluster.member("gateway-2").data_dir.join("topology.json");
    wait_for("the topology to be kept", async || {
        let text = std::fs::read_to_string(&kept).ok()?;
        text.contains(r#""t":"#).then_some(())
    })
    .await;
    cluster.kill("sc-1");
    cluster.kill("sc-2");
    produce(&cluster, "gateway-1", "t", "no controller").await;
    let refused = cluster.get("gateway-2", "/v1/topics").await;
    let refused = refused.expect("an answer");
    assert_eq!(refused.code().as_deref(), Some("unavailable"));
    cluster.kill("gateway-2");
    cluster.start_by_hand("gateway-2");
    produce_in_time(&cluster, "gateway-2", "t", "still none").await;
    cluster.start_by_hand("sc-1");
    cluster.start_by_hand("sc-2");
    wait_for("the control plane", async || {
        let answer = cluster.get("gateway-2", "/v1/topics").await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;

    cluster.kill("gateway-1");
    produce(&cluster, "gateway-2", "t", "c").await;
    cluster.start_by_hand("gateway-1");
    produce_in_time(&cluster, "gateway-1", "t", "d").await;

    for spu in ["spu-1", "spu-2"] {
        cluster.kill(spu);
        cluster.start_by_hand(spu);
        produce_in_time(&cluster, "gateway-1", "t", spu).await;
    }
    let expected = [
        "a",
        "b",
        "c",
        "d",
        "no controller",
        "sc-1",
        "sc-2",
        "spu-1",
        "spu-2",
        "still none",
    ];
    assert_eq!(values(&cluster, "gateway-2", "t").await, expected);

    assert!(cluster.stop().success(), "{}", cluster.words());
    cluster.launch();
    let after = wait_for("all partitions to be led again", async || {
        let answer = cluster.get("gateway-1", "/v1/topics/t/records?from=earliest");
        (answer.await.ok()?.status == 200).then_some(())
    });
    after.await;
    assert_eq!(values(&cluster, "gateway-1", "t").await, expected);
}
