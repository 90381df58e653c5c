//! Subscribing, producing, moving, resuming, ending.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tidegate_kit::memory::Memory;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::MaybeTlsStream;
use tokio_tungstenite::tungstenite::Message;

use super::super::door::SocketTimes;
use super::server::{Server, TOKEN, numbers, values};

#[tokio::test]
async fn what_is_produced_on_a_socket_comes_back_on_it() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    client
        .say(json!({"op": "subscribe", "id": 7, "topic": "orders", "from": "earliest"}))
        .await;
    let subscribed = client.frame_of("subscribed").await;
    assert_eq!(
        (&subscribed["id"], &subscribed["partitions"]),
        (&json!(7), &json!([0, 1]))
    );
    client.frame_of("caught_up").await;
    client
        .say(
            json!({"op": "produce", "id": 8, "topic": "orders", "partition": 1,
        "records": [{"key": "k", "value": {"a": 1.0}, "headers": {"h": "x"}}]}),
        )
        .await;
    let (mut ack, mut records) = (None, None);
    for _ in 0..2 {
        let frame = client.frame().await;
        match frame["ev"].as_str().unwrap() {
            "ack" => ack = Some(frame),
            "records" => records = Some(frame),
            other => panic!("{other}"),
        }
    }
    let (ack, records) = (ack.unwrap(), records.unwrap());
    assert_eq!(ack["id"], 8);
    assert_eq!(ack["partitions"][0]["base_offset"], 0);
    assert_eq!(ack["durable"], "quorum");
    assert_eq!(
        (&records["topic"], &records["partition"]),
        (&json!("orders"), &json!(1))
    );
    let record = &records["records"][0];
    assert_eq!(
        (&record["key"], &record["offset"]),
        (&json!("k"), &json!(0))
    );
    assert_eq!(
        (&record["value"], &record["headers"]["h"]),
        (&json!({"a": 1.0}), &json!("x"))
    );
}

#[tokio::test]
async fn a_topic_socket_delivers_without_being_asked() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    producer.produce(0, &numbers(0..10)).await;
    let mut reader = server
        .connect("/v1/topics/orders/ws?from=-3&partitions=0")
        .await;
    assert_eq!(
        reader.frame_of("subscribed").await["partitions"],
        json!([0])
    );
    assert_eq!(values(&reader.frame_of("records").await), numbers(7..10));
    reader.frame_of("caught_up").await;
    producer.produce(0, &numbers(10..12)).await;
    assert_eq!(values(&reader.frame_of("records").await), numbers(10..12));
}

#[tokio::test]
async fn pipelined_produces_are_answered_with_their_ids() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for id in 0..200 {
        client
            .say(
                json!({"op": "produce", "id": id, "topic": "orders", "partition": 0,
            "records": [{"value": id}]}),
            )
            .await;
    }
    for id in 0..200 {
        let ack = client.frame_of("ack").await;
        assert_eq!(
            (&ack["id"], &ack["partitions"][0]["base_offset"]),
            (&json!(id), &json!(id))
        );
    }
}

#[tokio::test]
async fn two_subscribers_get_the_same_frames() {
    let server = Server::start().await;
    let mut one = server.connect("/v1/topics/orders/ws").await;
    let mut other = server.connect("/v1/topics/orders/ws").await;
    for client in [&mut one, &mut other] {
        client.frame_of("subscribed").await;
        client.frame_of("caught_up").await;
    }
    let mut producer = server.connect("/v1/ws").await;
    producer.produce(1, &numbers(0..50)).await;
    let text = one.text().await;
    assert!(text.starts_with(r#"{"ev":"records","topic":"orders","partition":1,"cursor":""#));
    assert_eq!(text, other.text().await);
}

#[tokio::test]
async fn a_reader_that_comes_back_with_its_cursors_misses_and_repeats_nothing() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    for batch in 0..30 {
        producer
            .produce(batch % 2, &numbers(batch * 10..batch * 10 + 10))
            .await;
    }
    let mut seen: Vec<String> = Vec::new();
    let mut cursors: BTreeMap<u64, String> = BTreeMap::new();
    let mut path = "/v1/topics/orders/ws?from=earliest".to_owned();
    while seen.len() < 300 {
        let mut reader = server.connect(&path).await;
        let subscribed = reader.frame_of("subscribed").await;
        if cursors.is_empty() {
            let start = subscribed["cursor"].as_str().unwrap().to_owned();
            cursors.insert(u64::MAX, start);
        }
        for _ in 0..5 {
            let frame = reader.frame().await;
            if frame["ev"] != "records" {
                break;
            }
            seen.extend(values(&frame));
            let cursor = frame["cursor"].as_str().unwrap().to_owned();
            cursors.insert(frame["partition"].as_u64().unwrap(), cursor);
        }
        // The start cursor comes first, so that later ones win.
        let all = cursors
            .iter()
            .rev()
            .map(|(_, cursor)| format!("cursor={cursor}"));
        path = format!("/v1/topics/orders/ws?{}", all.collect::<Vec<_>>().join("&"));
    }
    seen.sort();
    let mut expected = numbers(0..300);
    expected.sort();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn credit_bounds_what_is_outstanding() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for batch in 0..10 {
        client
            .produce(0, &numbers(batch * 10..batch * 10 + 10))
            .await;
    }
    client
        .say(
            json!({"op": "subscribe", "topic": "orders", "partitions": [0], "from": "earliest",
        "credit": {"records": 15}}),
        )
        .await;
    client.frame_of("subscribed").await;
    assert_eq!(values(&client.frame_of("records").await).len(), 10);
    assert_eq!(values(&client.frame_of("records").await).len(), 10);
    client
        .say(json!({"op": "credit", "id": 3, "topic": "orders", "records": 6}))
        .await;
    assert_eq!(client.frame_of("ack").await, json!({"ev": "ack", "id": 3}));
    assert_eq!(values(&client.frame_of("records").await).len(), 10);
    client
        .say(json!({"op": "seek", "id": 4, "topic": "orders", "from": 95}))
        .await;
    client.frame_of("subscribed").await;
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 100}))
        .await;
    assert_eq!(values(&client.frame_of("records").await), numbers(95..100));
    client.frame_of("caught_up").await;
}

#[tokio::test]
async fn retention_in_front_of_a_reader_is_a_gap() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for batch in 0..4 {
        client
            .produce(0, &numbers(batch * 10..batch * 10 + 10))
            .await;
    }
    client
        .say(
            json!({"op": "subscribe", "topic": "orders", "partitions": [0], "from": "earliest",
        "credit": {"records": 1}}),
        )
        .await;
    client.frame_of("subscribed").await;
    client.frame_of("records").await;
    let topology = super::super::door::Partitions::topology(&*server.partitions);
    let topic = topology.borrow().topics.values().next().unwrap().clone();
    let key = topic.key(tidegate_proto::id::PartitionId(0));
    server
        .partitions
        .trim(key, tidegate_proto::position::Offset::new(40));
    client.produce(0, &numbers(40..41)).await;
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 1000}))
        .await;
    let mut seen = Vec::new();
    loop {
        let frame = client.frame().await;
        match frame["ev"].as_str().unwrap() {
            "records" => seen.extend(values(&frame)),
            "gap" => {
                assert_eq!(
                    (&frame["to"], &frame["reason"]),
                    (&json!(40), &json!("retention"))
                );
                assert_eq!(frame["from"], json!(10 + seen.len()));
            }
            _ => break,
        }
    }
    assert_eq!(seen.last().unwrap(), "v40");
}

#[tokio::test]
async fn truncation_in_front_of_a_reader_is_a_gap_that_says_so() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    for batch in 0..4 {
        client
            .produce(0, &numbers(batch * 10..batch * 10 + 10))
            .await;
    }
    client
        .say(
            json!({"op": "subscribe", "topic": "orders", "partitions": [0], "from": "earliest",
            "credit": {"records": 0}}),
        )
        .await;
    client.frame_of("subscribed").await;
    let topology = super::super::door::Partitions::topology(&*server.partitions);
    let topic = topology.borrow().topics.values().next().unwrap().clone();
    let to = tidegate_proto::position::Offset::new(40);
    let partition = tidegate_proto::id::PartitionId(0);
    server.partitions.truncate(&topic, partition, to);
    client.produce(0, &numbers(40..41)).await;
    client
        .say(json!({"op": "credit", "topic": "orders", "records": 1000}))
        .await;
    let gap = client.frame_of("gap").await;
    assert_eq!(
        (&gap["from"], &gap["to"], &gap["reason"]),
        (&json!(0), &json!(40), &json!("truncation"))
    );
    assert_eq!(values(&client.frame_of("records").await), numbers(40..41));
}

#[tokio::test]
async fn a_drain_tells_the_cursors_and_closes_with_1012() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/topics/orders/ws?from=earliest").await;
    client.frame_of("subscribed").await;
    client.frame_of("caught_up").await;
    let tasks = server.tasks.clone();
    let ended = tokio::join!(tasks.shutdown(Duration::from_secs(10)), async {
        let drain = client.frame_of("drain").await;
        assert!(drain["retry_after_ms"].as_u64().is_some());
        let cursor = drain["cursors"]["orders"].as_str().unwrap().to_owned();
        assert_eq!(client.closed().await, (1012, "drain".to_owned()));
        cursor
    });
    assert!(ended.0, "the socket was waited for");
    assert!(tidegate_proto::cursor::Cursor::parse(&ended.1).is_ok());
}

#[tokio::test]
async fn an_old_socket_is_told_to_come_back() {
    let times = SocketTimes {
        tick_every: Duration::from_millis(20),
        ..SocketTimes::STANDARD
    };
    let age_max = Duration::from_millis(300);
    let server = Server::start_aging(times, Memory::default(), age_max).await;
    let mut client = server.connect("/v1/topics/orders/ws?from=earliest").await;
    client.frame_of("subscribed").await;
    client.frame_of("caught_up").await;
    client.produce(0, &numbers(0..1)).await;
    client.frame_of("records").await;
    let drain = client.frame_of("drain").await;
    let cursor = drain["cursors"]["orders"].as_str().unwrap();
    let cursor = tidegate_proto::cursor::Cursor::parse(cursor).unwrap();
    let next: u64 = cursor.positions.values().map(|at| at.offset.get()).sum();
    assert_eq!(next, 1, "behind what was sent");
    assert_eq!(client.closed().await, (1012, "drain".to_owned()));
    let again = format!(
        "/v1/topics/orders/ws?cursor={}",
        drain["cursors"]["orders"].as_str().unwrap()
    );
    server.connect(&again).await.frame_of("subscribed").await;
}

#[tokio::test]
async fn a_slow_reader_that_wants_the_latest_gets_the_last_of_each_key() {
    let times = SocketTimes {
        tick_every: Duration::from_millis(30),
        ..SocketTimes::STANDARD
    };
    let server = Server::start_with(times).await;
    let mut producer = server.connect("/v1/ws").await;
    for subprotocol in ["tidegate.v1.json", "tidegate.v1.batch"] {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", bearer.as_str()),
            ("sec-websocket-protocol", subprotocol),
        ];
        let mut client = server.connect_as("/v1/ws", &headers).await.unwrap();
        client
            .say(
                json!({"op": "subscribe", "topic": "orders", "partitions": [0], "from": "latest",
                "credit": {"records": 0}, "on_slow": "latest_per_key"}),
            )
            .await;
        client.frame_of("subscribed").await;
        client.frame_of("caught_up").await;
        // It has kept up by the looks of it, and then gives no credit for a while.
        tokio::time::timeout(Duration::from_millis(100), std::future::pending::<()>())
            .await
            .unwrap_err();
        let records: Vec<_> = (0..90)
            .map(|n| json!({"key": format!("k{}", n % 3), "value": format!("v{n}.")}))
            .collect();
        producer
            .say(json!({"op": "produce", "id": 1, "topic": "orders", "partition": 0, "records": records}))
            .await;
        producer.frame_of("ack").await;
        tokio::time::timeout(Duration::from_millis(150), std::future::pending::<()>())
            .await
            .unwrap_err();
        client
            .say(json!({"op": "credit", "topic": "orders", "records": 1000}))
            .await;
        let message = loop {
            match client.socket.next().await.unwrap().unwrap() {
                Message::Text(text) if text.contains("\"records\"") => {
                    break text.as_bytes().to_vec();
                }
                Message::Binary(bytes) => break bytes.to_vec(),
                _ => {}
            }
        };
        let shown = String::from_utf8_lossy(&message);
        for wanted in ["v87.", "v88.", "v89."] {
            assert!(shown.contains(wanted), "{shown}");
        }
        for superseded in ["v0.", "v84.", "v86."] {
            assert!(!shown.contains(superseded), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_deleted_topic_closes_its_own_socket_and_is_an_error_on_another() {
    let server = Server::start().await;
    let mut home = server.connect("/v1/topics/orders/ws").await;
    let mut other = server.connect("/v1/ws").await;
    other
        .say(json!({"op": "subscribe", "topic": "orders"}))
        .await;
    for client in [&mut home, &mut other] {
        client.frame_of("subscribed").await;
        client.frame_of("caught_up").await;
    }
    server.partitions.delete_topic("orders");
    assert_eq!(home.closed().await, (3503, "topic_deleted".to_owned()));
    let error = other.frame_of("error").await;
    assert_eq!(error["topic"], "orders");
    assert_eq!(error["error"]["code"], "topic_not_found");
    other.say(json!({"op": "nothing", "id": 1})).await;
    other.frame_of("error").await;
}

#[tokio::test]
async fn silence_is_closed_with_3001_and_pings_carry_tails() {
    let times = SocketTimes {
        tick_every: Duration::from_millis(10),
        ping_every: Duration::from_millis(20),
        idle_after: Duration::from_millis(300),
        ..SocketTimes::STANDARD
    };
    let server = Server::start_with(times).await;
    let mut client = server.connect("/v1/topics/orders/ws").await;
    // Reading answers pings, so the socket lives for as long as this does.
    loop {
        let text = client.text().await;
        if text.contains(r#""ev":"ping""#) {
            assert_eq!(text, r#"{"ev":"ping","tails":{"orders":{"0":0,"1":0}}}"#);
            break;
        }
    }
    // From here on pings are read and not answered.
    let MaybeTlsStream::Plain(mut connection) = client.socket.into_inner() else {
        panic!("loopback without TLS")
    };
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(b"\x88\x06\x0b\xb9idle"), "{rest:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    let times = SocketTimes {
        write_stall: Duration::from_millis(200),
        ..SocketTimes::STANDARD
    };
    let server = Server::start_with(times).await;
    let mut producer = server.connect("/v1/ws").await;
    let large = "x".repeat(900_000);
    for _ in 0..40 {
        producer.produce(0, std::slice::from_ref(&large)).await;
    }
    let stuck = server.connect("/v1/topics/orders/ws?from=earliest").await;
    assert_eq!(server.tasks.running(), 2);
    while server.tasks.running() > 1 {
        tokio::task::yield_now().await;
    }
    drop(stuck);
}

#[tokio::test]
async fn partitions_that_come_while_a_subscription_is_looked_up_belong_to_it() {
    let server = Server::start().await;
    let mut client = server.connect("/v1/ws").await;
    server.partitions.hold_tails(true);
    client
        .say(json!({"op": "subscribe", "topic": "orders", "from": "earliest"}))
        .await;
    client.say(json!({"op": "nonsense"})).await;
    client.frame_of("error").await;
    server.partitions.add_partitions("orders", 1);
    // Each answer is another round of the loop, in one of which it is told of the partition.
    for _ in 0..30 {
        client.say(json!({"op": "nonsense"})).await;
        client.frame_of("error").await;
    }
    server.partitions.hold_tails(false);
    let subscribed = client.frame_of("subscribed").await;
    assert_eq!(subscribed["partitions"], json!([0, 1]));
    let op =
        json!({"op": "produce", "topic": "orders", "partition": 2, "records": [{"value": "v"}]});
    client.say(op).await;
    let frame = loop {
        let frame = client.frame().await;
        if frame["ev"] == "records" {
            break frame;
        }
    };
    assert_eq!(
        (&frame["partition"], values(&frame)),
        (&json!(2), vec!["v".to_owned()])
    );
}
