//! `/v1/spus`: the storage units.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiQuery, ApiResult};
use tidegate_proto::api::cluster::SpuList;
use tidegate_proto::id::SpuId;

use super::page::PageQuery;
use super::problems::ListProblems;
use super::{Api, view};

/// Lists the storage units
///
/// By id. Units appear when they register.
#[utoipa::path(
    get,
    path = "/v1/spus",
    operation_id = "list_spus",
    tag = "spus",
    params(PageQuery),
    responses((status = 200, description = "A page of storage units", body = SpuList), ListProblems)
)]
pub(super) async fn list_spus(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<SpuList>> {
    require(&principal, Op::Describe, None)?;
    let page = query.page::<SpuId>()?;
    let model = api.controller.model();
    let start = page.after.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = model
        .spus
        .range((start, Bound::Unbounded))
        .map(|(_, row)| row)
        .filter(|row| !row.removed);
    let (items, next) = page.cut(
        rows,
        |row| row.spu.to_string(),
        |row| view::spu(&model, row),
    );
    Ok(Json(SpuList { items, next }))
}
