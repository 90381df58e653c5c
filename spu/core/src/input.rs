//! Everything that can happen to a replica.
//!
//! An input is a fact that the shell observed: it never asks a question and never waits for an
//! answer. Times come with each step.

use bytes::Bytes;
use tidegate_proto::batch::{Batch, ClientBatch};
use tidegate_proto::control::{Durability, IsrMember, IsrOutcome, ReplicaSpec};
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use tidegate_proto::produce::Acks;

use crate::attach::{AttachAnswer, AttachRequest, SessionId};
use crate::effect::{ReplicaMeta, RequestId};
use crate::ledger::Ledger;

/// The time of a step, read once by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    /// Wall clock, epoch milliseconds: timestamps and expiry, never safety.
    pub wall_ms: i64,
    /// Monotonic milliseconds since any fixed moment: deadlines.
    pub monotonic_ms: u64,
}

/// What is known of a replica when its log was opened.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Topic and partition.
    pub key: ReplicaKey,
    /// The node that this is.
    pub own: SpuId,
    /// The node's registration.
    pub incarnation: Incarnation,
    /// Metadata as journalled.
    pub meta: ReplicaMeta,
    /// First offset that is kept.
    pub log_start: Offset,
    /// The last checkpoint of the high watermark.
    pub high_watermark: Offset,
    /// End of the log.
    pub end: Offset,
    /// How much of it is durable: all, unless the log has been open all the time.
    pub durable_end: Offset,
    /// False when rot was found: the replica may be read and may follow, but not lead (S2), and its
    /// ledger may lack what stands behind the rot.
    pub intact: bool,
    /// Append time of the last batch.
    pub last_append_ms: Option<i64>,
    /// How far the newest snapshot of the ledger reaches, if there is one.
    pub snapshot_as_of: Option<Offset>,
    /// Bytes of the log that no snapshot knows.
    pub bytes_since_snapshot: u64,
    /// Producers, keys and epochs, recovered.
    pub ledger: Ledger,
    /// Attaches are counted from here. Each replica that a process makes has a range of its own: a partition
    /// that is closed and opened anew must not take what an earlier replica asked for as its own.
    pub attempts_from: u64,
    /// The topic's configuration, as far as it concerns a replica.
    pub config: ReplicaConfig,
}

/// The part of a topic's configuration that the machine acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaConfig {
    /// Whether acknowledgements wait for the disk, or for the system's memory of it.
    pub durability: Durability,
    /// Whether record timestamps are those of the append.
    pub append_timestamps: bool,
    /// A copy that has not had for so long what the leader had then is not in sync any more (I1).
    pub replica_lag_ms: u64,
}

impl ReplicaConfig {
    /// Whether acknowledgements wait for the journal's write only.
    #[must_use]
    pub fn defers_sync(&self) -> bool {
        self.durability == Durability::Interval
    }
}

/// What the control plane says about the partition: one version of its row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Assignment {
    /// Who leads.
    pub leader: Option<SpuId>,
    /// In which epoch.
    pub leader_epoch: LeaderEpoch,
    /// The row's version.
    pub version: u64,
    /// Grows when an operator accepted loss.
    pub recovery_gen: u64,
    /// The replica's own identity in the row.
    pub replica_gen: ReplicaGen,
    /// All copies, this one among them, preferred leader first.
    pub replicas: Vec<ReplicaSpec>,
    /// The committed in-sync set.
    pub isr: Vec<IsrMember>,
    /// The least size of it that lets the high watermark move.
    pub min_isr: u16,
    /// Where the log of a copy begins that was just made.
    pub begins_at: Offset,
}

/// A request to append.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Append {
    /// How the shell calls it.
    pub request: RequestId,
    /// At least one, validated; appended all or none.
    pub batches: Vec<ClientBatch>,
    /// What the answer waits for.
    pub acks: Acks,
    /// Append only if the log ends here.
    pub expected_end: Option<Offset>,
    /// When the caller stops waiting, on the monotonic clock.
    pub deadline_ms: u64,
}

/// A log after a truncation: what is known of it as when it was opened.
#[derive(Clone, Debug)]
pub struct Truncated {
    /// First offset that is kept.
    pub log_start: Offset,
    /// End of the log, all of it durable.
    pub end: Offset,
    /// Append time of the last batch.
    pub last_append_ms: Option<i64>,
    /// False when rot was found in what is left, as for [`Facts::intact`].
    pub intact: bool,
    /// How far the newest snapshot of the ledger reaches, if there is one.
    pub snapshot_as_of: Option<Offset>,
    /// Bytes of the log that no snapshot knows.
    pub bytes_since_snapshot: u64,
    /// Producers, keys and epochs, recovered from what is left.
    pub ledger: Ledger,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// A newer version of the partition's row; older ones are ignored.
    Assigned(Assignment),
    /// The metadata of this epoch is durable.
    Persisted {
        /// The epoch that was journalled.
        epoch: LeaderEpoch,
    },
    /// Somebody wants to append.
    Append(Append),
    /// Everything up to `position` is in a synced round of the journal.
    Durable {
        /// The journal's round.
        round: u64,
        /// The durable part of this replica's log (DLEO).
        position: LogPosition,
        /// How far the newest durable snapshot of the ledger reaches, if there is one.
        snapshot_as_of: Option<Offset>,
    },
    /// Everything up to `position` is written to the journal, and survives the end of the process. Told of
    /// topics that do not wait for the disk; `Durable` follows.
    Written {
        /// The journal's round.
        round: u64,
        /// The written part of this replica's log.
        position: LogPosition,
    },
    /// A follower wants to attach; answered by `Effect::Attached`. An earlier session of the same
    /// follower ends.
    Attach {
        /// New for each attach.
        session: SessionId,
        /// What the follower says.
        request: AttachRequest,
        /// Where the first batch begins that this log can send: at its start, or before it where the
        /// start is inside a batch.
        readable_from: Offset,
    },
    /// A follower holds everything up to `position` durably.
    Acked {
        /// The session; others than the current ones are ignored.
        session: SessionId,
        /// How far.
        position: LogPosition,
        /// How far its newest durable snapshot of the ledger reaches, if it has one.
        ledger_as_of: Option<Offset>,
    },
    /// A session ended: its stream did, or was silent for longer than the followers may lag.
    Detached {
        /// The session.
        session: SessionId,
    },
    /// The controllers answered a proposal. A hint: it is settled by a row of a higher version only (H1).
    IsrAnswered {
        /// The version that it was proposed on.
        version: u64,
        /// What they said.
        outcome: IsrOutcome,
    },
    /// The leader answered an attach.
    AttachAnswered {
        /// The attempt; others than the last are ignored.
        attempt: u64,
        /// What it said.
        answer: AttachAnswer,
        /// The snapshot of the ledger that came with it, and the offset that it is as of.
        snapshot: Option<(Offset, Bytes)>,
    },
    /// The leader sent what it has.
    Pushed {
        /// The attempt; others than the last are ignored.
        attempt: u64,
        /// In order, possibly none.
        batches: Vec<Batch>,
        /// Committed so far at the leader (H4).
        high_watermark: Offset,
        /// First offset that the leader keeps.
        log_start: Offset,
    },
    /// The connection to the leader is gone, or never was, or the leader ended the session.
    Unlinked {
        /// The attempt; others than the last are ignored.
        attempt: u64,
    },
    /// What `Effect::Truncate` asked for is durable.
    Truncated(Box<Truncated>),
    /// What is left of a truncated log cannot be read, and trying again did not help: this replica fails.
    TruncationFailed,
    /// The journal failed for good: nothing more becomes durable.
    LogFailed {
        /// Because there is no space.
        no_space: bool,
    },
    /// Live configuration change.
    Configure(ReplicaConfig),
    /// Retention found that everything below `to` may go.
    Retain {
        /// The wanted start of the log.
        to: Offset,
    },
    /// Time passed: deadlines, early requests, idle producers.
    Tick,
    /// A good moment to note the high watermark.
    Checkpoint,
    /// Compaction waits for a newer snapshot of the producers: batches above it are never touched (D3).
    Snapshot,
    /// The node stops: snapshot, checkpoint, take nothing more; what waits may still become durable.
    Stop,
    /// The partition goes away: everything that waits ends.
    Close,
}
