//! Consumer groups: named by the surface, not served yet.
//!
//! Answered with 501 rather than 404, so that a client can tell a server without groups from a group
//! that is not there. The caller is identified first, as everywhere.

use axum::routing::any;
use tidegate_kit::http::{ApiError, not_supported};
use utoipa_axum::router::OpenApiRouter;

use crate::caller::Caller;
use crate::state::DataPlane;

/// The group routes. Not in the document until they do something.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new()
        .route("/v1/groups", any(groups_not_yet))
        .route("/v1/groups/{*rest}", any(groups_not_yet))
}

async fn groups_not_yet(_: Caller) -> ApiError {
    not_supported("consumer groups")
}
