//! What clients of a run ask a storage unit: appends and reads of its partitions, in the plainest form.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidegate_data_plane::partitions::{AppendRequest, Partitions};
use tidegate_kit::http::{ApiError, ApiResult};
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::Acks;

use crate::history::records;
use crate::shared::Shared;

/// How long an append waits for its quorum.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
const READ_BYTES: usize = 64 * 1024;

/// The answer to a read.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Offsets and values.
    pub(crate) records: Vec<(u64, u64)>,
    pub(crate) next: u64,
    pub(crate) high_watermark: u64,
}

#[derive(Clone)]
struct Unit {
    partitions: Arc<dyn Partitions>,
    shared: Shared,
}

pub(crate) fn doors(partitions: Arc<dyn Partitions>, shared: Shared) -> Router {
    Router::new()
        .route("/sim/append/{partition}", post(append))
        .route("/sim/read/{partition}/{from}", get(read))
        .with_state(Unit { partitions, shared })
}

impl Unit {
    fn key(&self, partition: usize) -> ApiResult<ReplicaKey> {
        let key = self.shared.lock().keys().get(partition).copied();
        let none = || ApiError(Problem::new(ErrorCode::NotLeader, "no such partition"));
        key.ok_or_else(none)
    }
}

/// The base offset.
async fn append(
    State(unit): State<Unit>,
    Path(partition): Path<usize>,
    body: Bytes,
) -> ApiResult<Json<u64>> {
    let key = unit.key(partition)?;
    let invalid = |error: String| ApiError(Problem::new(ErrorCode::Internal, error));
    let batch = ClientBatch::from_client_part(body).map_err(|e| invalid(e.to_string()))?;
    batch.verify().map_err(|e| invalid(e.to_string()))?;
    let request = AppendRequest {
        batches: vec![batch],
        acks: Acks::Quorum,
        expected_end: None,
        leader_epoch_min: None,
        may_stamp: false,
        timeout: APPEND_TIMEOUT,
    };
    let appended = unit.partitions.append(key, request).await;
    Ok(Json(appended.map_err(ApiError)?.base_offset.get()))
}

async fn read(
    State(unit): State<Unit>,
    Path((partition, from)): Path<(usize, u64)>,
) -> ApiResult<Json<Found>> {
    let key = unit.key(partition)?;
    let chunk = unit.partitions.read(key, Offset::new(from), READ_BYTES);
    let chunk = chunk.await.map_err(ApiError)?;
    let records = records(&chunk.batches, from);
    let records = records.map_err(|e| ApiError(Problem::new(ErrorCode::Internal, e)))?;
    Ok(Json(Found {
        records,
        next: chunk.next.get(),
        high_watermark: chunk.high_watermark.get(),
    }))
}
