//! Parameters and headers that make no sense.

use super::{Row, get, post};

pub(super) fn rows() -> Vec<Row> {
    [produce_headers(), reads()].into_iter().flatten().collect()
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
        text(&format!("{all}?colour=red"), 400, "unknown_field"),
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
        "from=18446744073709551616",
    ] {
        rows.push(bad(format!("{one}?{query}"), 400, "invalid_parameter"));
    }
    rows.push(bad(format!("{one}?colour=red"), 400, "unknown_field"));
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
