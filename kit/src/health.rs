//! `/livez`, `/readyz` and `/metrics`.
//!
//! Alive means that the process answers; ready means that it should get traffic, which is false
//! before start is complete and again as soon as a stop begins. Both are open to everybody;
//! `/metrics` needs the right to describe the cluster.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::sync::watch;
use utoipa::OpenApi as _;

use crate::auth::{Auth, Authenticated, Op, require};
use crate::http::{ApiError, ApiResult, PROBLEM_JSON};
use crate::metrics::MetricsHandle;

#[derive(Clone)]
struct Health {
    ready: watch::Receiver<bool>,
    metrics: MetricsHandle,
}

/// The three routes. `ready` is false until the process should get traffic.
pub fn router(ready: watch::Receiver<bool>, metrics: MetricsHandle, auth: &Auth) -> Router {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Health { ready, metrics });
    auth.layer(router)
}

/// The API description of the three routes.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    Described::openapi()
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(livez, readyz, scrape), tags((name = "health", description = "For operators")))]
struct Described;

/// Tells that the process answers.
#[utoipa::path(get, path = "/livez", tag = "health", operation_id = "livez", security(()), responses(
    (status = 200, description = "Alive", body = String, content_type = "text/plain"),
))]
async fn livez() -> Response {
    text("ok\n")
}

/// Tells whether the process should get traffic.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()), responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "Starting or stopping", body = Problem, content_type = PROBLEM_JSON),
))]
async fn readyz(State(health): State<Health>) -> ApiResult<Response> {
    if *health.ready.borrow() {
        return Ok(text("ok\n"));
    }
    Err(ApiError::new(
        ErrorCode::Unavailable,
        "not ready: starting or stopping",
    ))
}

/// Gives the metrics of the process in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "metrics", responses(
    (status = 200, description = "Metrics", body = String, content_type = "text/plain"),
    (status = 401, description = "No valid credential", body = Problem, content_type = PROBLEM_JSON),
    (status = 403, description = "Not allowed", body = Problem, content_type = PROBLEM_JSON),
))]
async fn scrape(
    State(health): State<Health>,
    Authenticated(principal): Authenticated,
) -> ApiResult<Response> {
    require(&principal, Op::Describe, None)?;
    let body = health.metrics.scrape().await;
    let kind = [
        (CONTENT_TYPE, "text/plain; version=0.0.4"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((kind, body).into_response())
}

fn text(body: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::read_body;

    async fn ask(router: &Router, path: &str, token: Option<&str>) -> (u16, String) {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = read_body(response.into_body(), 1024 * 1024).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_follows_the_process_and_metrics_need_a_token() {
        let (ready, is_ready) = watch::channel(false);
        let router = router(is_ready, crate::metrics::install(), &Auth::with_token("t"));
        assert_eq!(ask(&router, "/livez", None).await, (200, "ok\n".to_owned()));
        let (status, body) = ask(&router, "/readyz", None).await;
        assert_eq!(status, 503);
        assert!(body.contains("\"code\":\"unavailable\""), "{body}");
        ready.send(true).unwrap();
        assert_eq!(ask(&router, "/readyz", None).await.0, 200);
        assert_eq!(ask(&router, "/metrics", None).await.0, 401);
        let (status, body) = ask(&router, "/metrics", Some("t")).await;
        assert_eq!(status, 200);
        assert!(body.contains("process_start_time_seconds"), "{body}");
    }
}
