//! bits flip in one copy of three. What rotted is never served and never reaches another copy, the copy is
//! reported as damaged and leaves those in sync, and the cluster keeps every record.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::copies::copy;
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::wait::wait_for;

const GATEWAY: &str = "gateway-1";
const TOPIC: &str = "rotten";
/// Where the fields of a stored batch are, and its records (docs/wire-format.md).
const FIELDS: [usize; 25] = [
    0, 4, 8, 24, 28, 32, 40, 48, 56, 64, 68, 72, 73, 74, 76, 80, 84, 86, 88, 96, 100, 104, 120,
    128, 136,
];
/// Each field has a batch in which it rots, and a good one behind that.
const BATCHES: usize = 2 * FIELDS.len();
const PLACEMENT_BYTES: usize = 72;

fn text(number: usize) -> Value {
    json!(format!("{number}/{}", "x".repeat(200)))
}

/// The only segment of a unit's copy.
fn segment(data_dir: &Path, topic_id: &str) -> PathBuf {
    let replicas = std::fs::read_dir(data_dir.join("storage/replicas")).expect("replicas");
    let mut replicas = replicas.map(|entry| entry.expect("an entry").path());
    let name = |path: &Path| {
        path.file_name()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let is_ours = |path: &PathBuf| name(path).is_some_and(|name| name.starts_with(topic_id));
    let replica = replicas.find(is_ours).expect("a copy");
    let files = std::fs::read_dir(replica).expect("its files");
    let mut files = files.map(|entry| entry.expect("an entry").path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "log");
    files.find(is_segment).expect("a segment")
}

/// Flips one bit in another field of every other batch of records.
fn rot(file: &Path) {
    let mut bytes = std::fs::read(file).expect("a segment");
    let (mut at, mut starts) = (0, Vec::new());
    while let Some(len) = bytes.get(at + 4..at + 8) {
        let len = u32::from_le_bytes(len.try_into().expect("four bytes")) as usize;
        let attributes = bytes[at + PLACEMENT_BYTES + 2];
        if attributes & 1 == 0 {
            starts.push(at);
        }
        at += PLACEMENT_BYTES + len;
    }
    assert_eq!(
        (at, starts.len()),
        (bytes.len(), BATCHES),
        "batches of records"
    );
    for (number, field) in FIELDS.into_iter().enumerate() {
        bytes[starts[2 * number] + field] ^= 1 << (number % 8);
    }
    std::fs::write(file, bytes).expect("the segment rots");
}

async fn row(cluster: &Cluster) -> Option<Value> {
    let path = format!("/v1/topics/{TOPIC}/partitions/0");
    let answer = cluster.get(GATEWAY, &path).await.ok()?;
    (answer.status == 200).then(|| answer.json())
}

/// All records, each right; none while somebody cannot say.
async fn read(cluster: &Cluster) -> Option<()> {
    let mut connection = cluster.connect(GATEWAY).await.ok()?;
    let records = read_all(&mut connection, TOPIC, 0, 0).await.ok()?;
    assert_eq!(records.len(), BATCHES);
    for (number, record) in records.iter().enumerate() {
        let value: Value = serde_json::from_slice(&value_text(record)).expect("JSON");
        assert_eq!(value, text(number));
    }
    Some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_a_copy_that_rots_in_every_field_serves_nothing_wrong_and_costs_no_record() {
    let mut cluster = Cluster::start(1, 3, 1);
    let body = json!({ "name": TOPIC, "partitions": 1, "replication_factor": 3, "min_in_sync": 2,
        "placement": "manual", "assignment": [[1, 2, 3]] });
    let answer = cluster.post(GATEWAY, "/v1/topics", &body.to_string()).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let topic_id = answer.json()["id"].as_str().expect("an id").to_owned();
    let mut connection = cluster.connect(GATEWAY).await.expect("a connection");
    let path = format!("/v1/topics/{TOPIC}/partitions/0/records?timeout_ms=30000");
    for number in 0..BATCHES {
        let body = json!({ "records": [{ "value": text(number) }] }).to_string();
        let answer = connection.post(&path, "application/json", body).await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    wait_for("all copies to be in sync", async || {
        let row = row(&cluster).await?;
        (row["isr"].as_array()?.len() == 3).then_some(())
    })
    .await;
    let units = ["spu-1", "spu-2", "spu-3"];
    let dirs = units.map(|unit| cluster.member(unit).data_dir.clone());
    // In order, so that nothing is in a journal that would mend what rots.
    for unit in units {
        cluster.stop_member(unit);
    }
    rot(&segment(&dirs[0], &topic_id));
    for unit in units {
        cluster.look_for_rot_often(unit);
        cluster.start_by_hand(unit);
    }
    wait_for("the damaged copy to be told and left out", async || {
        let row = row(&cluster).await?;
        let in_sync = row["isr"].as_array()?;
        let is_out = in_sync.len() == 2 && !in_sync.contains(&json!(1));
        (is_out && row.to_string().contains("damage")).then_some(())
    })
    .await;
    wait_for("every record", async || read(&cluster).await).await;
    assert!(cluster.stop().success(), "{}", cluster.words());
    let (second, third) = (copy(&dirs[1], &topic_id, 0), copy(&dirs[2], &topic_id, 0));
    assert_eq!(second.records.len(), BATCHES);
    assert!(second.batches == third.batches && second.bytes == third.bytes);
}
