//! `/v1/topics`: list, create, describe, ensure, delete.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tidegate_kit::auth::{Authenticated, Op, Principal, require};
use tidegate_kit::http::{ApiJson, ApiPath, ApiQuery, ApiResult, RequestId};
use tidegate_proto::api::topic::{DryRun, Topic, TopicList, TopicRequest, WriteResult};
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::limits::RETRY_AFTER_DISK_FULL_S;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decision::{Decision, Request, TopicWrite};
use tidegate_sc_core::model::{self, Model};
use tidegate_sc_core::refusal::Refusal;

use super::condition::{Condition, TIDEGATE_RESULT, WriteQuery, etag};
use super::page::PageQuery;
use super::problems::{CreateProblems, DeleteProblems, EnsureProblems, ListProblems, ReadProblems};
use super::{Api, view};
use crate::controller::{Decided, Origin};

/// Lists the topics
///
/// By name; those that the credential may describe.
#[utoipa::path(
    get,
    path = "/v1/topics",
    operation_id = "list_topics",
    tag = "topics",
    params(PageQuery),
    responses((status = 200, description = "A page of topics", body = TopicList), ListProblems)
)]
pub(super) async fn list_topics(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<TopicList>> {
    let page = query.page::<TopicName>()?;
    let model = api.controller.model();
    let start = page
        .after
        .as_ref()
        .map_or(Bound::Unbounded, Bound::Excluded);
    let rows = model.topics.range_from(start);
    // The rights of each item stand for the rights on the list.
    let visible = rows.filter(|(name, _)| principal.allows(Op::Describe, Some(name)));
    let (items, next) = page.cut(
        visible,
        |(name, _)| name.to_string(),
        |(_, topic)| view::topic(&model, topic),
    );
    Ok(Json(TopicList { items, next }))
}

/// Creates a topic
///
/// Refused when there is one of that name; PUT ensures instead.
#[utoipa::path(
    post,
    path = "/v1/topics",
    operation_id = "create_topic",
    tag = "topics",
    params(WriteQuery),
    request_body(content = TopicRequest, description = "What the topic should be; `name` is required"),
    responses(
        (status = 201, description = "The topic was created", body = Topic, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Location" = String, description = "Its path"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        CreateProblems
    )
)]
pub(super) async fn create_topic(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    request_id: RequestId,
    condition: Condition,
    ApiQuery(query): ApiQuery<WriteQuery>,
    ApiJson(request): ApiJson<TopicRequest>,
) -> ApiResult<Response> {
    if condition.if_match.is_some() {
        let what = "has no meaning when a topic is created; PUT takes it";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("If-Match {what}"));
        return Err(problem.at("If-Match", what).into());
    }
    let Some(name) = request.name.clone() else {
        let problem = Problem::new(ErrorCode::InvalidParameter, "the topic needs a name");
        return Err(problem.at("/name", "is required").into());
    };
    require(&principal, Op::Admin, Some(&name))?;
    let location = format!("/v1/topics/{name}");
    let write = Request::CreateTopic(TopicWrite {
        name: name.clone(),
        request,
        if_match: None,
    });
    let mut response = carry_out(&api, &principal, &request_id, query, &name, write).await?;
    if response.status() == StatusCode::CREATED
        && let Ok(location) = HeaderValue::try_from(location)
    {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// Describes a topic
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}",
    operation_id = "get_topic",
    tag = "topics",
    params(("topic" = TopicName, Path, description = "Name of the topic")),
    responses(
        (status = 200, description = "The topic", body = Topic, headers(
            ("ETag" = String, description = "Its version, quoted: what `If-Match` takes")
        )),
        ReadProblems
    )
)]
pub(super) async fn get_topic(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(name): ApiPath<TopicName>,
) -> ApiResult<Response> {
    require(&principal, Op::Describe, Some(&name))?;
    let model = api.controller.model();
    let topic = found(&model, &name)?;
    let headers = [(ETAG, etag(topic.row.version))];
    Ok((headers, Json(view::topic(&model, topic))).into_response())
}

/// Ensures a topic
///
/// Creates it, or changes it into what is asked: absent fields stay, `null` is the default again. Takes
/// effect at once, partitions are added, nothing restarts. Asking twice is asking once.
#[utoipa::path(
    put,
    path = "/v1/topics/{topic}",
    operation_id = "ensure_topic",
    tag = "topics",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("If-Match" = Option<String>, Header, description = "Only if the topic is at this version"),
        WriteQuery
    ),
    request_body(content = TopicRequest, description = "What the topic should be"),
    responses(
        (status = 200, description = "The topic as it is now, or with `dry_run` what would be done",
            body = inline(EnsureAnswer), headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        (status = 201, description = "The topic was created", body = Topic, headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`created`")
        )),
        EnsureProblems
    )
)]
pub(super) async fn ensure_topic(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    request_id: RequestId,
    ApiPath(name): ApiPath<TopicName>,
    Condition { if_match }: Condition,
    ApiQuery(query): ApiQuery<WriteQuery>,
    ApiJson(request): ApiJson<TopicRequest>,
) -> ApiResult<Response> {
    require(&principal, Op::Admin, Some(&name))?;
    if request.name.as_ref().is_some_and(|given| *given != name) {
        let what = "is another one than in the path; topics are not renamed";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("/name: {what}"));
        return Err(problem.at("/name", what).into());
    }
    let write = Request::EnsureTopic(TopicWrite {
        name: name.clone(),
        request,
        if_match,
    });
    carry_out(&api, &principal, &request_id, query, &name, write).await
}

/// Deletes a topic
///
/// With all its records. The name is free at once.
#[utoipa::path(
    delete,
    path = "/v1/topics/{topic}",
    operation_id = "delete_topic",
    tag = "topics",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("If-Match" = Option<String>, Header, description = "Only if the topic is at this version"),
        WriteQuery
    ),
    responses(
        (status = 204, description = "The topic is gone", headers(
            ("Tidegate-Result" = String, description = "`deleted`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        DeleteProblems
    )
)]
pub(super) async fn delete_topic(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    request_id: RequestId,
    ApiPath(name): ApiPath<TopicName>,
    Condition { if_match }: Condition,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&principal, Op::Admin, Some(&name))?;
    let write = Request::DeleteTopic {
        name: name.clone(),
        if_match,
    };
    carry_out(&api, &principal, &request_id, query, &name, write).await
}

/// What PUT answers with 200: the topic, or with `dry_run` what would be done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum EnsureAnswer {
    #[schema(title = "Topic")]
    Topic(Box<Topic>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

/// The topic of that name.
pub(super) fn found<'a>(model: &'a Model, name: &TopicName) -> Result<&'a model::Topic, Problem> {
    let topic = model.topics.get(name);
    Ok(topic.ok_or_else(|| Refusal::TopicNotFound(name.clone()))?)
}

/// A new partition takes a directory, files and journal rounds, and its first record would be refused:
/// on full disks nothing is begun. What makes room, or only changes a setting, is taken.
fn check_room(api: &Api, request: &Request) -> Result<(), Problem> {
    if api.statuses.has_room() {
        return Ok(());
    }
    let Decision {
        result,
        differences,
        ..
    } = api.controller.preview(request)?;
    let mut changed = differences.iter().map(|change| change.path.as_str());
    let is_larger = changed.any(|path| ["/partitions", "/replication_factor"].contains(&path));
    if result == WriteResult::Created || (result == WriteResult::Updated && is_larger) {
        let detail = "the disk is full: no partitions are made until there is space again";
        return Err(Problem::new(ErrorCode::DiskFull, detail)
            .side_effects(SideEffects::None)
            .retry_after(RETRY_AFTER_DISK_FULL_S));
    }
    Ok(())
}

/// Does what is asked, or with `dry_run` says what it would be.
pub(super) async fn carry_out(
    api: &Api,
    principal: &Principal,
    request_id: &RequestId,
    query: WriteQuery,
    name: &TopicName,
    request: Request,
) -> ApiResult<Response> {
    check_room(api, &request)?;
    if query.dry_run {
        let Decision {
            result,
            differences: changes,
            ..
        } = api.controller.preview(&request)?;
        return Ok(Json(DryRun { result, changes }).into_response());
    }
    let origin = Origin {
        actor: principal.name.to_string(),
        request_id: request_id.as_str().to_owned(),
    };
    let Decided { decision, model } = api.controller.change(request, origin).await?;
    let result = (
        TIDEGATE_RESULT,
        HeaderValue::from_static(decision.result.as_str()),
    );
    let status = match decision.result {
        WriteResult::Created => StatusCode::CREATED,
        WriteResult::Updated | WriteResult::Unchanged => StatusCode::OK,
        WriteResult::Deleted => return Ok((StatusCode::NO_CONTENT, [result]).into_response()),
    };
    let topic = found(&model, name)?;
    let headers = [result, (ETAG, etag(topic.row.version))];
    Ok((status, headers, Json(view::topic(&model, topic))).into_response())
}
