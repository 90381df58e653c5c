//! The table of bad requests.

mod bodies;
mod queries;

use bytes::Bytes;
use http::Method;
use tidegate_proto::compression::{Codec, compress};

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
    rows.extend(bodies::rows());
    rows.extend(queries::rows());
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
            "an operation whose id is none",
            "/v1/operations/1",
            400,
            "invalid_parameter",
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

#[expect(clippy::too_many_lines, reason = "a table")]
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
    rows.push(get(
        "not UTF-8",
        "/v1/topics/%FF%FE",
        400,
        "invalid_parameter",
    ));
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
        404,
        "partition_not_found",
    ));
    rows
}

fn encodings() -> Vec<Row> {
    let path = "/v1/topics/t/records";
    let encoded = |encoding: &str, body: Bytes, status, code| {
        post(path, JSON, body, status, code).header("content-encoding", encoding)
    };
    let bomb = compress(Codec::Zstd, &vec![b' '; 200 * MIB]);
    vec![
        encoded("br", "x".into(), 415, "unsupported_media_type"),
        encoded("snappy", "x".into(), 415, "unsupported_media_type"),
        encoded("gzip", "not gzip".into(), 400, "invalid_parameter"),
        encoded("zstd", "not zstd".into(), 400, "invalid_parameter"),
        encoded(
            "zstd",
            bomb.expect("zeros compress").into(),
            413,
            "too_large",
        ),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
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
            r#"{"config":{"cleanup":"both"}}"#,
            400,
            "invalid_parameter",
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
