//! A unit with many empty partitions is drained, at a given pace, while producers write elsewhere: they notice
//! nothing, the progress grows, and a cancelled drain leaves each partition with one leader.

use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::http::{Connection, Target};
use tidegate_tests::wait::{wait_for, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{GATEWAY, carry_out, create_at, get, post};

const CROWD: usize = 200;
/// Moves at once that the first drain is allowed.
const PACE: u64 = 2;
/// Moved before it is cancelled.
const ENOUGH: u64 = 20;
/// Partitions with producers.
const BUSY: usize = 4;
/// The unit that is drained, and those that stay.
const FULL: u64 = 4;
const OTHERS: [u64; 4] = [1, 2, 3, 5];

pub(crate) async fn drain_while_others_write(cluster: &Cluster) {
    create_at(cluster, "crowd", &[FULL; CROWD]).await;
    create_at(cluster, "busy", &OTHERS).await;
    let units = units(cluster).await;
    let (stop, stopped) = watch::channel(false);
    let mut producers = JoinSet::new();
    for partition in 0..BUSY {
        let connection = cluster.connect(GATEWAY).await.expect("a connection");
        producers.spawn(write(connection, partition, stopped.clone()));
    }

    let path = format!("/v1/spus/{FULL}/drain");
    let pace = json!({ "throttle": { "partitions_at_once": PACE } });
    let begun = post(cluster, &path, &pace).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let begun = begun.json()["operation"].clone();
    assert_eq!(begun["throttle"]["partitions_at_once"], PACE, "{begun}");
    let operation = format!("/v1/operations/{}", begun["id"].as_str().expect("an id"));
    let total = follow(cluster, &operation).await;
    let cancelled = post(cluster, &format!("{operation}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    let ended = wait_for("the end of a cancelled drain", async || {
        let now = get(cluster, &operation).await;
        now["ended_at"].is_u64().then_some(now)
    })
    .await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    let done = ended["progress"]["done"].as_u64().expect("a number");
    assert!((ENOUGH..total).contains(&done), "{ended}");
    one_leader_each(&units).await;

    let drained = carry_out(cluster, &path, &json!({})).await;
    assert_eq!(drained["state"], "done", "{drained}");
    assert!(!one_leader_each(&units).await.contains(&FULL));
    stop.send(true).expect("producers run");
    let written = within("the producers", producers.join_all()).await;
    assert!(written.iter().all(|count| *count > 0), "{written:?}");

    let resumed = post(cluster, &format!("/v1/spus/{FULL}/resume"), &json!({})).await;
    assert_eq!(resumed.status, 200, "{}", resumed.text());
    for topic in ["crowd", "busy"] {
        let path = format!("/v1/topics/{topic}");
        let deleted = cluster.delete(GATEWAY, &path).await;
        assert_eq!(deleted.expect("an answer").status, 204);
    }
}

/// One record after the other; each is taken at the first attempt, at the next offset.
async fn write(
    mut connection: Connection,
    partition: usize,
    stopped: watch::Receiver<bool>,
) -> u64 {
    let path = format!("/v1/topics/busy/partitions/{partition}/records");
    let mut next = 0;
    while !*stopped.borrow() {
        let sent = connection.post(&path, "text/plain", "x");
        let answer = within("an acknowledgement", sent).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["partitions"][0]["base_offset"], next);
        next += 1;
    }
    next
}

/// Looks on until enough has moved: never backwards, never more at once than allowed. The number of all.
async fn follow(cluster: &Cluster, operation: &str) -> u64 {
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    let mut seen = 0;
    wait_for("some of the partitions to be moved", async || {
        let now = connection.get(operation).await.ok()?.json();
        assert_eq!(now["state"], "running", "it should take longer: {now}");
        let number = |field: &str| now["progress"][field].as_u64().expect("a number");
        let done = number("done");
        assert!(done >= seen, "{done} after {seen}");
        seen = done;
        let list = "/v1/topics/crowd/partitions?limit=1000";
        let list = connection.get(list).await.ok()?.json();
        let rows = list["items"].as_array().expect("partitions").iter();
        let copies = |row: &Value| row["replicas"].as_array().map_or(0, Vec::len);
        let moving = rows.filter(|row| copies(row) > 1).count();
        assert!(moving as u64 <= PACE, "{moving} at once");
        (done >= ENOUGH).then(|| number("total"))
    })
    .await
}

/// Where each unit is, past the gateway.
async fn units(cluster: &Cluster) -> Vec<(u64, Target)> {
    // Those that lead a partition of these topics: all.
    let metadata = get(cluster, "/v1/metadata?topics=busy,crowd").await;
    let mut units = Vec::new();
    for unit in metadata["spus"].as_array().expect("units") {
        let target = Target {
            url: unit["urls"][0].as_str().expect("an address").to_owned(),
            ..cluster.target(GATEWAY)
        };
        units.push((unit["id"].as_u64().expect("an id"), target));
    }
    assert_eq!(units.len(), OTHERS.len() + 1, "{metadata}");
    units
}

/// Asks each unit about each partition of the crowd: no two of them lead one, and in time one does. The
/// leaders.
async fn one_leader_each(units: &[(u64, Target)]) -> Vec<u64> {
    let mut connections = Vec::new();
    for (unit, target) in units {
        let connection = Connection::open(target).await.expect("a connection");
        connections.push((*unit, connection));
    }
    let mut leaders = Vec::new();
    for partition in 0..CROWD {
        let path = format!("/v1/topics/crowd/partitions/{partition}/offsets");
        let leader = wait_for("a leader", async || {
            let mut leading = Vec::new();
            for (unit, connection) in &mut connections {
                let answer = connection.get(&path).await.expect("an answer");
                if answer.status == 200 {
                    leading.push(*unit);
                }
            }
            assert!(leading.len() <= 1, "{leading:?} lead partition {partition}");
            leading.pop()
        });
        leaders.push(leader.await);
    }
    leaders
}
