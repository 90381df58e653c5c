//! Extractors whose rejections are problems, and the two fallbacks of a router.
//!
//! They check shapes: media type, syntax, unknown fields. What values mean is the handlers' business.
//! Invariant: every rejection names the field or parameter it is about.

use axum::body::Body;
use axum::extract::path::ErrorKind;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, Path};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri, header};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use tidegate_proto::error::{ErrorCode, Problem};

use super::body::read_body;
use super::error::ApiError;
use crate::limits::JSON_BODY_BYTES_MAX;

/// A JSON body of at most `BYTES_MAX` bytes. Types with `deny_unknown_fields` refuse unknown ones
/// with 400 `unknown_field`.
///
/// # Errors
/// 415 `unsupported_media_type`, 413 `too_large`, 400 `malformed_json` (with `line`, `column`),
/// `unknown_field`, `invalid_name` or `invalid_parameter` (with a pointer).
#[derive(Debug, Clone, Copy)]
pub struct ApiJson<T, const BYTES_MAX: usize = JSON_BODY_BYTES_MAX>(pub T);

impl<T, S, const BYTES_MAX: usize> FromRequest<S> for ApiJson<T, BYTES_MAX>
where
    T: DeserializeOwned,
    S: Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request<Body>, _: &S) -> Result<Self, ApiError> {
        Ok(Self(json_body::<T, BYTES_MAX>(request).await?.0))
    }
}

/// The JSON body of a request, as [`ApiJson`] takes it, and its bytes as they came.
///
/// # Errors
/// Those of [`ApiJson`].
pub async fn json_body<T: DeserializeOwned, const BYTES_MAX: usize>(
    request: Request<Body>,
) -> Result<(T, Bytes), ApiError> {
    if !is_json(request.headers()) {
        let found = request.headers().get(header::CONTENT_TYPE);
        let found = found.map_or("none", |value| value.to_str().unwrap_or("not text"));
        let detail = format!("this needs Content-Type application/json, found {found}");
        let problem = Problem::new(ErrorCode::UnsupportedMediaType, detail);
        return Err(problem.at("Content-Type", "is not application/json").into());
    }
    let body = read_body(request.into_body(), BYTES_MAX).await?;
    Ok((parse_json(&body)?, body))
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str())
    else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let is_plus_json =
        || subtype.len() > 5 && subtype[subtype.len() - 5..].eq_ignore_ascii_case("+json");
    kind.eq_ignore_ascii_case("application")
        && (subtype.eq_ignore_ascii_case("json") || (subtype.is_ascii() && is_plus_json()))
}

fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut reader);
    let value = match parsed {
        Ok(value) => value,
        Err(error) => {
            if error.inner().is_data()
                && let Some(value) = parse_whole_floats(body)
            {
                return Ok(value);
            }
            let pointer = pointer(error.path());
            return Err(json_problem(error.inner(), pointer));
        }
    };
    reader
        .end()
        .map_err(|error| json_problem(&error, String::new()))?;
    Ok(value)
}

/// Some writers of JSON put integers down as `3.0`, which is the same number. `None` when that was not
/// all that was wrong.
fn parse_whole_floats<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let mut document: Value = serde_json::from_slice(body).ok()?;
    let is_changed = whole_floats(&mut document);
    let value = is_changed.then(|| serde_json::from_value(document));
    value?.ok()
}

/// Makes integers of floating point numbers that are; true when there were any.
fn whole_floats(value: &mut Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().filter(|float| {
                float.fract() == 0.0 && float.abs() <= tidegate_proto::limits::INTEGER_MAX as f64
            });
            let integer = float.map(|float| float as i64);
            if let Some(integer) = integer {
                *value = integer.into();
            }
            integer.is_some()
        }
        // All of them, not only up to the first.
        Value::Array(items) => items.iter_mut().map(whole_floats).max() == Some(true),
        Value::Object(fields) => fields.values_mut().map(whole_floats).max() == Some(true),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn json_problem(error: &serde_json::Error, pointer: String) -> ApiError {
    if !error.is_data() {
        let detail = format!("the body is not JSON: {error}");
        let problem = Problem::new(ErrorCode::MalformedJson, detail)
            .with("line", error.line())
            .with("column", error.column());
        return ApiError(problem);
    }
    let text = error.to_string();
    // The position says nothing that the pointer does not say better.
    let reason = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(reason, _)| reason);
    // What is missing has no place of its own in the document: it is named where it should be.
    if let Some(name) = reason.strip_prefix("missing field").and_then(quoted) {
        let pointer = format!("{pointer}/{name}");
        return ApiError(field_problem("is required", &pointer));
    }
    ApiError(field_problem(reason, &pointer))
}

fn field_problem(reason: &str, pointer: &str) -> Problem {
    let code = if reason.starts_with("unknown field") {
        ErrorCode::UnknownField
    } else if reason.starts_with("a name ") {
        ErrorCode::InvalidName
    } else {
        ErrorCode::InvalidParameter
    };
    let place = if pointer.is_empty() {
        "the body"
    } else {
        pointer
    };
    Problem::new(code, format!("{place}: {reason}")).at(pointer, reason)
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                pointer.push('/');
                pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
            }
            // Variants have no place of their own in the document.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Query parameters. Types with `deny_unknown_fields` refuse unknown ones; `Vec` fields take a
/// parameter that is given several times.
///
/// # Errors
/// 400 `invalid_parameter` (or `invalid_name`) naming the parameter.
#[derive(Debug, Clone, Copy)]
pub struct ApiQuery<T>(pub T);

/// Marks a request whose route takes `?ticket=`, so that [`ApiQuery`] does not call it unknown.
#[derive(Debug, Clone, Copy)]
pub struct TicketParameter;

impl<T, S> FromRequestParts<S> for ApiQuery<T>
where
    T: DeserializeOwned,
    S: Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = parts.uri.query().unwrap_or_default();
        if parts.extensions.get::<TicketParameter>().is_some() {
            let kept: Vec<_> = query
                .split('&')
                .filter(|pair| !pair.starts_with("ticket="))
                .collect();
            return parse_query(&kept.join("&")).map(Self);
        }
        parse_query(query).map(Self)
    }
}

fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    if !is_utf8_when_decoded(query) {
        return Err(ApiError::new(
            ErrorCode::InvalidParameter,
            "the query string is not UTF-8",
        ));
    }
    let reader = serde_html_form::Deserializer::from_bytes(query.as_bytes());
    serde_path_to_error::deserialize(reader).map_err(|error| {
        let path = error.path().iter().next().map(ToString::to_string);
        let text = error.inner().to_string();
        let name = path
            .or_else(|| quoted(&text).map(str::to_owned))
            .unwrap_or_default();
        let code = if text.starts_with("a name ") {
            ErrorCode::InvalidName
        } else {
            ErrorCode::InvalidParameter
        };
        let reason = text.replace("unknown field", "unknown parameter");
        let reason = reason.replace("missing field", "missing parameter");
        ApiError(Problem::new(code, format!("query parameter {name}: {reason}")).at(name, reason))
    })
}

// serde puts the field's name between backquotes.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

// Decoders replace what is not UTF-8; we would rather say so.
fn is_utf8_when_decoded(query: &str) -> bool {
    if !query.contains('%') {
        return true;
    }
    let bytes = query.as_bytes();
    let hex = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    std::str::from_utf8(&decoded).is_ok()
}

/// Parts of the path.
///
/// # Errors
/// 400 `invalid_name` for a name that is none, else 400 `invalid_parameter`.
#[derive(Debug, Clone, Copy)]
pub struct ApiPath<T>(pub T);

impl<T, S> FromRequestParts<S> for ApiPath<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(value)| Self(value)).map_err(|rejection| {
            let matched = parts.extensions.get::<MatchedPath>();
            let only = matched.and_then(|matched| only_parameter(matched.as_str()));
            ApiError(path_problem(rejection, only.unwrap_or("path")))
        })
    }
}

/// The parameter of a route that has one.
fn only_parameter(route: &str) -> Option<&str> {
    let (_, rest) = route.split_once('{')?;
    let (name, rest) = rest.split_once('}')?;
    (!rest.contains('{')).then_some(name)
}

/// `only`: what a part without a name is called.
fn path_problem(rejection: PathRejection, only: &str) -> Problem {
    let PathRejection::FailedToDeserializePathParams(failed) = rejection else {
        return Problem::new(ErrorCode::Internal, "the route has no such path parameters");
    };
    let (place, reason) = match failed.into_kind() {
        ErrorKind::ParseErrorAtKey {
            key,
            value,
            expected_type,
        } => (key, format!("{value:?} is not a {expected_type}")),
        ErrorKind::ParseErrorAtIndex {
            index,
            value,
            expected_type,
        } => (
            format!("part {index}"),
            format!("{value:?} is not a {expected_type}"),
        ),
        ErrorKind::ParseError {
            value,
            expected_type,
        } => (
            only.to_owned(),
            format!("{value:?} is not a {expected_type}"),
        ),
        ErrorKind::InvalidUtf8InPathParam { key } => (key, "is not UTF-8".to_owned()),
        ErrorKind::DeserializeError { key, message, .. } => (key, message),
        other => (only.to_owned(), other.to_string()),
    };
    let code = if reason.contains("a name ") {
        ErrorCode::InvalidName
    } else {
        ErrorCode::InvalidParameter
    };
    Problem::new(code, format!("{place}: {reason}")).at(place, reason)
}

/// Fallback for paths without a route.
pub async fn fallback_not_found(uri: Uri) -> ApiError {
    let detail = format!("there is no route {}", shortened(uri.path()));
    ApiError::new(ErrorCode::RouteNotFound, detail)
}

/// Fallback for routes without the method; the router adds `Allow`.
pub async fn fallback_method(method: Method, uri: Uri) -> ApiError {
    let path = shortened(uri.path());
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        format!("{method} is not a method of {path}"),
    )
}

// Paths come from strangers and go into answers and logs.
fn shortened(path: &str) -> String {
    const SHOWN_MAX: usize = 200;
    let mut shown: String = path.chars().take(SHOWN_MAX).collect();
    if shown.len() < path.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;
