//! Bodies that are not what they say.

use bytes::Bytes;
use tidegate_proto::batch::BatchBuilder;
use tidegate_proto::compression::{Codec, compress};
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_tests::records::wire;

use super::{BATCH, JSON, MIB, NDJSON, Row, filler, post};

pub(super) fn rows() -> Vec<Row> {
    [json_bodies(), ndjson_bodies(), batch_bodies(), raw_bodies()]
        .into_iter()
        .flatten()
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn json_bodies() -> Vec<Row> {
    let path = "/v1/topics/t/records";
    let deep = format!(
        r#"{{"records":[{{"value":{}1{}}}]}}"#,
        "[".repeat(60),
        "]".repeat(60)
    );
    let many = format!(
        r#"{{"records":[{}{{"value":1}}]}}"#,
        r#"{"value":1},"#.repeat(10_000)
    );
    let cases: Vec<(Bytes, u16, &'static str)> = vec![
        ("".into(), 400, "malformed_json"),
        ("{".into(), 400, "malformed_json"),
        ("nothing".into(), 400, "malformed_json"),
        (
            r#"{"records":[{"value":1}]} x"#.into(),
            400,
            "malformed_json",
        ),
        (
            r#"{"records":[{"value":01}]}"#.into(),
            400,
            "malformed_json",
        ),
        (
            r#"{"records":[{"value":NaN}]}"#.into(),
            400,
            "malformed_json",
        ),
        (r#"{"records":[{"value":"a"#.into(), 400, "malformed_json"),
        (
            Bytes::from_static(b"{\"records\":[{\"value\":\"\xff\"}]}"),
            400,
            "malformed_json",
        ),
        (r#"{"value":1}"#.into(), 400, "invalid_parameter"),
        ("[1,2]".into(), 400, "invalid_parameter"),
        ("17".into(), 400, "invalid_parameter"),
        (r#"{"records":[]}"#.into(), 400, "invalid_parameter"),
        (r#"{"records":7}"#.into(), 400, "invalid_parameter"),
        (r#"{"records":[7]}"#.into(), 400, "invalid_parameter"),
        (
            r#"{"records":[{"value":1,"colour":2}]}"#.into(),
            400,
            "unknown_field",
        ),
        (
            r#"{"records":[{"value":1}],"colour":2}"#.into(),
            400,
            "unknown_field",
        ),
        (
            r#"{"records":[{"value":1,"value_base64":"AA=="}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"key":1,"key_base64":"AA=="}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value_base64":"%%"}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"headers":[1]}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"headers":{"A":"upper"}}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"headers":{"a":1}}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"headers":{"a":"1","a":"2"}}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"timestamp":"yesterday"}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"timestamp":-1.5}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"partition":-1}]}"#.into(),
            400,
            "invalid_parameter",
        ),
        (
            r#"{"records":[{"value":1,"partition":99}]}"#.into(),
            404,
            "partition_not_found",
        ),
        (deep.into(), 400, "malformed_json"),
        (many.into(), 413, "too_large"),
        (big_value(), 413, "too_large"),
        (filler(33 * MIB), 413, "too_large"),
    ];
    cases
        .into_iter()
        .map(|(body, status, code)| post(path, JSON, body, status, code))
        .collect()
}

/// One record above the topic's limit of 1 MiB.
fn big_value() -> Bytes {
    format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(MIB + 1)).into()
}

fn ndjson_bodies() -> Vec<Row> {
    let path = "/v1/topics/t/records";
    let keyed = "/v1/topics/t/records?key=/id";
    let cases: Vec<(&str, Bytes, u16, &'static str)> = vec![
        (path, "".into(), 400, "invalid_parameter"),
        (path, "\n\n\r\n".into(), 400, "invalid_parameter"),
        (path, "{".into(), 400, "malformed_json"),
        (path, "1 2".into(), 400, "malformed_json"),
        (
            path,
            Bytes::from_static(b"\"\xff\"\n"),
            400,
            "malformed_json",
        ),
        (path, "[".repeat(60).into(), 400, "malformed_json"),
        (
            path,
            format!("\"{}\"\n", "x".repeat(2 * MIB)).into(),
            413,
            "too_large",
        ),
        (path, filler(2 * MIB), 413, "too_large"),
        (keyed, r#"{"id":1"#.into(), 400, "malformed_json"),
        (
            "/v1/topics/t/records?key=id",
            r#"{"id":1}"#.into(),
            400,
            "invalid_parameter",
        ),
    ];
    cases
        .into_iter()
        .map(|(path, body, status, code)| post(path, NDJSON, body, status, code))
        .collect()
}

/// A good batch of two records, as a client would send it.
fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for value in [&br#"{"a":1}"#[..], &[b'v'; 300][..]] {
        let value = Datum::Bytes(value);
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        builder.push(&record).expect("a small record fits");
    }
    wire(&builder.finish().expect("two records"))
}

/// A batch whose client part was changed and whose checksums are right again: a lie, not damage.
fn lying(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let good = batch(Codec::None);
    let mut client = good[72..].to_vec();
    change(&mut client);
    let mut header = good[..72].to_vec();
    let length = u32::try_from(client.len()).expect("small");
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[64..68].copy_from_slice(&crc32c(&client).to_le_bytes());
    let check = crc32c(&header[..68]);
    header[68..72].copy_from_slice(&check.to_le_bytes());
    header.extend_from_slice(&client);
    header.into()
}

/// CRC32C (Castagnoli), bit by bit: slow, and independent of the product's.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            }
        })
    };
    !bytes.iter().fold(!0, step)
}

fn batch_bodies() -> Vec<Row> {
    let path = "/v1/topics/t/partitions/0/records";
    let good = batch(Codec::None);
    let cut = |at: usize| Bytes::copy_from_slice(&good[..at]);
    let flip = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let zeros = vec![0; 3 * MIB];
    let mut cases: Vec<(Bytes, u16, &'static str)> = vec![
        ("".into(), 400, "corrupt_batch"),
        ("not a batch at all".into(), 400, "corrupt_batch"),
        (cut(10), 400, "corrupt_batch"),
        (cut(72), 400, "corrupt_batch"),
        (cut(100), 400, "corrupt_batch"),
        (cut(good.len() - 1), 400, "corrupt_batch"),
        ([&good[..], b"tail"].concat().into(), 400, "corrupt_batch"),
        (zeros.into(), 400, "corrupt_batch"),
        (lying(|client| client[0] = 9), 400, "corrupt_batch"),
        (lying(|client| client[1] = 77), 400, "corrupt_batch"),
        (lying(|client| client[1] = 1), 400, "corrupt_batch"),
        (lying(|client| client[1] = 2), 400, "corrupt_batch"),
        (lying(|client| client[1] = 4), 400, "corrupt_batch"),
        (lying(|client| client[2] |= 1), 400, "corrupt_batch"),
        (lying(|client| client[4] = 3), 400, "corrupt_batch"),
        (lying(|client| client[4..8].fill(0)), 400, "corrupt_batch"),
        (
            lying(|client| client[4..8].fill(0xff)),
            400,
            "corrupt_batch",
        ),
        (lying(|client| client[8..12].fill(0xff)), 413, "too_large"),
        (lying(|client| client[64] = 0x7f), 400, "corrupt_batch"),
        (lying(|client| client[66] = 0x0f), 400, "corrupt_batch"),
        (lying(|client| client.push(0)), 400, "corrupt_batch"),
        (lying(|client| client.truncate(80)), 400, "corrupt_batch"),
        (
            lying_kind(Datum::Utf8("ab"), 2, &[0xff, 0xfe]),
            400,
            "corrupt_batch",
        ),
        (
            lying_kind(Datum::Json("11"), 2, b"1,"),
            400,
            "corrupt_batch",
        ),
        (
            lying_kind(Datum::Json("[]"), 2, b"[["),
            400,
            "corrupt_batch",
        ),
        (bomb(64 * MIB, 64 * MIB), 413, "too_large"),
        (bomb(30 * MIB, 30 * MIB), 413, "too_large"),
        (bomb(64 * MIB, 1000), 400, "corrupt_batch"),
    ];
    for at in [0, 4, 9, 30, 64, 68, 72, 80, 140] {
        cases.push((flip(at), 400, "corrupt_batch"));
    }
    cases
        .into_iter()
        .map(|(body, status, code)| post(path, BATCH, body, status, code))
        .collect()
}

/// A batch that claims a kind its value does not have.
fn lying_kind(value: Datum<'_>, length: usize, lie: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    let record = RecordRef {
        timestamp_ms: 1,
        key: Datum::Absent,
        value,
        headers: &[],
    };
    builder.push(&record).expect("a small record fits");
    let client = builder.finish().expect("one record");
    let truth = value.as_bytes().expect("a value").to_vec();
    let honest = client.as_bytes().to_vec();
    let at = honest
        .windows(length)
        .rposition(|window| window == truth)
        .expect("it is in there");
    lying(|client| {
        *client = honest;
        client[at..at + length].copy_from_slice(lie);
    })
}

/// A batch whose zeros were compressed far beyond the allowed ratio; it claims `claimed` bytes.
fn bomb(zeros: usize, claimed: usize) -> Bytes {
    let squeezed = compress(Codec::Zstd, &vec![0; zeros]).expect("zeros compress");
    lying(|client| {
        client.truncate(64);
        client[1] = 4;
        client[8..12].copy_from_slice(&u32::try_from(claimed).expect("small").to_le_bytes());
        client.extend_from_slice(&squeezed);
    })
}

fn raw_bodies() -> Vec<Row> {
    let path = "/v1/topics/t/records";
    let text = |name: &'static str, value: &str, code| {
        post(path, "text/plain", "v", 400, code).header(name, value)
    };
    vec![
        post(path, "text/plain", filler(MIB + 1), 413, "too_large"),
        post(
            "/v1/topics/small/records",
            "text/plain",
            filler(2_000),
            413,
            "too_large",
        ),
        text("tidegate-key-base64", "%%%", "invalid_parameter"),
        text("tidegate-timestamp", "noon", "invalid_parameter"),
        text("tidegate-key", "a", "invalid_parameter").header("tidegate-key-base64", "YQ=="),
    ]
}
