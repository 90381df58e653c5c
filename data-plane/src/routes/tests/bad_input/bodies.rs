//! NDJSON, raw bodies and batches that are not what they should be.

use bytes::BytesMut;
use tidegate_proto::batch::{BatchBuilder, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::ProducerId;
use tidegate_proto::record::{Datum, RecordRef};

use super::super::produce::{batch, wire};
use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn other_bodies() -> Vec<Row> {
    let lines = |name, body: &str, expected| row(name, TOPIC, NDJSON, body.to_owned(), expected);
    vec![
        lines("no lines", "", PARAMETER),
        lines("empty lines only", "\n\r\n  \n", PARAMETER),
        lines("a line that is not JSON", "1\n{oops}\n", MALFORMED),
        lines("two values on a line", "1 2\n", MALFORMED),
        lines(
            "a line too long",
            &format!("\"{}\"\n", "x".repeat(999)),
            LARGE,
        ),
        lines("a line without end, too long", &"1".repeat(5000), LARGE),
        lines(
            "a line too deep",
            &format!("{}{}", "[".repeat(33), "]".repeat(33)),
            MALFORMED,
        ),
        row(
            "a line that is not UTF-8",
            TOPIC,
            NDJSON,
            &b"\"\xff\"\n"[..],
            MALFORMED,
        ),
        row(
            "a pointer without a slash",
            "/v1/topics/t/records?key=id",
            NDJSON,
            "1",
            PARAMETER,
        ),
        row(
            "a pointer with a bad escape",
            "/v1/topics/t/records?key=/a~2",
            NDJSON,
            "1",
            PARAMETER,
        ),
        row(
            "a pointer for JSON",
            "/v1/topics/t/records?key=/id",
            JSON,
            r#"{"records":[{}]}"#,
            PARAMETER,
        ),
        row("raw body too large", TOPIC, TEXT, vec![b'x'; 1001], LARGE),
        row(
            "raw body and headers too large",
            TOPIC,
            TEXT,
            vec![b'x'; 999],
            LARGE,
        ),
        row("two keys", TOPIC, TEXT, "x", PARAMETER)
            .with("tidegate-key", "a")
            .with("tidegate-key-base64", "YQ=="),
        row("key repeated", TOPIC, TEXT, "x", PARAMETER)
            .with("tidegate-key", "a")
            .with("tidegate-key", "b"),
        row("key of bad base64", TOPIC, TEXT, "x", PARAMETER).with("tidegate-key-base64", "?"),
        row("time of a raw body", TOPIC, TEXT, "x", PARAMETER).with("tidegate-timestamp", "soon"),
        row("header repeated", TOPIC, TEXT, "x", PARAMETER)
            .with("tidegate-header-a", "1")
            .with("tidegate-header-a", "2"),
        row("content type kept twice", TOPIC, TEXT, "x", PARAMETER)
            .with("tidegate-header-content-type", "a/b"),
        row("header without a name", TOPIC, TEXT, "x", PARAMETER).with("tidegate-header-", "1"),
        row(
            "raw header beside JSON",
            TOPIC,
            JSON,
            r#"{"records":[{}]}"#,
            PARAMETER,
        )
        .with("tidegate-key", "a"),
        row("content type without slash", TOPIC, "json", "x", MEDIA),
        row("content type of two slashes", TOPIC, "a/b/c", "x", MEDIA),
        row(
            "JSON in UTF-16",
            TOPIC,
            "application/json; charset=utf-16",
            "{}",
            MEDIA,
        ),
    ]
}

pub(super) fn batches() -> Vec<Row> {
    let send = |name, path: &str, body: Bytes, expected| row(name, path, BATCH, body, expected);
    let good = || wire(batch(Codec::Zstd, &["k"], None)).to_vec();
    let flipped = |at: usize| {
        let mut body = good();
        body[at] ^= 1;
        Bytes::from(body)
    };
    let cut = |len: usize| Bytes::from(good()[..len].to_vec());
    let stamp = ProducerStamp {
        id: ProducerId(1),
        epoch: 0,
        seq: 0,
        unordered: false,
    };
    let stamped = || wire(batch(Codec::None, &[""], Some(stamp)));
    let mut two = BytesMut::from(&good()[..]);
    two.extend_from_slice(b"TGB1 and then nothing");
    let last = good().len() - 1;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let mut several = BytesMut::new();
    keys.iter()
        .for_each(|key| several.extend_from_slice(&wire(batch(Codec::None, &[key], None))));
    let several = several.freeze();
    let mixed = || wire(batch(Codec::None, &keys, None));
    vec![
        send("no batch", TOPIC, Bytes::new(), CORRUPT),
        send(
            "not a batch",
            TOPIC,
            Bytes::from_static(b"hello, this is text"),
            CORRUPT,
        ),
        send("wrong magic", TOPIC, flipped(0), CORRUPT),
        send("lying length", TOPIC, flipped(4), CORRUPT),
        send("header checksum", TOPIC, flipped(30), CORRUPT),
        send("client version", TOPIC, flipped(72), CORRUPT),
        send("payload checksum", TOPIC, flipped(last), CORRUPT),
        send("cut in the placement header", TOPIC, cut(40), CORRUPT),
        send("cut in the client header", TOPIC, cut(100), CORRUPT),
        send("cut in the records", TOPIC, cut(last), CORRUPT),
        send("something behind the last", TOPIC, two.freeze(), CORRUPT),
        send("lying value kind", TOPIC, lying_kind(), CORRUPT),
        send("record too large", TOPIC, wire(large_batch()), LARGE),
        send("keys of several partitions", TOPIC, mixed(), PARAMETER),
        send("producer without a partition", TOPIC, stamped(), PARAMETER),
        send("producer twice over", PART, stamped(), PARAMETER)
            .with("producer-id", "1")
            .with("producer-epoch", "0")
            .with("producer-seq", "0"),
        send("key and producer", PART, stamped(), PARAMETER).with("idempotency-key", "a"),
        send(
            "key for batches of several partitions",
            TOPIC,
            several,
            PARAMETER,
        )
        .with("idempotency-key", "a"),
        send(
            "raw header beside a batch",
            PART,
            Bytes::from(good()),
            PARAMETER,
        )
        .with("tidegate-key", "a"),
    ]
}

/// Says JSON, holds none; its checksums are right.
fn lying_kind() -> Bytes {
    use tidegate_proto::batch::BatchBuilder;
    use tidegate_proto::record::{Datum, RecordRef};
    let mut builder = BatchBuilder::new(Codec::None);
    let value = Datum::Json("{oops");
    builder
        .push(&RecordRef {
            timestamp_ms: 0,
            key: Datum::Absent,
            value,
            headers: &[],
        })
        .unwrap();
    wire(builder.finish().unwrap())
}

fn large_batch() -> tidegate_proto::batch::ClientBatch {
    let key = "k".repeat(1000);
    batch(Codec::None, &[&key], None)
}

#[tokio::test]
async fn batches_that_unpack_to_too_much_are_refused_before_they_are_unpacked() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    // One part in forty cannot be packed, which keeps each batch below the ratio that is refused.
    let mut state = 1_u32;
    let mut value = vec![0; 1024 * 1024 - 256];
    for byte in value.iter_mut().take(26 * 1024) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = state.to_be_bytes()[0];
    }
    let mut builder = BatchBuilder::new(Codec::Zstd);
    for _ in 0..3 {
        let record = RecordRef {
            timestamp_ms: 5,
            key: Datum::Absent,
            value: Datum::Bytes(&value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    let one = wire(builder.finish().unwrap());
    assert_eq!(surface.post(TOPIC, BATCH, one.clone()).await.status, 200);
    let answer = surface.post(TOPIC, BATCH, one.repeat(22)).await;
    assert_eq!(answer.refusal(), (413, "too_large".to_owned()));
    assert_eq!(answer.json()["limit"], 64 * 1024 * 1024);
    assert_eq!(answer.json()["batch"], 21);
}
