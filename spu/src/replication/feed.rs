//! What the leader's disk has for followers: batches behind a position, snapshots, where a log can be read
//! from. Each in its turn on the lane of replication.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_data_plane::partitions::Held;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tracing::Span;

use crate::lane::Lane;
use crate::limits::REPLICATION_PUSH_BYTES;
use crate::shard::Reader;

/// Reads for one stream.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) log: Log,
    pub(super) reads: Arc<Lane>,
    pub(super) tasks: Tasks,
}

impl Feed {
    /// What stands behind `after`; none when it cannot be read.
    pub(super) async fn batches(
        self,
        reader: Arc<Reader>,
        after: LogPosition,
    ) -> Option<(Vec<Batch>, Held)> {
        let turn = self.reads.turn().await;
        let key = reader.key;
        let read = move || reader.log.read_after(after, REPLICATION_PUSH_BYTES);
        let batches = self.blocking(key, read).await?;
        let bytes = batches.iter().map(Batch::encoded_len).sum();
        Some((batches, self.reads.read(turn, bytes)))
    }

    /// The newest snapshot of the ledger that is durable, and what holds its bytes.
    pub(super) async fn snapshot(self, reader: Arc<Reader>) -> Option<(Offset, Bytes, Held)> {
        let turn = self.reads.turn().await;
        let (key, log) = (reader.key, self.log.clone());
        let newest = self.blocking(key, move || newest_snapshot(&log, &reader));
        let (as_of, bytes) = newest.await??;
        // Others read while it waits for the follower.
        drop(turn);
        let held = self.reads.hold(bytes.len()).await;
        Some((as_of, bytes, held))
    }

    /// Where a follower that ends there would be sent batches from; the start of the log when it lacks
    /// nothing below it.
    pub(super) async fn readable_from(self, reader: Arc<Reader>, end: Offset) -> Option<Offset> {
        let log_start = reader.log.log_start();
        if end >= log_start {
            return Some(log_start);
        }
        let _turn = self.reads.turn().await;
        let key = reader.key;
        self.blocking(key, move || reader.log.readable_from()).await
    }

    async fn blocking<T, E>(
        &self,
        key: ReplicaKey,
        work: impl FnOnce() -> Result<T, E> + Send + 'static,
    ) -> Option<T>
    where
        T: Send + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let done = self
            .tasks
            .spawn_blocking(TaskKind::Blocking, Span::current(), work);
        let found = match done.await {
            Ok(found) => found.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        found
            .inspect_err(|error| {
                tracing::error!(topic_id = %key.topic_id, partition = %key.partition, error,
                    "what a follower needs cannot be read");
            })
            .ok()
    }
}

/// The one that followers were promised may be in the journal only.
fn newest_snapshot(log: &Log, reader: &Reader) -> Result<Option<(Offset, Bytes)>, String> {
    let read = || reader.log.snapshot().map_err(|lost| lost.to_string());
    let newest = read()?;
    if reader.log.durable_snapshot() > newest.as_ref().map(|(as_of, _)| *as_of) {
        log.checkpoint().map_err(|dead| dead.to_string())?;
        return read();
    }
    Ok(newest)
}
