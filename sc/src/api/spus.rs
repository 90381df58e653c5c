//! `/v1/spus`: the storage units. Registered, described, looked at, emptied, removed.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::cluster::{Spu, SpuList};
use tidegate_proto::api::spu::SpuRequest;
use tidegate_proto::api::topic::{DryRun, WriteResult};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::SpuId;
use tidegate_sc_core::decision::{Decision, Request, SpuWrite};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal;
use tidegate_sc_core::rows::SpuRow;

use super::answer::Answer;
use super::bodies::{CreateSpu, EnsureSpu};
use super::condition::{IfMatchHeader, etag};
use super::page::{NumberPages, PageQuery};
use super::problems::{
    CreateProblems, EnsureProblems, ListProblems, ReadProblems, StandingProblems,
};
use super::write::{Body, KeyHeader, WriteQuery, Writer};
use super::{Api, view};

/// Lists the storage units
///
/// By id: those that registered, and custom ones that have not yet.
#[utoipa::path(
    get,
    path = "/v1/spus",
    operation_id = "list_spus",
    tag = "spus",
    params(NumberPages),
    responses((status = 200, description = "A page of storage units", body = SpuList, headers(("Tidegate-Revision" = u64, description = "Follow changes from here: `from_revision` of `/v1/watch`"))), ListProblems)
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

/// Registers a custom storage unit
///
/// Before it runs: it may then start under this id on any data directory that is new. Units of a group
/// need no registration. Refused when there is a unit of that id; PUT ensures instead.
#[utoipa::path(
    post,
    path = "/v1/spus",
    operation_id = "register_spu",
    tag = "spus",
    params(WriteQuery, KeyHeader),
    request_body(content = CreateSpu, description = "What is said of the unit"),
    responses(
        (status = 201, description = "The unit was registered", body = Spu, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Location" = String, description = "Its path"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        CreateProblems
    )
)]
pub(super) async fn register_spu(
    State(api): State<Api>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<SpuRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_if_match("a storage unit is registered")?;
    let Some(spu) = body.value.id else {
        let problem = Problem::new(ErrorCode::InvalidParameter, "the storage unit needs an id");
        return Err(problem.at("/id", "is required").into());
    };
    let write = Request::EnterSpu(SpuWrite {
        spu,
        request: body.value,
        if_match: None,
    });
    let shape = shape(spu);
    writer
        .carry_out(&api, query, &body.bytes, write, shape)
        .await
}

/// Describes a storage unit
///
/// What was said of it, and whether it is heard of.
#[utoipa::path(
    get,
    path = "/v1/spus/{spu}",
    operation_id = "get_spu",
    tag = "spus",
    params(("spu" = u32, Path, description = "Id of the storage unit")),
    responses(
        (status = 200, description = "The storage unit", body = Spu, headers(
            ("ETag" = String, description = "Its version, quoted: what `If-Match` takes")
        )),
        ReadProblems
    )
)]
pub(super) async fn get_spu(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(spu): ApiPath<SpuId>,
) -> ApiResult<Response> {
    require(&principal, Op::Describe, None)?;
    let model = api.controller.model();
    let row = found(&model, spu)?;
    let headers = [(ETAG, etag(row.version))];
    Ok((headers, Json(view::spu(&model, row))).into_response())
}

/// Ensures a custom storage unit, or says something of any
///
/// Registers it, or changes its rack, site and labels: absent fields stay, `null` forgets what was said.
/// Copies stay where they are; a new rack counts from the next placement on.
#[utoipa::path(
    put,
    path = "/v1/spus/{spu}",
    operation_id = "ensure_spu",
    tag = "spus",
    params(
        ("spu" = u32, Path, description = "Id of the storage unit"),
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    request_body(content = EnsureSpu, description = "What is said of the unit"),
    responses(
        (status = 200, description = "The unit as it is now, or with `dry_run` what would be done",
            body = inline(SpuAnswer), headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        (status = 201, description = "The unit was registered", body = Spu, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        EnsureProblems
    )
)]
pub(super) async fn ensure_spu(
    State(api): State<Api>,
    ApiPath(spu): ApiPath<SpuId>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<SpuRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    if body.value.id.is_some_and(|given| given != spu) {
        let what = "is another one than in the path; units keep their ids";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("/id: {what}"));
        return Err(problem.at("/id", what).into());
    }
    let write = Request::EnsureSpu(SpuWrite {
        spu,
        request: body.value,
        if_match: writer.if_match.clone(),
    });
    let shape = shape(spu);
    writer
        .carry_out(&api, query, &body.bytes, write, shape)
        .await
}

/// Removes a storage unit
///
/// One that holds nothing, and is drained or stopped. Its data directory is not touched; the process, if
/// it still runs, is not let in again.
#[utoipa::path(
    delete,
    path = "/v1/spus/{spu}",
    operation_id = "remove_spu",
    tag = "spus",
    params(
        ("spu" = u32, Path, description = "Id of the storage unit"),
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    responses(
        (status = 204, description = "The unit is gone", headers(
            ("Tidegate-Result" = String, description = "`deleted`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        StandingProblems
    )
)]
pub(super) async fn remove_spu(
    State(api): State<Api>,
    ApiPath(spu): ApiPath<SpuId>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    let write = Request::RemoveSpu {
        spu,
        if_match: writer.if_match.clone(),
    };
    writer.carry_out(&api, query, &[], write, shape(spu)).await
}

/// What PUT answers with 200: the unit, or with `dry_run` what would be done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum SpuAnswer {
    #[schema(title = "Spu")]
    Spu(Box<Spu>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

/// The unit of that id.
pub(super) fn found(model: &Model, spu: SpuId) -> Result<&SpuRow, Problem> {
    Ok(model.spu(spu).ok_or(Refusal::SpuNotFound(spu))?)
}

/// The unit as it is after a write.
pub(super) fn shape(spu: SpuId) -> impl Fn(&Decision, &Model) -> Answer + Send + Sync + 'static {
    move |decision, model| match model.spu(spu) {
        Some(row) if decision.result != WriteResult::Deleted => {
            Answer::of(decision.result, &view::spu(model, row))
                .version(row.version)
                .location(format!("/v1/spus/{spu}"))
        }
        _ => Answer::deleted(),
    }
}
