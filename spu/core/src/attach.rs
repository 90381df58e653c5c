//! What a follower and its leader tell each other, as the two machines see it (A2, T1, T5).
//!
//! Plain data, no protocol: the shell carries it, whatever the form on the wire. A *session* is one
//! attach of one follower at its leader, an *attempt* is the same seen from the follower. Invariant:
//! both numbers are never used again in the life of a process, so that what comes late is known as such.

use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

/// Names one attach of a follower towards the shell of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What a follower says of itself when it attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttachRequest {
    /// The node and its registration.
    pub follower: IsrMember,
    /// Which membership in the row.
    pub replica_gen: ReplicaGen,
    /// The epoch that it accepted, durably (E1).
    pub leader_epoch: LeaderEpoch,
    /// First offset that it keeps.
    pub log_start: Offset,
    /// Where its log ends, durable or not.
    pub position: LogPosition,
    /// Its ledger lacks nothing below its end. If not, it needs a snapshot.
    pub is_whole: bool,
    /// Its log is not damaged. One that is may follow, and never counts (S2).
    pub is_intact: bool,
}

/// The leader's answer. It is valid only if both hold the same epoch (T4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachAnswer {
    /// Batches follow.
    Attached {
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// Everything behind this position will be sent, in order. The first batch begins at its end;
        /// batches that take no offset and are of its epoch or an older one may come again.
        from: LogPosition,
        /// Committed so far.
        high_watermark: Offset,
        /// First offset that the leader keeps.
        log_start: Offset,
        /// The newest snapshot that the leader's log holds comes before the first batch.
        ships_snapshot: bool,
    },
    /// T1: the follower cuts back to the common part and attaches again.
    Diverged {
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The greatest epoch in the leader's log that is not above the follower's last one.
        epoch: LeaderEpoch,
        /// Where that ends in the leader's log.
        end: Offset,
    },
    /// T5: the follower drops what it has, begins at `log_start` and attaches again.
    Reset {
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// First offset that the leader can send.
        log_start: Offset,
    },
    /// Not now, or never.
    Refused {
        /// The epoch that this replica accepted, whether it leads or not.
        leader_epoch: LeaderEpoch,
        /// Why.
        reason: AttachRefusal,
    },
}

impl AttachAnswer {
    /// The epoch of whoever answered.
    #[must_use]
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Self::Attached { leader_epoch, .. }
            | Self::Diverged { leader_epoch, .. }
            | Self::Reset { leader_epoch, .. }
            | Self::Refused { leader_epoch, .. } => *leader_epoch,
        }
    }
}

/// Why an attach was refused (E2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachRefusal {
    /// This replica does not lead.
    NotLeading,
    /// It is about to lead: the same may go well in a moment.
    NotReady,
    /// The follower accepted a lower epoch than this replica.
    EpochBehind,
    /// The follower accepted a higher epoch: the row that says so is on its way here too. Until it comes the
    /// follower acknowledges nothing to this replica, and so nothing is committed past it (E3).
    EpochAhead,
    /// The row does not have the follower, or has it as another membership.
    NotReplica,
    /// A later registration of that node is attached.
    Superseded,
    /// The follower needs a snapshot, and one is being made.
    SnapshotPending,
}

/// What a follower has to do with its log before it attaches again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truncation {
    /// T2: drop every batch that begins at or above `to`, markers included. Also asked for with the end
    /// itself, where nothing but batches without offsets goes, or nothing at all: the ledger is made anew.
    Cut {
        /// The new end.
        to: Offset,
    },
    /// T5: drop all, snapshots of the ledger too; the log begins and ends at `to`. That is above its end, or 0
    /// where an operator accepted the loss of all that the leader does not have.
    Reset {
        /// The new start and end.
        to: Offset,
    },
}

/// How one copy of a partition stands in the eyes of its leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MemberStatus {
    /// Where it is.
    pub spu: SpuId,
    /// It is a member of the committed in-sync set.
    pub is_in_sync: bool,
    /// It is attached, or is the leader itself.
    pub is_attached: bool,
    /// How far it acknowledged in this attach; of the leader, its own durable position.
    pub acked: Option<LogPosition>,
    /// How long ago it had all that there was, in milliseconds.
    pub lag_ms: u64,
}
