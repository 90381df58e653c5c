//! Marks answers that may be old: the store is away, or is not to be believed.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;

/// For how many milliseconds the controller has not heard from the store that its answers come from.
const TIDEGATE_STALE: HeaderName = HeaderName::from_static("tidegate-stale");

pub(super) async fn mark_stale(State(api): State<Api>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let stale = api.controller.condition().borrow().stale_for();
    if let Some(stale) = stale
        && response.status().is_success()
        && let Ok(value) = HeaderValue::try_from(stale.as_millis().to_string())
    {
        response.headers_mut().insert(TIDEGATE_STALE, value);
    }
    response
}
