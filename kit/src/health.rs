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

/// Something that operators should know of a running process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// A sentence; open to everybody, so without names or paths.
    pub text: String,
    /// Whether the process should get traffic nevertheless.
    pub ready: bool,
}

#[derive(Clone)]
struct Health {
    ready: watch::Receiver<bool>,
    notice: watch::Receiver<Option<Notice>>,
    metrics: MetricsHandle,
}

/// The three routes. `ready` is false until the process should get traffic; `notice` may say more of
/// it then.
pub fn router(
    ready: watch::Receiver<bool>,
    notice: watch::Receiver<Option<Notice>>,
    metrics: MetricsHandle,
    auth: &Auth,
) -> Router {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Health {
            ready,
            notice,
            metrics,
        });
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

/// Tells that the process answers
///
/// Open to everybody; for whoever restarts processes that do not.
#[utoipa::path(get, path = "/livez", tag = "health", operation_id = "livez", security(()), responses(
    (status = 200, description = "Alive", body = String, content_type = "text/plain"),
))]
async fn livez() -> Response {
    text("ok\n")
}

/// Tells whether the process should get traffic
///
/// Open to everybody; for load balancers. False while it starts and as soon as it begins to stop.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "readyz", security(()), responses(
    (status = 200, description = "Ready", body = String, content_type = "text/plain"),
    (status = 503, description = "Starting, stopping, or unable to take records", body = Problem, content_type = PROBLEM_JSON),
))]
async fn readyz(State(health): State<Health>) -> ApiResult<Response> {
    if !*health.ready.borrow() {
        return Err(ApiError::new(
            ErrorCode::Unavailable,
            "not ready: starting or stopping",
        ));
    }
    let notice = health.notice.borrow().clone();
    match notice {
        None => Ok(text("ok\n")),
        Some(Notice {
            text: said,
            ready: true,
        }) => Ok(text(format!("ok, but {said}\n"))),
        Some(Notice {
            text: said,
            ready: false,
        }) => Err(ApiError::new(
            ErrorCode::Unavailable,
            format!("not ready: {said}"),
        )),
    }
}

/// Gives the metrics of the process in Prometheus' text format
///
/// In the text format of Prometheus; needs the right to describe the cluster.
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

fn text(body: impl IntoResponse) -> Response {
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
        let (notice, noticed) = watch::channel(None);
        let auth = Auth::with_token("t");
        let router = router(is_ready, noticed, crate::metrics::install(), &auth);
        assert_eq!(ask(&router, "/livez", None).await, (200, "ok\n".to_owned()));
        let (status, body) = ask(&router, "/readyz", None).await;
        assert_eq!(status, 503);
        assert!(body.contains("\"code\":\"unavailable\""), "{body}");
        ready.send(true).unwrap();
        assert_eq!(ask(&router, "/readyz", None).await.0, 200);
        for (ready, status) in [(true, 200), (false, 503)] {
            let text = "the disk is odd".to_owned();
            notice.send_replace(Some(Notice { text, ready }));
            let answer = ask(&router, "/readyz", None).await;
            assert_eq!(answer.0, status);
            assert!(answer.1.contains("the disk is odd"), "{}", answer.1);
        }
        assert_eq!(ask(&router, "/metrics", None).await.0, 401);
        let (status, body) = ask(&router, "/metrics", Some("t")).await;
        assert_eq!(status, 200);
        assert!(body.contains("process_start_time_seconds"), "{body}");
    }
}
