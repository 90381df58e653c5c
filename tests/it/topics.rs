//! The control plane through the whole program: live change, deletion, retention, truncation.

use http::Method;
use serde_json::json;
use tidegate_tests::records::read_all;
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;

/// Of 100 kB each: more than three segments of the smallest size.
const RECORDS: u64 = 300;

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

#[tokio::test]
async fn partitions_are_added_while_records_flow() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    connection
        .post("/v1/topics/t/records", "text/plain", "before")
        .await
        .expect("an answer");
    let answer = connection
        .send(Method::PUT, "/v1/topics/t", &JSON, r#"{"partitions":4}"#)
        .await;
    let answer = answer.expect("an answer");
    assert_eq!(
        answer.header("tidegate-result"),
        Some("updated"),
        "{}",
        answer.text()
    );
    for partition in 0..4 {
        let path = format!("/v1/topics/t/partitions/{partition}/records");
        let answer = connection
            .post(&path, "text/plain", "after")
            .await
            .expect("an answer");
        assert_eq!(
            answer.status,
            200,
            "partition {partition}: {}",
            answer.text()
        );
    }
    assert_eq!(
        read_all(&mut connection, "t", 0, 0)
            .await
            .expect("records")
            .len(),
        2
    );
}

#[tokio::test]
async fn a_lower_record_limit_holds_for_the_next_record() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let path = "/v1/topics/t/records";
    let big = "x".repeat(5_000);
    assert_eq!(
        connection
            .post(path, "text/plain", big.clone())
            .await
            .expect("an answer")
            .status,
        200
    );
    let config = r#"{"config":{"max_record_bytes":1000}}"#;
    let changed = connection
        .send(Method::PUT, "/v1/topics/t", &JSON, config)
        .await;
    assert_eq!(changed.expect("an answer").status, 200);
    let refused = connection
        .post(path, "text/plain", big)
        .await
        .expect("an answer");
    assert_eq!(
        refused.code().as_deref(),
        Some("too_large"),
        "{}",
        refused.text()
    );
    let back = r#"{"config":{"max_record_bytes":null}}"#;
    let changed = connection
        .send(Method::PUT, "/v1/topics/t", &JSON, back)
        .await
        .expect("an answer");
    assert_eq!(
        changed.json()["config"]["max_record_bytes"],
        1_048_576,
        "{}",
        changed.text()
    );
}

#[tokio::test]
async fn retention_by_size_moves_the_start_and_readers_are_told() {
    let server = Server::start();
    let mut connection = server.connect().await.expect("a connection");
    let config = json!({"partitions": 1, "config": {"segment_bytes": 8_388_608, "retention_bytes": 8_388_608}});
    let made = connection
        .send(Method::PUT, "/v1/topics/t", &JSON, config.to_string())
        .await;
    assert_eq!(made.expect("an answer").status, 201);
    let value = "x".repeat(100_000);
    for _ in 0..RECORDS {
        let answer = connection
            .post("/v1/topics/t/records", "text/plain", value.clone())
            .await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let start = wait_for("retention", async || {
        let offsets = connection
            .get("/v1/topics/t/partitions/0/offsets")
            .await
            .expect("an answer");
        offsets.json()["log_start"]
            .as_u64()
            .filter(|start| *start > 0)
    })
    .await;
    let answer = connection
        .get("/v1/topics/t/partitions/0/records?from=0")
        .await
        .expect("an answer");
    assert_eq!(answer.status, 416, "{}", answer.text());
    let told = answer.json()["log_start"]
        .as_u64()
        .expect("the valid range");
    assert!(told >= start, "{}", answer.text());
    let records = read_all(&mut connection, "t", 0, told)
        .await
        .expect("dense records");
    assert_eq!(
        records.last().expect("records").offset,
        RECORDS - 1,
        "the newest are kept"
    );
}

#[tokio::test]
async fn truncated_records_are_gone_for_readers_and_stay_gone() {
    let mut server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let path = "/v1/topics/t/partitions/0/records";
    let produced = connection
        .post(path, "application/x-ndjson", "0\n1\n2\n3\n4\n")
        .await;
    assert_eq!(produced.expect("an answer").status, 200);
    let first = connection
        .get(&format!("{path}?from=0&max_records=1"))
        .await
        .expect("an answer");
    let cursor = first
        .header("tidegate-cursor")
        .expect("a cursor")
        .to_owned();

    let truncate = ["topic", "truncate", "t", "--partition", "0"];
    let command = |more: &[&'static str]| [&truncate[..], more].concat();
    let unsure = server.run(&command(&["--before-offset", "3"]));
    assert!(!unsure.status.success(), "it asks first");
    let above = server.run(&command(&["--before-offset", "6", "--yes"]));
    assert!(!above.status.success(), "nothing that is not committed");
    server.run_ok(&command(&["--before-offset", "3", "--dry-run"]));
    assert!(
        read_all(&mut connection, "t", 0, 0).await.is_ok(),
        "nothing was done yet"
    );
    server.run_ok(&command(&["--before-offset", "3", "--yes"]));
    server.run_ok(&command(&["--before-offset", "3", "--yes"]));

    for _ in 0..2 {
        wait_for("the records to go", async || {
            let path = "/v1/topics/t/partitions/0/offsets";
            let offsets = connection.get(path).await.expect("an answer");
            (offsets.json()["log_start"] == 3).then_some(())
        })
        .await;
        let gone = connection
            .get(&format!("/v1/topics/t/records?cursor={cursor}"))
            .await
            .expect("an answer");
        assert_eq!(gone.status, 410, "{}", gone.text());
        assert_eq!(gone.code().as_deref(), Some("log_truncated"));
        let next = gone.json()["next_cursor"]
            .as_str()
            .expect("where to go on")
            .to_owned();
        let rest = connection
            .get(&format!("/v1/topics/t/records?cursor={next}"))
            .await
            .expect("an answer");
        let offsets: Vec<_> = rest.json()["records"]
            .as_array()
            .expect("records")
            .iter()
            .map(|record| record["offset"].clone())
            .collect();
        assert_eq!(offsets, [3, 4], "{}", rest.text());
        drop(connection);
        server.kill();
        server.launch();
        connection = server.connect().await.expect("a connection");
    }
}

#[tokio::test]
async fn a_deleted_topic_ends_its_readers_and_frees_its_name() {
    let server = Server::start();
    server.create_topic("t", 1).await;
    let mut socket = tidegate_tests::socket::Socket::open(&server.target(), "/v1/topics/t/ws")
        .await
        .expect("a socket");
    socket.next_of("subscribed").await.expect("subscribed");
    let mut connection = server.connect().await.expect("a connection");
    let deleted = connection
        .send(Method::DELETE, "/v1/topics/t", &[], "")
        .await
        .expect("an answer");
    assert_eq!(deleted.status, 204, "{}", deleted.text());
    assert_eq!(socket.next_close().await.0, 3503);
    let gone = connection
        .post("/v1/topics/t/records", "text/plain", "x")
        .await
        .expect("an answer");
    assert_eq!(
        gone.code().as_deref(),
        Some("topic_not_found"),
        "{}",
        gone.text()
    );
    wait_for("the files to go to the trash", async || {
        server
            .log()
            .contains("deleted topic discarded")
            .then_some(())
    })
    .await;
    server.create_topic("t", 1).await;
    let offsets = connection
        .get("/v1/topics/t/partitions/0/offsets")
        .await
        .expect("an answer");
    assert_eq!(offsets.json()["end"], 0, "{}", offsets.text());
}
