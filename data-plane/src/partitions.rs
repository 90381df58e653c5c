//! The one door between the public surface and whatever holds the records.
//!
//! A storage node implements [`Partitions`] over its own replicas, a gateway over remote leaders.
//! The surface above never sees a difference. Offsets given and taken are dense; reads return
//! committed records only.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::batch::{Batch, ClientBatch};
use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::produce::{Acks, Durable};
use tokio::sync::watch;

/// A boxed future, so that the trait stays usable as `dyn Partitions`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Access to partitions, local or remote.
///
/// Every method fails with a [`Problem`] that may be sent to a client as it is.
pub trait Partitions: Send + Sync + 'static {
    /// The topology as last seen: `borrow()` for now, `changed()` to follow it.
    fn topology(&self) -> watch::Receiver<Arc<Topology>>;

    /// Appends all batches or none. Batches are already validated. The implementor keeps the deadline
    /// of the request: by then, or very soon after, it answers what became of the records, with 504
    /// `outcome_unknown` when it cannot tell. Nobody above waits with a clock of their own.
    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>>;

    /// Committed batches at and after `from`: at least one when there is any, none when `from` is
    /// the high watermark. 416 `offset_out_of_range` or 410 `log_truncated` with the extras
    /// `log_start` and `end` otherwise.
    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>>;

    /// The same of any copy that is in sync, whoever leads: up to what that copy knows to be committed, which
    /// may be less than the leader does, and less than another copy did a moment ago. 503 `not_leader` where
    /// there is none.
    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>>;

    /// The bounds as such a copy knows them.
    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>>;

    /// The same as [`Partitions::read`] of what is in memory already: nothing is waited for, and nothing is begun. None when
    /// `from` is not there, or there is nothing after it.
    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk>;

    /// The bounds of a partition.
    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>>;

    /// The end of what is in closed segments, committed and synced: below it records only go by
    /// retention, and their offsets are never given to others.
    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>>;

    /// The first offset whose timestamp is at or after `time_ms`; the high watermark when none is.
    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>>;

    /// Changes whenever the high watermark or the log start moves; closed when the partition goes
    /// away.
    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>>;

    /// Whether there is a sign that records could not be appended to the partition now. Nobody is asked:
    /// it is for those who may as well take another one, and false when nothing is known.
    fn is_in_doubt(&self, key: ReplicaKey) -> bool;
}

/// The bounds of what may be read now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The first offset still held.
    pub log_start: Offset,
    /// One past the last committed record.
    pub high_watermark: Offset,
    /// The epoch of the leader that says so.
    pub leader_epoch: LeaderEpoch,
}

/// One atomic append to one partition.
#[derive(Clone)]
pub struct AppendRequest {
    /// At least one, validated; admitted all or none.
    pub batches: Vec<ClientBatch>,
    /// How durable the records must be before the answer.
    pub acks: Acks,
    /// Append only if the end of the log is exactly here.
    pub expected_end: Option<Offset>,
    /// The epoch of the leader that the sender means: a replica that has not come as far refuses with
    /// 503 `not_leader`.
    pub leader_epoch_min: Option<LeaderEpoch>,
    /// The batches were made here of what the client sent: a gateway may stamp those that have no stamp,
    /// so that it can send them twice (rule D7). False for batches of the client's own, which are stored
    /// as they came.
    pub may_stamp: bool,
    /// The deadline, counted from the call.
    pub timeout: Duration,
}

impl fmt::Debug for AppendRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppendRequest")
            .field("batches", &self.batches.len())
            .field("acks", &self.acks)
            .field("expected_end", &self.expected_end)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// How many records the request held.
    pub count: u64,
    /// When the leader took them, epoch milliseconds.
    pub timestamp_ms: i64,
    /// How durable they are now.
    pub durable: Durable,
    /// They were there already; `base_offset` is that of the first time.
    pub duplicate: bool,
}

/// One read.
#[derive(Clone)]
pub struct Chunk {
    /// The first may begin below the asked offset; control batches may be among them.
    pub batches: Vec<Batch>,
    /// Where the next read starts.
    pub next: Offset,
    /// The first offset still held.
    pub log_start: Offset,
    /// One past the last committed record.
    pub high_watermark: Offset,
    /// The epoch of the leader that answered.
    pub leader_epoch: LeaderEpoch,
    /// What the chunk keeps others from reading; given back with it. Encode it and let it go.
    pub held: Held,
}

/// Something that is given back when the last clone is dropped.
#[derive(Clone, Default)]
pub struct Held {
    _it: Option<Arc<dyn Send + Sync>>,
}

impl Held {
    /// Holds `it`.
    pub fn new(it: impl Send + Sync + 'static) -> Self {
        Self {
            _it: Some(Arc::new(it)),
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk")
            .field("batches", &self.batches.len())
            .field("next", &self.next)
            .field("log_start", &self.log_start)
            .field("high_watermark", &self.high_watermark)
            .field("leader_epoch", &self.leader_epoch)
            .finish()
    }
}
