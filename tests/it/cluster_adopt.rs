//! An operator takes the metadata store for good while a cluster of real processes serves.

use serde_json::{Value, json};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::program;
use tidegate_tests::wait::wait_for;

const GATEWAY: &str = "gateway-1";

async fn unit(cluster: &Cluster) -> Option<Value> {
    let answer = cluster.get(GATEWAY, "/v1/spus/1").await.ok()?;
    (answer.status == 200).then(|| answer.json())
}

async fn append(cluster: &Cluster) -> u64 {
    let body = json!({ "records": [{ "value": "x" }] }).to_string();
    let path = "/v1/topics/t/records?timeout_ms=30000";
    let answer = cluster.post(GATEWAY, path, &body).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let offset = &answer.json()["partitions"][0]["base_offset"];
    offset.as_u64().expect("an offset")
}

#[tokio::test]
async fn units_register_again_with_a_store_that_an_operator_adopted_and_go_on_leading() {
    let cluster = Cluster::start(1, 1, 1);
    let body = r#"{"name":"t","partitions":1,"replication_factor":1}"#;
    let created = cluster.post(GATEWAY, "/v1/topics", body).await;
    assert_eq!(created.expect("an answer").status, 201);
    assert_eq!(append(&cluster).await, 0);
    let before = unit(&cluster).await.expect("the unit");

    let mut adopt = program::command(&cluster.data_dir());
    let url = &cluster.manifest().database_url;
    adopt.args(["sc", "adopt", "--yes", "--database-url", url]);
    let adopted = program::run_with_input(adopt, b"");
    assert!(adopted.status.success(), "{}", program::words(&adopted));

    // What the store says of epochs may be older than what the unit accepted: it tells.
    wait_for("the unit to register again", async || {
        let now = unit(&cluster).await?;
        let is_new = now["incarnation"].as_u64() > before["incarnation"].as_u64();
        (is_new && now["status"]["state"] == "online").then_some(())
    })
    .await;
    assert_eq!(append(&cluster).await, 1);
}
