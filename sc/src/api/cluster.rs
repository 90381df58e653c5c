//! `/v1/cluster`: the cluster as a whole.

use axum::Json;
use axum::extract::State;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::ApiResult;
use tidegate_proto::api::cluster::Cluster;

use super::problems::ListProblems;
use super::{Api, view};

/// Describes the cluster
///
/// Identity, revision of the control state, version of the server, and how much there is.
#[utoipa::path(
    get,
    path = "/v1/cluster",
    operation_id = "get_cluster",
    tag = "cluster",
    responses((status = 200, description = "The cluster", body = Cluster), ListProblems)
)]
pub(super) async fn get_cluster(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
) -> ApiResult<Json<Cluster>> {
    require(&principal, Op::Describe, None)?;
    Ok(Json(view::cluster(&api.controller)))
}
