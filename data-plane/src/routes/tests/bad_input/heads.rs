//! Queries and headers that are not what they should be.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn heads() -> Vec<Row> {
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
pub(super) fn reads() -> Vec<Row> {
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
            (400, "cursor_too_large"),
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
