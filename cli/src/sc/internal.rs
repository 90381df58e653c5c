//! What other nodes ask a controller over the private port.
//!
//! Registration, signs of life, the topology as it changes, producer ids, deleted topics. Every sign of
//! life of a unit is taken; the watch tells the whole topology whenever it changes.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_kit::http::{ApiJson, ApiResult};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{
    Heartbeat, HeartbeatAnswer, LeaveRequest, Register, Registered, Standing, TopicSpec, Topology,
    TopologyChange, WatchLine,
};
use tidegate_proto::id::{StoreId, TopicId};
use tidegate_proto::limits::{HEARTBEAT_MS, WATCH_ALIVE_MS};
use tidegate_proto::node::NodeRole;
use tidegate_sc::Controller;

/// The routes.
pub(super) fn router(controller: Controller) -> Router {
    Router::new()
        .route("/internal/v1/register", post(register))
        .route("/internal/v1/heartbeat", post(heartbeat))
        .route("/internal/v1/leave", post(leave))
        .route("/internal/v1/watch", get(watch))
        .route("/internal/v1/producer-ids", post(producer_ids))
        .route("/internal/v1/deleted-topics", post(deleted_topics))
        .with_state(controller)
}

async fn register(
    State(controller): State<Controller>,
    peer: PeerIdentity,
    ApiJson(report): ApiJson<Register>,
) -> ApiResult<Json<Registered>> {
    peer.require_to_be_spu(report.spu_id)?;
    Ok(Json(controller.register(report).await?))
}

async fn heartbeat(
    State(controller): State<Controller>,
    peer: PeerIdentity,
    ApiJson(beat): ApiJson<Heartbeat>,
) -> ApiResult<Json<HeartbeatAnswer>> {
    peer.require_to_be_spu(beat.spu_id)?;
    let model = controller.model();
    let row = model.spu(beat.spu_id);
    let standing = match row {
        Some(row) if row.incarnation > beat.incarnation => Standing::Superseded,
        _ => Standing::Current,
    };
    Ok(Json(HeartbeatAnswer {
        standing,
        revision: model.revision,
        interval_ms: HEARTBEAT_MS,
    }))
}

async fn leave(peer: PeerIdentity, ApiJson(leave): ApiJson<LeaveRequest>) -> ApiResult<()> {
    peer.require_to_be_spu(leave.spu_id)?;
    Ok(())
}

#[derive(Serialize)]
struct ProducerIds {
    first: u64,
    count: u64,
}

async fn producer_ids(
    State(controller): State<Controller>,
    peer: PeerIdentity,
) -> ApiResult<Json<ProducerIds>> {
    peer.require(&[NodeRole::Spu, NodeRole::Gateway])?;
    let block = controller.lease_producer_ids().await?;
    Ok(Json(ProducerIds {
        first: block.start,
        count: block.end - block.start,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    topics: Vec<TopicId>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<TopicId>,
}

async fn deleted_topics(
    State(controller): State<Controller>,
    peer: PeerIdentity,
    ApiJson(asked): ApiJson<Asked>,
) -> ApiResult<Json<Deleted>> {
    peer.require(&[NodeRole::Spu])?;
    let mut deleted = Vec::new();
    for topic in asked.topics {
        if controller.is_deleted(topic).await? {
            deleted.push(topic);
        }
    }
    Ok(Json(Deleted { deleted }))
}

async fn watch(State(controller): State<Controller>, peer: PeerIdentity) -> ApiResult<Response> {
    peer.require(&[NodeRole::Spu, NodeRole::Gateway])?;
    let topology = controller.topology();
    let first = Some((controller, topology, true));
    let lines = futures_util::stream::unfold(first, |state| async move {
        let (controller, mut topology, is_first) = state?;
        let alive = Duration::from_millis(WATCH_ALIVE_MS);
        let is_news = if is_first {
            true
        } else {
            match tokio::time::timeout(alive, topology.changed()).await {
                Ok(Ok(())) => true,
                Ok(Err(_)) => return None,
                Err(_) => false,
            }
        };
        let now = Arc::clone(&topology.borrow_and_update());
        let lines = if is_news {
            snapshot(&controller, &now)
        } else {
            vec![WatchLine::Alive {
                revision: now.revision,
                stale_ms: None,
            }]
        };
        let mut text = Vec::new();
        for line in lines {
            // Plain data made of strings and numbers always serializes.
            serde_json::to_writer(&mut text, &line).ok();
            text.push(b'\n');
        }
        Some((
            Ok::<Bytes, Infallible>(Bytes::from(text)),
            Some((controller, topology, false)),
        ))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

fn snapshot(controller: &Controller, topology: &Topology) -> Vec<WatchLine> {
    let mut changes = Vec::new();
    for (spu, spec) in &topology.spus {
        let (spu, spec) = (*spu, spec.clone());
        changes.push(TopologyChange::PutSpu { spu, spec });
    }
    for topic in topology.topics.values() {
        let spec = TopicSpec {
            partitions: Vec::new(),
            ..TopicSpec::clone(topic)
        };
        changes.push(TopologyChange::PutTopic { spec });
        changes.extend(
            topic
                .partitions
                .iter()
                .map(|partition| TopologyChange::PutPartition {
                    topic_id: topic.id,
                    spec: partition.clone(),
                }),
        );
    }
    let cluster_id = controller.cluster_id();
    vec![
        WatchLine::Reset {
            cluster_id,
            store_id: StoreId(cluster_id.0),
        },
        WatchLine::Changes {
            revision: topology.revision,
            changes,
            hash: Some(ChainHash([0; 32])),
        },
    ]
}
