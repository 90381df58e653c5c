//! `/v1/cluster/backup`: everything that the metadata store holds, as a file.
//!
//! The store is read first and whole, so that a slow reader holds no transaction open; what is in memory
//! meanwhile is as large as the control state, and few may ask at a time.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::Response;
use futures_util::stream;
use tidegate_kit::auth::{Authenticated, Op, require};
use tidegate_kit::clock;
use tidegate_kit::http::{ApiError, ApiResult};
use tidegate_proto::error::{ErrorCode, Problem};

use super::Api;
use super::problems::ListProblems;
use crate::limits::BACKUP_CHUNK_BYTES;
use crate::store::backup_lines;

/// Backs the control state up
///
/// The whole metadata store at one revision: units, topics, partitions, operations, what was deleted, and
/// hashes of join tokens; neither records nor keys nor secrets. Lines of JSON, each with its checksum, the
/// last with the digest of all: a file that was cut does not pass. `tidegate restore` makes a store of it.
#[utoipa::path(
    get,
    path = "/v1/cluster/backup",
    operation_id = "backup_cluster",
    tag = "cluster",
    responses(
        (status = 200, description = "The backup", body = String, content_type = "application/x-ndjson"),
        ListProblems
    )
)]
pub(super) async fn backup_cluster(
    State(api): State<Api>,
    Authenticated(principal): Authenticated,
) -> ApiResult<Response> {
    require(&principal, Op::Admin, None)?;
    let place = Arc::clone(&api.backups).try_acquire_owned().map_err(|_| {
        let detail = "another backup is being made; come again when it is done";
        ApiError(Problem::new(ErrorCode::Overloaded, detail).retry_after(5))
    })?;
    let backup = api.controller.store().backup().await;
    let backup = backup.map_err(Problem::from)?;
    let (revision, name) = (backup.head.revision, principal.name);
    tracing::info!(revision, %name, "the control state is backed up");
    let mut lines = backup_lines(backup, clock::now_ms());
    let chunks = std::iter::from_fn(move || {
        // Given back when the last chunk was taken, or the reader went away.
        let _place = &place;
        let mut chunk = String::new();
        while chunk.len() < BACKUP_CHUNK_BYTES {
            let Some(line) = lines.next() else { break };
            chunk.push_str(&line);
        }
        (!chunk.is_empty()).then(|| Ok::<_, std::convert::Infallible>(Bytes::from(chunk)))
    });
    let mut answer = Response::new(Body::from_stream(stream::iter(chunks)));
    let headers = answer.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let named = HeaderValue::from_static("attachment; filename=\"tidegate-metadata.ndjson\"");
    headers.insert(CONTENT_DISPOSITION, named);
    Ok(answer)
}
