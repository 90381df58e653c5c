//! What a JSON body may hold and how refusals point into it.

use super::shape::RECORD_FIELDS;
use super::*;

fn refused(body: &str) -> (ErrorCode, String) {
    let problem = decode_body(body).unwrap_err();
    let pointer = problem
        .errors()
        .first()
        .map_or_else(String::new, |e| e.pointer.clone());
    (problem.code(), pointer)
}

#[test]
fn keys_and_values_are_kept_to_the_byte() {
    let body = r#" { "records" : [ {"key":"k\u00e4\n","value": { "a" : 1.50, "b":[ ] } },
        {"key":{"id": 1},"value":"text"}, {"key":7, "value":null}, {} ] } "#;
    let records = decode_body(body).unwrap();
    assert_eq!(records[0].key, Payload::Utf8("kä\n".into()));
    assert_eq!(
        records[0].value,
        Payload::Json(r#"{ "a" : 1.50, "b":[ ] }"#.into())
    );
    assert_eq!(records[1].key, Payload::Json(r#"{"id": 1}"#.into()));
    assert_eq!(records[1].value, Payload::Json(r#""text""#.into()));
    assert_eq!(records[2].key, Payload::Json("7".into()));
    assert_eq!(records[2].value, Payload::Absent);
    assert_eq!(records[3], Record::default());
}

#[test]
fn the_other_fields_are_read() {
    let body = r#"{"records":[{"key_base64":"/w==","value_base64":"","headers":{"a":"1","b":"ä"},
        "headers_base64":{"c":"/w=="},"timestamp":"1970-01-01T00:00:01Z","partition":3},
        {"timestamp":-5,"headers":null}]}"#;
    let records = decode_body(body).unwrap();
    assert_eq!(records[0].key, Payload::Bytes(vec![255].into()));
    assert_eq!(records[0].value, Payload::Bytes(vec![].into()));
    let names: Vec<_> = records[0]
        .headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        names,
        [("a", &b"1"[..]), ("b", "ä".as_bytes()), ("c", b"\xff")]
    );
    assert_eq!(records[0].timestamp_ms, Some(1000));
    assert_eq!(records[0].partition, Some(PartitionId(3)));
    assert_eq!(records[1].timestamp_ms, Some(-5));
}

#[test]
fn a_body_without_records_is_told_both_mends() {
    for body in [
        r#"{"value":1}"#,
        "[1]",
        "[[{}]]",
        "1",
        "{}",
        r#"{"record":[]}"#,
    ] {
        let problem = decode_body(body).unwrap_err();
        assert_eq!(problem.code(), ErrorCode::InvalidParameter, "{body}");
        assert!(
            problem.detail().contains(r#"{"records":[{"value":..}]}"#),
            "{problem}"
        );
        assert!(
            problem.detail().contains("application/x-ndjson"),
            "{problem}"
        );
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn refusals_point_at_the_field() {
    let deep = format!(
        r#"{{"records":[{{}},{{"value":{}{}}}]}}"#,
        "[".repeat(33),
        "]".repeat(33)
    );
    let cases: &[(&str, ErrorCode, &str)] = &[
        ("", ErrorCode::MalformedJson, ""),
        (r#"{"records":[{}]"#, ErrorCode::MalformedJson, ""),
        (r#"{"records":[{}]} x"#, ErrorCode::MalformedJson, ""),
        (
            r#"{"records":[{"value":01}]}"#,
            ErrorCode::MalformedJson,
            "",
        ),
        (r#"{"records":[]}"#, ErrorCode::InvalidParameter, "/records"),
        (r#"{"records":{}}"#, ErrorCode::InvalidParameter, "/records"),
        (
            r#"{"records":[[1, 2]]}"#,
            ErrorCode::InvalidParameter,
            "/records/0",
        ),
        (
            r#"{"records":[{"key":1,"key":2}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0",
        ),
        (
            r#"{"records":[1]}"#,
            ErrorCode::InvalidParameter,
            "/records/0",
        ),
        (
            r#"{"records":[{}],"more":1}"#,
            ErrorCode::UnknownField,
            "/more",
        ),
        (
            r#"{"records":[{},{"val":1}]}"#,
            ErrorCode::UnknownField,
            "/records/1/val",
        ),
        (
            r#"{"records":[{"partition":-1}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/partition",
        ),
        (
            r#"{"records":[{"headers":{"a":1}}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/headers/a",
        ),
        (
            r#"{"records":[{"headers":[]}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/headers",
        ),
        (
            r#"{"records":[{"timestamp":1.5}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/timestamp",
        ),
        (
            r#"{"records":[{"timestamp":"soon"}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/timestamp",
        ),
        (
            r#"{"records":[{"key":"\ud800"}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/key",
        ),
        (
            r#"{"records":[{"key":1,"key_base64":""}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/key_base64",
        ),
        (
            r#"{"records":[{"value_base64":"?"}]}"#,
            ErrorCode::InvalidParameter,
            "/records/0/value_base64",
        ),
        (&deep, ErrorCode::MalformedJson, "/records/1/value"),
    ];
    for (body, code, pointer) in cases {
        assert_eq!(refused(body), (*code, (*pointer).to_owned()), "{body}");
    }
}

#[test]
fn brackets_inside_strings_are_no_depth() {
    let body = format!(r#"{{"records":[{{"value":"{}"}}]}}"#, "[".repeat(100));
    assert!(decode_body(&body).is_ok());
}

#[test]
fn more_records_than_allowed_are_counted_but_not_kept() {
    let body = format!(r#"{{"records":[{}{{}}]}}"#, "{},".repeat(JSON_RECORDS_MAX));
    let problem = decode_body(&body).unwrap_err();
    assert_eq!(problem.code(), ErrorCode::TooLarge);
    assert_eq!(problem.extra("limit").unwrap(), JSON_RECORDS_MAX);
    let body = format!(
        r#"{{"records":[{}{{}}]}}"#,
        "{},".repeat(JSON_RECORDS_MAX - 1)
    );
    assert_eq!(decode_body(&body).unwrap().len(), JSON_RECORDS_MAX);
}

#[test]
fn the_reader_takes_exactly_the_fields_that_the_shape_has() {
    let full = r#"{"key":1,"value":2,"key_base64":"","value_base64":"","headers":{},
        "headers_base64":{},"timestamp":1,"partition":1}"#;
    let shape: tidegate_proto::api::records::ProduceRecord = serde_json::from_str(full).unwrap();
    let shape = serde_json::to_value(shape).unwrap();
    let mut names: Vec<_> = shape
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut known = RECORD_FIELDS.to_vec();
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(names, known);
}
