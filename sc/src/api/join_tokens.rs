//! `/v1/join-tokens`: tokens with which nodes become part of the cluster.
//!
//! Invariant: a token is shown once, to who made it.

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiError, ApiJson, ApiPath, ApiQuery, ApiResult, not_supported};
use tidegate_proto::api::join::{JoinToken, JoinTokenList, JoinTokenRequest};
use tidegate_proto::error::ErrorCode;

use super::Api;
use super::page::PageQuery;
use super::problems::{JoinTokenProblems, JoinTokensProblems};
use crate::admission::Admission;

/// Lists the join tokens
///
/// Those that have not expired, used ones too; the oldest first. The tokens themselves are not shown.
#[utoipa::path(
    get,
    path = "/v1/join-tokens",
    operation_id = "list_join_tokens",
    tag = "cluster",
    params(PageQuery),
    responses((status = 200, description = "Join tokens", body = JoinTokenList), JoinTokensProblems)
)]
pub(super) async fn list_join_tokens(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<JoinTokenList>> {
    require(&principal, Op::Admin, None)?;
    let page = query.page::<String>()?;
    let tokens = admission(&api)?.tokens().await?;
    // Ids are in no order: a page begins behind the one that ended the last.
    let is_last = |token: &JoinToken| Some(&token.id) == page.after.as_ref();
    let start = tokens.iter().position(is_last).map_or(0, |at| at + 1);
    let rows = tokens.into_iter().skip(start);
    let (items, next) = page.cut(rows, |token| token.id.clone(), |token| token);
    Ok(Json(JoinTokenList { items, next }))
}

/// Makes a join token
///
/// The token is in this answer and can never be read again. The node that is started with it becomes part
/// of the cluster; then the token is used up.
#[utoipa::path(
    post,
    path = "/v1/join-tokens",
    operation_id = "create_join_token",
    tag = "cluster",
    request_body = JoinTokenRequest,
    responses(
        (status = 201, description = "The token", body = JoinToken,
            headers(("Location" = String, description = "Where it can be taken back"))),
        JoinTokenProblems
    )
)]
pub(super) async fn create_join_token(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    headers: HeaderMap,
    ApiJson(request): ApiJson<JoinTokenRequest>,
) -> ApiResult<Response> {
    require(&principal, Op::Admin, None)?;
    // Its repeat would have to show the secret again, which is not kept.
    if headers.contains_key("idempotency-key") {
        return Err(not_supported("Idempotency-Key for join tokens"));
    }
    let admission = admission(&api)?;
    let token = admission.create_token(&request, &principal.name).await?;
    let location = format!("/v1/join-tokens/{}", token.id);
    Ok((StatusCode::CREATED, [(LOCATION, location)], Json(token)).into_response())
}

/// Takes a join token back
///
/// Nobody can join with it any more, not even whoever used it. The node that joined with it stays in the
/// cluster and goes on renewing its certificate; removing the unit, or letting another node join under its
/// name, ends that.
#[utoipa::path(
    delete,
    path = "/v1/join-tokens/{id}",
    operation_id = "delete_join_token",
    tag = "cluster",
    params(("id" = String, Path, description = "Id of the token")),
    responses((status = 204, description = "It is taken back"), JoinTokenProblems)
)]
pub(super) async fn delete_join_token(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(id): ApiPath<String>,
) -> ApiResult<StatusCode> {
    require(&principal, Op::Admin, None)?;
    if admission(&api)?.revoke_token(&id).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(ApiError::new(
        ErrorCode::JoinTokenNotFound,
        "there is no join token of this id, or it has expired",
    ))
}

/// One process that is all there is takes in no others.
fn admission(api: &Api) -> ApiResult<&Admission> {
    let admission = api.admission.as_ref();
    admission.ok_or_else(|| not_supported("joining this server"))
}
