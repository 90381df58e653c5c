//! What nodes tell each other, what they wait for, and how they ask for both.
//!
//! A node is a function of its inputs: it gets a [`Context`], and what it sends and waits for is carried
//! out by the world when it has returned. Nothing here decides anything.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, ClientBatch};
use tidegate_proto::control::Standing;
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use tidegate_sc_core::decision::{Outcome, Request};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::refusal::Refusal as ControlRefusal;
use tidegate_spu_core::{Acknowledged, AttachAnswer, AttachRequest, Refusal};

use crate::network::Node;
use crate::plant::Plant;
use crate::queue::Time;
use crate::random::Random;
use crate::store::{Commit, Fate};

/// What a controller asks of the store.
#[derive(Debug, Clone)]
pub(crate) enum StoreCall {
    Commit(Commit),
    LookUp { id: u64 },
    Look,
    Lease { holder: u32 },
}

/// What the store answers.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    Committed {
        id: u64,
        fate: Fate,
        model: Arc<Model>,
    },
    Looked {
        model: Arc<Model>,
    },
    Leased {
        epoch: Option<u64>,
        model: Arc<Model>,
    },
}

/// What a producer's request holds.
#[derive(Debug, Clone)]
pub(crate) struct Produce {
    pub(crate) key: ReplicaKey,
    pub(crate) batches: Vec<ClientBatch>,
    pub(crate) acks: Acks,
    pub(crate) expected_end: Option<Offset>,
    /// Nobody may stamp it.
    pub(crate) is_bare: bool,
}

/// What became of a producer's request, as its client sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Produced {
    Done(Acknowledged),
    /// Nothing was appended.
    Refused(Refusal),
    /// Nobody knows.
    Unknown,
}

/// What one node tells another.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    // To a controller.
    Hello {
        unit: Option<(SpuId, Incarnation)>,
        revision: u64,
    },
    Relay {
        spu: SpuId,
        incarnation: Incarnation,
    },
    Call {
        call: u64,
        request: Box<Request>,
    },
    // From a controller.
    News {
        model: Option<Arc<Model>>,
        standing: Option<Standing>,
    },
    Answer {
        call: u64,
        outcome: Result<Outcome, ControlRefusal>,
    },
    // Between controllers and the store.
    Ask(StoreCall),
    Told(Told),
    Bell(Arc<Model>),
    // From a follower to its leader.
    Attach {
        key: ReplicaKey,
        attempt: u64,
        request: AttachRequest,
    },
    Ack {
        key: ReplicaKey,
        attempt: u64,
        /// Counted from 1 in each attempt.
        number: u64,
        /// None says only that the follower lives.
        position: Option<(LogPosition, Option<Offset>)>,
    },
    Detach {
        key: ReplicaKey,
        attempt: u64,
    },
    // From a leader to a follower.
    Attached {
        key: ReplicaKey,
        attempt: u64,
        answer: AttachAnswer,
        snapshot: Option<(Offset, Bytes)>,
    },
    Push {
        key: ReplicaKey,
        attempt: u64,
        /// Counted from 1 in each session.
        number: u64,
        batches: Vec<Batch>,
        high_watermark: Offset,
        log_start: Offset,
    },
    Ended {
        key: ReplicaKey,
        attempt: u64,
    },
    // Between gateways and units.
    Append {
        call: u64,
        produce: Produce,
        patience: Time,
    },
    Appended {
        call: u64,
        outcome: Result<Acknowledged, Refusal>,
    },
    Read {
        call: u64,
        key: ReplicaKey,
        from: Offset,
    },
    ReadAnswer {
        call: u64,
        answer: Option<Page>,
    },
    // Between clients and gateways.
    Produce {
        call: u64,
        produce: Produce,
        patience: Time,
    },
    Produced {
        call: u64,
        outcome: Produced,
    },
    Fetch {
        call: u64,
        key: ReplicaKey,
        from: Offset,
    },
    Fetched {
        call: u64,
        page: Option<Page>,
    },
}

/// What a reader got.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) batches: Vec<Batch>,
}

/// What a node waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The node's own regular look around.
    Beat,
    /// A unit has read its disk.
    Opened,
    /// A round of the journal is written.
    Written {
        round: u64,
    },
    /// A round of the journal is on the disk.
    Synced {
        round: u64,
    },
    /// A follower asks again to be attached.
    AttachAgain {
        key: ReplicaKey,
        attempt: u64,
    },
    /// In-sync sets are proposed together.
    Propose,
    /// A gateway tries a request again, or gives it up.
    TryAgain {
        call: u64,
    },
    GiveUp {
        call: u64,
        sent: u64,
    },
    /// A client does what is next.
    Turn,
    Late {
        call: u64,
    },
}

/// What the world looks at when a node has returned.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A leader put a batch into its log.
    Appended { key: ReplicaKey, epoch: LeaderEpoch },
    /// A quorum answer left: all below `end` is promised.
    Promised { key: ReplicaKey, end: Offset },
    /// A replica counts more as committed.
    Committed {
        key: ReplicaKey,
        from: Offset,
        to: Offset,
    },
    /// A replica leads from now on.
    Leads { key: ReplicaKey, epoch: LeaderEpoch },
    /// A follower says how far it is, in its epoch.
    Acked {
        key: ReplicaKey,
        epoch: LeaderEpoch,
        end: Offset,
    },
    /// All below goes: as the leader's retention says, or as its followers heard.
    Trims {
        key: ReplicaKey,
        to: Offset,
        leads: bool,
    },
    /// A copy of an earlier membership goes.
    GivesUp {
        key: ReplicaKey,
        replica_gen: ReplicaGen,
    },
    /// Something from there on is about to go: what is committed must not be among it.
    Cuts {
        key: ReplicaKey,
        dropped: Vec<Batch>,
    },
    /// Something that a machine says must never be.
    Alarm { key: ReplicaKey, what: &'static str },
    /// A unit has to begin again: it was shut out, or its place was taken.
    Excluded,
    /// The log broke a promise of its own.
    Fails(String),
    /// An append is refused for too few copies that are attached.
    TooFew,
    /// For the account of what was reached.
    Reached(&'static str),
    /// For people who look at one run.
    Says(String),
}

/// What a node has for one input.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) now: Time,
    /// By the node's own clocks.
    pub(crate) wall_ms: i64,
    pub(crate) monotonic_ms: u64,
    pub(crate) random: Random,
    pub(crate) sent: Vec<(Node, Message)>,
    pub(crate) timers: Vec<(Time, Timer)>,
    pub(crate) notes: Vec<Note>,
    /// What nodes do wrong on purpose.
    pub(crate) plant: Option<Plant>,
    /// Whether somebody wants to read what nodes say.
    pub(crate) is_loud: bool,
}

impl Context {
    pub(crate) fn send(&mut self, to: Node, message: Message) {
        self.sent.push((to, message));
    }

    pub(crate) fn after(&mut self, delay: Time, timer: Timer) {
        self.timers.push((delay, timer));
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        if self.is_loud {
            self.notes.push(Note::Says(what()));
        }
    }
}
