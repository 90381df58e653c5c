//! The problem object of RFC 9457, as this API fills it.
//!
//! Built with a code and a sentence, refined by chaining. Reading one back keeps what the sender said
//! (status, retryable, extras), even when its code is newer than this build.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::code::ErrorCode;
use crate::name::NameError;

/// Whether a failed request may have done something all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum SideEffects {
    /// Certainly not.
    None,
    /// It may have.
    Possible,
}

/// One fault at one place of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// JSON pointer into the body (`/records/3/key`), or the name of a header or query parameter.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// What went wrong (RFC 9457). Further fields hold facts that belong to the code, such as `limit`,
/// `log_start`, `end` or `next_cursor`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Problem))]
struct Wire {
    /// Where the code is explained: `/docs/errors/<code>`.
    #[serde(rename = "type")]
    kind: Cow<'static, str>,
    title: Cow<'static, str>,
    /// The HTTP status.
    status: u16,
    /// What happened this time, for people.
    detail: String,
    /// What happened, for programs.
    code: Cow<'static, str>,
    /// True when sending the same request again may succeed.
    retryable: bool,
    side_effects: SideEffects,
    /// Names the request in the server's logs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Faults by place, when there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(ignore))]
    extras: Map<String, Value>,
}

/// An error as callers get it. Cheap to move: one pointer.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Problem(Box<Wire>);

impl Problem {
    /// A problem with that code; `detail` says in a sentence what happened this time.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        let is_definite = code.is_definite();
        Self(Box::new(Wire {
            kind: Cow::Owned(format!("/docs/errors/{code}")),
            title: Cow::Borrowed(code.title()),
            status: code.status(),
            detail: detail.into(),
            code: Cow::Borrowed(code.as_str()),
            retryable: code.is_retryable(),
            side_effects: if is_definite {
                SideEffects::None
            } else {
                SideEffects::Possible
            },
            request_id: None,
            errors: Vec::new(),
            extras: Map::new(),
        }))
    }

    /// Adds a fact for programs beside the standard fields.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.extras.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a fault at a place: a JSON pointer, or the name of a header or query parameter.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let error = FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        };
        self.0.errors.push(error);
        self
    }

    /// Says whether the request may have done something; the default follows from the code.
    #[must_use]
    pub fn side_effects(mut self, side_effects: SideEffects) -> Self {
        self.0.side_effects = side_effects;
        self
    }

    /// Says whether the same request may succeed later; the default follows from the code.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Tells after how many seconds to try again.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with("retry_after_s", seconds)
    }

    /// Names the request in the server's logs.
    #[must_use]
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.0.request_id = Some(request_id.into());
        self
    }

    /// Replaces the sentence for people.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// The code; [`ErrorCode::Internal`] when this build does not know the sender's.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code.parse().unwrap_or(ErrorCode::Internal)
    }

    /// The code as the sender wrote it.
    #[must_use]
    pub fn code_str(&self) -> &str {
        &self.0.code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.0.status
    }

    /// The sentence for people.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// True when sending the same request again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// True when the request certainly had no effect.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        self.0.side_effects == SideEffects::None
    }

    /// Seconds to wait before another try: as told, else 1 for 429 and 503, else none.
    #[must_use]
    pub fn retry_after_s(&self) -> Option<u64> {
        let told = self.0.extras.get("retry_after_s").and_then(Value::as_u64);
        told.or(matches!(self.0.status, 429 | 503).then_some(1))
    }

    /// The request's name in the server's logs, when it is known.
    #[must_use]
    pub fn request_id_str(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// The faults by place.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// A fact beside the standard fields.
    #[must_use]
    pub fn extra(&self, name: &str) -> Option<&Value> {
        self.0.extras.get(name)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)?;
        for error in &self.0.errors {
            write!(f, "; {}: {}", error.pointer, error.detail)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Problem")
            .field("code", &self.0.code)
            .field("detail", &self.0.detail)
            .field("side_effects", &self.0.side_effects)
            .field("errors", &self.0.errors)
            .field("extras", &self.0.extras)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Problem {}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        Self::new(ErrorCode::InvalidName, error.to_string())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Problem {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Wire::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Problem {
    fn schemas(
        schemas: &mut Vec<(
            String,
            utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>,
        )>,
    ) {
        Wire::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_documented_shape() {
        let problem = Problem::new(ErrorCode::OffsetOutOfRange, "offset 9 is above the end")
            .with("end", 5)
            .at("from", "is above the end")
            .request_id("r1");
        let expected = serde_json::json!({
            "type": "/docs/errors/offset_out_of_range", "title": "Offset out of range", "status": 416,
            "detail": "offset 9 is above the end", "code": "offset_out_of_range", "retryable": false,
            "side_effects": "none", "request_id": "r1",
            "errors": [{"pointer": "from", "detail": "is above the end"}], "end": 5,
        });
        assert_eq!(serde_json::to_value(&problem).unwrap(), expected);
        assert_eq!(
            serde_json::from_value::<Problem>(expected).unwrap(),
            problem
        );
    }

    #[test]
    fn a_code_of_a_newer_server_is_kept_as_told() {
        let text = r#"{"type":"/docs/errors/new","title":"New","status":503,"detail":"d","code":"new",
            "retryable":true,"side_effects":"none"}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert_eq!(problem.code(), ErrorCode::Internal);
        assert_eq!(
            (problem.code_str(), problem.status(), problem.is_retryable()),
            ("new", 503, true)
        );
        assert_eq!(problem.retry_after_s(), Some(1));
    }

    #[cfg(feature = "openapi")]
    #[test]
    fn the_schema_allows_extras_beside_the_standard_fields() {
        let schema = serde_json::to_value(<Problem as utoipa::PartialSchema>::schema()).unwrap();
        assert_eq!(<Problem as utoipa::ToSchema>::name(), "Problem");
        assert_eq!(schema["type"], "object");
        assert_eq!(schema.get("additionalProperties"), None);
        let fields = schema["properties"].as_object().unwrap();
        for field in ["side_effects", "request_id", "errors", "retryable"] {
            assert!(fields.contains_key(field), "{field}");
        }
        assert!(!fields.contains_key("extras"));
    }

    #[test]
    fn side_effects_follow_the_code_until_told_otherwise() {
        assert!(!Problem::new(ErrorCode::OutcomeUnknown, "x").is_definite());
        let problem = Problem::new(ErrorCode::MalformedJson, "line 7");
        assert!(problem.is_definite());
        assert!(!problem.side_effects(SideEffects::Possible).is_definite());
        assert_eq!(
            Problem::new(ErrorCode::Throttled, "x")
                .retry_after(7)
                .retry_after_s(),
            Some(7)
        );
    }
}
