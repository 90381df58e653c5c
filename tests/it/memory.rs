//! What the server holds for its clients: counted, bounded, and given back however they end.

use std::collections::HashMap;

use futures_util::future::join_all;
use tidegate_tests::crowd::Crowd;
use tidegate_tests::http::Connection;
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

/// Bytes held by part.
async fn held(connection: &mut Connection) -> HashMap<String, f64> {
    let text = connection.get("/metrics").await.expect("an answer").text();
    let parts = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("tidegate_memory_held_bytes{part=\"")?;
        let (part, value) = rest.split_once("\"} ")?;
        Some((part.to_owned(), value.parse().expect("a number")))
    });
    parts.collect()
}

fn address(server: &Server) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

async fn begin(server: &Server, head: &str, body_bytes: usize) -> TcpStream {
    let address = address(server);
    let mut stream = TcpStream::connect(&address).await.expect("it listens");
    let head = format!("{head}\r\nhost: {address}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    let mut left = body_bytes;
    while left > 0 {
        let part = left.min(64 * 1024);
        stream.write_all(&vec![b' '; part]).await.expect("it reads");
        left -= part;
    }
    stream
}

#[tokio::test]
async fn what_is_held_is_counted_and_given_back_however_a_client_ends() {
    let server = Server::start_dev();
    server.create_topic("t", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    let filler = format!("\"{}\"\n", "x".repeat(10_000)).repeat(500);
    let filled = connection
        .post("/v1/topics/t/records", "application/x-ndjson", filler)
        .await;
    assert_eq!(filled.expect("an answer").status, 200);

    let upload = "POST /v1/topics/t/records HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 16777216";
    let half = begin(&server, upload, 8 * MIB).await;
    let seen = wait_for("half a body to be held", async || {
        let held = held(&mut connection).await;
        (held["bodies"] >= 6.0 * MIB as f64).then_some(held)
    })
    .await;
    let parts: f64 = seen
        .iter()
        .filter(|(part, _)| *part != "process")
        .map(|(_, bytes)| bytes)
        .sum();
    assert!(
        seen["process"] >= seen["bodies"] && parts >= seen["bodies"],
        "{seen:?}"
    );

    // Uploads, answers and streams that nobody waits for to the end.
    let answer = "GET /v1/topics/t/records?max_bytes=8388608 HTTP/1.1";
    let events = "GET /v1/topics/t/events?from=earliest HTTP/1.1";
    let ends = join_all((0..60).map(|number| {
        let server = &server;
        async move {
            let mut stream = match number % 3 {
                0 => begin(server, upload, number * 40_000).await,
                1 => begin(server, answer, 0).await,
                _ => begin(server, events, 0).await,
            };
            if number % 3 > 0 {
                let mut some = vec![0; 100 * number];
                stream.read_exact(&mut some).await.expect("an answer");
            }
        }
    }));
    ends.await;
    drop(half);
    wait_for("everything to be given back", async || {
        let mut held = held(&mut connection).await;
        // What the log takes for good, and frames that are kept for whoever comes.
        held.retain(|part, _| !["process", "log", "frames"].contains(&part.as_str()));
        held.values().all(|bytes| *bytes == 0.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn consumers_that_never_read_hold_little_and_nobody_up() {
    const STUCK: usize = 200;
    /// One frame that is being written, what stands before it, and room for what is not exact.
    const EACH_MAX: u64 = 384 * 1024;
    /// Recent records and their frames, kept once for all.
    const SHARED_MAX: u64 = 128 << 20;
    let server = Server::start_with(&["--dev", "--memory-max", "64MiB"]);
    server.create_topic("t", 1).await;
    let path = "/v1/topics/t/ws?from=latest";
    let stuck = Crowd::open(&server.target(), path, STUCK, "caught_up").await;
    let stuck = stuck.expect("the sockets open");
    let mut healthy = Crowd::open(&server.target(), path, 1, "caught_up")
        .await
        .expect("it opens");
    let before = server.resident_bytes();
    let mut connection = server.connect().await.expect("a connection");
    let record = format!(r#"{{"value":"{}"}}"#, "x".repeat(1_000));
    let body = format!(r#"{{"records":[{}]}}"#, vec![record; 500].join(","));
    let produce = async {
        for _ in 0..60 {
            let answer = connection
                .post("/v1/topics/t/records", "application/json", body.clone())
                .await
                .expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let end = connection
            .post("/v1/topics/t/records", "text/plain", "the end")
            .await;
        assert_eq!(end.expect("an answer").status, 200);
        connection
    };
    let (mut connection, read) = tokio::join!(produce, healthy.all_say("the end"));
    let read = read.expect("one that reads gets all of it").concat();
    assert!(read.len() > 60 * 500 * 1_000, "{} bytes", read.len());
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(
        grown < SHARED_MAX + STUCK as u64 * EACH_MAX,
        "{grown} bytes more"
    );
    let held = held(&mut connection).await;
    assert!(held["process"] <= 64.0 * MIB as f64, "{held:?}");
    drop(stuck);
}

/// How many batches were made into frames of JSON.
async fn encoded(connection: &mut Connection) -> u64 {
    let text = connection.get("/metrics").await.expect("an answer").text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("tidegate_ws_batches_encoded_total{form=\"json\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn one_stuck_reader_costs_the_others_nothing_that_can_be_counted() {
    const OTHERS: usize = 60;
    const RECORDS: usize = 120;
    let server = Server::start_dev();
    server.create_topic("t", 1).await;
    let path = "/v1/topics/t/ws?from=latest";
    // What the kernel takes for it, both ends, is less than what comes.
    let stuck = Crowd::open(&server.target(), path, 1, "caught_up").await;
    let mut others = Crowd::open(&server.target(), path, OTHERS, "caught_up")
        .await
        .expect("they open");
    let mut connection = server.connect().await.expect("a connection");
    let record = "x".repeat(50_000);
    let produce = async {
        for number in 0..RECORDS {
            let word = if number + 1 == RECORDS { "the end" } else { "" };
            let answer = connection
                .post(
                    "/v1/topics/t/records",
                    "text/plain",
                    format!("{record}{word}"),
                )
                .await;
            assert_eq!(answer.expect("an answer").status, 200);
        }
        connection
    };
    let (mut connection, read) = tokio::join!(produce, others.all_say("the end"));
    let read = read.expect("all who read get all of it");
    assert!(read.iter().all(|said| said.len() > RECORDS * record.len()));
    assert_eq!(
        encoded(&mut connection).await,
        RECORDS as u64,
        "each batch was made into frames once"
    );
    drop(stuck);
}
