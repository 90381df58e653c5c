//! Producers, conditions and idempotency keys: a repeat is harmless and a gap is told.

use bytes::Bytes;
use serde_json::json;
use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::compression::Codec;
use tidegate_proto::id::ProducerId;

use super::produce::{batch, wire};
use super::{Surface, post};

const RECORDS: &str = "/v1/topics/t/records";
const PARTITION: &str = "/v1/topics/t/partitions/0/records";

#[tokio::test]
async fn a_producer_is_told_of_duplicates_gaps_and_fences() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let send = async |epoch: &str, seq: &str| {
        let headers = [
            ("producer-id", "9"),
            ("producer-epoch", epoch),
            ("producer-seq", seq),
        ];
        surface
            .send(post(
                PARTITION,
                "application/json",
                &headers,
                r#"{"records":[{},{}]}"#,
            ))
            .await
    };
    assert_eq!(send("1", "0").await.header("tidegate-duplicate"), "");
    assert_eq!(
        send("1", "2").await.json()["partitions"][0]["base_offset"],
        2
    );
    let again = send("1", "2").await;
    assert_eq!(
        (again.status.as_u16(), again.header("tidegate-duplicate")),
        (200, "true")
    );
    assert_eq!(again.json()["partitions"][0]["base_offset"], 2);
    let gap = send("1", "9").await;
    assert_eq!(gap.refusal(), (409, "out_of_order".to_owned()));
    assert_eq!(
        (&gap.json()["expected"], &gap.json()["received"]),
        (&json!(4), &json!(9))
    );
    assert_eq!(
        send("0", "4").await.refusal(),
        (409, "producer_fenced".to_owned())
    );
}

#[tokio::test]
async fn a_stamped_stream_numbers_its_batches_on() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let body = format!("\"{}\"\n", "x".repeat(100_000)).repeat(20);
    let send = async || {
        let headers = [
            ("producer-id", "9"),
            ("producer-epoch", "0"),
            ("producer-seq", "0"),
        ];
        surface
            .send(post(
                PARTITION,
                "application/x-ndjson",
                &headers,
                body.clone(),
            ))
            .await
    };
    assert_eq!(send().await.json()["partitions"][0]["count"], 20);
    let stamp = ProducerStamp {
        id: ProducerId(9),
        epoch: 0,
        seq: 20,
        unordered: false,
    };
    let next = wire(batch(Codec::None, &[""], Some(stamp)));
    let answer = surface
        .post(PARTITION, "application/vnd.tidegate.batch", next)
        .await;
    assert_eq!(
        answer.json()["partitions"][0]["base_offset"],
        20,
        "{answer:?}"
    );
}

#[tokio::test]
async fn the_stamp_of_an_unordered_producer_is_not_for_clients() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let stamp = ProducerStamp {
        id: ProducerId(9),
        epoch: 0,
        seq: 0,
        unordered: true,
    };
    let body = wire(batch(Codec::None, &[""], Some(stamp)));
    let answer = surface
        .post(PARTITION, "application/vnd.tidegate.batch", body)
        .await;
    assert_eq!(answer.refusal(), (501, "not_supported".to_owned()));
}

#[tokio::test]
async fn a_conditional_append_is_refused_with_the_actual_end() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    for kind in ["text/plain", "application/x-ndjson"] {
        let end = surface
            .get("/v1/topics/t/partitions/0/offsets")
            .await
            .json()["end"]
            .to_string();
        let quoted = format!("\"{end}\"");
        let send = async || {
            surface
                .send(post(PARTITION, kind, &[("if-match", &quoted)], "1"))
                .await
        };
        assert_eq!(send().await.status, 200);
        let late = send().await;
        assert_eq!(late.refusal(), (412, "precondition_failed".to_owned()));
        assert_eq!(late.json()["end"], end.parse::<u64>().unwrap() + 1);
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_a_repeat_harmless() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 8);
    let batch_kind = "application/vnd.tidegate.batch";
    let bodies: [(&str, Bytes); 4] = [
        (
            "application/json",
            Bytes::from_static(b"{\"records\":[{},{}]}"),
        ),
        ("application/x-ndjson", Bytes::from_static(b"1\n2\n")),
        ("text/plain", Bytes::from_static(b"x")),
        (batch_kind, wire(batch(Codec::None, &["", ""], None))),
    ];
    for (index, (kind, body)) in bodies.into_iter().enumerate() {
        let key = format!("order-{index}");
        let send = async || {
            let headers = [("idempotency-key", key.as_str())];
            surface
                .send(post(RECORDS, kind, &headers, body.clone()))
                .await
        };
        let (first, second) = (send().await, send().await);
        assert_eq!(first.status, 200, "{first:?}");
        assert_eq!(first.header("tidegate-duplicate"), "");
        assert_eq!(second.header("tidegate-duplicate"), "true", "{kind}");
        assert_eq!(first.text(), second.text());
    }
}
