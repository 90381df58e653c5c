//! Requests that are wrong, each with the answer it gets. None of them appends anything.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{Method, Request};
use tidegate_kit::auth::{Auth, Grants, Op, Principal, TopicPattern};
use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::compression::Codec;
use tidegate_proto::control::TopicConfig;
use tidegate_proto::id::ProducerId;

use super::Surface;
use super::produce::{batch, wire};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const BATCH: &str = "application/vnd.tidegate.batch";
const TEXT: &str = "text/plain";
const TOPIC: &str = "/v1/topics/t/records";
const PART: &str = "/v1/topics/t/partitions/1/records";

struct Row {
    name: &'static str,
    method: Method,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    expected: (u16, &'static str),
}

fn row(
    name: &'static str,
    path: &str,
    kind: &str,
    body: impl Into<Bytes>,
    expected: (u16, &'static str),
) -> Row {
    let headers = match kind {
        "" => Vec::new(),
        kind => vec![("content-type", kind.to_owned())],
    };
    Row {
        name,
        method: Method::POST,
        path: path.to_owned(),
        headers,
        body: body.into(),
        expected,
    }
}

fn get(name: &'static str, path: &str, expected: (u16, &'static str)) -> Row {
    Row {
        method: Method::GET,
        ..row(name, path, "", "", expected)
    }
}

impl Row {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

const MALFORMED: (u16, &str) = (400, "malformed_json");
const PARAMETER: (u16, &str) = (400, "invalid_parameter");
const NAME: (u16, &str) = (400, "invalid_name");
const FIELD: (u16, &str) = (400, "unknown_field");
const CORRUPT: (u16, &str) = (400, "corrupt_batch");
const LARGE: (u16, &str) = (413, "too_large");
const MEDIA: (u16, &str) = (415, "unsupported_media_type");
const NO_TOPIC: (u16, &str) = (404, "topic_not_found");
const NO_PARTITION: (u16, &str) = (404, "partition_not_found");
const NOT_YET: (u16, &str) = (501, "not_supported");

#[tokio::test]
async fn every_wrong_request_gets_its_code_and_appends_nothing() {
    let surface = Surface::new();
    let config = TopicConfig {
        max_record_bytes: 1000,
        ..TopicConfig::default()
    };
    surface.memory.create_topic_with("t", 2, config);
    let rows: Vec<Row> = [
        names(),
        json_bodies(),
        other_bodies(),
        batches(),
        heads(),
        reads(),
    ]
    .into_iter()
    .flatten()
    .collect();
    assert!(rows.len() >= 100, "{} rows", rows.len());
    for row in rows {
        let mut request = Request::builder().method(row.method).uri(&row.path);
        for (name, value) in &row.headers {
            request = request.header(*name, value);
        }
        let answer = surface
            .send(request.body(Body::from(row.body)).unwrap())
            .await;
        let (status, code) = row.expected;
        assert_eq!(
            answer.refusal(),
            (status, code.to_owned()),
            "{}: {answer:?}",
            row.name
        );
    }
    for partition in 0..2 {
        let path = format!("/v1/topics/t/partitions/{partition}/offsets");
        assert_eq!(surface.get(&path).await.json()["end"], 0);
    }
}

fn names() -> Vec<Row> {
    let produce = |name, topic: &str, expected| {
        row(
            name,
            &format!("/v1/topics/{topic}/records"),
            TEXT,
            "x",
            expected,
        )
    };
    vec![
        produce("capital letter", "Topic", NAME),
        produce("leading dot", ".t", NAME),
        produce("leading dash", "-t", NAME),
        produce("space", "a%20b", NAME),
        produce("slash", "a%2Fb", NAME),
        produce("dots that climb", "%2E%2E", NAME),
        produce("not ASCII", "%C3%A4", NAME),
        produce("zero byte", "a%00", NAME),
        produce("too long", &"a".repeat(201), NAME),
        produce("not UTF-8", "%FF", PARAMETER),
        produce("unknown topic", "nowhere", NO_TOPIC),
        produce("system topic", "__groups", (403, "forbidden")),
        row(
            "partition too high",
            "/v1/topics/t/partitions/2/records",
            TEXT,
            "x",
            NO_PARTITION,
        ),
        row(
            "partition beyond u32",
            "/v1/topics/t/partitions/99999999999/records",
            TEXT,
            "x",
            NO_PARTITION,
        ),
        row(
            "negative partition",
            "/v1/topics/t/partitions/-1/records",
            TEXT,
            "x",
            PARAMETER,
        ),
        row(
            "partition with a plus",
            "/v1/topics/t/partitions/+1/records",
            TEXT,
            "x",
            PARAMETER,
        ),
        row(
            "partition of letters",
            "/v1/topics/t/partitions/one/records",
            TEXT,
            "x",
            PARAMETER,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn json_bodies() -> Vec<Row> {
    let json = |name, body: &str, expected| row(name, TOPIC, JSON, body.to_owned(), expected);
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    vec![
        json("empty body", "", MALFORMED),
        json("cut short", r#"{"records":[{"value":1}"#, MALFORMED),
        json("two texts", r#"{"records":[{}]}{}"#, MALFORMED),
        json("single quotes", "{'records':[{}]}", MALFORMED),
        json("trailing comma", r#"{"records":[{},]}"#, MALFORMED),
        json("NaN", r#"{"records":[{"value":NaN}]}"#, MALFORMED),
        json("leading zero", r#"{"records":[{"value":01}]}"#, MALFORMED),
        json(
            "bare control character",
            "{\"records\":[{\"value\":\"a\nb\"}]}",
            MALFORMED,
        ),
        json("bad escape", r#"{"records":[{"value":"\x"}]}"#, MALFORMED),
        row(
            "not UTF-8",
            TOPIC,
            JSON,
            &b"{\"records\":[{\"value\":\"\xff\"}]}"[..],
            MALFORMED,
        ),
        row(
            "byte order mark",
            TOPIC,
            JSON,
            "\u{feff}{\"records\":[{}]}",
            MALFORMED,
        ),
        json(
            "value too deep",
            &format!(r#"{{"records":[{{"value":{}}}]}}"#, deep(33)),
            MALFORMED,
        ),
        json(
            "value of a million levels",
            &format!(r#"{{"records":[{{"value":{}}}]}}"#, deep(1_000_000)),
            MALFORMED,
        ),
        json("body of a million levels", &deep(1_000_000), PARAMETER),
        json("no records", r#"{"value":1}"#, PARAMETER),
        json("bare list", r#"[{"value":1}]"#, PARAMETER),
        json("lists for objects", r#"[[{"value":1}]]"#, PARAMETER),
        json(
            "a record is a list",
            r#"{"records":[["key","value"]]}"#,
            PARAMETER,
        ),
        json("bare number", "1", PARAMETER),
        json("empty list", r#"{"records":[]}"#, PARAMETER),
        json("records is an object", r#"{"records":{}}"#, PARAMETER),
        json("records is null", r#"{"records":null}"#, PARAMETER),
        json("a record is a number", r#"{"records":[1]}"#, PARAMETER),
        json(
            "unknown field beside",
            r#"{"records":[{}],"acks":"none"}"#,
            FIELD,
        ),
        json("unknown field inside", r#"{"records":[{"val":1}]}"#, FIELD),
        json(
            "field twice",
            r#"{"records":[{"value":1,"value":2}]}"#,
            PARAMETER,
        ),
        json(
            "key twice over",
            r#"{"records":[{"key":1,"key_base64":""}]}"#,
            PARAMETER,
        ),
        json(
            "value twice over",
            r#"{"records":[{"value":1,"value_base64":""}]}"#,
            PARAMETER,
        ),
        json(
            "bad base64",
            r#"{"records":[{"value_base64":"a"}]}"#,
            PARAMETER,
        ),
        json(
            "url base64",
            r#"{"records":[{"key_base64":"_w=="}]}"#,
            PARAMETER,
        ),
        json(
            "lone surrogate key",
            r#"{"records":[{"key":"\ud800"}]}"#,
            PARAMETER,
        ),
        json(
            "header is a number",
            r#"{"records":[{"headers":{"a":1}}]}"#,
            PARAMETER,
        ),
        json(
            "header with a capital",
            r#"{"records":[{"headers":{"A":"1"}}]}"#,
            PARAMETER,
        ),
        json(
            "header twice",
            r#"{"records":[{"headers":{"a":"1","a":"2"}}]}"#,
            PARAMETER,
        ),
        json(
            "header in both",
            r#"{"records":[{"headers":{"a":"1"},"headers_base64":{"a":""}}]}"#,
            PARAMETER,
        ),
        json(
            "header without a name",
            r#"{"records":[{"headers":{"":"1"}}]}"#,
            PARAMETER,
        ),
        json(
            "header name too long",
            &format!(
                r#"{{"records":[{{"headers":{{"{}":""}}}}]}}"#,
                "a".repeat(257)
            ),
            PARAMETER,
        ),
        json("65 headers", &many_headers(65), PARAMETER),
        json(
            "fraction of a time",
            r#"{"records":[{"timestamp":1.5}]}"#,
            PARAMETER,
        ),
        json(
            "time beyond 2^53",
            r#"{"records":[{"timestamp":9007199254740992}]}"#,
            PARAMETER,
        ),
        json(
            "time that is no date",
            r#"{"records":[{"timestamp":"2026-02-30T00:00:00Z"}]}"#,
            PARAMETER,
        ),
        json(
            "partition is text",
            r#"{"records":[{"partition":"1"}]}"#,
            PARAMETER,
        ),
        json(
            "partition not there",
            r#"{"records":[{},{"partition":2}]}"#,
            NO_PARTITION,
        ),
        row(
            "partition beside the path",
            PART,
            JSON,
            r#"{"records":[{"partition":0}]}"#,
            PARAMETER,
        ),
        json(
            "10,001 records",
            &format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(10_000)),
            LARGE,
        ),
        json(
            "record one byte too large",
            &format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "x".repeat(999)),
            LARGE,
        ),
        row(
            "body above 32 MiB",
            TOPIC,
            JSON,
            vec![b' '; 32 * 1024 * 1024 + 1],
            LARGE,
        ),
    ]
}

fn many_headers(count: usize) -> String {
    let headers: Vec<String> = (0..count).map(|n| format!(r#""h{n}":"""#)).collect();
    format!(r#"{{"records":[{{"headers":{{{}}}}}]}}"#, headers.join(","))
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn other_bodies() -> Vec<Row> {
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

fn batches() -> Vec<Row> {
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

#[expect(clippy::too_many_lines, reason = "a table")]
fn heads() -> Vec<Row> {
    let text = |name, path: &str, expected| row(name, path, TEXT, "x", expected);
    let stamp = |name, id: &str, epoch: &str, seq: &str| {
        text(name, PART, PARAMETER)
            .with("producer-id", id)
            .with("producer-epoch", epoch)
            .with("producer-seq", seq)
    };
    vec![
        text("unknown parameter", "/v1/topics/t/records?ack=all", FIELD),
        text("unknown acks", "/v1/topics/t/records?acks=all", PARAMETER),
        text(
            "acks twice",
            "/v1/topics/t/records?acks=none&acks=none",
            PARAMETER,
        ),
        text("no time", "/v1/topics/t/records?timeout_ms=0", PARAMETER),
        text(
            "too much time",
            "/v1/topics/t/records?timeout_ms=60001",
            PARAMETER,
        ),
        text(
            "time that is no number",
            "/v1/topics/t/records?timeout_ms=1e3",
            PARAMETER,
        ),
        text("broken escape", "/v1/topics/t/records?acks=%4", PARAMETER),
        text("half a producer", PART, PARAMETER).with("producer-id", "1"),
        stamp("producer id too large", "18446744073709551616", "0", "0"),
        stamp("producer epoch too large", "1", "65536", "0"),
        stamp("producer seq too large", "1", "0", "4294967296"),
        stamp("negative seq", "1", "0", "-1"),
        Row {
            path: TOPIC.to_owned(),
            ..stamp("producer without a partition", "1", "0", "0")
        },
        text("condition without a partition", TOPIC, PARAMETER).with("if-match", "\"0\""),
        text("condition without quotes", PART, PARAMETER).with("if-match", "0"),
        text("condition that is weak", PART, PARAMETER).with("if-match", "W/\"0\""),
        text("condition that is a star", PART, PARAMETER).with("if-match", "*"),
        text("condition that is a list", PART, PARAMETER).with("if-match", "\"0\", \"1\""),
        text("condition not met", PART, (412, "precondition_failed")).with("if-match", "\"7\""),
        text("empty idempotency key", PART, PARAMETER).with("idempotency-key", ""),
        text("long idempotency key", PART, PARAMETER).with("idempotency-key", "k".repeat(256)),
        stamp("key and producer", "1", "0", "0").with("idempotency-key", "k"),
        row(
            "key for several partitions",
            TOPIC,
            JSON,
            r#"{"records":[{"partition":0},{"partition":1}]}"#,
            PARAMETER,
        )
        .with("idempotency-key", "k"),
        row(
            "key beside times that are half given",
            TOPIC,
            JSON,
            r#"{"records":[{"timestamp":1},{}]}"#,
            PARAMETER,
        )
        .with("idempotency-key", "k"),
        row(
            "producer with an unknown field",
            "/v1/producers",
            JSON,
            r#"{"nam":"x"}"#,
            FIELD,
        ),
        row(
            "producer that is not JSON",
            "/v1/producers",
            JSON,
            "{",
            MALFORMED,
        ),
        row(
            "producer body too large",
            "/v1/producers",
            JSON,
            vec![b' '; 5000],
            LARGE,
        ),
        row(
            "producer with a name",
            "/v1/producers",
            JSON,
            r#"{"name":"x"}"#,
            NOT_YET,
        ),
        row(
            "producer with a parameter",
            "/v1/producers?x=1",
            JSON,
            "",
            FIELD,
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn reads() -> Vec<Row> {
    let topic = |name, query: &str, expected| get(name, &format!("{TOPIC}?{query}"), expected);
    let part = |name, query: &str, expected| get(name, &format!("{PART}?{query}"), expected);
    let events =
        |name, query: &str, expected| get(name, &format!("/v1/topics/t/events?{query}"), expected);
    vec![
        topic("unknown parameter", "form=latest", FIELD),
        topic("a filter", "filter=x", NOT_YET),
        topic("a group", "group=g", NOT_YET),
        topic("a ticket", "ticket=x", FIELD),
        topic("a number for several partitions", "from=0", PARAMETER),
        topic("a start that is no word", "from=soon", PARAMETER),
        topic("a time that is no number", "from=@soon", PARAMETER),
        topic("an empty start", "from=", PARAMETER),
        topic("a start twice", "from=latest&from=latest", PARAMETER),
        topic("partitions that are no numbers", "partitions=a", PARAMETER),
        topic("an empty list of partitions", "partitions=", PARAMETER),
        topic(
            "a partition that is not there",
            "partitions=0,2",
            NO_PARTITION,
        ),
        topic("a cursor that is none", "cursor=abc", PARAMETER),
        topic(
            "a cursor that is too long",
            &format!("cursor={}", "A".repeat(9000)),
            PARAMETER,
        ),
        topic("an empty cursor", "cursor=", PARAMETER),
        topic("no records at most", "max_records=0", PARAMETER),
        topic("too many records", "max_records=100001", PARAMETER),
        topic("too many bytes", "max_bytes=8388609", PARAMETER),
        topic("negative bytes", "min_bytes=-1", PARAMETER),
        topic("too long a wait", "wait_ms=60001", PARAMETER),
        part("partitions beside the path", "partitions=0", FIELD),
        part(
            "a number above the end",
            "from=1",
            (416, "offset_out_of_range"),
        ),
        part(
            "a number beyond u64",
            "from=18446744073709551616",
            PARAMETER,
        ),
        get("an image", TOPIC, (406, "not_acceptable")).with("accept", "image/png"),
        get("nothing at all", TOPIC, (406, "not_acceptable"))
            .with("accept", "application/json;q=0"),
        get("unknown topic", "/v1/topics/nowhere/records", NO_TOPIC),
        get(
            "unknown topic's events",
            "/v1/topics/nowhere/events",
            NO_TOPIC,
        ),
        get(
            "unknown topic's offsets",
            "/v1/topics/nowhere/partitions/0/offsets",
            NO_TOPIC,
        ),
        get(
            "unknown partition's offsets",
            "/v1/topics/t/partitions/9/offsets",
            NO_PARTITION,
        ),
        get(
            "offsets at no time",
            "/v1/topics/t/partitions/0/offsets?at=x",
            PARAMETER,
        ),
        events("a parameter of fetches", "wait_ms=1", FIELD),
        events("a last id that is no cursor", "last_event_id=x", PARAMETER),
        get(
            "a header that is no cursor",
            "/v1/topics/t/events",
            PARAMETER,
        )
        .with("last-event-id", "x"),
        get("groups", "/v1/groups", NOT_YET),
        get(
            "a group's records",
            "/v1/groups/g/members/m/records",
            NOT_YET,
        ),
    ]
}

#[tokio::test]
async fn the_right_is_checked_before_the_topic_is_looked_up() {
    let reader = Grants::limited(&[Op::Consume], vec![TopicPattern::parse("t").unwrap()]);
    let surface = Surface::with_auth(Auth::with_tokens([("secret", Principal::new("r", reader))]));
    surface.memory.create_topic("t", 1);
    let send = async |method: &str, path: &str, token: &str| {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        surface.send(request.body(Body::empty()).unwrap()).await
    };
    for path in [TOPIC, PART, "/v1/topics/nowhere/records"] {
        assert_eq!(
            send("POST", path, "").await.refusal(),
            (401, "unauthenticated".to_owned())
        );
        assert_eq!(
            send("POST", path, "wrong").await.refusal(),
            (401, "unauthenticated".to_owned())
        );
        assert_eq!(
            send("POST", path, "secret").await.refusal(),
            (403, "forbidden".to_owned())
        );
    }
    let nowhere = send("GET", "/v1/topics/nowhere/records", "secret").await;
    assert_eq!(nowhere.refusal(), (403, "forbidden".to_owned()));
    assert_eq!(send("GET", TOPIC, "secret").await.status, 204);
    assert_eq!(
        send("GET", "/v1/topics/t/partitions/0/offsets", "secret")
            .await
            .status,
        200
    );
    for path in [
        "/v1/topics/t/events",
        "/v1/groups",
        "/v1/topics/t/partitions/0/offsets",
    ] {
        assert_eq!(send("GET", path, "").await.refusal().0, 401, "{path}");
    }
    assert_eq!(send("POST", "/v1/producers", "").await.refusal().0, 401);
}

#[tokio::test]
async fn a_ticket_is_good_once_where_headers_cannot_be_set() {
    let admin = Principal::new("a", Grants::all());
    let surface = Surface::with_auth(Auth::with_tokens([("secret", admin.clone())]));
    surface.memory.create_topic("t", 1);
    let issue = || {
        let topics = vec![TopicPattern::parse("t").unwrap()];
        let ops = [Op::Consume, Op::Produce];
        let ttl = std::time::Duration::from_secs(30);
        surface
            .auth
            .tickets()
            .issue(&admin, topics, &ops, ttl)
            .unwrap()
            .ticket
    };
    let ticket = issue();
    let path = format!("{TOPIC}?acks=none&ticket={ticket}");
    assert_eq!(surface.post(&path, TEXT, "beacon").await.status, 202);
    assert_eq!(surface.post(&path, TEXT, "beacon").await.refusal().0, 401);
    let path = format!("/v1/topics/t/events?from=earliest&ticket={}", issue());
    let request = Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(surface.response(request).await.status(), 200);
    let path = format!("{TOPIC}?ticket={}", issue());
    assert_eq!(
        surface.get(&path).await.refusal(),
        (401, "unauthenticated".to_owned())
    );
    let path = format!("/v1/topics/other/records?ticket={}", issue());
    assert_eq!(
        surface.post(&path, TEXT, "x").await.refusal(),
        (403, "forbidden".to_owned())
    );
}
