//! JSON bodies that are not what they should be.

use super::*;

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn json_bodies() -> Vec<Row> {
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
