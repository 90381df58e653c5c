//! Many readers who catch up from the disk, each at its own pace, while a writer goes on: every one of
//! them is given every record, once, in order, and as it was written.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use http::{Method, StatusCode};
use tidegate_proto::batch::Batch;
use tidegate_tests::http::{Connection, Target};
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::server::Server;
use tokio::task::JoinSet;

const READERS: usize = 200;
/// Records of one request.
const AT_ONCE: u64 = 50;
/// Requests before the readers come, and those that they must see on top.
const BACKLOG: u64 = 100;
const LIVE: u64 = 40;
const END: u64 = (BACKLOG + LIVE) * AT_ONCE;
const RECORDS: &str = "/v1/topics/cold/partitions/0/records";

fn value(number: u64) -> String {
    format!(
        "\"{number} {}\"",
        "x".repeat(100 + (number * 37 % 60) as usize)
    )
}

/// Appends the records of a request and checks where they stand.
async fn write(connection: &mut Connection, request: u64) {
    let first = request * AT_ONCE;
    let lines = (first..first + AT_ONCE).map(|number| value(number) + "\n");
    let answer = connection.post(RECORDS, "application/x-ndjson", lines.collect::<String>());
    let answer = answer.await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let placed = &answer.json()["partitions"][0]["base_offset"];
    assert_eq!(*placed, first, "{}", answer.text());
}

/// Reads from the first record to [`END`] in chunks of that many bytes; records seen, and a digest of
/// what they are and where they stand.
async fn follow(target: Target, chunk_bytes: usize) -> (u64, u64) {
    let mut connection = Connection::open(&target).await.expect("a connection");
    let headers = [("accept", "application/vnd.tidegate.batch")];
    let (mut next, mut count, mut digest) = (0, 0, DefaultHasher::new());
    while next < END {
        let path = format!("{RECORDS}?from={next}&max_bytes={chunk_bytes}&wait_ms=20000");
        let answer = connection.send(Method::GET, &path, &headers, "").await;
        let answer = answer.expect("an answer");
        if answer.status == StatusCode::NO_CONTENT {
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let mut bytes = answer.body;
        while !bytes.is_empty() {
            let batch = Batch::decode(&mut bytes).expect("a batch");
            batch.verify().expect("a whole batch");
            assert_eq!(batch.placement.base_offset.get(), next, "a gap or a repeat");
            next = batch.next_offset().get();
            count += u64::from(batch.client.record_count());
            batch.client.as_bytes().hash(&mut digest);
        }
    }
    (count, digest.finish())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cold_reader_gets_every_record_while_a_writer_goes_on() {
    let mut server = Server::start_dev();
    server.create_topic("cold", 1).await;
    let mut connection = server.connect().await.expect("a connection");
    for request in 0..BACKLOG {
        write(&mut connection, request).await;
    }
    // A new process has nothing of it in memory.
    assert!(server.stop().success());
    server.launch();
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        // From less than a request's records to all that is there.
        let chunk_bytes = 4_000 << (number % 8);
        readers.spawn(follow(server.target(), chunk_bytes));
    }
    let mut connection = server.connect().await.expect("a connection");
    for request in BACKLOG..BACKLOG + LIVE {
        write(&mut connection, request).await;
    }
    let records = read_all(&mut connection, "cold", 0, 0).await;
    let records = records.expect("all of them");
    assert_eq!(records.len() as u64, END);
    for (number, record) in (0..).zip(&records) {
        assert_eq!(value_text(record), Bytes::from(value(number)));
    }
    let mut digests = Vec::new();
    while let Some(seen) = readers.join_next().await {
        digests.push(seen.expect("a reader that finished"));
    }
    let reference = follow(server.target(), 1 << 20).await;
    assert_eq!(reference.0, END);
    assert_eq!(digests, vec![reference; READERS]);
}
