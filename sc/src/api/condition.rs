//! Versions in headers: `ETag` tells one, `If-Match` makes a write conditional on it.
//!
//! What is not understood is refused, never ignored: a write whose condition was dropped would be a
//! different write.

use axum::http::header::{HeaderName, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_sc_core::decision::IfMatch;
use utoipa::IntoParams;

use crate::limits::IF_MATCH_BYTES_MAX;

/// The header that says what a write did.
pub(super) const TIDEGATE_RESULT: HeaderName = HeaderName::from_static("tidegate-result");

/// The precondition as a header, for the document.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(
    dead_code,
    reason = "describes the header; read from the request itself"
)]
pub(super) struct IfMatchHeader {
    /// Only if it is at this version, as its `ETag` told it; `*` for any.
    #[param(
        rename = "If-Match",
        min_length = 1,
        max_length = 1024,
        pattern = r#"^([*]|(W/)?"[0-9A-Za-z._-]{1,24}"( ?, ?(W/)?"[0-9A-Za-z._-]{1,24}"){0,31})$"#,
        example = "\"3\""
    )]
    if_match: Option<String>,
}

/// The `ETag` of something at that version.
pub(super) fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("a quoted number is a header value")
}

/// The precondition that the headers carry.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
    let mut versions = Vec::new();
    let mut found = false;
    for value in headers.get_all(IF_MATCH) {
        found = true;
        let text = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= IF_MATCH_BYTES_MAX);
        let text = text.ok_or_else(|| bad("is too long or not text"))?;
        if text.trim() == "*" {
            return Ok(Some(IfMatch::Any));
        }
        for tag in text.split(',') {
            versions.extend(version(tag.trim())?);
        }
    }
    Ok(found.then_some(IfMatch::Versions(versions)))
}

/// The version that a tag names. Tags that are well-formed but none of ours match nothing.
fn version(tag: &str) -> Result<Option<u64>, Problem> {
    let (is_weak, quoted) = tag
        .strip_prefix("W/")
        .map_or((false, tag), |quoted| (true, quoted));
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.filter(|inner| quoted.len() >= 2 && !inner.contains('"'));
    let inner =
        inner.ok_or_else(|| bad("is * or versions in quotes, as ETag gives them: \"3\""))?;
    Ok(inner.parse().ok().filter(|_| !is_weak))
}

fn bad(what: &str) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, format!("If-Match {what}")).at("If-Match", what)
}
