//! Everything that a replica may ask for.
//!
//! The interpreter carries effects out in list order and never waits in between: it submits to the
//! journal, and the answer comes back as an input. Order is meaning: what is submitted before a reply
//! is in the journal's queue before the reply leaves.

use bytes::Bytes;
use thiserror::Error;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::IsrProposal;
use tidegate_proto::id::{ProducerId, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};
use tidegate_proto::produce::Durable;

use crate::attach::{AttachAnswer, AttachRequest, SessionId, Truncation};

/// Names a waiting request towards the shell; the machine gives it back and knows no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The effects of one step, in the order in which they must be carried out.
pub type Effects = Vec<Effect>;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Journal the replica's metadata; answered by `Input::Persisted` when it is durable (E1).
    Persist(ReplicaMeta),
    /// Journal a batch; answered by `Input::Durable` with an end that covers it, and before that by
    /// `Input::Written` where the topic waits for no sync.
    Submit(Batch),
    /// Journal a snapshot of the ledger that holds everything below `as_of`.
    Snapshot {
        /// First offset that the snapshot does not know.
        as_of: Offset,
        /// The encoded ledger.
        bytes: Bytes,
    },
    /// Note the high watermark, so that a restart knows how much was committed (H4).
    Checkpoint {
        /// Exclusive end of the committed prefix.
        high_watermark: Offset,
    },
    /// Retention: everything below `to` may go.
    Trim {
        /// The new start of the log.
        to: Offset,
    },
    /// Answer a request.
    Reply {
        /// The request.
        request: RequestId,
        /// Its outcome.
        outcome: Result<Acknowledged, Refusal>,
    },
    /// Answer an attach. When it says that batches follow, the shell sends them until `Detach`, or until
    /// it says itself that the session is over (`Input::Detached`).
    Attached {
        /// The session; over at once unless the answer is that batches follow.
        session: SessionId,
        /// What to tell the follower.
        answer: AttachAnswer,
    },
    /// A session is over: nothing more is sent in it.
    Detach {
        /// The session.
        session: SessionId,
    },
    /// Propose an in-sync set to the controllers; answered by a row, and maybe by `Input::IsrAnswered`.
    /// Said again from time to time until a row settles it.
    ProposeIsr(IsrProposal),
    /// Attach to the leader; answered by `Input::AttachAnswered` or `Input::Unlinked`. What an earlier
    /// attempt brings is of no use any more.
    Attach {
        /// New for each attach.
        attempt: u64,
        /// Where the leader is.
        leader: SpuId,
        /// What to tell it.
        request: AttachRequest,
    },
    /// Tell the leader how much is durable here.
    Ack {
        /// The attempt.
        attempt: u64,
        /// How far.
        position: LogPosition,
        /// How far the newest durable snapshot of the ledger reaches, if there is one.
        ledger_as_of: Option<Offset>,
    },
    /// The attempt is over and no other follows for now.
    StopFollowing,
    /// Change the log as said, wait until that is durable, and read the ledger from what is left as at
    /// opening; answered by `Input::Truncated`.
    Truncate(Truncation),
    /// Tell readers: start, high watermark or epoch moved.
    Publish,
    /// The replica's role is another one from now on.
    Became(RoleName),
    /// A rule that must never be broken would be: keep the data, tell the operator.
    Alarm(&'static str),
}

/// Names of the roles, for the shell and for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// Not confirmed yet.
    Idle,
    /// About to lead.
    Opening,
    /// Leads.
    Leading,
    /// Another node leads, or none.
    Following,
    /// Its log failed.
    Failed,
    /// Gone.
    Closed,
}

/// What is journalled about a replica besides its batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaMeta {
    /// Which incarnation of the replica this is.
    pub replica_gen: ReplicaGen,
    /// The accepted epoch; never decreases.
    pub leader_epoch: LeaderEpoch,
    /// Version of the row that brought it.
    pub version: u64,
    /// Grows when an operator accepted loss.
    pub recovery_gen: u64,
}

/// What a replica holds that nobody leads, and so will hold until somebody does (L3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Survey {
    /// The epoch, which is durable: no append below it is taken any more.
    pub epoch: LeaderEpoch,
    /// Epoch of the last batch.
    pub last_epoch: LeaderEpoch,
    /// First offset kept.
    pub log_start: Offset,
    /// Exclusive end of the log, all of it durable.
    pub end: Offset,
    /// Nothing that was acknowledged can be missing.
    pub intact: bool,
    /// How long from now on what producers sent lately is remembered, and would be taken for new without
    /// that, in milliseconds; 0 when nothing is.
    pub remembers_ms: u64,
}

/// An append that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledged {
    /// Offset of the request's first record.
    pub base_offset: Offset,
    /// Records in the request.
    pub count: u64,
    /// Where the last of them ends. What was there before and what was appended now need not be side
    /// by side.
    pub end: Offset,
    /// When the leader appended them, epoch milliseconds.
    pub timestamp_ms: i64,
    /// What the answer promises.
    pub durable: Durable,
    /// Whether all of it had been appended before.
    pub duplicate: bool,
}

/// An append that was refused. All but `OutcomeUnknown` are definite: nothing was appended.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Another node leads, or none.
    #[error("this node does not lead the partition")]
    NotLeader {
        /// Who does, if known.
        leader: Option<SpuId>,
    },
    /// This node is about to lead, or has not been told yet.
    #[error("the partition is not open yet")]
    NotReady,
    /// A4.
    #[error("{in_sync} replicas are in sync, {required} are required")]
    NotEnoughReplicas {
        /// Members of the in-sync set.
        in_sync: u16,
        /// The topic's minimum.
        required: u16,
    },
    /// D1.
    #[error("a newer epoch of this producer has written: {current}")]
    Fenced {
        /// The newest epoch.
        current: u16,
    },
    /// D1.
    #[error("sequence {received} came where {expected} was expected")]
    OutOfOrder {
        /// The next sequence number in line.
        expected: u32,
        /// The one that came.
        received: u32,
    },
    /// D2.
    #[error("producer {producer} is not known here and does not start at sequence 0")]
    UnknownProducer {
        /// The producer.
        producer: ProducerId,
    },
    /// D3.
    #[error("the partition remembers as many producers as it can")]
    TooManyProducers,
    /// D6.
    #[error("the idempotency key was used for other records")]
    KeyReused,
    /// D7.
    #[error("the partition remembers as many unordered producers as it can")]
    Unordered,
    /// `If-Match`.
    #[error("the log ends at {end}")]
    PreconditionFailed {
        /// The actual end.
        end: Offset,
    },
    /// Its time was up before it was appended.
    #[error("the request waited for its turn until its deadline")]
    DeadlinePassed,
    /// S2.
    #[error("the partition's log is damaged on this node: it is read, and not written")]
    Damaged,
    /// The log takes nothing any more.
    #[error("the log has failed")]
    LogFailed {
        /// Because there is no space.
        no_space: bool,
    },
    /// The partition goes away.
    #[error("the partition is closed")]
    Closed,
    /// It was appended, and whether it stays is not known.
    #[error("the records were appended, but not acknowledged in time")]
    OutcomeUnknown,
}
