//! What storage units say of their replicas: who is in sync, whose log failed, what a seal found.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use tidegate_kit::http::{ApiError, ApiResult, RequestId};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::control::{FailedRequest, IsrAnswer, IsrRequest, SealRequest};
use tidegate_proto::error::ErrorCode;
use tidegate_sc_core::decision::{Outcome, Request};

use super::registration::origin;
use super::{Private, PrivateJson};

/// 200 with an outcome per proposal, all of one transaction (I3); 504 when nobody knows, and then every
/// proposal stays pending (H1).
pub(super) async fn isr(
    State(private): State<Private>,
    peer: PeerIdentity,
    request_id: RequestId,
    body: PrivateJson<IsrRequest>,
) -> ApiResult<Json<IsrAnswer>> {
    let IsrRequest {
        spu_id,
        incarnation,
        proposals,
    } = body.0;
    peer.require_to_be_spu(spu_id)?;
    let request = Request::ChangeIsr {
        leader: spu_id,
        incarnation,
        proposals,
    };
    let origin = origin(&peer, &request_id);
    let decided = private.controller.change(request, origin).await?;
    match decided.decision.outcome {
        Outcome::Isr(outcomes) => Ok(Json(IsrAnswer { outcomes })),
        other => Err(ApiError::new(
            ErrorCode::Internal,
            format!("proposals were decided with {other:?}"),
        )),
    }
}

/// 204 once the rows say so; what is of other replicas than the rows' is passed over.
pub(super) async fn failed(
    State(private): State<Private>,
    peer: PeerIdentity,
    body: PrivateJson<FailedRequest>,
) -> ApiResult<StatusCode> {
    peer.require_to_be_spu(body.0.spu_id)?;
    body.0.check()?;
    private.controller.report_failed(body.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// 204; answers to other seals than the row's are passed over (L3).
pub(super) async fn seal(
    State(private): State<Private>,
    peer: PeerIdentity,
    request_id: RequestId,
    body: PrivateJson<SealRequest>,
) -> ApiResult<StatusCode> {
    let units: BTreeSet<_> = body.0.answers.iter().map(|one| one.member.spu).collect();
    peer.require_spu()?;
    for spu in units {
        peer.require_to_be_spu(spu)?;
    }
    body.0.check()?;
    let request = Request::SealAnswers(body.0.answers);
    private
        .controller
        .change(request, origin(&peer, &request_id))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
