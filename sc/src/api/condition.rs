//! Headers and parameters that make a write conditional: `If-Match`, `dry_run`, `Idempotency-Key`.
//!
//! What is not understood is refused, never ignored: a write whose condition was dropped would be a
//! different write.

use axum::extract::FromRequestParts;
use axum::http::header::{HeaderName, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use tidegate_kit::http::{ApiError, not_supported};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_sc_core::decision::IfMatch;
use utoipa::IntoParams;

use crate::limits::IF_MATCH_BYTES_MAX;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header that says what a write did.
pub(super) const TIDEGATE_RESULT: HeaderName = HeaderName::from_static("tidegate-result");

/// Conditions of a write, from its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) if_match: Option<IfMatch>,
}

/// Parameters of a write.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WriteQuery {
    /// Say what would be done, and do nothing.
    #[serde(default)]
    #[param(default = false)]
    pub(super) dry_run: bool,
}

impl<S: Sync> FromRequestParts<S> for Condition {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        if parts.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(not_supported("Idempotency-Key on control-plane writes"));
        }
        Ok(Self {
            if_match: if_match(&parts.headers)?,
        })
    }
}

/// The `ETag` of something at that version.
pub(super) fn etag(version: u64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{version}\"")).expect("a quoted number is a header value")
}

fn if_match(headers: &HeaderMap) -> Result<Option<IfMatch>, Problem> {
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
