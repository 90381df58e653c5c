//! Paths that belong to the control plane but not to this version: they say so, and are never ignored.
//!
//! Consumer groups belong to the data plane and are not here.

use axum::Router;
use axum::http::Uri;
use axum::routing::any;
use tidegate_kit::auth::Authenticated;
use tidegate_kit::http::{ApiError, not_supported};

use super::Api;

/// Whole paths that later versions answer.
const PATHS: [&str; 9] = [
    "/v1/principals",
    "/v1/principals/{principal}",
    "/v1/tokens",
    "/v1/tokens/{token}",
    "/v1/acls",
    "/v1/acls/{acl}",
    "/v1/quotas",
    "/v1/quotas/{quota}",
    "/v1/audit",
];

pub(super) fn routes() -> Router<Api> {
    PATHS.iter().fold(Router::new(), |router, path| {
        router.route(path, any(refuse))
    })
}

async fn refuse(_: Authenticated, uri: Uri) -> ApiError {
    not_supported(uri.path())
}
