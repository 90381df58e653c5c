//! Gateways that stop, and clients that go on at another one; clients that go to the storage units themselves.

use std::collections::BTreeMap;

use http_body_util::BodyExt as _;
use serde_json::Value;
use tidegate_tests::cluster::Cluster;
use tidegate_tests::http::{Connection, Target};
use tidegate_tests::socket::{Event, Socket};
use tidegate_tests::wait::{wait_for, within};
use tokio::sync::watch;
use tokio::task::JoinSet;

const TOTAL: u64 = 240;

/// What a consumer got: values by partition, in the order in which they came.
type Found = BTreeMap<u64, Vec<u64>>;

fn count(found: &Found) -> usize {
    found.values().map(Vec::len).sum()
}

fn take(found: &mut Found, partition: &Value, records: &Value) {
    let partition = partition.as_u64().expect("a partition");
    let values = records.as_array().expect("records").iter();
    let values = values.map(|record| record["value"].as_u64().expect("a number"));
    found.entry(partition).or_default().extend(values);
}

/// Reads over sockets, at the first gateway until it drains and then at the second.
async fn by_socket(first: Target, second: Target, got: watch::Sender<usize>) -> Found {
    let mut found = Found::new();
    let opened = Socket::open(&first, "/v1/topics/t/ws?from=earliest").await;
    let mut socket = opened.expect("a socket");
    let mut cursor = None;
    while count(&found) < TOTAL as usize {
        let frame: Value = match socket.next().await {
            Event::Frame(text) => serde_json::from_str(&text).expect("JSON"),
            Event::Closed(code, reason) => {
                assert_eq!(code, 1012, "{reason}");
                let cursor: String = cursor.take().expect("a drain frame before the end");
                let path = format!("/v1/topics/t/ws?cursor={cursor}");
                socket = Socket::open(&second, &path).await.expect("another socket");
                continue;
            }
        };
        match frame["ev"].as_str() {
            Some("records") => {
                take(&mut found, &frame["partition"], &frame["records"]);
                got.send_replace(count(&found));
            }
            Some("drain") => cursor = frame["cursors"]["t"].as_str().map(str::to_owned),
            _ => {}
        }
    }
    found
}

/// Reads event streams, in the same way.
async fn by_events(first: Target, second: Target, got: watch::Sender<usize>) -> Found {
    let mut found = Found::new();
    let mut connection = Connection::open(&first).await.expect("a connection");
    let path = "/v1/topics/t/events?from=earliest";
    let mut stream = connection.stream(path, &[]).await.expect("an event stream");
    let mut text = String::new();
    let mut cursor = None;
    while count(&found) < TOTAL as usize {
        let Some((event, rest)) = text.split_once("\n\n") else {
            match within("a piece of events", stream.frame()).await {
                Some(Ok(piece)) => {
                    let piece = piece.into_data().unwrap_or_default();
                    text += std::str::from_utf8(&piece).expect("text");
                }
                Some(Err(_)) | None => {
                    let cursor: String = cursor.take().expect("a drain event before the end");
                    connection = Connection::open(&second).await.expect("a connection");
                    let headers = [("last-event-id", cursor.as_str())];
                    let again = connection.stream("/v1/topics/t/events", &headers);
                    stream = again.await.expect("another event stream");
                    text.clear();
                }
            }
            continue;
        };
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").map_or(Value::Null, |data| {
            serde_json::from_str(data).expect("JSON")
        });
        match field("event: ") {
            Some("records") => {
                take(&mut found, &data["partition"], &data["records"]);
                got.send_replace(count(&found));
            }
            Some("drain") => cursor = data["cursor"].as_str().map(str::to_owned),
            _ => {}
        }
        text = rest.to_owned();
    }
    found
}

async fn produce(connection: &mut Connection, value: u64) {
    let body = format!(r#"{{"records":[{{"value":{value}}}]}}"#);
    let sent = connection.post("/v1/topics/t/records", "application/json", body);
    let answer = sent.await.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Each partition is asked of its leader and of the other unit, past the gateways.
async fn go_direct(cluster: &Cluster) {
    let answer = cluster.get("gateway-2", "/v1/metadata?topics=t").await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let metadata = answer.json();
    let units = metadata["spus"].as_array().expect("units");
    assert_eq!(units.len(), 2, "{metadata}");
    for row in metadata["topics"][0]["partitions"]
        .as_array()
        .expect("rows")
    {
        let path = format!("/v1/topics/t/partitions/{}/records", row["partition"]);
        for unit in units {
            let target = Target {
                url: unit["urls"][0].as_str().expect("an address").to_owned(),
                ..cluster.target("gateway-2")
            };
            let mut connection = Connection::open(&target).await.expect("a connection");
            let sent = connection.post(&path, "text/plain", "direct");
            let answer = sent.await.expect("an answer");
            if unit["id"] == row["leader"] {
                assert_eq!(answer.status, 200, "{}", answer.text());
            } else {
                // It was told of another leader, or of this one in an earlier epoch.
                assert_eq!(answer.code().as_deref(), Some("not_leader"));
                assert_eq!(answer.json()["side_effects"], "none");
                assert_eq!(answer.json()["leader"], row["leader"]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_of_a_gateway_that_stops_go_on_at_another_one_with_every_record_once() {
    let mut cluster = Cluster::start(1, 2, 2);
    let topic = r#"{"name":"t","partitions":2,"replication_factor":1}"#;
    let made = cluster.post("gateway-1", "/v1/topics", topic).await;
    assert_eq!(made.expect("an answer").status, 201);
    for gateway in ["gateway-1", "gateway-2"] {
        wait_for("both leaders", async || {
            let answer = cluster.get(gateway, "/v1/topics/t/records?from=earliest");
            answer.await.ok()?.status.is_success().then_some(())
        })
        .await;
    }
    let (first, second) = (cluster.target("gateway-1"), cluster.target("gateway-2"));
    let mut producer = Connection::open(&second).await.expect("a connection");
    let mut readers = JoinSet::new();
    let (by_sockets, mut socket_got) = watch::channel(0);
    let (by_streams, mut stream_got) = watch::channel(0);
    readers.spawn(by_socket(first.clone(), second.clone(), by_sockets));
    readers.spawn(by_events(first, second, by_streams));
    for value in 0..TOTAL / 2 {
        produce(&mut producer, value).await;
    }
    for got in [&mut socket_got, &mut stream_got] {
        let some = within("some records", got.wait_for(|got| *got >= 20)).await;
        some.expect("it reads");
    }
    // Records go on while the gateway stops.
    let mut producing = JoinSet::new();
    producing.spawn(async move {
        for value in TOTAL / 2..TOTAL {
            produce(&mut producer, value).await;
        }
    });
    tokio::task::block_in_place(|| cluster.stop_member("gateway-1"));
    within("the producer", producing.join_all()).await;
    for found in within("the readers", readers.join_all()).await {
        let mut all: Vec<u64> = found.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..TOTAL).collect::<Vec<_>>());
        // One producer, one request after the other: each partition is in its order.
        assert!(found.values().all(|values| values.is_sorted()));
    }
    go_direct(&cluster).await;
    assert!(cluster.stop().success(), "{}", cluster.words());
}
