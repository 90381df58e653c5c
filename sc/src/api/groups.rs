//! `/v1/spu-groups`: groups of storage units, which come and go as one.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::spu::{SpuGroup, SpuGroupList, SpuGroupRequest};
use tidegate_proto::api::topic::{DryRun, WriteResult};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::SpuGroupName;
use tidegate_sc_core::decision::{Decision, Request, SpuGroupWrite};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal;

use super::answer::Answer;
use super::bodies::{CreateSpuGroup, EnsureSpuGroup};
use super::condition::{IfMatchHeader, etag};
use super::page::{NamePages, PageQuery};
use super::problems::{
    CreateProblems, EnsureProblems, ListProblems, ReadProblems, StandingProblems,
};
use super::write::{Body, KeyHeader, WriteQuery, Writer};
use super::{Api, view};

/// Lists the groups of storage units
///
/// By name. The group `default` is there without being made and takes in any number of units; it is
/// listed once it was made, which bounds it.
#[utoipa::path(
    get,
    path = "/v1/spu-groups",
    operation_id = "list_spu_groups",
    tag = "spus",
    params(NamePages),
    responses((status = 200, description = "A page of groups", body = SpuGroupList, headers(("Tidegate-Revision" = u64, description = "Follow changes from here: `from_revision` of `/v1/watch`"))), ListProblems)
)]
pub(super) async fn list_spu_groups(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<SpuGroupList>> {
    require(&principal, Op::Describe, None)?;
    let page = query.page::<SpuGroupName>()?;
    let model = api.controller.model();
    let start = page
        .after
        .as_ref()
        .map_or(Bound::Unbounded, Bound::Excluded);
    let rows = model
        .spu_groups
        .range::<SpuGroupName, _>((start, Bound::Unbounded))
        .map(|(_, row)| row)
        .filter(|row| !row.removed);
    let (items, next) = page.cut(
        rows,
        |row| row.name.to_string(),
        |row| view::spu_group(&model, row),
    );
    Ok(Json(SpuGroupList { items, next }))
}

/// Creates a group of storage units
///
/// Its units join with the name of the group, and get ids and racks from it. Refused when there is one of
/// that name; PUT ensures instead.
#[utoipa::path(
    post,
    path = "/v1/spu-groups",
    operation_id = "create_spu_group",
    tag = "spus",
    params(WriteQuery, KeyHeader),
    request_body(
        content = CreateSpuGroup,
        description = "What the group should be; `name` and `replicas` are required"
    ),
    responses(
        (status = 201, description = "The group was created", body = SpuGroup, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Location" = String, description = "Its path"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        CreateProblems
    )
)]
pub(super) async fn create_spu_group(
    State(api): State<Api>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<SpuGroupRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_if_match("a group is created")?;
    let Some(name) = body.value.name.clone() else {
        let problem = Problem::new(ErrorCode::InvalidParameter, "the group needs a name");
        return Err(problem.at("/name", "is required").into());
    };
    let write = Request::CreateSpuGroup(SpuGroupWrite {
        name: name.clone(),
        request: body.value,
        if_match: None,
    });
    let shape = shape(name);
    writer
        .carry_out(&api, query, &body.bytes, write, shape)
        .await
}

/// Describes a group of storage units
///
/// What was asked for, and how many units belong to it now.
#[utoipa::path(
    get,
    path = "/v1/spu-groups/{group}",
    operation_id = "get_spu_group",
    tag = "spus",
    params(("group" = SpuGroupName, Path, description = "Name of the group")),
    responses(
        (status = 200, description = "The group", body = SpuGroup, headers(
            ("ETag" = String, description = "Its version, quoted: what `If-Match` takes")
        )),
        ReadProblems
    )
)]
pub(super) async fn get_spu_group(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(name): ApiPath<SpuGroupName>,
) -> ApiResult<Response> {
    require(&principal, Op::Describe, None)?;
    let model = api.controller.model();
    let row = model.spu_group(&name);
    let row = row.ok_or_else(|| Problem::from(Refusal::SpuGroupNotFound(name)))?;
    let headers = [(ETAG, etag(row.version))];
    Ok((headers, Json(view::spu_group(&model, row))).into_response())
}

/// Ensures a group of storage units
///
/// Creates it, or changes it into what is asked: absent fields stay, `null` is the default again. Units
/// that belong to it stay as they are; a group cannot become smaller than what it has.
#[utoipa::path(
    put,
    path = "/v1/spu-groups/{group}",
    operation_id = "ensure_spu_group",
    tag = "spus",
    params(
        ("group" = SpuGroupName, Path, description = "Name of the group"),
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    request_body(content = EnsureSpuGroup, description = "What the group should be"),
    responses(
        (status = 200, description = "The group as it is now, or with `dry_run` what would be done",
            body = inline(SpuGroupAnswer), headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        (status = 201, description = "The group was created", body = SpuGroup, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        EnsureProblems
    )
)]
pub(super) async fn ensure_spu_group(
    State(api): State<Api>,
    ApiPath(name): ApiPath<SpuGroupName>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<SpuGroupRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    if body.value.name.as_ref().is_some_and(|given| *given != name) {
        let what = "is another one than in the path; groups are not renamed";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("/name: {what}"));
        return Err(problem.at("/name", what).into());
    }
    let write = Request::EnsureSpuGroup(SpuGroupWrite {
        name: name.clone(),
        request: body.value,
        if_match: writer.if_match.clone(),
    });
    let shape = shape(name);
    writer
        .carry_out(&api, query, &body.bytes, write, shape)
        .await
}

/// Deletes a group of storage units
///
/// One that no unit belongs to.
#[utoipa::path(
    delete,
    path = "/v1/spu-groups/{group}",
    operation_id = "delete_spu_group",
    tag = "spus",
    params(
        ("group" = SpuGroupName, Path, description = "Name of the group"),
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    responses(
        (status = 204, description = "The group is gone", headers(
            ("Tidegate-Result" = String, description = "`deleted`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        StandingProblems
    )
)]
pub(super) async fn delete_spu_group(
    State(api): State<Api>,
    ApiPath(name): ApiPath<SpuGroupName>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    let write = Request::RemoveSpuGroup {
        name: name.clone(),
        if_match: writer.if_match.clone(),
    };
    writer.carry_out(&api, query, &[], write, shape(name)).await
}

/// What PUT answers with 200: the group, or with `dry_run` what would be done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum SpuGroupAnswer {
    #[schema(title = "SpuGroup")]
    SpuGroup(Box<SpuGroup>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

fn shape(name: SpuGroupName) -> impl Fn(&Decision, &Model) -> Answer + Send + Sync + 'static {
    move |decision, model| match model.spu_group(&name) {
        Some(row) if decision.result != WriteResult::Deleted => {
            Answer::of(decision.result, &view::spu_group(model, row))
                .version(row.version)
                .location(format!("/v1/spu-groups/{name}"))
        }
        _ => Answer::deleted(),
    }
}
