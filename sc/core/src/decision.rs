//! What can be asked of the control state, and what a decision is.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_proto::api::spu::{SpuGroupRequest, SpuRequest};
use tidegate_proto::api::topic::{FieldChange, TopicRequest, WriteResult};
use tidegate_proto::api::truncate::TruncatePartition;
use tidegate_proto::control::{FailedReplica, IsrOutcome, IsrProposal, Register, SealAnswer};
use tidegate_proto::id::{Incarnation, OperationId, PartitionId, SpuId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

use crate::change::{Change, Guard};
use crate::rows::Throttle;

/// The precondition of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMatch {
    /// `*`: there is one, whatever its version.
    Any,
    /// It is at one of these versions.
    Versions(Vec<u64>),
}

/// What a topic should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicWrite {
    pub name: TopicName,
    pub request: TopicRequest,
    /// Heeded by ensure alone; a topic that does not exist matches nothing.
    pub if_match: Option<IfMatch>,
}

/// Which records of a topic should go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TruncateWrite {
    pub name: TopicName,
    pub partitions: Vec<TruncatePartition>,
    /// Whose word on what is committed was taken: another leader's log may be shorter, and what no leader was
    /// asked about stays. None when only what would be done is asked for.
    pub leader_epochs: Option<BTreeMap<PartitionId, LeaderEpoch>>,
    pub if_match: Option<IfMatch>,
}

/// What an operator says of a storage unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpuWrite {
    pub spu: SpuId,
    pub request: SpuRequest,
    /// A unit that is not there matches nothing.
    pub if_match: Option<IfMatch>,
}

/// What a group of storage units should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpuGroupWrite {
    pub name: SpuGroupName,
    pub request: SpuGroupRequest,
    /// A group that is not there matches nothing.
    pub if_match: Option<IfMatch>,
}

/// Where the copies of one partition should be, the preferred leader first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub topic: TopicName,
    pub partition: PartitionId,
    pub replicas: Vec<SpuId>,
}

/// What is known beside the rows of partitions that are to be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveTerms {
    pub throttle: Option<Throttle>,
    /// Partitions that their leaders said are empty.
    pub empty: BTreeSet<ReplicaKey>,
    /// Partitions that their leaders said hold records.
    pub holding: BTreeSet<ReplicaKey>,
    /// Move also what cannot be moved without a pause or a wait.
    pub force: bool,
    /// Storage units can copy records. Where they cannot, a single copy that holds any stays where it is,
    /// forced or not.
    pub can_copy: bool,
}

impl Default for MoveTerms {
    fn default() -> Self {
        Self {
            throttle: None,
            empty: BTreeSet::new(),
            holding: BTreeSet::new(),
            force: false,
            can_copy: true,
        }
    }
}

/// Something asked of the control state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Make a topic; refused when there is one.
    CreateTopic(TopicWrite),
    /// Make a topic or change it.
    EnsureTopic(TopicWrite),
    /// Delete a topic and its records.
    DeleteTopic {
        name: TopicName,
        if_match: Option<IfMatch>,
    },
    /// Give up the oldest records of some partitions.
    TruncateTopic(TruncateWrite),
    /// Enter a custom unit before it runs; refused when there is one.
    EnterSpu(SpuWrite),
    /// Change what is said of a unit; enter it when it is not there.
    EnsureSpu(SpuWrite),
    /// Give a managed unit that is about to start an id in a group.
    JoinGroup {
        group: SpuGroupName,
        rack: Option<String>,
    },
    /// Make a group of units; refused when there is one.
    CreateSpuGroup(SpuGroupWrite),
    /// Make or change a group of units.
    EnsureSpuGroup(SpuGroupWrite),
    /// Remove a group that has no units.
    RemoveSpuGroup {
        name: SpuGroupName,
        if_match: Option<IfMatch>,
    },
    /// A storage unit starts.
    Register(Register),
    /// A storage unit stops on purpose: as if it had been found dead, but at once.
    Leave {
        spu: SpuId,
        incarnation: Incarnation,
    },
    /// Leaders change in-sync sets.
    ChangeIsr {
        leader: SpuId,
        incarnation: Incarnation,
        proposals: Vec<IsrProposal>,
    },
    /// Let preferred replicas lead: of these partitions, or of the whole topic when none are named.
    ElectPreferred {
        topic: TopicName,
        partitions: Vec<PartitionId>,
    },
    /// Move copies to where the operator wants them.
    Reassign {
        targets: Vec<Target>,
        terms: MoveTerms,
    },
    /// Move copies so that units hold and lead equally many.
    Rebalance { terms: MoveTerms },
    /// Empty a unit.
    DrainSpu { spu: SpuId, terms: MoveTerms },
    /// Let a unit that was being emptied take part again.
    ResumeSpu { spu: SpuId },
    /// Remove a unit that holds nothing.
    RemoveSpu {
        spu: SpuId,
        if_match: Option<IfMatch>,
    },
    /// Find a leader for a partition that has no clean candidate (L3).
    Recover {
        topic: TopicName,
        partition: PartitionId,
        accept_loss: bool,
        /// Also when it is led.
        force: bool,
    },
    /// Replicas of a unit failed while it ran.
    Failed {
        spu: SpuId,
        incarnation: Incarnation,
        replicas: Vec<FailedReplica>,
    },
    /// What replicas found when they were sealed.
    SealAnswers(Vec<SealAnswer>),
    /// Stop an operation and bring what it began to a good end.
    CancelOperation { id: OperationId },
}

/// What a decision tells whoever asked, beside what changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Outcome {
    #[default]
    None,
    /// A unit was given this registration.
    Registered(Incarnation),
    /// A unit was given this id.
    Spu(SpuId),
    /// Work began, or goes on, under this id.
    Operation(OperationId),
    /// One per proposal, in order.
    Isr(Vec<IsrOutcome>),
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub result: WriteResult,
    /// What clients see change; empty for requests that are not about topics.
    pub differences: Vec<FieldChange>,
    /// What will not go as asked for, and what to do about it, a sentence each.
    pub warnings: Vec<String>,
    /// To be made all or none; empty when nothing is to be done.
    pub changes: Vec<Change>,
    /// Rows that must still be at these versions when the changes are made.
    pub guards: Vec<Guard>,
    /// Nothing at all may have changed since the state that this was decided on: for a decision about
    /// rows that others may just be adding.
    pub whole_state: bool,
    pub outcome: Outcome,
}

impl Decision {
    /// Everything is as asked.
    #[must_use]
    pub const fn unchanged() -> Self {
        Self {
            result: WriteResult::Unchanged,
            differences: Vec::new(),
            warnings: Vec::new(),
            changes: Vec::new(),
            guards: Vec::new(),
            whole_state: false,
            outcome: Outcome::None,
        }
    }

    /// The incarnation granted, when this is a registration.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        match self.outcome {
            Outcome::Registered(incarnation) => Some(incarnation),
            Outcome::None | Outcome::Spu(_) | Outcome::Operation(_) | Outcome::Isr(_) => None,
        }
    }
}
