//! The control plane as the gateway offers it: passed on to whichever controller answers.
//!
//! The caller's credential goes along, and the controller judges it itself: the gateway has no rights of its
//! own. A request is rebuilt from its parts, never copied as bytes. Invariant: a change is sent again only
//! when it is certain that nobody has got it, or when its key keeps it from being made twice.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, ORIGIN, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method};
use tidegate_kit::auth::{Auth, Authenticated};
use tidegate_kit::channel::{Channel, ChannelBody, ChannelError};
use tidegate_kit::http::{ApiError, ApiResult, read_body};
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::time::timeout;

/// Largest request to the control plane: a topic with a thousand partitions placed by hand is 50 KiB.
const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// For the head of an answer; what follows may be a stream without end.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a controller is asked before the caller is told to come back.
const ATTEMPTS_MAX: u32 = 4;
/// Before the second time; then twice as long each: while one controller stops, the channel finds another.
const PAUSE: Duration = Duration::from_millis(50);
/// Routes that every control plane has; the rest goes by the last one, so that a controller may be newer
/// than its gateways.
const ROUTES: [&str; 6] = [
    "/v1/cluster",
    "/v1/topics",
    "/v1/topics/{topic}",
    "/v1/topics/{topic}/partitions",
    "/v1/topics/{topic}/partitions/{partition}",
    "/v1/{*rest}",
];
/// The controllers keep the first answer under it and give it again.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Headers of one connection, and those that this side answers for.
const NOT_PASSED: [HeaderName; 10] = [
    ACCEPT_ENCODING,
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    HOST,
    ORIGIN,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The routes of the control plane, over a channel to the controllers' private listeners.
pub fn control_plane(controllers: Channel, auth: &Auth) -> Router {
    let router = ROUTES
        .iter()
        .fold(Router::new(), |router, path| router.route(path, any(pass)));
    auth.layer(router.with_state(controllers))
}

async fn pass(
    State(controllers): State<Channel>,
    _known_here_too: Authenticated,
    request: Request,
) -> ApiResult<Response> {
    let (head, body) = request.into_parts();
    let body = read_body(body, REQUEST_BYTES_MAX).await?;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let is_read = head.method == Method::GET || head.method == Method::HEAD;
    let is_repeatable = is_read || head.headers.contains_key(IDEMPOTENCY_KEY);
    let (mut refused, mut is_open) = (None, false);
    for attempt in 0..ATTEMPTS_MAX {
        if attempt > 0 {
            tokio::time::sleep(PAUSE * (1 << (attempt - 1))).await;
        }
        let request = rebuilt(&head.method, path, &head.headers, body.clone())?;
        let answer = timeout(ANSWER_TIMEOUT, controllers.send(request)).await;
        match answer {
            // Nothing was done, it says. A controller that stops has told the channel so, which is about to be
            // with another; to leave this one here would end what others ask of it.
            Ok(Ok(answer)) if is_passing(&answer) && (is_open || refused.is_none()) => {
                refused = Some(answer);
            }
            Ok(Ok(answer)) if is_open && is_of_the_repeat(&answer) => return Err(unknown()),
            Ok(Ok(answer)) => return Ok(given(answer)),
            Ok(Err(ChannelError::Lost(reason))) if !is_repeatable => {
                tracing::info!(%reason, "the answer of a controller was lost");
                return Err(unknown());
            }
            Ok(Err(error)) => {
                is_open |= !is_read && matches!(error, ChannelError::Lost(_));
                tracing::debug!(%error, "a controller did not answer");
            }
            Err(_) if is_read => return Err(unavailable()),
            Err(_) => return Err(unknown()),
        }
    }
    match refused {
        // What is refused now may have been done before.
        _ if is_open => Err(unknown()),
        Some(answer) => Ok(given(answer)),
        None => Err(unavailable()),
    }
}

/// Whether this is the refusal of a controller that stops, or has lost its store.
fn is_passing(answer: &http::Response<ChannelBody>) -> bool {
    answer.status() == http::StatusCode::SERVICE_UNAVAILABLE
}

/// Whether this may be said of a repeat although the attempt before it was carried out: it was turned away
/// before its key was looked up, or failed on the way.
fn is_of_the_repeat(answer: &http::Response<ChannelBody>) -> bool {
    let status = answer.status();
    status == http::StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

fn rebuilt(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<http::Request<Body>, ApiError> {
    let mut request = http::Request::builder()
        .method(method.clone())
        .uri(path)
        .body(Body::from(body))
        .map_err(|_| ApiError::new(ErrorCode::InvalidParameter, "the path cannot be passed on"))?;
    copy(headers, request.headers_mut());
    Ok(request)
}

fn given(answer: http::Response<ChannelBody>) -> Response {
    let (head, body) = answer.into_parts();
    let mut response = Response::new(Body::new(body));
    *response.status_mut() = head.status;
    copy(&head.headers, response.headers_mut());
    response
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        let is_forwarded = name.as_str().starts_with("x-forwarded-") || name == "forwarded";
        if !NOT_PASSED.contains(name) && !is_forwarded {
            to.append(name, value.clone());
        }
    }
}

fn unknown() -> ApiError {
    Problem::new(
        ErrorCode::OutcomeUnknown,
        "the controller's answer was lost; look before trying again",
    )
    .into()
}

fn unavailable() -> ApiError {
    Problem::new(
        ErrorCode::Unavailable,
        "no controller can be reached; records are served all the same",
    )
    .into()
}

#[cfg(test)]
mod tests;
