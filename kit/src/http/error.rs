//! The one error of handlers and how it becomes a response.
//!
//! Only shapes; which code a fact has is decided where the fact is found. The problem travels beside
//! the rendered body, so that the edge can put the request's id into it without parsing.

use std::fmt;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use tidegate_proto::error::{ErrorCode, Problem};

/// Media type of problems.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What handlers return.
pub type ApiResult<T> = Result<T, ApiError>;

/// A problem on its way to the client.
#[derive(Debug, Clone)]
pub struct ApiError(pub Problem);

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl ApiError {
    /// A problem with that code and sentence.
    #[must_use]
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = problem_response(&self.0);
        response.extensions_mut().insert(Attached(self.0));
        response
    }
}

/// The problem behind an error response, until the edge has named the request in it.
#[derive(Clone)]
pub(super) struct Attached(pub(super) Problem);

/// `problem` as a whole response, without the way back to it that [`ApiError`] leaves.
#[must_use]
pub fn problem_response(problem: &Problem) -> Response {
    let mut response = Response::new(problem_body(problem));
    *response.status_mut() =
        StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = problem.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.status() == 401 {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"tidegate\""),
        );
    }
    response
}

pub(super) fn problem_body(problem: &Problem) -> Body {
    // Strings and numbers always serialize; an empty body is the worst that can be sent otherwise.
    Body::from(serde_json::to_vec(problem).unwrap_or_default())
}

/// 501 for what the surface names but this build does not do.
#[must_use]
pub fn not_supported(feature: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotSupported,
        format!("{feature} is not supported yet"),
    )
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn a_problem_becomes_a_response_with_its_headers() {
        let problem = Problem::new(ErrorCode::Throttled, "slow down").retry_after(7);
        let response = ApiError(problem.clone()).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers()[RETRY_AFTER], "7");
        assert!(response.headers().get(WWW_AUTHENTICATE).is_none());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(serde_json::from_slice::<Problem>(&body).unwrap(), problem);
    }

    #[test]
    fn a_challenge_comes_with_401_only() {
        let response = ApiError::new(ErrorCode::Unauthenticated, "no token").into_response();
        assert!(
            response.headers()[WWW_AUTHENTICATE]
                .to_str()
                .unwrap()
                .starts_with("Bearer")
        );
        assert_eq!(not_supported("filter").into_response().status(), 501);
    }
}
