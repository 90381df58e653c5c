//! A body that is one record's value; everything else about the record is in request headers.
//!
//! The content type is kept as the record header `content-type`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use tidegate_proto::api::records::{
    HEADER_KEY, HEADER_KEY_BASE64, HEADER_PREFIX, HEADER_TIMESTAMP,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::time::parse_time_ms;

use super::record::{Payload, Record};

const KEY: HeaderName = HeaderName::from_static(HEADER_KEY);
const KEY_BASE64: HeaderName = HeaderName::from_static(HEADER_KEY_BASE64);
const TIMESTAMP: HeaderName = HeaderName::from_static(HEADER_TIMESTAMP);

/// The record of a raw body. `fields` are the request headers when some of them may be fields of the
/// record.
pub(crate) fn read_raw<'a>(
    fields: Option<&'a HeaderMap>,
    content_type: Option<&'a HeaderValue>,
    body: &'a [u8],
    is_text: bool,
) -> Result<Record<'a>, Problem> {
    let value = match std::str::from_utf8(body) {
        Ok(text) if is_text => Payload::Utf8(Cow::Borrowed(text)),
        _ => Payload::Bytes(Cow::Borrowed(body)),
    };
    let mut record = Record {
        value,
        ..Record::default()
    };
    if let Some(value) = content_type {
        let name = Cow::Borrowed(CONTENT_TYPE.as_str());
        record.headers.reserve_exact(1);
        record.headers.push((name, Cow::Borrowed(value.as_bytes())));
    }
    let Some(headers) = fields else {
        return Ok(record);
    };
    record.key = read_key(headers)?;
    if let Some(text) = single(headers, &TIMESTAMP)? {
        let time_ms = parse_time_ms(text)
            .ok_or_else(|| invalid(HEADER_TIMESTAMP, "expected RFC 3339 or epoch milliseconds"))?;
        record.timestamp_ms = Some(time_ms);
    }
    for (name, value) in headers {
        if let Some(name) = record_header(name) {
            record
                .headers
                .push((Cow::Borrowed(name), Cow::Borrowed(value.as_bytes())));
        }
    }
    Ok(record)
}

/// Refuses record fields in request headers of a body that has its own.
pub(crate) fn refuse_record_headers(headers: &HeaderMap) -> Result<(), Problem> {
    for name in headers.keys() {
        let is_field = [HEADER_KEY, HEADER_KEY_BASE64, HEADER_TIMESTAMP].contains(&name.as_str());
        if is_field || record_header(name).is_some() {
            let detail = "is for bodies that are one record's value; this content type has its own";
            return Err(invalid(name.as_str(), detail));
        }
    }
    Ok(())
}

/// The one value of a header, as text.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid(name.as_str(), "given more than once"));
    }
    text(name.as_str(), value).map(Some)
}

/// A 400 that names the request header.
pub(crate) fn invalid(name: &str, detail: &str) -> Problem {
    Problem::new(
        ErrorCode::InvalidParameter,
        format!("header `{name}`: {detail}"),
    )
    .at(name, detail)
}

fn read_key(headers: &HeaderMap) -> Result<Payload<'_>, Problem> {
    match (single(headers, &KEY)?, single(headers, &KEY_BASE64)?) {
        (Some(_), Some(_)) => Err(invalid(HEADER_KEY_BASE64, "given beside `Tidegate-Key`")),
        (Some(text), None) => Ok(Payload::Utf8(Cow::Borrowed(text))),
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text);
            let bytes = bytes.map_err(|error| invalid(HEADER_KEY_BASE64, &error.to_string()))?;
            Ok(Payload::Bytes(Cow::Owned(bytes)))
        }
        (None, None) => Ok(Payload::Absent),
    }
}

fn record_header(name: &HeaderName) -> Option<&str> {
    name.as_str().strip_prefix(HEADER_PREFIX)
}

fn text<'a>(name: &str, value: &'a HeaderValue) -> Result<&'a str, Problem> {
    // `to_str` takes ASCII alone; keys are often names of people and places.
    std::str::from_utf8(value.as_bytes()).map_err(|_| invalid(name, "is not UTF-8"))
}
