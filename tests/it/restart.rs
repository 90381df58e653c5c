//! What a restart keeps: records, topics, offsets, producers, cursors.

use std::path::Path;

use serde_json::json;
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::server::Server;
use tidegate_tests::socket::Socket;

const PRODUCER: [(&str, &str); 3] = [
    ("content-type", "text/plain"),
    ("producer-epoch", "0"),
    ("producer-id", "4242"),
];

/// Stops by signal or by kill -9.
fn end(server: &mut Server, kill: bool) {
    if kill {
        server.kill();
    } else {
        assert!(server.stop().success(), "{}", server.log());
    }
}

#[tokio::test]
async fn an_idempotent_producer_is_known_after_stop_and_after_kill() {
    for kill in [false, true] {
        let mut server = Server::start();
        server.create_topic("t", 1).await;
        let path = "/v1/topics/t/partitions/0/records";
        for (seq, restart) in [("0", false), ("1", true), ("1", false), ("2", true)] {
            let mut connection = server.connect().await.expect("a connection");
            let headers = [&PRODUCER[..], &[("producer-seq", seq)]].concat();
            let answer = connection
                .send(http::Method::POST, path, &headers, seq)
                .await
                .expect("an answer");
            assert_eq!(answer.status, 200, "seq {seq}: {}", answer.text());
            let offset = answer.json()["partitions"][0]["base_offset"].to_string();
            assert_eq!(
                offset, seq,
                "the sequence is the offset here, also for a duplicate"
            );
            drop(connection);
            if restart {
                end(&mut server, kill);
                server.launch();
            }
        }
        let mut connection = server.connect().await.expect("a connection");
        let again = [&PRODUCER[..], &[("producer-seq", "2")]].concat();
        let answer = connection
            .send(http::Method::POST, path, &again, "2")
            .await
            .expect("an answer");
        assert_eq!(
            answer.header("tidegate-duplicate"),
            Some("true"),
            "{}",
            answer.text()
        );
        let gap = [&PRODUCER[..], &[("producer-seq", "9")]].concat();
        let answer = connection
            .send(http::Method::POST, path, &gap, "9")
            .await
            .expect("an answer");
        assert_eq!(
            answer.code().as_deref(),
            Some("out_of_order"),
            "{}",
            answer.text()
        );
        let records = read_all(&mut connection, "t", 0, 0)
            .await
            .expect("dense offsets");
        assert_eq!(records.len(), 3, "each record once");
    }
}

#[tokio::test]
async fn a_socket_resumes_at_its_cursor_after_a_restart() {
    let mut server = Server::start();
    server.create_topic("t", 2).await;
    let mut connection = server.connect().await.expect("a connection");
    let produce = async |connection: &mut tidegate_tests::http::Connection, from: u32| {
        for n in from..from + 20 {
            let path = format!("/v1/topics/t/partitions/{}/records", n % 2);
            let answer = connection
                .post(&path, "application/x-ndjson", n.to_string())
                .await;
            assert_eq!(answer.expect("an answer").status, 200);
        }
    };
    produce(&mut connection, 0).await;
    let mut socket = Socket::open(&server.target(), "/v1/topics/t/ws?from=earliest")
        .await
        .expect("a socket");
    let mut seen = Vec::new();
    let mut cursors = Vec::new();
    while seen.len() < 20 {
        let frame = socket.next_of("records").await.expect("records");
        take(&frame, &mut seen);
        cursors.push(frame["cursor"].as_str().expect("a cursor").to_owned());
    }
    drop(connection);
    end(&mut server, true);
    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    produce(&mut connection, 20).await;
    // The newest cursor of each partition, as a client that merges frames would keep them.
    let cursors: Vec<String> = cursors
        .iter()
        .map(|cursor| format!("cursor={cursor}"))
        .collect();
    let path = format!("/v1/topics/t/ws?{}", cursors.join("&"));
    let mut socket = Socket::open(&server.target(), &path)
        .await
        .expect("a socket");
    while seen.len() < 40 {
        take(
            &socket.next_of("records").await.expect("records"),
            &mut seen,
        );
    }
    seen.sort_unstable();
    assert_eq!(
        seen,
        (0..40).collect::<Vec<u64>>(),
        "each record once over both sockets"
    );
}

fn take(frame: &serde_json::Value, seen: &mut Vec<u64>) {
    for record in frame["records"].as_array().expect("records") {
        seen.push(record["value"].as_u64().expect("a number"));
    }
}

#[tokio::test]
async fn a_topic_made_again_is_another_topic() {
    let mut server = Server::start();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let path = "/v1/topics/t/records";
    connection
        .post(path, "text/plain", "old")
        .await
        .expect("an answer");
    let answer = connection.get(path).await.expect("an answer");
    let cursor = answer
        .header("tidegate-cursor")
        .expect("a cursor")
        .to_owned();
    let deleted = connection
        .send(http::Method::DELETE, "/v1/topics/t", &[], "")
        .await;
    assert_eq!(deleted.expect("an answer").status, 204);
    server.create_topic("t", 1).await;
    let answer = connection
        .get(&format!("{path}?cursor={cursor}"))
        .await
        .expect("an answer");
    assert_eq!(
        answer.code().as_deref(),
        Some("cursor_expired"),
        "{}",
        answer.text()
    );
    connection
        .post(path, "text/plain", "new")
        .await
        .expect("an answer");
    drop(connection);
    end(&mut server, true);
    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    let records = read_all(&mut connection, "t", 0, 0)
        .await
        .expect("dense offsets");
    let values: Vec<_> = records.iter().map(value_text).collect();
    assert_eq!(
        values,
        vec![json!("new").to_string()],
        "only the new topic's record"
    );
}

#[tokio::test]
async fn what_a_deleted_topic_left_on_disk_is_discarded_at_the_next_start() {
    let mut server = Server::start();
    server.create_topic("kept", 1).await;
    server.create_topic("gone", 2).await;
    let mut connection = server.connect().await.expect("a connection");
    for topic in ["kept", "gone"] {
        let path = format!("/v1/topics/{topic}/records");
        let answer = connection.post(&path, "text/plain", "value").await;
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let described = connection.get("/v1/topics/gone").await.expect("an answer");
    let id = described.json()["id"].as_str().expect("an id").to_owned();
    drop(connection);

    // The topic is deleted while its node has another disk.
    end(&mut server, false);
    let (storage, aside) = (
        server.data_dir().join("storage"),
        server.home().join("aside"),
    );
    copy(&storage, &aside);
    server.launch();
    let mut connection = server.connect().await.expect("a connection");
    let deleted = connection
        .send(http::Method::DELETE, "/v1/topics/gone", &[], "")
        .await;
    assert_eq!(deleted.expect("an answer").status, 204);
    drop(connection);
    end(&mut server, false);
    std::fs::remove_dir_all(&storage).expect("it can be removed");
    std::fs::rename(&aside, &storage).expect("it comes back");

    server.launch();
    let log = server.log();
    assert!(
        log.contains("deleted topic discarded") && log.contains(&id),
        "{log}"
    );
    let mut connection = server.connect().await.expect("a connection");
    let records = read_all(&mut connection, "kept", 0, 0).await;
    assert_eq!(records.expect("dense offsets").len(), 1);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let (entry, to) = entry
            .map(|entry| (entry.path(), to.join(entry.file_name())))
            .expect("an entry");
        if entry.is_dir() {
            copy(&entry, &to);
        } else {
            std::fs::copy(&entry, &to).expect("a file");
        }
    }
}
