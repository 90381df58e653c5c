//! What a shard is told, and the clock that deadlines are told by.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_proto::batch::{Batch, ClientBatch};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use tidegate_spu_core::{
    Assignment, AttachAnswer, AttachRequest, Input, ReplicaConfig, SessionId, Survey,
};
use tokio::sync::oneshot;

use super::hosted::{Hosted, Retention};
use super::peers::Session;
use super::replies::Pending;

/// What a shard is told beside appends.
#[derive(Debug)]
pub(crate) enum Message {
    /// Take this replica in.
    Open(Box<Hosted>),
    /// A newer row of the partition.
    Assign(ReplicaKey, Assignment),
    /// Live configuration change, and the row that came with it: nothing happens between the two, so that
    /// what a replica promises is the same for a whole epoch.
    Configure(
        ReplicaKey,
        ReplicaConfig,
        Retention,
        Option<Box<Assignment>>,
    ),
    /// What does it hold, once nobody leads in this epoch (L3)? Not answered when a later one comes.
    Survey(ReplicaKey, LeaderEpoch, oneshot::Sender<Survey>),
    /// A follower wants to attach.
    Attach(Box<AttachMessage>),
    /// What followers hold durably.
    Acked(Vec<Acked>),
    /// Sessions that ended on the way.
    Detached(Vec<(ReplicaKey, SessionId)>),
    /// What a leader answered to an attach.
    AttachAnswered(Box<AttachAnswered>),
    /// What a leader sent.
    Pushed(Box<Pushed>),
    /// Something else that happened to a replica.
    Input(ReplicaKey, Box<Input>),
    /// The partition goes away; answered when the machine has ended.
    Close(ReplicaKey, oneshot::Sender<()>),
    /// The node stops; answered when all that was submitted is durable.
    Stop(oneshot::Sender<()>),
}

/// A follower wants to attach.
#[derive(Debug)]
pub(crate) struct AttachMessage {
    pub(crate) key: ReplicaKey,
    pub(crate) session: Arc<Session>,
    pub(crate) request: AttachRequest,
    pub(crate) readable_from: Offset,
}

/// What of one session is durable at its follower.
#[derive(Debug)]
pub(crate) struct Acked {
    pub(crate) key: ReplicaKey,
    pub(crate) session: SessionId,
    pub(crate) position: LogPosition,
    pub(crate) ledger_as_of: Option<Offset>,
}

/// A leader's answer, with the snapshot that it shipped.
#[derive(Debug)]
pub(crate) struct AttachAnswered {
    pub(crate) key: ReplicaKey,
    pub(crate) attempt: u64,
    pub(crate) answer: AttachAnswer,
    pub(crate) snapshot: Option<(Offset, Bytes)>,
    /// The snapshot's memory, until it is applied.
    pub(crate) permit: Option<BytePermit>,
}

/// What a leader sent inside one attempt.
#[derive(Debug)]
pub(crate) struct Pushed {
    pub(crate) key: ReplicaKey,
    pub(crate) attempt: u64,
    pub(crate) batches: Vec<Batch>,
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    /// Its memory, until it is durable.
    pub(crate) permit: Option<BytePermit>,
}

#[derive(Debug)]
pub(crate) struct AppendMessage {
    pub(crate) key: ReplicaKey,
    pub(crate) batches: Vec<ClientBatch>,
    pub(crate) acks: Acks,
    pub(crate) expected_end: Option<Offset>,
    /// On the node's monotonic clock.
    pub(crate) deadline_ms: u64,
    pub(crate) pending: Pending,
}

/// Milliseconds on the node's monotonic clock, whose origin is fixed when the node is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime {
    origin: std::time::Instant,
}

impl Uptime {
    pub(crate) fn start() -> Self {
        Self {
            origin: clock::monotonic(),
        }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.after_ms(Duration::ZERO)
    }

    pub(crate) fn after_ms(self, wait: Duration) -> u64 {
        let since = clock::monotonic().saturating_duration_since(self.origin) + wait;
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
