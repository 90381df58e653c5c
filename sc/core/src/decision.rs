//! What can be asked of the control state, and what a decision is.

use tidegate_proto::api::topic::{FieldChange, TopicRequest, WriteResult};
use tidegate_proto::api::truncate::TruncatePartition;
use tidegate_proto::control::Register;
use tidegate_proto::name::TopicName;

use crate::change::Change;

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
    pub if_match: Option<IfMatch>,
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
    /// A storage unit starts.
    Register(Register),
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    pub result: WriteResult,
    /// What clients see change; empty for requests that are not about topics.
    pub differences: Vec<FieldChange>,
    /// To be made all or none; empty when nothing is to be done.
    pub changes: Vec<Change>,
}

impl Decision {
    /// Everything is as asked.
    #[must_use]
    pub const fn unchanged() -> Self {
        Self {
            result: WriteResult::Unchanged,
            differences: Vec::new(),
            changes: Vec::new(),
        }
    }
}
