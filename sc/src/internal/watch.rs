//! `GET /internal/v1/watch`: the topology as it changes, for nodes.
//!
//! Without a position, and for one that the store had before it was adopted, the stream begins with a
//! snapshot. A position that has left memory is answered with 410 `compacted`: ask again without one. A
//! node that starts says what it had seen; it gets a snapshot once the store was compared with that (X1).
//! Invariant: nobody gets a snapshot of what the store was before an adoption that he has heard of.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::Response;
use tidegate_kit::http::{ApiError, ApiQuery, ApiResult};
use tidegate_kit::peer::PeerIdentity;
use tidegate_proto::control::{WatchQuery, WatchStart};
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
    let Some(start) = query.start() else {
        let detail = "after or seen, hash and store come together or not at all";
        return Err(ApiError::new(ErrorCode::InvalidParameter, detail));
    };
    let who = peer.0.name().to_string();
    let place = place(&private.controller, &who, start).await?;
    let stream = private.watchers.stream(place)?;
    let response = Response::builder()
        .header(CONTENT_TYPE, "application/x-ndjson")
        .header(CACHE_CONTROL, "no-store, no-transform")
        .body(Body::from_stream(stream));
    response.map_err(|_| ApiError::new(ErrorCode::Internal, "the stream has no valid head"))
}

/// Where a node begins. What it has seen is compared with the store first.
async fn place(controller: &Controller, who: &str, start: WatchStart) -> Result<Place, Problem> {
    let seen = match start {
        WatchStart::Snapshot => return Ok(Place::Snapshot),
        WatchStart::SnapshotFor(seen) => {
            // It forgets that for what it is told now, so it is told nothing before.
            controller.testimony(who, seen).await?;
            seen
        }
        WatchStart::After(seen) => {
            controller.witness(who, seen).await;
            seen
        }
    };
    if let Some(alarm) = &controller.condition().borrow().alarm {
        let detail = alarm.detail.clone();
        return Err(Problem::new(ErrorCode::MetadataForked, detail).retry_after(1));
    }
    let newest = controller.shown().seen;
    if newest.store_id != seen.store_id {
        if controller.is_overtaken().await? {
            let detail = "this controller has not read the store anew since it was adopted";
            return Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1));
        }
        return Ok(Place::Snapshot);
    }
    if newest.revision < seen.revision {
        controller.follow_soon();
        let detail = format!(
            "this controller has not got to revision {} yet",
            seen.revision
        );
        return Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1));
    }
    if matches!(start, WatchStart::SnapshotFor(_)) {
        return Ok(Place::Snapshot);
    }
    match controller.history().after(seen.revision) {
        After::Next(_) | After::UpToDate | After::Ahead => Ok(Place::After(seen.revision)),
        After::Gone { floor } => {
            let detail =
                format!("revisions up to {floor} are not at hand any more: ask for a snapshot");
            Err(Problem::new(ErrorCode::Compacted, detail).with("floor", floor))
        }
    }
}
