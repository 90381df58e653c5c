//! What nodes take on the controller's word: producer ids that nobody else gets, and which topics were
//! deleted (S7).

use axum::Json;
use axum::extract::State;
use tidegate_kit::http::{ApiError, ApiResult};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::control::{DeletedTopics, DeletedTopicsQuery, ProducerIds};
use tidegate_proto::error::ErrorCode;
use tidegate_proto::node::NodeRole;

use super::{Private, PrivateJson};
use crate::limits::DELETED_TOPICS_MAX;

/// 200 with ids that are the asker's for good.
pub(super) async fn producer_ids(
    State(private): State<Private>,
    peer: PeerIdentity,
) -> ApiResult<Json<ProducerIds>> {
    peer.require(&[NodeRole::Spu, NodeRole::Gateway])?;
    let leased = private.controller.lease_producer_ids().await?;
    Ok(Json(ProducerIds {
        first: leased.start,
        count: leased.end - leased.start,
    }))
}

/// 200 with those that were deleted. One that is not among them may be unknown for another reason: what
/// is on a disk of it stays.
pub(super) async fn deleted_topics(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<DeletedTopicsQuery>,
) -> ApiResult<Json<DeletedTopics>> {
    peer.require_spu()?;
    if body.0.topics.len() > DELETED_TOPICS_MAX {
        let detail = format!("at most {DELETED_TOPICS_MAX} topics at a time");
        return Err(ApiError::new(ErrorCode::InvalidParameter, detail));
    }
    // After a store went back, a topic may be missing from it that was never deleted; its tombstones
    // are not believed either.
    if let Some(refusal) = private.controller.condition().borrow().refusal() {
        return Err(refusal.into());
    }
    let mut deleted = Vec::new();
    for topic in body.0.topics {
        if private.controller.is_deleted(topic).await? {
            deleted.push(topic);
        }
    }
    Ok(Json(DeletedTopics { deleted }))
}
