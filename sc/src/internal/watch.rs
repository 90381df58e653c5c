//! `GET /internal/v1/watch`: the topology as it changes, for nodes.
//!
//! Without a position, and for one that the store had before it was adopted, the stream begins with a
//! snapshot. A position that has left memory is answered with 410 `compacted`: ask again without one.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use tidegate_kit::http::{ApiError, ApiQuery, ApiResult};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::control::{Seen, WatchQuery};
use tidegate_proto::error::{ErrorCode, Problem};

use super::Private;
use super::stream::Place;
use crate::controller::Controller;
use crate::history::After;

pub(super) async fn watch(
    State(private): State<Private>,
    peer: PeerIdentity,
    ApiQuery(query): ApiQuery<WatchQuery>,
) -> ApiResult<Response> {
    let from = match query {
        WatchQuery { after: None, .. } => None,
        WatchQuery {
            after: Some(revision),
            hash: Some(hash),
            store: Some(store_id),
        } => Some(Seen {
            store_id,
            revision,
            hash,
        }),
        _ => {
            let detail = "after, hash and store come together or not at all";
            return Err(ApiError::new(ErrorCode::InvalidParameter, detail));
        }
    };
    let place = match from {
        None => Place::Snapshot,
        Some(seen) => {
            let who = peer.0.name().to_string();
            place(&private.controller, &who, seen).await?
        }
    };
    let stream = private.watchers.stream(place)?;
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/x-ndjson")
        .header(CACHE_CONTROL, "no-store, no-transform")
        .body(Body::from_stream(stream));
    response.map_err(|_| ApiError::new(ErrorCode::Internal, "the stream has no valid head"))
}

/// Where a node that has seen so much goes on. What it has seen is compared with the store first.
async fn place(controller: &Controller, who: &str, seen: Seen) -> Result<Place, Problem> {
    controller.witness(who, seen).await;
    let condition = controller.condition().borrow().clone();
    if let Some(alarm) = condition.alarm {
        let detail = alarm.detail.clone();
        return Err(Problem::new(ErrorCode::MetadataForked, detail).retry_after(1));
    }
    let history = controller.history();
    if history.newest().seen.store_id != seen.store_id {
        return Ok(Place::Snapshot);
    }
    match history.after(seen.revision) {
        After::Next(_) | After::UpToDate => Ok(Place::After(seen.revision)),
        After::Gone { floor } => {
            let detail =
                format!("revisions up to {floor} are not at hand any more: ask for a snapshot");
            Err(Problem::new(ErrorCode::Compacted, detail).with("floor", floor))
        }
        After::Ahead => {
            controller.follow_soon();
            let detail = format!(
                "this controller has not got to revision {} yet",
                seen.revision
            );
            Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1))
        }
    }
}
