//! What a shard is told, and the clock that deadlines are told by.

use std::time::Duration;

use tidegate_kit::clock;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use tidegate_spu_core::{Assignment, ReplicaConfig, Survey};
use tokio::sync::oneshot;

use super::hosted::{Hosted, Retention};
use super::replies::Pending;

/// What a shard is told beside appends.
#[derive(Debug)]
pub(crate) enum Message {
    /// Take this replica in.
    Open(Box<Hosted>),
    /// A newer row of the partition.
    Assign(ReplicaKey, Assignment),
    /// Live configuration change.
    Configure(ReplicaKey, ReplicaConfig, Retention),
    /// What does it hold, once nobody leads in this epoch (L3)? Not answered when a later one comes.
    Survey(ReplicaKey, LeaderEpoch, oneshot::Sender<Survey>),
    /// The partition goes away; answered when the machine has ended.
    Close(ReplicaKey, oneshot::Sender<()>),
    /// The node stops; answered when all that was submitted is durable.
    Stop(oneshot::Sender<()>),
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
