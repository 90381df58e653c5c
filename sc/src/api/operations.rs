//! `/v1/operations`: long work, how far it is, and how it is stopped.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::operation::{Begun, Operation, OperationList};
use tidegate_proto::api::topic::DryRun;
use tidegate_proto::error::Problem;
use tidegate_proto::id::OperationId;
use tidegate_sc_core::decision::{Decision, Outcome, Request};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal;
use tidegate_sc_core::rows::OperationRow;

use super::answer::Answer;
use super::page::{OperationPages, PageQuery};
use super::problems::{ActionProblems, ListProblems, ReadProblems};
use super::write::{KeyHeader, WriteQuery, Writer};
use super::{Api, view};

/// The place of an operation in the list: the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    created_at_ms: Reverse<i64>,
    id: OperationId,
}

impl Place {
    const fn of(row: &OperationRow) -> Self {
        Self {
            created_at_ms: Reverse(row.created_at_ms),
            id: row.id,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.created_at_ms.0, self.id)
    }
}

/// The text is no place in the list.
#[derive(Debug)]
struct NoPlace;

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let (created_at_ms, id) = text.split_once('.').ok_or(NoPlace)?;
        Ok(Self {
            created_at_ms: Reverse(created_at_ms.parse().map_err(|_| NoPlace)?),
            id: id.parse().map_err(|_| NoPlace)?,
        })
    }
}

/// Lists the operations
///
/// The newest first: those that go on, and the last thousand that ended.
#[utoipa::path(
    get,
    path = "/v1/operations",
    operation_id = "list_operations",
    tag = "operations",
    params(OperationPages),
    responses((status = 200, description = "A page of operations", body = OperationList, headers(("Tidegate-Revision" = u64, description = "Follow changes from here: `from_revision` of `/v1/watch`"))), ListProblems)
)]
pub(super) async fn list_operations(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<OperationList>> {
    require(&principal, Op::Describe, None)?;
    let page = query.page::<Place>()?;
    let model = api.controller.model();
    // Some thousand at most: sorted for each page.
    let mut rows: Vec<&OperationRow> = model.operations.values().collect();
    rows.sort_by_key(|row| Place::of(row));
    let rows = rows.into_iter();
    let rows = rows.filter(|row| page.after.is_none_or(|after| Place::of(row) > after));
    let (items, next) = page.cut(
        rows,
        |row| Place::of(row).to_string(),
        |row| view::operation(&model, row),
    );
    Ok(Json(OperationList { items, next }))
}

/// Describes an operation
///
/// How far it is, in partitions, what it waits for, and when it will be done if it goes on like that.
#[utoipa::path(
    get,
    path = "/v1/operations/{operation}",
    operation_id = "get_operation",
    tag = "operations",
    params(("operation" = uuid::Uuid, Path, description = "Id of the operation")),
    responses((status = 200, description = "The operation", body = Operation), ReadProblems)
)]
pub(super) async fn get_operation(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(id): ApiPath<OperationId>,
) -> ApiResult<Json<Operation>> {
    require(&principal, Op::Describe, None)?;
    let model = api.controller.model();
    let row = model.operations.get(&id);
    let row = row.ok_or_else(|| Problem::from(Refusal::OperationNotFound(id)))?;
    Ok(Json(view::operation(&model, row)))
}

/// Cancels an operation
///
/// What it has moved stays moved; what it began is undone, or finished where that is the shorter way,
/// which may take a moment: `cancelling`. One that ended stays as it is.
#[utoipa::path(
    post,
    path = "/v1/operations/{operation}/cancel",
    operation_id = "cancel_operation",
    tag = "operations",
    params(
        ("operation" = uuid::Uuid, Path, description = "Id of the operation"),
        WriteQuery,
        KeyHeader
    ),
    responses(
        (status = 200, description = "The operation, or with `dry_run` what would be done",
            body = inline(OperationAnswer), headers(
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        ActionProblems
    )
)]
pub(super) async fn cancel_operation(
    State(api): State<Api>,
    ApiPath(id): ApiPath<OperationId>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let shape = move |decision: &Decision, model: &Model| {
        let row = model.operations.get(&id);
        let row = row.map(|row| view::operation(model, row));
        Answer::of(decision.result, &row)
    };
    let request = Request::CancelOperation { id };
    writer.carry_out(&api, query, &[], request, shape).await
}

/// What cancelling answers: the operation, or with `dry_run` what would be done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum OperationAnswer {
    #[schema(title = "Operation")]
    Operation(Box<Operation>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

/// What beginning an operation answers with 200: there is nothing to do, or with `dry_run` what would be
/// done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum BegunAnswer {
    #[schema(title = "Begun")]
    Begun(Box<Begun>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

/// 202 with the operation that goes on; 200 when there is nothing to do.
pub(super) fn begun(decision: &Decision, model: &Model) -> Answer {
    let id = match &decision.outcome {
        Outcome::Operation(id) => Some(*id),
        Outcome::None | Outcome::Registered(_) | Outcome::Spu(_) | Outcome::Isr(_) => None,
    };
    let row = id.and_then(|id| model.operations.get(&id));
    let operation = row.map(|row| view::operation(model, row));
    let answer = Answer::of(decision.result, &Begun { operation });
    match id {
        Some(id) => answer.accepted(format!("/v1/operations/{id}")),
        None => answer,
    }
}
