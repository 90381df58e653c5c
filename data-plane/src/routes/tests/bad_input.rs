//! Requests that are wrong, each with the answer it gets. None of them appends anything.

#[path = "bad_input/bodies.rs"]
mod bodies;
#[path = "bad_input/heads.rs"]
mod heads;
#[path = "bad_input/json.rs"]
mod json;

use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request};
use tidegate_proto::control::TopicConfig;

use super::Surface;
use bodies::{batches, other_bodies};
use heads::{heads, reads};
use json::json_bodies;

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
