//! `/v1/topics`: list, create, describe, ensure, delete.

use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse as _, Response};
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::topic::{DryRun, Topic, TopicList, TopicRequest, WriteResult};
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::limits::RETRY_AFTER_DISK_FULL_S;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decision::{Decision, Request, TopicWrite};
use tidegate_sc_core::model::{self, Model};
use tidegate_sc_core::refusal::Refusal;

use super::answer::Answer;
use super::bodies::{CreateTopic, EnsureTopic};
use super::condition::{IfMatchHeader, etag};
use super::page::{NamePages, PageQuery};
use super::problems::{CreateProblems, DeleteProblems, EnsureProblems, ListProblems, ReadProblems};
use super::write::{Body, KeyHeader, WriteQuery, Writer};
use super::{Api, view};

/// Lists the topics
///
/// By name; those that the credential may describe.
#[utoipa::path(
    get,
    path = "/v1/topics",
    operation_id = "list_topics",
    tag = "topics",
    params(NamePages),
    responses((status = 200, description = "A page of topics", body = TopicList, headers(("Tidegate-Revision" = u64, description = "Follow changes from here: `from_revision` of `/v1/watch`"))), ListProblems)
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
    params(WriteQuery, KeyHeader),
    request_body(content = CreateTopic, description = "What the topic should be"),
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
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<TopicRequest>,
) -> ApiResult<Response> {
    writer.refuse_if_match("a topic is created")?;
    let Some(name) = body.value.name.clone() else {
        let problem = Problem::new(ErrorCode::InvalidParameter, "the topic needs a name");
        return Err(problem.at("/name", "is required").into());
    };
    require(&writer.principal, Op::Admin, Some(&name))?;
    let write = Request::CreateTopic(TopicWrite {
        name: name.clone(),
        request: body.value,
        if_match: None,
    });
    carry_out(&api, &writer, query, &body.bytes, name, write).await
}

/// Describes a topic
///
/// Its settings as they hold, and its state with the reason.
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
        IfMatchHeader,
        WriteQuery,
        KeyHeader
    ),
    request_body(content = EnsureTopic, description = "What the topic should be"),
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
    ApiPath(name): ApiPath<TopicName>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<TopicRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, Some(&name))?;
    if body.value.name.as_ref().is_some_and(|given| *given != name) {
        let what = "is another one than in the path; topics are not renamed";
        let problem = Problem::new(ErrorCode::InvalidParameter, format!("/name: {what}"));
        return Err(problem.at("/name", what).into());
    }
    let write = Request::EnsureTopic(TopicWrite {
        name: name.clone(),
        request: body.value,
        if_match: writer.if_match.clone(),
    });
    carry_out(&api, &writer, query, &body.bytes, name, write).await
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
        IfMatchHeader,
        WriteQuery,
        KeyHeader
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
    ApiPath(name): ApiPath<TopicName>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, Some(&name))?;
    let write = Request::DeleteTopic {
        name: name.clone(),
        if_match: writer.if_match.clone(),
    };
    carry_out(&api, &writer, query, &[], name, write).await
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
    // A refusal is for whoever decides on the newest state to give, and to keep under the request's key.
    let Ok(Decision {
        result,
        differences,
        ..
    }) = api.controller.preview(request)
    else {
        return Ok(());
    };
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

/// Does what is asked of a topic, or with `dry_run` says what it would be.
pub(super) async fn carry_out(
    api: &Api,
    writer: &Writer,
    query: WriteQuery,
    body: &[u8],
    name: TopicName,
    request: Request,
) -> ApiResult<Response> {
    if !query.dry_run
        && let Some(answer) = writer.answered(api, body).await?
    {
        return Ok(answer);
    }
    check_room(api, &request)?;
    let shape = move |decision: &Decision, model: &Model| match model.topics.get(&name) {
        Some(topic) if decision.result != WriteResult::Deleted => {
            Answer::of(decision.result, &view::topic(model, topic))
                .version(topic.row.version)
                .location(format!("/v1/topics/{name}"))
        }
        _ => Answer::deleted(),
    };
    writer.carry_out(api, query, body, request, shape).await
}
