//! Reads from any copy of a partition that is in sync, for `replica=any`.
//!
//! A copy may know of less than the leader does, and the next read may go to another one. Invariant: a reader
//! never goes back and is never refused for it: what a copy does not have yet is read from the leader, and
//! where that is away too there is nothing new for now. Of use for one request: its bounds move when it looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::INTEGER_MAX;
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::limits::COPY_LOOK_EVERY;
use crate::opening::is_absence;
use crate::partitions::{AppendRequest, Appended, BoxFuture, Chunk, Held, Partitions, Tail};

/// See the module.
pub(crate) struct AnyCopy {
    inner: Arc<dyn Partitions>,
    seen: Mutex<HashMap<ReplicaKey, watch::Sender<Tail>>>,
}

impl AnyCopy {
    /// The same partitions.
    pub(crate) fn new(inner: Arc<dyn Partitions>) -> Self {
        let seen = Mutex::new(HashMap::new());
        Self { inner, seen }
    }

    /// Looks again and again how far copies are, so that their tails move.
    pub(crate) async fn look(&self, keys: &[ReplicaKey]) {
        loop {
            sleep(COPY_LOOK_EVERY).await;
            for key in keys {
                if let Ok(status) = self.inner.copy_offsets(*key).await {
                    self.saw(*key, tail_of(&status));
                }
            }
        }
    }

    async fn read_from(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, Problem> {
        let copy = self.inner.read_copy(key, from, bytes_max).await;
        let nothing_new = match copy {
            Ok(chunk) if chunk.high_watermark >= from => {
                self.saw(key, tail_of_chunk(&chunk));
                return Ok(chunk);
            }
            Ok(chunk) => Some(nothing_at(from, tail_of_chunk(&chunk))),
            Err(problem) if problem.code() == ErrorCode::OffsetOutOfRange => {
                self.seen(key).map(|tail| nothing_at(from, tail))
            }
            Err(problem) if is_of_this_copy(&problem) => None,
            Err(problem) => return Err(problem),
        };
        let leaders = match self.inner.is_in_doubt(key) {
            true => Err(None),
            false => self.inner.read(key, from, bytes_max).await.map_err(Some),
        };
        let chunk = match (leaders, nothing_new) {
            (Ok(chunk), _) => chunk,
            (Err(Some(problem)), _) if !is_absence(&problem) => return Err(problem),
            (Err(_), Some(nothing_new)) => nothing_new,
            (Err(Some(problem)), None) => return Err(problem),
            (Err(None), None) => {
                let detail = "no copy at hand has this, and the leader is away";
                return Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1));
            }
        };
        self.saw(key, tail_of_chunk(&chunk));
        Ok(chunk)
    }

    fn seen(&self, key: ReplicaKey) -> Option<Tail> {
        self.lock().get(&key).map(|tail| *tail.borrow())
    }

    /// As whoever answered last knows them: what that one does not have is not waited for.
    fn saw(&self, key: ReplicaKey, tail: Tail) {
        let mut seen = self.lock();
        let sender = seen.entry(key).or_insert_with(|| watch::Sender::new(tail));
        sender.send_if_modified(|now| std::mem::replace(now, tail) != tail);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaKey, watch::Sender<Tail>>> {
        // It is whole after every statement.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether another copy, or the leader, may say something else.
fn is_of_this_copy(problem: &Problem) -> bool {
    let is_elsewhere = matches!(
        problem.code(),
        ErrorCode::LogTruncated | ErrorCode::NotLeader
    );
    is_elsewhere || is_absence(problem)
}

/// The copy is not as far.
fn nothing_at(from: Offset, tail: Tail) -> Chunk {
    Chunk {
        batches: Vec::new(),
        next: from,
        log_start: tail.log_start,
        high_watermark: tail.high_watermark.min(from),
        leader_epoch: tail.leader_epoch,
        held: Held::default(),
    }
}

fn tail_of(status: &PartitionStatus) -> Tail {
    Tail {
        log_start: status.log_start,
        high_watermark: status.high_watermark,
        leader_epoch: status.leader_epoch,
    }
}

fn tail_of_chunk(chunk: &Chunk) -> Tail {
    Tail {
        log_start: chunk.log_start,
        high_watermark: chunk.high_watermark,
        leader_epoch: chunk.leader_epoch,
    }
}

impl Partitions for AnyCopy {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        self.inner.append(key, request)
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(self.read_from(key, from, bytes_max))
    }

    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        self.inner.read_copy(key, from, bytes_max)
    }

    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        self.inner.copy_offsets(key)
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        self.inner.read_at_hand(key, from, bytes_max)
    }

    /// Where a copy ends says nothing of where the partition does: whether an offset is there is found out by
    /// reading, which ends at the leader.
    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move {
            let status = self.inner.copy_offsets(key).await?;
            self.saw(key, tail_of(&status));
            let end = Offset::new(INTEGER_MAX);
            Ok(PartitionStatus { end, ..status })
        })
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.sealed_end(key)
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.offset_at(key, time_ms)
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move {
            let status = self.inner.copy_offsets(key).await?;
            self.saw(key, tail_of(&status));
            let seen = self.lock();
            let tail = seen.get(&key).map(watch::Sender::subscribe);
            let none = || Problem::new(ErrorCode::Internal, "a partition was looked at in vain");
            tail.ok_or_else(none)
        })
    }

    fn is_in_doubt(&self, key: ReplicaKey) -> bool {
        self.inner.is_in_doubt(key)
    }
}
