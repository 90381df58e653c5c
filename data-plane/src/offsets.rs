//! The bounds of a partition, and the offset of a moment.

use axum::Json;
use axum::extract::{Request, State};
use tidegate_kit::auth::{Op, require};
use tidegate_kit::http::{ApiPath, ApiResult};
use tidegate_proto::api::records::PartitionOffsets;
use tidegate_proto::error::Problem;
use tidegate_proto::name::TopicName;
use tidegate_proto::time::parse_time_ms;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::caller::Caller;
use crate::query::{Query, invalid};
use crate::state::DataPlane;
use crate::topics::{find_topic, of_partition, parse_name, parse_partition};

/// The offsets route.
pub(crate) fn routes() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::new().routes(routes!(get_offsets))
}

/// Get the offsets of a partition
///
/// Where its records begin and end; with `at`, also the first offset at or after that time.
#[utoipa::path(
    get,
    path = "/v1/topics/{topic}/partitions/{partition}/offsets",
    operation_id = "get_offsets",
    tag = "records",
    params(
        ("topic" = TopicName, Path, description = "Name of the topic"),
        ("partition" = u32, Path, description = "Number of the partition"),
        ("at" = Option<String>, Query, description = "Epoch milliseconds or RFC 3339"),
    ),
    responses(
        (status = 200, description = "The offsets", body = PartitionOffsets),
        (status = 400, description = "invalid_parameter, invalid_name or unknown_field", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "unauthenticated", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "forbidden", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "topic_not_found or partition_not_found", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "not_leader or unavailable", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn get_offsets(
    State(state): State<DataPlane>,
    Caller(principal): Caller,
    ApiPath((topic, partition)): ApiPath<(String, String)>,
    request: Request,
) -> ApiResult<Json<PartitionOffsets>> {
    let name = parse_name(&topic)?;
    require(&principal, Op::Describe, Some(&name))?;
    let topic = find_topic(&state, &name)?;
    let partition = parse_partition(&topic, &partition)?;
    let query = Query::parse(request.uri().query(), &["at"])?;
    let at = query.one("at")?.map(|text| {
        parse_time_ms(text).ok_or_else(|| invalid("at", "is not epoch milliseconds or RFC 3339"))
    });
    let key = topic.key(partition);
    let at = at.transpose()?;
    let named = |problem| of_partition(problem, &topic, partition);
    let status = state.partitions().offsets(key).await.map_err(named)?;
    let offset = match at {
        None => None,
        Some(time_ms) => {
            let found = state.partitions().offset_at(key, time_ms).await;
            Some(found.map_err(named)?)
        }
    };
    Ok(Json(PartitionOffsets {
        log_start: status.log_start.get(),
        high_watermark: status.high_watermark.get(),
        end: status.end.get(),
        leader_epoch: status.leader_epoch.0,
        offset: offset.map(|offset| offset.max(status.log_start).get()),
    }))
}
