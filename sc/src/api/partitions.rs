//! `/v1/topics/{topic}/partitions`: who leads, who is in sync, and where each log begins and ends.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::http::{ApiPath, ApiQuery, ApiResult};
use tidegate_proto::api::topic::{Partition, PartitionList};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::model::{Model, Topic};
use tidegate_sc_core::rows::PartitionRow;
use utoipa::IntoParams;

use super::page::{NumberPages, PageQuery};
use super::problems::ReadProblems;
use super::topics::found;
use super::{Api, view};

#[derive(Debug, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PartitionPath {
    /// Name of the topic.
    #[param(inline)]
    pub(super) topic: TopicName,
    /// Number of the partition, from 0.
    #[param(value_type = u32)]
    pub(super) partition: PartitionId,
}

/// Lists the partitions of a topic
///
/// By number. What only a leader knows is `null` when the leader has not said.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions",
    operation_id = "list_partitions",
    tag = "partitions",
    params(("topic" = TopicName, Path, description = "Name of the topic"), NumberPages),
    responses((status = 200, description = "A page of partitions", body = PartitionList, headers(("Tidegate-Revision" = u64, description = "Follow changes from here: `from_revision` of `/v1/watch`"))), ReadProblems)
)]
pub(super) async fn list_partitions(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(name): ApiPath<TopicName>,
    ApiQuery(query): ApiQuery<PageQuery>,
) -> ApiResult<Json<PartitionList>> {
    require(&principal, Op::Describe, Some(&name))?;
    let page = query.page::<u32>()?;
    let model = api.controller.model();
    let topic = found(&model, &name)?;
    let skipped = page.after.map_or(0, |after| after as usize + 1);
    let rows = topic.partitions.iter().skip(skipped);
    let (items, next) = page.cut(
        rows,
        |row| row.partition.to_string(),
        |row| shaped(&api, &model, topic, row),
    );
    Ok(Json(PartitionList { items, next }))
}

/// Describes a partition
///
/// Leader, epoch, replicas, in-sync set, and where its log begins and ends.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}",
    operation_id = "get_partition",
    tag = "partitions",
    params(PartitionPath),
    responses((status = 200, description = "The partition", body = Partition), ReadProblems)
)]
pub(super) async fn get_partition(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiPath(PartitionPath {
        topic: name,
        partition,
    }): ApiPath<PartitionPath>,
) -> ApiResult<Json<Partition>> {
    require(&principal, Op::Describe, Some(&name))?;
    let model = api.controller.model();
    let topic = found(&model, &name)?;
    let row = topic.partitions.get(partition.0 as usize).ok_or_else(|| {
        let count = topic.row.partitions;
        let detail = format!("topic {name} has {count} partitions, numbered from 0");
        Problem::new(ErrorCode::PartitionNotFound, detail).with("partitions", count)
    })?;
    Ok(Json(shaped(&api, &model, topic, row)))
}

/// The partition with what its leader says of it.
pub(super) fn shaped(api: &Api, model: &Model, topic: &Topic, row: &PartitionRow) -> Partition {
    let key = ReplicaKey {
        topic_id: row.topic_id,
        partition: row.partition,
    };
    view::partition(model, topic, row, api.statuses.partition(key).as_ref())
}
