//! metadata that went back to before a topic was made makes orphans of its copies, and nobody deletes them:
//! they are whole when the metadata is back, which relies on none of them until an operator says so.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_sc::local_postgres::Scratch;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::copies::copy;
use tidegate_tests::program;
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::wait::{wait_blocking, wait_for};

const GATEWAY: &str = "gateway-1";
const TOPIC: &str = "kept";
const RECORDS: usize = 40;
const UNITS: [&str; 3] = ["spu-1", "spu-2", "spu-3"];

/// Runs a command of operators, which has to go well.
fn operate(data_dir: &Path, arguments: &[&str]) {
    let mut command = program::command(data_dir);
    command.args(arguments);
    let output = program::run_with_input(command, b"");
    assert!(output.status.success(), "{}", program::words(&output));
}

fn back_up(cluster: &Cluster, file: &Path, url: &str) {
    let file = file.to_str().expect("UTF-8");
    operate(
        &cluster.data_dir(),
        &["backup", file, "--database-url", url],
    );
}

/// Puts that state into an empty database, and the cluster goes on with it.
fn go_on_with(cluster: &mut Cluster, file: &Path, url: &str) {
    let file = file.to_str().expect("UTF-8");
    let data_dir = cluster.data_dir();
    operate(&data_dir, &["restore", file, "--database-url", url]);
    cluster.use_database(url);
    let refusals = refusals(&data_dir);
    std::thread::scope(|scope| {
        // Nodes have seen another store and say so; then an operator takes this one.
        scope.spawn(|| {
            wait_blocking("the store to be refused", || {
                (self::refusals(&data_dir) > refusals).then_some(())
            });
            operate(&data_dir, &["sc", "adopt", "--yes", "--database-url", url]);
        });
        cluster.launch();
    });
}

/// How often nodes were refused for what they had seen.
fn refusals(data_dir: &Path) -> usize {
    let logs = std::fs::read_dir(data_dir.join("logs")).expect("logs");
    let logs = logs.map(|entry| entry.expect("an entry").path());
    let texts = logs.filter_map(|path| std::fs::read_to_string(path).ok());
    texts
        .map(|text| text.matches("which this one never was").count())
        .sum()
}

async fn create(cluster: &Cluster, name: &str) -> String {
    let body = json!({ "name": name, "partitions": 1, "replication_factor": 3 }).to_string();
    let answer = cluster.post(GATEWAY, "/v1/topics", &body).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}

async fn append(cluster: &Cluster, name: &str, number: usize) {
    let path = format!("/v1/topics/{name}/partitions/0/records?timeout_ms=30000");
    let body = json!({ "records": [{ "value": number }] }).to_string();
    wait_for("a leader to take a record", async || {
        let answer = cluster.post(GATEWAY, &path, &body).await.ok()?;
        let nobody_leads = answer.status == 503 && answer.json()["side_effects"] == "none";
        assert!(nobody_leads || answer.status == 200, "{}", answer.text());
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn in_sync(cluster: &Cluster, name: &str) {
    wait_for("all copies to be in sync", async || {
        let path = format!("/v1/topics/{name}/partitions/0");
        let answer = cluster.get(GATEWAY, &path).await.ok()?;
        let is_whole = answer.status == 200 && answer.json()["isr"].as_array()?.len() == 3;
        is_whole.then_some(())
    })
    .await;
}

/// An operator has the copies asked what they hold, and takes the longest.
async fn recover(cluster: &Cluster) {
    let path = format!("/v1/topics/{TOPIC}/partitions/0");
    wait_for("a partition that waits for an operator", async || {
        let answer = cluster.get(GATEWAY, &path).await.ok()?;
        let is_offline = answer.status == 200 && answer.json()["state"] == "offline";
        is_offline.then_some(())
    })
    .await;
    let mut command = cluster.command(GATEWAY);
    command.args(["partition", "recover", TOPIC, "0", "--accept-loss", "--yes"]);
    let output = program::run_with_input(command, b"");
    assert!(output.status.success(), "{}", program::words(&output));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r14_copies_that_the_metadata_forgot_are_kept_and_whole_when_it_is_back() {
    let server = Scratch::shared().expect("Postgres starts");
    let mut databases = Vec::new();
    for _ in 0..3 {
        databases.push(server.database().await.expect("an empty database"));
    }
    let [first, rolled_back, right] = &databases[..] else {
        panic!("three databases")
    };
    let mut cluster = Cluster::start_of(1, 3, 1, &["--database-url", &first.url]);
    let files = tempfile::tempdir().expect("a temporary directory");
    let (early, late) = (files.path().join("early"), files.path().join("late"));
    back_up(&cluster, &early, &first.url);
    let topic_id = create(&cluster, TOPIC).await;
    for number in 0..RECORDS {
        append(&cluster, TOPIC, number).await;
    }
    in_sync(&cluster, TOPIC).await;
    back_up(&cluster, &late, &first.url);
    let dirs = UNITS.map(|unit| cluster.member(unit).data_dir.clone());
    assert!(cluster.stop().success(), "{}", cluster.words());
    let before = dirs.each_ref().map(|dir| copy(dir, &topic_id, 0));
    assert_eq!(before[0].records.len(), RECORDS);

    // An operator takes a backup that is too old, and the cluster works with it.
    go_on_with(&mut cluster, &early, &rolled_back.url);
    let answer = cluster.get(GATEWAY, &format!("/v1/topics/{TOPIC}")).await;
    assert_eq!(answer.expect("an answer").status, 404);
    create(&cluster, "other").await;
    append(&cluster, "other", 0).await;
    wait_for("all units to say what they have", async || {
        let words = cluster.words();
        let told = words.matches("replicas that no topic has are left alone");
        (told.count() >= UNITS.len()).then_some(())
    })
    .await;
    for unit in UNITS {
        cluster.kill(unit);
        cluster.start_by_hand(unit);
    }
    in_sync(&cluster, "other").await;
    assert!(cluster.stop().success(), "{}", cluster.words());
    let kept = dirs.each_ref().map(|dir| copy(dir, &topic_id, 0));
    assert!(kept == before, "a copy that nobody asked for has changed");

    go_on_with(&mut cluster, &late, &right.url);
    // What this store knows of the units is older than their disks, and it relies on none: somebody has to say so.
    recover(&cluster).await;
    append(&cluster, TOPIC, RECORDS).await;
    wait_for("every record", async || {
        let mut connection = cluster.connect(GATEWAY).await.ok()?;
        let records = read_all(&mut connection, TOPIC, 0, 0).await.ok()?;
        (records.len() > RECORDS).then_some(())?;
        let values = records.iter().map(|record| {
            let value: Value = serde_json::from_slice(&value_text(record)).expect("JSON");
            value.as_u64().expect("a number")
        });
        assert!(values.eq(0..=RECORDS as u64));
        Some(())
    })
    .await;
    in_sync(&cluster, TOPIC).await;
    assert!(cluster.stop().success(), "{}", cluster.words());
    let [one, two, three] = dirs.each_ref().map(|dir| copy(dir, &topic_id, 0));
    assert_eq!(one.records.len(), RECORDS + 1);
    assert!(one == two && two == three, "the copies differ");
}
