//! What goes in by each kind of body comes out as the contract has it.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Cleanup, TopicCompression, TopicConfig};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use uuid::Uuid;

use super::{Surface, for_key, post};

/// A batch as a client sends it: the server's fields of the placement header say nothing.
pub(super) fn wire(client: ClientBatch) -> Bytes {
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
    let mut out = Vec::new();
    Batch { placement, client }.encode_into(&mut out);
    out.into()
}

pub(super) fn batch(codec: Codec, keys: &[&str], stamp: Option<ProducerStamp>) -> ClientBatch {
    let mut builder = BatchBuilder::new(codec);
    if let Some(stamp) = stamp {
        builder = builder.producer(stamp);
    }
    for key in keys {
        let key = if key.is_empty() {
            Datum::Absent
        } else {
            Datum::Utf8(key)
        };
        let value = Datum::Json("{\"n\": 1}");
        builder
            .push(&RecordRef {
                timestamp_ms: 5,
                key,
                value,
                headers: &[],
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

const RECORDS: &str = "/v1/topics/t/records";
const PARTITION: &str = "/v1/topics/t/partitions/0/records";

#[tokio::test]
async fn json_records_come_back_verbatim() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let body = r#"{"records":[{"key":"k","value":{ "a":1.50 },"headers":{"h":"v"},"timestamp":7},
        {"value_base64":"/w==","key":[1, 2],"timestamp":8},{"key_base64":"aGk=","timestamp":9}]}"#;
    let answer = surface.post_json(RECORDS, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = concat!(
        r#"{"partitions":[{"partition":0,"base_offset":0,"count":3,"timestamp":1700000000000}],"#,
        r#""durable":"quorum"}"#
    );
    assert_eq!(answer.text(), expected);
    let read = surface.get(RECORDS).await;
    let cursor = read.header("tidegate-cursor").to_owned();
    let expected = [
        r#"{"records":[{"partition":0,"offset":0,"timestamp":7,"key":"k","value":{ "a":1.50 },"headers":{"h":"v"}},"#,
        r#"{"partition":0,"offset":1,"timestamp":8,"key":[1, 2],"value_base64":"/w==","headers":{}},"#,
        r#"{"partition":0,"offset":2,"timestamp":9,"key":"hi","value":null,"headers":{}}],"#,
        r#""cursor":""#,
        &cursor,
        r#"","high_watermark":3}"#,
    ];
    assert_eq!(read.text(), expected.concat());
    assert_eq!(read.header("tidegate-high-watermark"), "3");
}

#[tokio::test]
async fn a_raw_body_is_one_record_with_its_headers() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let headers = [
        ("tidegate-key", "schlüssel"),
        ("tidegate-timestamp", "1970-01-01T00:00:00.005Z"),
        ("tidegate-header-trace", "x y"),
        ("other", "ignored"),
    ];
    let answer = surface
        .send(post(RECORDS, "text/plain", &headers, "hello"))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    surface.post(RECORDS, "image/png", vec![0xff_u8, 0]).await;
    surface
        .send(post(RECORDS, "", &[("tidegate-key-base64", "/w==")], ""))
        .await;
    let read = surface.get_as(RECORDS, "application/x-ndjson").await;
    let lines: Vec<_> = read.text().lines().collect();
    assert_eq!(
        lines[0],
        r#"{"partition":0,"offset":0,"timestamp":5,"key":"schlüssel","value":"hello","headers":{"content-type":"text/plain","trace":"x y"}}"#
    );
    assert!(lines[1].contains(r#""value_base64":"/wA=","headers":{"content-type":"image/png"}"#));
    assert!(
        lines[2].contains(r#""key_base64":"/w==","value":"","headers":{}"#),
        "{}",
        lines[2]
    );
}

#[tokio::test]
async fn ndjson_lines_are_values_and_keys_are_pointed_at() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let body = "{\"id\": \"a\",\"n\":1.0}\r\n\n[1, 2]\nnull";
    let path = "/v1/topics/t/records?key=/id";
    let answer = surface.post(path, "application/x-ndjson", body).await;
    assert_eq!(answer.json()["partitions"][0]["count"], 3, "{answer:?}");
    let read = surface.get_as(RECORDS, "application/x-ndjson").await;
    assert!(
        read.text()
            .contains(r#""key":"a","value":{"id": "a","n":1.0},"#),
        "{read:?}"
    );
    assert!(read.text().contains(r#""key":null,"value":[1, 2],"#));
    assert!(read.text().contains(r#""offset":2,"#) && read.text().contains(r#""value":null"#));
}

#[tokio::test]
async fn a_long_upload_is_streamed_in_order() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let chunks = (0..3000).map(|index| {
        let line = format!("{{\"n\":{index},\"pad\":\"{}\"}}\n", "x".repeat(1000));
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    let body = Body::from_stream(stream::iter(chunks));
    let answer = surface.post(PARTITION, "application/x-ndjson", body).await;
    assert_eq!(
        answer.json()["partitions"],
        json!([
            {"partition": 0, "base_offset": 0, "count": 3000, "timestamp": 1_700_000_000_000_i64}
        ])
    );
    let path = format!("{RECORDS}?max_bytes=8388608");
    let read = surface.get_as(&path, "application/x-ndjson").await;
    for (index, line) in read.text().lines().enumerate() {
        assert!(line.contains(&format!("\"offset\":{index},")), "{line}");
        assert!(line.contains(&format!("{{\"n\":{index},")), "{line}");
    }
    assert_eq!(read.text().lines().count(), 3000);
}

#[tokio::test(start_paused = true)]
async fn lines_of_a_slow_upload_do_not_wait_for_its_end() {
    let surface = Surface::near();
    surface.memory.create_topic("t", 1);
    let chunks = stream::iter([Ok::<_, std::io::Error>("1\n2\n")]).chain(stream::pending());
    let upload = surface.post(PARTITION, "application/x-ndjson", Body::from_stream(chunks));
    let poll = surface.get("/v1/topics/t/records?wait_ms=60000");
    tokio::select! {
        _ = upload => unreachable!("the body has no end"),
        answer = poll => assert_eq!(answer.json()["records"][1]["value"], 2),
    }
}

#[tokio::test]
async fn an_upload_goes_on_when_the_budget_is_full() {
    let surface = Surface::with_body_bytes(1024);
    surface.memory.create_topic("t", 2);
    let body = format!("\"{}\"\n", "x".repeat(10_000)).repeat(200);
    let answer = surface.post(RECORDS, "application/x-ndjson", body).await;
    let partitions = answer.json()["partitions"].as_array().unwrap().clone();
    let counts = partitions
        .iter()
        .map(|produced| produced["count"].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 200);
    let list = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(100_000));
    let refused = surface.post_json(RECORDS, &list).await;
    assert_eq!(refused.refusal(), (413, "too_large".to_owned()));
}

#[tokio::test]
async fn ndjson_that_fails_midway_tells_what_was_appended() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let filler = format!("\"{}\"\n", "x".repeat(100_000)).repeat(8);
    let answer = surface
        .post(
            PARTITION,
            "application/x-ndjson",
            format!("{filler}{{oops\n"),
        )
        .await;
    assert_eq!(answer.refusal(), (400, "malformed_json".to_owned()));
    let problem = answer.json();
    assert_eq!(problem["line"], 9);
    assert_eq!(problem["side_effects"], "possible");
    let appended = problem["appended"].as_u64().unwrap();
    assert!((1..8).contains(&appended), "{problem}");
    assert_eq!(problem["partitions"][0]["count"], appended);
    let offsets = surface.get("/v1/topics/t/partitions/0/offsets").await;
    assert_eq!(offsets.json()["end"], appended);
    let early = surface
        .post(PARTITION, "application/x-ndjson", "{oops\n")
        .await
        .json();
    assert_eq!(
        (&early["side_effects"], &early["appended"]),
        (&json!("none"), &json!(0))
    );
}

#[tokio::test]
async fn batches_are_stored_as_they_came() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    for codec in Codec::ALL {
        let mut body = BytesMut::new();
        body.extend_from_slice(&wire(batch(codec, &["a", "b"], None)));
        body.extend_from_slice(&wire(batch(codec, &[""], None)));
        let answer = surface
            .post(RECORDS, "application/vnd.tidegate.batch", body.freeze())
            .await;
        assert_eq!(answer.json()["partitions"][0]["count"], 3, "{answer:?}");
    }
    let path = format!("{RECORDS}?from=4");
    let mut read = surface
        .get_as(&path, "application/vnd.tidegate.batch")
        .await
        .body;
    let first = Batch::decode(&mut read).unwrap();
    assert_eq!(first.placement.base_offset, Offset::new(3));
    assert_eq!(
        first.client.as_bytes(),
        batch(Codec::Zstd, &["a", "b"], None).as_bytes()
    );
}

#[tokio::test]
async fn records_go_to_the_partition_of_their_key() {
    let surface = Surface::new();
    let topic = surface.memory.create_topic("t", 3);
    let body = r#"{"records":[{"key":"a"},{"key":"b"},{"key":"c"},{"key":"a"},{"partition":2}]}"#;
    let answer = surface.post_json(RECORDS, body).await.json();
    let counts: u64 = answer["partitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 5);
    for key in ["a", "b", "c"] {
        let partition = for_key(&topic, key.as_bytes());
        let path = format!("/v1/topics/t/partitions/{partition}/records");
        assert!(
            surface
                .get(&path)
                .await
                .text()
                .contains(&format!("\"key\":\"{key}\""))
        );
    }
    let keyed = batch(Codec::None, &["a"], None);
    let kind = "application/vnd.tidegate.batch";
    let answer = surface.post(RECORDS, kind, wire(keyed)).await.json();
    let expected = for_key(&topic, b"a").0;
    assert_eq!(answer["partitions"][0]["partition"], expected);
}

#[tokio::test]
async fn keyless_requests_take_turns() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 3);
    for turn in [0, 1, 2, 0] {
        let answer = surface
            .post_json(RECORDS, r#"{"records":[{"value":1},{"value":2}]}"#)
            .await;
        let partitions = answer.json()["partitions"].clone();
        assert_eq!(
            (&partitions[0]["partition"], &partitions[0]["count"]),
            (&json!(turn), &json!(2))
        );
    }
}

#[tokio::test]
async fn a_compacted_topic_refuses_records_without_a_key_and_says_what_to_do() {
    let surface = Surface::new();
    let config = TopicConfig {
        cleanup: Cleanup::Compact,
        ..TopicConfig::default()
    };
    surface.memory.create_topic_with("t", 1, config);
    let body = r#"{"records":[{"key":"a","value":1},{"value":2}]}"#;
    let answer = surface.post_json(RECORDS, body).await;
    assert_eq!(answer.status, 400);
    let problem = answer.json();
    assert_eq!(
        (&problem["code"], &problem["record"]),
        (&json!("invalid_parameter"), &json!(1))
    );
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("give every record a key")
    );
    let packed = batch(Codec::Zstd, &["a"], None);
    let kind = "application/vnd.tidegate.batch";
    let keyed = surface.post(RECORDS, kind, wire(packed)).await;
    assert_eq!(
        keyed.status, 200,
        "keys are looked for in compressed batches as well"
    );
    let tombstone = r#"{"records":[{"key":"a"}]}"#;
    assert_eq!(surface.post_json(RECORDS, tombstone).await.status, 200);
}

#[tokio::test]
async fn records_with_different_fates_get_one_result_each() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 2);
    let failure = Problem::new(ErrorCode::Overloaded, "too much");
    surface
        .memory
        .fail_appends(surface.key("t", 1), Some(failure));
    let body = r#"{"records":[{"partition":0},{"partition":1},{"partition":0}]}"#;
    let answer = surface.post_json(RECORDS, body).await;
    assert_eq!(answer.status, 207);
    let results = &answer.json()["results"];
    assert_eq!(results[0], json!({"partition": 0, "offset": 0}));
    assert_eq!(results[1]["error"]["code"], "overloaded");
    assert_eq!(results[2], json!({"partition": 0, "offset": 1}));
    let whole = surface
        .post_json(RECORDS, r#"{"records":[{"partition":1}]}"#)
        .await;
    assert_eq!(whole.refusal(), (503, "overloaded".to_owned()));
    assert_eq!(whole.header("retry-after"), "1");
}

#[tokio::test]
async fn acks_none_promises_nothing() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let answer = surface
        .post(&format!("{RECORDS}?acks=none"), "text/plain", "x")
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.text()),
        (202, r#"{"durable":"memory"}"#)
    );
    let answer = surface
        .post(&format!("{RECORDS}?acks=leader"), "text/plain", "x")
        .await;
    assert_eq!(answer.json()["durable"], "leader");
}

#[tokio::test]
async fn the_topic_chooses_the_codec_of_what_the_server_packs() {
    let surface = Surface::new();
    let compression = TopicCompression::Codec(Codec::Zstd);
    surface.memory.create_topic_with(
        "t",
        1,
        TopicConfig {
            compression,
            ..TopicConfig::default()
        },
    );
    surface.post(RECORDS, "text/plain", "x".repeat(5000)).await;
    let mut read = surface
        .get_as(RECORDS, "application/vnd.tidegate.batch")
        .await
        .body;
    assert!(read.len() < 1000, "{}", read.len());
    assert_eq!(
        Batch::decode(&mut read).unwrap().client.codec(),
        Codec::Zstd
    );
    assert!(
        surface
            .get(RECORDS)
            .await
            .text()
            .contains(&"x".repeat(5000))
    );
}

#[tokio::test]
async fn a_request_larger_than_a_batch_is_one_append() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let record = format!(r#"{{"value":"{}"}}"#, "x".repeat(900_000));
    let body = format!(r#"{{"records":[{}]}}"#, vec![record; 10].join(","));
    let answer = surface.post_json(RECORDS, &body).await;
    assert_eq!(answer.json()["partitions"][0]["count"], 10, "{answer:?}");
}

#[tokio::test]
async fn producers_get_an_id_but_no_name_yet() {
    let surface = Surface::new();
    let answer = surface.post("/v1/producers", "", "").await;
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.json(),
        json!({"producer_id": 41, "producer_epoch": 0})
    );
    let named = surface.post_json("/v1/producers", r#"{"name":"me"}"#).await;
    assert_eq!(named.refusal(), (501, "not_supported".to_owned()));
}
