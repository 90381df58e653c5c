//! The table of bad requests.

use bytes::Bytes;
use http::Method;
use tidegate_proto::batch::BatchBuilder;
use tidegate_proto::compression::Codec;
use tidegate_proto::record::{Datum, RecordRef};

use tidegate_tests::records::wire;

use super::filler;

/// A request that must be refused, and how.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) status: u16,
    pub(super) code: &'static str,
}

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const BATCH: &str = "application/vnd.tidegate.batch";
const MIB: usize = 1024 * 1024;

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(routes());
    rows.extend(identity());
    rows.extend(names());
    rows.extend(json_bodies());
    rows.extend(ndjson_bodies());
    rows.extend(batch_bodies());
    rows.extend(raw_bodies());
    rows.extend(produce_headers());
    rows.extend(reads());
    rows.extend(encodings());
    rows.extend(topics());
    rows
}

fn row(name: &str, method: Method, path: &str, status: u16, code: &'static str) -> Row {
    let (name, path) = (name.to_owned(), path.to_owned());
    Row {
        name,
        method,
        path,
        headers: Vec::new(),
        body: Bytes::new(),
        status,
        code,
    }
}

impl Row {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

fn get(name: &str, path: &str, status: u16, code: &'static str) -> Row {
    row(name, Method::GET, path, status, code)
}

fn post(path: &str, kind: &str, body: impl Into<Bytes>, status: u16, code: &'static str) -> Row {
    let body = body.into();
    let start: String = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    let name = format!("POST {path} {kind} {start}");
    row(&name, Method::POST, path, status, code)
        .header("content-type", kind)
        .body(body)
}

fn routes() -> Vec<Row> {
    vec![
        get("no such route", "/v2/topics", 404, "route_not_found"),
        get("no such page", "/nothing", 404, "route_not_found"),
        row(
            "wrong method",
            Method::DELETE,
            "/v1/topics",
            405,
            "method_not_allowed",
        ),
        row(
            "wrong method on records",
            Method::PUT,
            "/v1/topics/t/records",
            405,
            "method_not_allowed",
        ),
        row(
            "wrong method on offsets",
            Method::POST,
            "/v1/topics/t/partitions/0/offsets",
            405,
            "method_not_allowed",
        ),
        get(
            "a later feature: groups",
            "/v1/groups",
            501,
            "not_supported",
        ),
        get("a later feature: acls", "/v1/acls", 501, "not_supported"),
        get(
            "a later feature: quotas",
            "/v1/quotas",
            501,
            "not_supported",
        ),
        get("a later feature: audit", "/v1/audit", 501, "not_supported"),
        get(
            "a later feature: operations",
            "/v1/operations/1",
            501,
            "not_supported",
        ),
        get(
            "a later feature: filter",
            "/v1/topics/t/partitions/0/records?filter=a",
            501,
            "not_supported",
        ),
        get(
            "a WebSocket without an upgrade",
            "/v1/ws",
            400,
            "invalid_parameter",
        ),
    ]
}

fn identity() -> Vec<Row> {
    let list = |name: &str, value: &str| {
        get(name, "/v1/topics", 401, "unauthenticated").header("authorization", value)
    };
    vec![
        list("an empty authorization", ""),
        list("another scheme", "Basic YTpi"),
        list("no token", "Bearer"),
        list("an empty token", "Bearer "),
        list("a wrong token", "Bearer wrong"),
        list("a huge token", &format!("Bearer {}", "x".repeat(5_000))),
        list("two words", "Bearer a b"),
        get(
            "a made-up ticket",
            "/v1/topics/t/events?ticket=abc",
            401,
            "unauthenticated",
        )
        .header("authorization", ""),
        row(
            "tickets for nobody",
            Method::POST,
            "/v1/ws-tickets",
            401,
            "unauthenticated",
        )
        .header("authorization", "Bearer no")
        .header("content-type", JSON)
        .body(r#"{"topics":["t"],"ops":["consume"]}"#),
        post(
            "/v1/ws-tickets",
            JSON,
            r#"{"topics":["t"],"ops":["fly"]}"#,
            400,
            "invalid_parameter",
        ),
        post(
            "/v1/ws-tickets",
            JSON,
            r#"{"topics":["t"],"ops":["consume"],"x":1}"#,
            400,
            "unknown_field",
        ),
    ]
}

fn names() -> Vec<Row> {
    let bad = [
        "A",
        ".a",
        "-a",
        "a%20b",
        "a%2Fb",
        "%2e%2e",
        "%00",
        "caf%C3%A9",
        "a*b",
        "a%5Cb",
        "con%3A",
    ];
    let mut rows: Vec<Row> = bad
        .iter()
        .map(|name| {
            get(
                &format!("topic {name}"),
                &format!("/v1/topics/{name}"),
                400,
                "invalid_name",
            )
        })
        .collect();
    let long = "a".repeat(201);
    rows.push(get(
        "a long name",
        &format!("/v1/topics/{long}"),
        400,
        "invalid_name",
    ));
    rows.push(get("not UTF-8", "/v1/topics/%FF%FE", 400, "invalid_name"));
    for (name, path) in [
        ("no topic", "/v1/topics/none/partitions/0/records"),
        (
            "no topic for offsets",
            "/v1/topics/none/partitions/0/offsets",
        ),
        ("no topic to describe", "/v1/topics/none"),
        ("no topic for events", "/v1/topics/none/events"),
    ] {
        rows.push(get(name, path, 404, "topic_not_found"));
    }
    rows.push(post(
        "/v1/topics/none/records",
        JSON,
        r#"{"records":[{"value":1}]}"#,
        404,
        "topic_not_found",
    ));
    rows.push(get(
        "no partition",
        "/v1/topics/t/partitions/2/records",
        404,
        "partition_not_found",
    ));
    rows.push(get(
        "no partition, large",
        "/v1/topics/t/partitions/4294967295/offsets",
        404,
        "partition_not_found",
    ));
    rows.push(get(
        "partition -1",
        "/v1/topics/t/partitions/-1/records",
        400,
        "invalid_parameter",
    ));
    rows.push(get(
        "partition x",
        "/v1/topics/t/partitions/x/records",
        400,
        "invalid_parameter",
    ));
    rows.push(get(
        "partition 2^32",
        "/v1/topics/t/partitions/4294967296/records",
        400,
        "invalid_parameter",
    ));
    rows
}

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
        (keyed, r#"{"no":1}"#.into(), 400, "invalid_parameter"),
        (keyed, "7".into(), 400, "invalid_parameter"),
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
        (lying(|client| client[1] = 1), 501, "not_supported"),
        (lying(|client| client[1] = 2), 501, "not_supported"),
        (lying(|client| client[1] = 4), 400, "corrupt_batch"),
        (lying(|client| client[2] |= 1), 400, "corrupt_batch"),
        (lying(|client| client[4] = 3), 400, "corrupt_batch"),
        (lying(|client| client[4..8].fill(0)), 400, "corrupt_batch"),
        (
            lying(|client| client[4..8].fill(0xff)),
            400,
            "corrupt_batch",
        ),
        (
            lying(|client| client[8..12].fill(0xff)),
            400,
            "corrupt_batch",
        ),
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
        (bomb(), 413, "too_large"),
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

/// 64 MiB of zeros in a few kilobytes.
fn bomb() -> Bytes {
    let mut builder = BatchBuilder::new(Codec::Zstd);
    let value = vec![0; MIB - 1000];
    for _ in 0..64 {
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value: Datum::Bytes(&value),
            headers: &[],
        };
        if builder.push(&record).is_err() {
            break;
        }
    }
    wire(&builder.finish().expect("a bomb")).into()
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

fn produce_headers() -> Vec<Row> {
    let all = "/v1/topics/t/records";
    let one = "/v1/topics/t/partitions/0/records";
    let text = |path: &str, status, code| post(path, "text/plain", "v", status, code);
    vec![
        text(&format!("{all}?acks=two"), 400, "invalid_parameter"),
        text(&format!("{all}?timeout_ms=0"), 400, "invalid_parameter"),
        text(&format!("{all}?timeout_ms=60001"), 400, "invalid_parameter"),
        text(&format!("{all}?timeout_ms=x"), 400, "invalid_parameter"),
        text(&format!("{all}?colour=red"), 400, "invalid_parameter"),
        text(all, 400, "invalid_parameter").header("if-match", "\"0\""),
        text(all, 400, "invalid_parameter")
            .header("producer-id", "1")
            .header("producer-epoch", "0")
            .header("producer-seq", "0"),
        text(one, 400, "invalid_parameter").header("producer-id", "1"),
        text(one, 400, "invalid_parameter")
            .header("producer-id", "1")
            .header("producer-epoch", "0"),
        text(one, 400, "invalid_parameter")
            .header("producer-id", "x")
            .header("producer-epoch", "0")
            .header("producer-seq", "0"),
        text(one, 400, "invalid_parameter")
            .header("producer-id", "1")
            .header("producer-epoch", "65536")
            .header("producer-seq", "0"),
        text(one, 409, "unknown_producer")
            .header("producer-id", "991")
            .header("producer-epoch", "0")
            .header("producer-seq", "5"),
        text(one, 400, "invalid_parameter").header("if-match", "0"),
        text(one, 400, "invalid_parameter").header("if-match", "\"x\""),
        text(one, 412, "precondition_failed").header("if-match", "\"7\""),
    ]
}

fn reads() -> Vec<Row> {
    let one = "/v1/topics/t/partitions/0/records";
    let all = "/v1/topics/t/records";
    let bad = |path: String, status, code| get(&format!("GET {path}"), &path, status, code);
    let mut rows = Vec::new();
    for query in [
        "from=x",
        "from=@x",
        "from=--1",
        "from=1.5",
        "max_records=0",
        "max_records=x",
        "max_bytes=0",
        "wait_ms=60001",
        "wait_ms=-1",
        "min_bytes=x",
        "colour=red",
        "from=18446744073709551616",
    ] {
        rows.push(bad(format!("{one}?{query}"), 400, "invalid_parameter"));
    }
    rows.push(bad(format!("{one}?from=5"), 416, "offset_out_of_range"));
    rows.push(bad(
        format!("{one}?from=9007199254740991"),
        416,
        "offset_out_of_range",
    ));
    rows.push(bad(format!("{all}?from=5"), 400, "invalid_parameter"));
    rows.push(bad(
        format!("{all}?partitions=0,x"),
        400,
        "invalid_parameter",
    ));
    rows.push(bad(
        format!("{all}?partitions=0,7"),
        404,
        "partition_not_found",
    ));
    rows.push(bad(format!("{all}?cursor=abc"), 400, "invalid_parameter"));
    rows.push(bad(format!("{all}?cursor=%00"), 400, "invalid_parameter"));
    rows.push(bad(
        format!("{all}?cursor={}", "A".repeat(9_000)),
        400,
        "cursor_too_large",
    ));
    rows.push(bad(
        "/v1/topics/t/partitions/0/offsets?at=x".into(),
        400,
        "invalid_parameter",
    ));
    rows.push(bad(
        "/v1/topics/t/events?from=x".into(),
        400,
        "invalid_parameter",
    ));
    rows.push(bad(
        "/v1/topics/t/events?cursor=zzz".into(),
        400,
        "invalid_parameter",
    ));
    rows.push(bad("/v1/topics?limit=0".into(), 400, "invalid_parameter"));
    rows.push(bad(
        "/v1/topics?limit=1001".into(),
        400,
        "invalid_parameter",
    ));
    rows.push(bad(one.into(), 406, "not_acceptable").header("accept", "image/png"));
    rows.push(bad(all.into(), 406, "not_acceptable").header("accept", "text/html"));
    rows
}

fn encodings() -> Vec<Row> {
    let path = "/v1/topics/t/records";
    let encoded = |encoding: &str, body: Bytes, status, code| {
        post(path, JSON, body, status, code).header("content-encoding", encoding)
    };
    let bomb = tidegate_proto::compression::compress(Codec::Zstd, &vec![b' '; 200 * MIB]);
    vec![
        encoded("br", "x".into(), 415, "unsupported_media_type"),
        encoded("snappy", "x".into(), 415, "unsupported_media_type"),
        encoded("gzip", "not gzip".into(), 400, "malformed_json"),
        encoded("zstd", "not zstd".into(), 400, "malformed_json"),
        encoded(
            "zstd",
            bomb.expect("zeros compress").into(),
            413,
            "too_large",
        ),
    ]
}

fn topics() -> Vec<Row> {
    let put = |name: &str, body: &str, status, code| {
        let path = format!("/v1/topics/{name}");
        row(
            &format!("PUT {path} {body}"),
            Method::PUT,
            &path,
            status,
            code,
        )
        .header("content-type", JSON)
        .body(body.to_owned())
    };
    vec![
        put("n", "{", 400, "malformed_json"),
        put("n", r#"{"partitions":0}"#, 400, "invalid_parameter"),
        put("n", r#"{"partitions":1000000}"#, 400, "invalid_parameter"),
        put("n", r#"{"partitions":"three"}"#, 400, "invalid_parameter"),
        put("n", r#"{"colour":"red"}"#, 400, "unknown_field"),
        put("n", r#"{"config":{"colour":"red"}}"#, 400, "unknown_field"),
        put(
            "n",
            r#"{"config":{"acks":"two"}}"#,
            400,
            "invalid_parameter",
        ),
        put(
            "n",
            r#"{"config":{"segment_bytes":1}}"#,
            400,
            "invalid_parameter",
        ),
        put(
            "n",
            r#"{"config":{"max_record_bytes":0}}"#,
            400,
            "invalid_parameter",
        ),
        put(
            "n",
            r#"{"config":{"cleanup":"compact"}}"#,
            501,
            "not_supported",
        ),
        put("t", r#"{"partitions":1}"#, 400, "invalid_parameter"),
        put("__x", "{}", 403, "forbidden"),
        put("t", "{}", 412, "precondition_failed").header("if-match", "\"99\""),
        row(
            "a topic as text",
            Method::PUT,
            "/v1/topics/n",
            415,
            "unsupported_media_type",
        )
        .header("content-type", "text/plain")
        .body("{}"),
        post("/v1/topics", JSON, r#"{"name":"t"}"#, 409, "already_exists"),
        post(
            "/v1/topics",
            JSON,
            r#"{"name":"Bad Name"}"#,
            400,
            "invalid_name",
        ),
        post(
            "/v1/topics",
            JSON,
            r#"{"partitions":1}"#,
            400,
            "invalid_parameter",
        ),
        row(
            "delete nothing",
            Method::DELETE,
            "/v1/topics/none",
            404,
            "topic_not_found",
        ),
        row(
            "delete another version",
            Method::DELETE,
            "/v1/topics/t",
            412,
            "precondition_failed",
        )
        .header("if-match", "\"99\""),
    ]
}
