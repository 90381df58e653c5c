//! `/v1/metadata`: where partitions are led and how their leaders are reached, for clients that go there
//! by themselves.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tidegate_kit::auth::{Authenticated, Op};
use tidegate_kit::http::{ApiQuery, ApiResult};
use tidegate_proto::api::metadata::{Metadata, MetadataPartition, MetadataSpu, MetadataTopic};
use tidegate_proto::control::{Audience, SpuSpec};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::LIST_LIMIT_DEFAULT;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::model::{Model, Topic};
use utoipa::IntoParams;

use super::Api;
use super::problems::ListProblems;

/// Which topics.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct MetadataQuery {
    /// Names of topics, separated by commas; 1 to 100.
    #[param(
        example = "orders,payments",
        pattern = "^[a-z0-9_][a-z0-9._-]{0,199}(,[a-z0-9_][a-z0-9._-]{0,199}){0,99}$"
    )]
    topics: String,
}

/// Tells where partitions are led
///
/// For clients that talk to storage units directly: leaders, their epochs, and the addresses of storage
/// units. Ask again when a unit answers `not_leader`.
#[utoipa::path(
    get,
    path = "/v1/metadata",
    operation_id = "get_metadata",
    tag = "cluster",
    params(MetadataQuery),
    responses((status = 200, description = "Leaders and addresses", body = Metadata), ListProblems)
)]
pub(super) async fn get_metadata(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
    ApiQuery(query): ApiQuery<MetadataQuery>,
) -> ApiResult<Json<Metadata>> {
    let names = names(&query.topics)?;
    let model = api.controller.model();
    let (mut topics, mut missing) = (Vec::new(), Vec::new());
    for name in names {
        let topic = model.topics.get(&name);
        match topic.filter(|_| principal.allows(Op::Describe, Some(&name))) {
            Some(topic) => topics.push(shaped(topic)),
            None => missing.push(name),
        }
    }
    Ok(Json(Metadata {
        cluster_id: model.cluster_id,
        revision: model.revision,
        spus: units(&model, &topics),
        topics,
        missing,
    }))
}

fn names(text: &str) -> Result<BTreeSet<TopicName>, Problem> {
    let bad = |code, what: String| Problem::new(code, format!("topics: {what}")).at("topics", what);
    let mut names = BTreeSet::new();
    for name in text.split(',') {
        let parsed = TopicName::parse(name);
        names.insert(parsed.map_err(|error| bad(ErrorCode::InvalidName, error.to_string()))?);
        if names.len() > LIST_LIMIT_DEFAULT {
            let what = format!("at most {LIST_LIMIT_DEFAULT} at a time");
            return Err(bad(ErrorCode::InvalidParameter, what));
        }
    }
    Ok(names)
}

fn shaped(topic: &Topic) -> MetadataTopic {
    let partitions = topic.partitions.iter();
    MetadataTopic {
        name: topic.row.name.clone(),
        id: topic.row.id,
        partitions: partitions
            .map(|row| MetadataPartition {
                partition: row.partition.0,
                leader: row.leader,
                leader_epoch: row.leader_epoch.0,
                replicas: row.replicas.iter().map(|replica| replica.spu).collect(),
            })
            .collect(),
    }
}

fn units(model: &Model, topics: &[MetadataTopic]) -> Vec<MetadataSpu> {
    let partitions = topics.iter().flat_map(|topic| &topic.partitions);
    let named: BTreeSet<_> = partitions
        .flat_map(|partition| partition.replicas.iter().copied())
        .collect();
    let rows = named.into_iter().filter_map(|id| {
        let spec = model.spu(id)?.spec()?;
        Some((id, spec))
    });
    rows.map(|(id, spec)| MetadataSpu {
        id,
        online: spec.is_up(),
        urls: urls(&spec),
        rack: spec.rack,
    })
    .collect()
}

fn urls(spec: &SpuSpec) -> Vec<String> {
    let urls = spec.endpoints_for(Audience::Clients);
    urls.map(str::to_owned).collect()
}
