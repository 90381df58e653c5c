//! A storage unit starts, lives and stops (S1 to S5).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tidegate_kit::http::{ApiResult, RequestId};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::control::{Heartbeat, HeartbeatAnswer, LeaveRequest, Register, Registered};
use tidegate_sc_core::decision::Request;

use super::{Private, PrivateJson};
use crate::controller::Origin;

/// 200 with the new registration; 404 for a unit that nobody entered; 409 for one that may not be taken
/// in; 503 when this controller is about to stop; 503 and 504 as for every change.
pub(super) async fn register(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<Register>,
) -> ApiResult<Json<Registered>> {
    peer.require_to_be_spu(body.0.spu_id)?;
    body.0.check()?;
    private.controller.takes_units()?;
    Ok(Json(private.controller.register(body.0).await?))
}

/// 200, also when the store is away and for a unit that has to register again: the answer says what it
/// is. 503 when this controller is about to stop.
pub(super) async fn heartbeat(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<Heartbeat>,
) -> ApiResult<Json<HeartbeatAnswer>> {
    peer.require_to_be_spu(body.0.spu_id)?;
    body.0.check()?;
    private.controller.takes_units()?;
    Ok(Json(private.controller.heartbeat(body.0).await))
}

/// 204 once its partitions have other leaders, as far as there are any.
pub(super) async fn leave(
    State(private): State<Private>,
    peer: PeerIdentity,
    request_id: RequestId,
    body: PrivateJson<LeaveRequest>,
) -> ApiResult<StatusCode> {
    let LeaveRequest {
        spu_id,
        incarnation,
    } = body.0;
    peer.require_to_be_spu(spu_id)?;
    let request = Request::Leave {
        spu: spu_id,
        incarnation,
    };
    let origin = origin(&peer, &request_id);
    private.controller.change(request, origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The node, for the record.
pub(super) fn origin(peer: &PeerIdentity, request_id: &RequestId) -> Origin {
    Origin {
        actor: peer.0.name().to_string(),
        request_id: request_id.as_str().to_owned(),
    }
}
