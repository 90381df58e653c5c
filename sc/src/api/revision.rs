//! Tells from which revision to follow what was read.
//!
//! It is looked up before the handler looks at the state, so that an answer is never older than it says:
//! changes that are told twice do no harm, as every entry of a watch carries the whole thing.

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;

/// Changes after this revision may be missing from the answer; none before it is.
const TIDEGATE_REVISION: HeaderName = HeaderName::from_static("tidegate-revision");

pub(super) async fn tell_revision(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Response {
    let is_read = request.method() == Method::GET;
    // What is told to watchers and what is shown are published one after the other.
    let shown = api.controller.model().revision;
    let revision = shown.min(api.controller.history().newest().seen.revision);
    let mut response = next.run(request).await;
    if is_read && response.status().is_success() {
        let headers = response.headers_mut();
        headers.insert(TIDEGATE_REVISION, HeaderValue::from(revision));
    }
    response
}
