//! `{"records":[..]}` into records, keys and values kept as the text they came in.
//!
//! The common case is one pass. Only when it fails is the body read again, to say where and how.
//! Invariant: what is refused is told with a pointer to the field at fault.

mod shape;

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::JSON_RECORDS_MAX;
use tidegate_proto::time::parse_time_ms;

use super::record::{Header, Payload, Record, check_depth};
use shape::{BodyIn, HeadersIn, ListIn, RecordIn, Text};

/// The records of a body. Pointers of problems start at `/records`.
pub fn decode_body(body: &str) -> Result<Vec<Record<'_>>, Problem> {
    match serde_json::from_str::<BodyIn<'_>>(body) {
        Ok(body) => finish(body.records),
        Err(_) => Err(explain_body(body)),
    }
}

/// The records of a bare list, as a WebSocket frame has it. Pointers start at `/records` too.
pub fn decode_list(list: &str) -> Result<Vec<Record<'_>>, Problem> {
    match serde_json::from_str::<ListIn<'_>>(list) {
        Ok(records) => finish(records),
        Err(_) => Err(explain::<ListIn<'_>>(list, "/records")),
    }
}

fn finish(list: ListIn<'_>) -> Result<Vec<Record<'_>>, Problem> {
    if list.count == 0 {
        return Err(
            Problem::new(ErrorCode::InvalidParameter, "the list of records is empty")
                .at("/records", "empty"),
        );
    }
    if list.count > JSON_RECORDS_MAX {
        let detail = format!(
            "{} records; a JSON request takes {JSON_RECORDS_MAX}, application/x-ndjson any number",
            list.count
        );
        return Err(Problem::new(ErrorCode::TooLarge, detail)
            .with("limit", JSON_RECORDS_MAX)
            .at("/records", "too many"));
    }
    let mut records = Vec::with_capacity(list.records.len());
    for (index, record) in list.records.into_iter().enumerate() {
        // The pointer is only written out when something is wrong.
        let read = read_record(record).map_err(|wrong| wrong.into_problem(index))?;
        records.push(read);
    }
    Ok(records)
}

struct Wrong {
    field: &'static str,
    detail: String,
    problem: Option<Problem>,
}

impl Wrong {
    fn new(field: &'static str, detail: impl Into<String>) -> Self {
        Self {
            field,
            detail: detail.into(),
            problem: None,
        }
    }

    fn into_problem(self, index: usize) -> Problem {
        let pointer = format!("/records/{index}/{}", self.field);
        match self.problem {
            Some(problem) => problem.at(pointer, self.detail),
            None => {
                let detail = format!("`{pointer}`: {}", self.detail);
                Problem::new(ErrorCode::InvalidParameter, detail).at(pointer, self.detail)
            }
        }
    }
}

fn read_record(record: RecordIn<'_>) -> Result<Record<'_>, Wrong> {
    let key = match (record.key, record.key_base64) {
        (Some(_), Some(_)) => return Err(Wrong::new("key_base64", "given beside `key`")),
        (Some(json), None) => read_key(json.get())?,
        (None, Some(text)) => read_base64(&text.0, "key_base64")?,
        (None, None) => Payload::Absent,
    };
    let value = match (record.value, record.value_base64) {
        (Some(_), Some(_)) => return Err(Wrong::new("value_base64", "given beside `value`")),
        (Some(json), None) => read_json(json.get(), "value")?,
        (None, Some(text)) => read_base64(&text.0, "value_base64")?,
        (None, None) => Payload::Absent,
    };
    let timestamp_ms = record
        .timestamp
        .map(|json| read_time(json.get()))
        .transpose()?;
    let headers = match (record.headers, record.headers_base64) {
        (None, None) => Vec::new(),
        (text, binary) => read_headers(text, binary)?,
    };
    let partition = record.partition.map(PartitionId);
    Ok(Record {
        key,
        value,
        headers,
        timestamp_ms,
        partition,
    })
}

/// A string is its UTF-8 without quotes, other JSON its text.
fn read_key(json: &str) -> Result<Payload<'_>, Wrong> {
    if !json.starts_with('"') {
        return read_json(json, "key");
    }
    let text = serde_json::from_str::<Text<'_>>(json);
    text.map(|text| Payload::Utf8(text.0))
        .map_err(|_| Wrong::new("key", "not a Unicode string"))
}

fn read_json<'a>(json: &'a str, field: &'static str) -> Result<Payload<'a>, Wrong> {
    match check_depth(json, field) {
        Ok(()) => Ok(Payload::Json(Cow::Borrowed(json))),
        Err(problem) => {
            let detail = problem
                .errors()
                .first()
                .map_or_else(String::new, |e| e.detail.clone());
            let code = problem.code();
            let problem = Problem::new(code, format!("a {field} is nested too deeply: {detail}"));
            Err(Wrong {
                field,
                detail,
                problem: Some(problem),
            })
        }
    }
}

fn read_base64(text: &str, field: &'static str) -> Result<Payload<'static>, Wrong> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| Wrong::new(field, error.to_string()))?;
    Ok(Payload::Bytes(Cow::Owned(bytes)))
}

fn read_time(json: &str) -> Result<i64, Wrong> {
    let expected = || Wrong::new("timestamp", "expected RFC 3339 or epoch milliseconds");
    let text = match json.starts_with('"') {
        true => {
            serde_json::from_str::<Text<'_>>(json)
                .map_err(|_| expected())?
                .0
        }
        false => Cow::Borrowed(json),
    };
    parse_time_ms(&text).ok_or_else(expected)
}

fn read_headers<'a>(
    text: Option<HeadersIn<'a>>,
    binary: Option<HeadersIn<'a>>,
) -> Result<Vec<Header<'a>>, Wrong> {
    let mut headers = Vec::new();
    for (name, value) in text.into_iter().flat_map(|pairs| pairs.0) {
        let bytes = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        headers.push((name, bytes));
    }
    for (name, value) in binary.into_iter().flat_map(|pairs| pairs.0) {
        let bytes = STANDARD.decode(value.as_bytes());
        let bytes = bytes.map_err(|error| Wrong::new("headers_base64", error.to_string()))?;
        headers.push((name, Cow::Owned(bytes)));
    }
    Ok(headers)
}

/// Why a body was refused: not JSON, not the shape at all, or a field of it.
fn explain_body(body: &str) -> Problem {
    match serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(body) {
        Err(error) if !error.is_data() => malformed(&error),
        Ok(fields) if fields.contains_key("records") => explain::<BodyIn<'_>>(body, ""),
        _ => Problem::new(
            ErrorCode::InvalidParameter,
            "the body has no `records`: wrap the record as {\"records\":[{\"value\":..}]}, or send \
             the value alone under another content type (application/x-ndjson for one JSON value \
             per line, text/plain for text)",
        )
        .at("/records", "missing"),
    }
}

fn explain<'a, T: Deserialize<'a>>(text: &'a str, root: &str) -> Problem {
    let mut reader = serde_json::Deserializer::from_str(text);
    let Err(error) = serde_path_to_error::deserialize::<_, T>(&mut reader) else {
        // The value itself is fine, so something follows it.
        return reader.end().map_or_else(
            |error| malformed(&error),
            |()| Problem::new(ErrorCode::MalformedJson, "the body is not one JSON text"),
        );
    };
    if !error.inner().is_data() {
        return malformed(error.inner());
    }
    let mut pointer = root.to_owned();
    for segment in error.path() {
        match segment {
            serde_path_to_error::Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            serde_path_to_error::Segment::Map { key } => {
                push_token(&mut pointer, key);
            }
            _ => {}
        }
    }
    let text = error.inner().to_string();
    let detail = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(detail, _)| detail);
    let unknown = detail
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'));
    if let Some((name, _)) = unknown {
        push_token(&mut pointer, name);
    }
    let is_unknown = unknown.is_some();
    let code = if is_unknown {
        ErrorCode::UnknownField
    } else {
        ErrorCode::InvalidParameter
    };
    Problem::new(code, format!("`{pointer}`: {detail}")).at(pointer, detail)
}

fn push_token(pointer: &mut String, token: &str) {
    pointer.push('/');
    pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(
        ErrorCode::MalformedJson,
        format!("the body is not JSON: {error}"),
    )
    .with("line", error.line())
    .with("column", error.column())
}

#[cfg(test)]
mod tests;
