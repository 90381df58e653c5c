//! Copies that come to a partition which is open and written all the while: the replication factor is raised behind
//! a trimmed log, a single copy moves by more copies for a while, and a unit comes back without its disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::copies::{Copy, copy};
use tidegate_tests::http::{Answer, Connection, Target};
use tidegate_tests::wait::{wait_for, within};
use tokio::task::JoinSet;

const GATEWAY: &str = "gateway-1";
/// Records before there is a second copy.
const RECORDS: u64 = 60;
/// Where the log begins then.
const LOG_START: u64 = 40;
/// What the request says that is sent again, long after its record is gone.
const KEY: (&str, &str) = ("idempotency-key", "only-once-0001");

/// Asks for it again while an operation that is about to end has the partition.
async fn ask(cluster: &Cluster, method: Method, path: &str, body: &Value) -> Answer {
    let json = [("content-type", "application/json")];
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    wait_for(path, async || {
        let answer = connection.send(method.clone(), path, &json, body.to_string());
        let answer = answer.await.expect("an answer");
        if answer.status == 409 && answer.text().contains("part of operation") {
            return None;
        }
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
        Some(answer)
    })
    .await
}

/// Makes a topic of one partition, with one copy on that unit; its id.
async fn create(cluster: &Cluster, topic: &str, unit: u64) -> String {
    let body = json!({ "name": topic, "partitions": 1, "replication_factor": 1,
        "placement": "manual", "assignment": [[unit]] });
    let answer = ask(cluster, Method::POST, "/v1/topics", &body).await;
    answer.json()["id"].as_str().expect("an id").to_owned()
}

fn path(topic: &str) -> String {
    format!("/v1/topics/{topic}/partitions/0/records?timeout_ms=30000")
}

/// Appends one record and tells its offset.
async fn append(
    connection: &mut Connection,
    topic: &str,
    value: u64,
    more: &[(&str, &str)],
) -> u64 {
    let body = json!({ "records": [{ "value": value }] }).to_string();
    let headers = [&[("content-type", "application/json")], more].concat();
    let path = path(topic);
    let answer = connection.send(Method::POST, &path, &headers, body);
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status, 200, "{topic}: {}", answer.text());
    let placed = &answer.json()["partitions"][0];
    placed["base_offset"].as_u64().expect("an offset")
}

/// Sets how many copies a topic has.
async fn factor(cluster: &Cluster, topic: &str, copies: u64) {
    let body = json!({ "replication_factor": copies });
    ask(cluster, Method::PUT, &format!("/v1/topics/{topic}"), &body).await;
}

/// Waits until the partition has as many copies, all of them in sync; its row.
async fn wait_copies(cluster: &Cluster, topic: &str, copies: usize) -> Value {
    let what = format!("{copies} copies of {topic} to be in sync");
    let path = format!("/v1/topics/{topic}/partitions/0");
    wait_for(&what, async || {
        let row = cluster.get(GATEWAY, &path).await.ok()?;
        let row = (row.status == 200).then(|| row.json())?;
        let count = |list: &str| row[list].as_array().map_or(0, Vec::len);
        let is_right = count("isr") == copies && count("replicas") == copies;
        (is_right && row["leader"].is_u64()).then_some(row)
    })
    .await
}

/// Someone who appends record after record to one topic, one by one, each of which has to be taken.
struct Writing {
    taken: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Writing {
    fn start(target: Target, topic: &'static str) -> Self {
        let (taken, is_over) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (count, ends) = (taken.clone(), is_over.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connection = Connection::open(&target).await.expect("a connection");
            while !ends.load(Ordering::SeqCst) {
                append(&mut connection, topic, 7, &[]).await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            taken,
            is_over,
            tasks,
        }
    }

    /// Waits until it got on.
    async fn gets_on(&self) {
        let before = self.taken.load(Ordering::SeqCst);
        wait_for("records to be taken", async || {
            (self.taken.load(Ordering::SeqCst) > before + 2).then_some(())
        })
        .await;
    }

    async fn end(mut self) -> u64 {
        self.is_over.store(true, Ordering::SeqCst);
        let ended = within("the writer's end", self.tasks.join_next()).await;
        ended.expect("one writer").expect("it ends in order");
        self.taken.load(Ordering::SeqCst)
    }
}

/// A topic whose only copy began at zero and begins later now, with a key whose record is gone.
async fn trimmed(cluster: &Cluster, topic: &str) {
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    assert_eq!(append(&mut connection, topic, 0, &[KEY]).await, 0);
    for value in 1..RECORDS {
        assert_eq!(append(&mut connection, topic, value, &[]).await, value);
    }
    let body = json!({ "partitions": [{ "partition": 0, "before_offset": LOG_START }] });
    let truncate = format!("/v1/topics/{topic}/truncate");
    ask(cluster, Method::POST, &truncate, &body).await;
    let offsets = format!("/v1/topics/{topic}/partitions/0/offsets");
    wait_for("the log to be trimmed", async || {
        let answer = cluster.get(GATEWAY, &offsets).await.ok()?;
        (answer.status == 200 && answer.json()["log_start"] == LOG_START).then_some(())
    })
    .await;
}

/// The unit's disk is another one: nothing of its records is there.
fn lose_disk(cluster: &mut Cluster, name: &str) {
    cluster.kill(name);
    let storage = cluster.member(name).data_dir.join("storage");
    std::fs::remove_dir_all(storage).expect("a directory of records");
    cluster.start_by_hand(name);
}

/// What the copies have from where all of them begin.
fn assert_alike(cluster: &mut Cluster, units: &[u64], topic_id: &str) {
    let dirs: Vec<PathBuf> = units
        .iter()
        .map(|unit| cluster.member(&format!("spu-{unit}")).data_dir.clone())
        .collect();
    assert!(cluster.stop().success(), "{}", cluster.words());
    let copies: Vec<Copy> = dirs.iter().map(|dir| copy(dir, topic_id, 0)).collect();
    let shortest = copies.iter().min_by_key(|copy| copy.bytes.len());
    let shortest = shortest.expect("copies");
    assert!(!shortest.batches.is_empty());
    for other in &copies {
        assert!(other.batches.ends_with(&shortest.batches), "other batches");
        assert!(other.bytes.ends_with(&shortest.bytes), "other bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_trimmed_partition_gets_copies_and_one_without_its_disk_is_made_anew_and_may_lead()
{
    let mut cluster = Cluster::start(1, 3, 1);
    let topic_id = create(&cluster, "grown", 1).await;
    trimmed(&cluster, "grown").await;
    let writing = Writing::start(cluster.target(GATEWAY), "grown");
    writing.gets_on().await;
    factor(&cluster, "grown", 3).await;
    wait_copies(&cluster, "grown", 3).await;
    writing.gets_on().await;

    lose_disk(&mut cluster, "spu-2");
    wait_copies(&cluster, "grown", 3).await;
    writing.gets_on().await;
    let taken = writing.end().await;

    // Only the one that came back without a disk is left to lead, with one beside it that knows no more.
    let elect = json!({ "replicas": [2, 3, 1] });
    let reassign = "/v1/topics/grown/partitions/0/reassign";
    ask(&cluster, Method::POST, reassign, &elect).await;
    wait_copies(&cluster, "grown", 3).await;
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    cluster.kill("spu-1");
    wait_for("the unit that had lost its disk to lead", async || {
        let elect = "/v1/topics/grown/partitions/0/elect";
        cluster.post(GATEWAY, elect, "{}").await.ok()?;
        let row = cluster.get(GATEWAY, "/v1/topics/grown/partitions/0").await;
        (row.ok()?.json()["leader"] == 2).then_some(())
    })
    .await;
    let again = append(&mut connection, "grown", 0, &[KEY]).await;
    assert_eq!(
        again, 0,
        "stored a second time, by one who got the memory shipped"
    );
    let next = append(&mut connection, "grown", 1, &[]).await;
    assert_eq!(next, RECORDS + taken, "offsets without a gap or a double");
    cluster.start_by_hand("spu-1");
    wait_copies(&cluster, "grown", 3).await;
    assert_alike(&mut cluster, &[1, 2, 3], &topic_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_copy_with_records_moves_by_more_copies_for_a_while() {
    let mut cluster = Cluster::start(1, 3, 1);
    let topic_id = create(&cluster, "moved", 1).await;
    trimmed(&cluster, "moved").await;
    let writing = Writing::start(cluster.target(GATEWAY), "moved");
    writing.gets_on().await;
    factor(&cluster, "moved", 2).await;
    let row = wait_copies(&cluster, "moved", 2).await;
    writing.gets_on().await;
    // To the unit that has no copy yet, which leads when it has everything.
    let held = row["replicas"].to_string();
    let to = [2, 3]
        .into_iter()
        .find(|unit| !held.contains(&unit.to_string()));
    let to = to.expect("a unit without a copy");
    let body = json!({ "replicas": [to, 5 - to] });
    let reassign = "/v1/topics/moved/partitions/0/reassign";
    ask(&cluster, Method::POST, reassign, &body).await;
    wait_for("the copies to be elsewhere", async || {
        let row = wait_copies(&cluster, "moved", 2).await;
        (!row["replicas"].to_string().contains('1')).then_some(())
    })
    .await;
    writing.gets_on().await;
    factor(&cluster, "moved", 1).await;
    let row = wait_copies(&cluster, "moved", 1).await;
    assert_ne!(row["leader"], 1, "{row}");
    writing.gets_on().await;
    let taken = writing.end().await;
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    assert_eq!(append(&mut connection, "moved", 0, &[KEY]).await, 0);
    let next = append(&mut connection, "moved", 1, &[]).await;
    assert_eq!(next, RECORDS + taken);
    let unit = row["leader"].as_u64().expect("a leader");
    assert_alike(&mut cluster, &[unit], &topic_id);
}
