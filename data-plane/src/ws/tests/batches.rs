//! The batch subprotocol: records in and out as batches, the rest as JSON.

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tidegate_proto::api::binary::ProduceMessage;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use uuid::Uuid;

use super::server::{Client, Server};

fn batch(codec: Codec, values: &[String]) -> ClientBatch {
    let mut builder = BatchBuilder::new(codec);
    for value in values {
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value: Datum::Utf8(value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

/// So many alike values, which every codec packs.
fn texts(count: usize) -> Vec<String> {
    let text = |number| format!("tick tock tick tock {number}");
    (0..count).map(text).collect()
}

fn values(batches: &[Batch], from: u64) -> Vec<String> {
    let mut values = Vec::new();
    for batch in batches {
        let records = batch.client.records().unwrap();
        for record in &records {
            let record = record.unwrap();
            if batch.offset_of(&record).get() >= from {
                let value = record.value.as_bytes().unwrap().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
        }
    }
    values
}

/// A produce message.
pub(super) fn produce(id: u32, topic: &str, partition: u32, batches: &[ClientBatch]) -> Vec<u8> {
    let mut message = ProduceMessage::header(id, topic, partition).unwrap();
    for client in batches {
        let placement = Placement {
            key: ReplicaKey {
                topic_id: TopicId(Uuid::nil()),
                partition: PartitionId(0),
            },
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch(0),
            high_watermark: Offset::ZERO,
            append_time_ms: 0,
            append_timestamps: false,
        };
        let client = client.clone();
        Batch { placement, client }.encode_into(&mut message);
    }
    message
}

async fn say(client: &mut Client, message: Vec<u8>) {
    let message = Message::Binary(Bytes::from(message));
    client.socket.send(message).await.unwrap();
}

/// Appends and waits for the answer.
async fn append(client: &mut Client, batches: &[ClientBatch]) -> Value {
    say(client, produce(9, "orders", 0, batches)).await;
    let ack = client.frame_of("ack").await;
    assert_eq!(ack["id"], 9);
    ack
}

/// Subscribes from the beginning of partition 0; gives the number of the topic.
async fn subscribe(client: &mut Client, more: Value) -> u32 {
    let mut op =
        json!({"op": "subscribe", "id": 1, "topic": "orders", "partitions": [0], "from": 0});
    let fields = op.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    client.say(op).await;
    let subscribed = client.frame_of("subscribed").await;
    u32::try_from(subscribed["topic_number"].as_u64().unwrap()).unwrap()
}

#[tokio::test]
async fn batches_go_in_and_come_out_as_they_are() {
    let server = Server::start().await;
    let mut producer = server.connect_for_batches("/v1/ws").await;
    let sent = [
        batch(Codec::None, &texts(3)),
        batch(Codec::Lz4, &texts(40)),
        batch(Codec::Gzip, &texts(40)),
    ];
    let ack = append(&mut producer, &sent).await;
    assert_eq!(ack["durable"], "quorum");
    let place = &ack["partitions"][0];
    assert_eq!(
        (&place["partition"], &place["base_offset"], &place["count"]),
        (&json!(0), &json!(0), &json!(83))
    );
    let mut reader = server.connect_for_batches("/v1/ws").await;
    let number = subscribe(&mut reader, json!({})).await;
    let (mut came, mut next) = (Vec::new(), 0);
    while came.len() < sent.len() {
        came.extend(reader.batches(number).await.1);
    }
    for (stored, client) in came.iter().zip(&sent) {
        assert_eq!(stored.client.as_bytes(), client.as_bytes());
        assert_eq!(stored.placement.base_offset.get(), next);
        next = stored.next_offset().get();
    }
    assert_eq!(reader.frame_of("caught_up").await["topic"], "orders");
    producer.produce(0, &["json goes in as well".into()]).await;
    let (_, batches) = reader.batches(number).await;
    assert_eq!(values(&batches, 0), [r#""json goes in as well""#]);
}

#[tokio::test]
async fn small_batches_share_a_frame_and_a_large_one_has_its_own() {
    let server = Server::start().await;
    let mut producer = server.connect("/v1/ws").await;
    let large = "x".repeat(2 * FRAME_BYTES_TARGET);
    let mut sent = 0;
    for round in 0..300 {
        let value = if round == 150 {
            large.clone()
        } else {
            "y".repeat(500)
        };
        producer.produce(0, &[value]).await;
        sent += 1;
    }
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = server.connect_for_batches("/v1/ws").await;
        let number = subscribe(&mut reader, json!({})).await;
        let (mut frames, mut next) = (Vec::new(), 0);
        while next < sent {
            let (bytes, batches) = reader.batches(number).await;
            assert_eq!(batches[0].placement.base_offset.get(), next);
            next = batches.last().unwrap().next_offset().get();
            assert!(bytes.len() <= FRAME_BYTES_TARGET + 5 || batches.len() == 1);
            frames.push(bytes);
        }
        readers.push(frames);
    }
    assert_eq!(readers[0], readers[1], "everybody gets the same frames");
    let frames = readers[0].len();
    assert!((4..60).contains(&frames), "{frames} frames of 300 batches");
}

#[tokio::test]
async fn other_codecs_are_turned_into_the_one_that_is_liked_best() {
    let server = Server::start().await;
    let mut producer = server.connect_for_batches("/v1/ws").await;
    let sent = [Codec::Zstd, Codec::Lz4, Codec::None].map(|codec| batch(codec, &texts(50)));
    append(&mut producer, &sent).await;
    for (codecs, expected) in [
        (json!(["none"]), [Codec::None; 3]),
        (
            json!(["gzip", "lz4"]),
            [Codec::Gzip, Codec::Lz4, Codec::None],
        ),
        (json!(["zstd"]), [Codec::Zstd, Codec::Zstd, Codec::None]),
    ] {
        let mut reader = server.connect_for_batches("/v1/ws").await;
        let number = subscribe(&mut reader, json!({"codecs": codecs})).await;
        let mut came = Vec::new();
        while came.len() < sent.len() {
            came.extend(reader.batches(number).await.1);
        }
        for ((stored, client), codec) in came.iter().zip(&sent).zip(expected) {
            assert_eq!(stored.client.codec(), codec, "{codecs}");
            assert_eq!(stored.client.is_remade(), codec != client.codec());
        }
        assert_eq!(values(&came, 0), [texts(50), texts(50), texts(50)].concat());
    }
    let path = "/v1/topics/orders/ws?from=0&partitions=0&codecs=none";
    let mut reader = server.connect_for_batches(path).await;
    let subscribed = reader.frame_of("subscribed").await;
    let number = u32::try_from(subscribed["topic_number"].as_u64().unwrap()).unwrap();
    let (_, batches) = reader.batches(number).await;
    assert_eq!(batches[0].client.codec(), Codec::None);
}

#[tokio::test]
async fn a_reader_that_starts_inside_a_batch_pays_for_what_it_asked_for() {
    let server = Server::start().await;
    let mut producer = server.connect_for_batches("/v1/ws").await;
    append(&mut producer, &[batch(Codec::None, &texts(40))]).await;
    let large = vec!["z".repeat(1000); 100];
    append(&mut producer, &[batch(Codec::None, &large)]).await;
    let mut reader = server.connect_for_batches("/v1/ws").await;
    let start = json!({"from": 35, "credit": {"records": 6}});
    let number = subscribe(&mut reader, start).await;
    let (_, batches) = reader.batches(number).await;
    assert_eq!(batches[0].placement.base_offset, Offset::ZERO);
    assert_eq!(values(&batches, 35), texts(40)[35..]);
    // Five records are paid for, so there is credit for one more frame and then for none.
    let (bytes, batches) = reader.batches(number).await;
    assert_eq!(values(&batches, 35), large);
    reader.frame_of("caught_up").await;
    append(&mut producer, &[batch(Codec::None, &texts(1))]).await;
    reader
        .say(json!({"op": "credit", "id": 4, "topic": "orders", "records": 99}))
        .await;
    assert_eq!(reader.frame_of("ack").await["id"], 4);
    let more = json!({"op": "credit", "topic": "orders", "records": 1, "bytes": bytes.len()});
    reader.say(more).await;
    let (_, batches) = reader.batches(number).await;
    assert_eq!(values(&batches, 35), texts(1));
}

#[tokio::test]
async fn a_ticket_may_be_offered_beside_the_subprotocol() {
    let server = Server::start().await;
    let bearer = format!("Bearer {}", super::server::TOKEN);
    let answer = {
        use http_body_util::BodyExt as _;
        use tower::ServiceExt as _;
        let request = http::Request::post("/v1/ws-tickets")
            .header("authorization", bearer)
            .header("content-type", "application/json")
            .body(axum::body::Body::from(r#"{"topics":["orders"]}"#))
            .unwrap();
        let answer = server.router.clone().oneshot(request).await.unwrap();
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let offered = format!(
        "tidegate.v1.batch, ticket.{}",
        answer["ticket"].as_str().unwrap()
    );
    let headers = [
        ("sec-websocket-protocol", offered.as_str()),
        ("origin", "https://app.example"),
    ];
    let mut client = server.connect_as("/v1/ws", &headers).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("tidegate.v1.batch"));
    append(&mut client, &[batch(Codec::Snappy, &texts(30))]).await;
    let number = subscribe(&mut client, json!({})).await;
    let (_, batches) = client.batches(number).await;
    assert_eq!(values(&batches, 0), texts(30));
}
