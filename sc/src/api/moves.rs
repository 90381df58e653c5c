//! Where copies are and who leads: drain and resume, reassign, rebalance, elect, recover.
//!
//! Rights on the cluster as a whole are needed: what moves between units concerns every topic on them.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use tidegate_kit::auth::{Op, require};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::operation::{Begun, MoveRequest, ReassignRequest, RecoverRequest};
use tidegate_proto::api::topic::{DryRun, Partition};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::{Decision, MoveTerms, Request, Target};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::rows::PartitionRow;

use super::Api;
use super::answer::Answer;
use super::operations::{BegunAnswer, begun};
use super::partitions::{PartitionPath, shaped};
use super::problems::ActionProblems;
use super::spus;
use super::write::{Body, KeyHeader, OptionalBody, WriteQuery, Writer};
use crate::controller::Reported;

/// Empties a storage unit
///
/// It gets nothing new, others lead what they can, and its copies move to other units. Then it can be
/// stopped for good and removed. Refused when there are no units to move to; `resume` takes it back.
#[utoipa::path(
    post,
    path = "/v1/spus/{spu}/drain",
    operation_id = "drain_spu",
    tag = "spus",
    params(("spu" = u32, Path, description = "Id of the storage unit"), WriteQuery, KeyHeader),
    request_body(content = Option<MoveRequest>, description = "How fast; may be left out"),
    responses(
        (status = 202, description = "The unit is being emptied", body = Begun, headers(
            ("Location" = String, description = "Path of the operation"),
            ("Tidegate-Result" = String, description = "`updated`, or `unchanged` when it was under way")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        ActionProblems
    )
)]
pub(super) async fn drain_spu(
    State(api): State<Api>,
    ApiPath(spu): ApiPath<SpuId>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    OptionalBody(body): OptionalBody<MoveRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let model = api.controller.model();
    let held = model.held_by(spu).filter_map(|key| model.partition(key));
    let request = Request::DrainSpu {
        spu,
        terms: terms(&api, body.value, held.map(AsRef::as_ref)).await,
    };
    writer
        .carry_out(&api, query, &body.bytes, request, begun)
        .await
}

/// Takes a storage unit back that was being emptied
///
/// The drain, if it goes on, is cancelled; what was moved stays where it is.
#[utoipa::path(
    post,
    path = "/v1/spus/{spu}/resume",
    operation_id = "resume_spu",
    tag = "spus",
    params(("spu" = u32, Path, description = "Id of the storage unit"), WriteQuery, KeyHeader),
    responses(
        (status = 200, description = "The unit, or with `dry_run` what would be done",
            body = inline(spus::SpuAnswer), headers(
            ("ETag" = String, description = "Its version, quoted"),
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        ActionProblems
    )
)]
pub(super) async fn resume_spu(
    State(api): State<Api>,
    ApiPath(spu): ApiPath<SpuId>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let request = Request::ResumeSpu { spu };
    let shape = spus::shape(spu);
    writer.carry_out(&api, query, &[], request, shape).await
}

/// Evens out what storage units hold and lead
///
/// With as few moves as it can: racks first, then copies, then leaders. `dry_run` tells the plan.
#[utoipa::path(
    post,
    path = "/v1/rebalance",
    operation_id = "rebalance",
    tag = "operations",
    params(WriteQuery, KeyHeader),
    request_body(content = Option<MoveRequest>, description = "How fast; may be left out"),
    responses(
        (status = 202, description = "Copies are being moved", body = Begun, headers(
            ("Location" = String, description = "Path of the operation"),
            ("Tidegate-Result" = String, description = "`updated`")
        )),
        (status = 200, description = "All is even, or with `dry_run` what would be done",
            body = inline(BegunAnswer), headers(
            ("Tidegate-Result" = String, description = "`unchanged`")
        )),
        ActionProblems
    )
)]
pub(super) async fn rebalance(
    State(api): State<Api>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    OptionalBody(body): OptionalBody<MoveRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let model = api.controller.model();
    let rows = model.topics.values().flat_map(|topic| &topic.partitions);
    let request = Request::Rebalance {
        terms: terms(&api, body.value, rows.map(AsRef::as_ref)).await,
    };
    writer
        .carry_out(&api, query, &body.bytes, request, begun)
        .await
}

/// Moves the copies of a partition
///
/// To the units named, as many as there are copies, the preferred leader first. One copy at a time is
/// added, caught up and taken away; readers and writers notice nothing.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/partitions/{partition}/reassign",
    operation_id = "reassign_partition",
    tag = "partitions",
    params(PartitionPath, WriteQuery, KeyHeader),
    request_body(content = ReassignRequest, description = "Where the copies should be"),
    responses(
        (status = 202, description = "Copies are being moved", body = Begun, headers(
            ("Location" = String, description = "Path of the operation"),
            ("Tidegate-Result" = String, description = "`updated`")
        )),
        (status = 200, description = "They are there already, or with `dry_run` what would be done",
            body = inline(BegunAnswer), headers(
            ("Tidegate-Result" = String, description = "`unchanged`")
        )),
        ActionProblems
    )
)]
pub(super) async fn reassign_partition(
    State(api): State<Api>,
    ApiPath(path): ApiPath<PartitionPath>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    body: Body<ReassignRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let ReassignRequest {
        replicas,
        throttle,
        force,
    } = body.value;
    let model = api.controller.model();
    let row = partition_of(&model, &path);
    let request = Request::Reassign {
        targets: vec![Target {
            topic: path.topic,
            partition: path.partition,
            replicas,
        }],
        terms: terms(&api, MoveRequest { throttle, force }, row.into_iter()).await,
    };
    writer
        .carry_out(&api, query, &body.bytes, request, begun)
        .await
}

/// Lets the preferred replica of a partition lead
///
/// The first in its list. Refused when that one is not in sync or not there.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/partitions/{partition}/elect",
    operation_id = "elect_partition",
    tag = "partitions",
    params(PartitionPath, WriteQuery, KeyHeader),
    responses(
        (status = 200, description = "The partition, or with `dry_run` what would be done",
            body = inline(PartitionAnswer), headers(
            ("Tidegate-Result" = String, description = "`updated` or `unchanged`")
        )),
        ActionProblems
    )
)]
pub(super) async fn elect_partition(
    State(api): State<Api>,
    ApiPath(path): ApiPath<PartitionPath>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let request = Request::ElectPreferred {
        topic: path.topic.clone(),
        partitions: vec![path.partition],
    };
    let shaper = api.clone();
    let shape = move |decision: &Decision, model: &Model| {
        let topic = model.topics.get(&path.topic);
        let row = topic.and_then(|topic| Some((topic, partition_of(model, &path)?)));
        let shown = row.map(|(topic, row)| shaped(&shaper, model, topic, row));
        Answer::of(decision.result, &shown)
    };
    writer.carry_out(&api, query, &[], request, shape).await
}

/// Finds a leader for a partition that cannot elect one
///
/// For one that is offline. Its replicas are asked what they hold. With answers from enough intact ones the longest leads and
/// nothing is lost. With fewer it waits for them, unless `accept_loss` says that what only they hold may
/// be given up; readers beyond the new end are then told `log_truncated`.
#[utoipa::path(
    post,
    path = "/v1/topics/{topic}/partitions/{partition}/recover",
    operation_id = "recover_partition",
    tag = "partitions",
    params(PartitionPath, WriteQuery, KeyHeader),
    request_body(content = Option<RecoverRequest>, description = "What may be given up; nothing when left out"),
    responses(
        (status = 202, description = "Replicas are being asked", body = Begun, headers(
            ("Location" = String, description = "Path of the operation"),
            ("Tidegate-Result" = String, description = "`updated`")
        )),
        (status = 200, description = "With `dry_run`: what would be done", body = DryRun),
        ActionProblems
    )
)]
pub(super) async fn recover_partition(
    State(api): State<Api>,
    ApiPath(path): ApiPath<PartitionPath>,
    writer: Writer,
    ApiQuery(query): ApiQuery<WriteQuery>,
    OptionalBody(body): OptionalBody<RecoverRequest>,
) -> ApiResult<Response> {
    require(&writer.principal, Op::Admin, None)?;
    writer.refuse_version()?;
    let request = Request::Recover {
        topic: path.topic,
        partition: path.partition,
        accept_loss: body.value.accept_loss,
        force: body.value.force,
    };
    writer
        .carry_out(&api, query, &body.bytes, request, begun)
        .await
}

/// What electing answers: the partition, or with `dry_run` what would be done.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "describes the answer; never made")]
pub(super) enum PartitionAnswer {
    #[schema(title = "Partition")]
    Partition(Box<Partition>),
    #[schema(title = "DryRun")]
    DryRun(DryRun),
}

fn partition_of<'a>(model: &'a Model, path: &PartitionPath) -> Option<&'a PartitionRow> {
    let topic = model.topics.get(&path.topic)?;
    let row = topic.partitions.get(path.partition.0 as usize)?;
    Some(row.as_ref())
}

/// The terms of a move: which single copies are empty is asked of their leaders. One that was empty before
/// it was asked may have got records since.
async fn terms<'a>(
    api: &Api,
    request: MoveRequest,
    rows: impl Iterator<Item = &'a PartitionRow>,
) -> MoveTerms {
    let since = clock::monotonic();
    let single: Vec<_> = rows
        .filter(|row| row.replicas.len() == 1 && row.leader.is_some())
        .collect();
    let statuses = &api.statuses;
    let keys: Vec<ReplicaKey> = single.iter().map(|row| row.key()).collect();
    let told = keys.iter().zip(statuses.partitions(&keys));
    let open = told.filter(|(_, told)| told.as_ref().is_none_or(Reported::is_empty));
    let open: Vec<ReplicaKey> = open.map(|(key, _)| *key).collect();
    // Also when it is forced: what is empty is moved without a copy, and only so where none can be made.
    statuses.word_since(open.clone(), since).await;
    let told = open.iter().zip(statuses.partitions(&open));
    let is_empty_now = |now: &Reported| now.is_empty() && now.as_of >= since;
    let empty = told.filter(|(_, told)| told.as_ref().is_some_and(is_empty_now));
    let empty: BTreeSet<ReplicaKey> = empty.map(|(key, _)| *key).collect();
    let told = single.iter().zip(statuses.partitions(&keys));
    let holding = told.filter(|(row, told)| {
        let its = told
            .as_ref()
            .filter(|told| told.status.leader_epoch == row.leader_epoch);
        its.is_some_and(|told| !told.is_empty())
    });
    let holding = holding.map(|(row, _)| row.key()).collect();
    MoveTerms {
        throttle: request.throttle,
        empty,
        holding,
        force: request.force,
        // What units can is the controller's knowledge.
        can_copy: true,
    }
}
