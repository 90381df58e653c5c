//! Why a request is refused, as facts, and each fact as the problem that clients see.
//!
//! Every refusal is definite: nothing was changed.

use std::borrow::Cow;

use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{OperationId, PartitionId, SpuId};
use tidegate_proto::limits::INTEGER_MAX;
use tidegate_proto::name::{SpuGroupName, TopicName};

use crate::decision::IfMatch;

/// One thing wrong with a request body: a JSON pointer and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub pointer: Cow<'static, str>,
    pub what: String,
}

impl Fault {
    /// What is wrong there.
    pub fn new(pointer: impl Into<Cow<'static, str>>, what: String) -> Self {
        let pointer = pointer.into();
        Self { pointer, what }
    }
}

/// Why nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    #[error("there is no topic {0}")]
    TopicNotFound(TopicName),
    #[error("there is a topic {0} already; PUT changes it")]
    AlreadyExists(TopicName),
    #[error(
        "names that start with __ belong to the system; {0} cannot be made, changed or deleted"
    )]
    Internal(TopicName),
    /// `what` with its kind: `topic orders`.
    #[error("If-Match does not hold: {what} is at version {version}")]
    VersionDiffers { what: String, version: u64 },
    #[error("If-Match does not hold: there is no {0}")]
    NothingToMatch(String),
    #[error("it cannot be like that")]
    Invalid(Vec<Fault>),
    #[error("topic {name} has {count} partitions, numbered from 0")]
    PartitionNotFound { name: TopicName, count: u32 },
    #[error("partition {partition} is named twice")]
    PartitionTwice { at: usize, partition: PartitionId },
    #[error("the leader of partition {partition} changed meanwhile: nothing was given up")]
    LeaderChanged { partition: PartitionId },
    #[error("before_offset is above {INTEGER_MAX}")]
    OffsetTooLarge { at: usize },
    #[error("{what} is not supported by this version")]
    NotSupported { pointer: &'static str, what: String },
    #[error("there is no storage unit {0}")]
    SpuNotFound(SpuId),
    /// It wants to register, and neither has a row nor may get one.
    #[error(
        "there is no storage unit {0}; register it beforehand, or let it join a group with an empty disk"
    )]
    SpuNotEntered(SpuId),
    #[error("there is a storage unit {0} already; PUT changes what is said of it")]
    SpuExists(SpuId),
    #[error("storage unit {0} is shut out until it registers again")]
    SpuFenced(SpuId),
    #[error("storage unit {0} was registered again by another process")]
    SpuSuperseded(SpuId),
    #[error("there is a group {0} of storage units already; PUT changes it")]
    SpuGroupExists(SpuGroupName),
    #[error("there is no group {0} of storage units")]
    SpuGroupNotFound(SpuGroupName),
    #[error("group {group} takes in units from {first} to below {end}, and no more")]
    OutsideGroup {
        group: SpuGroupName,
        first: SpuId,
        end: u32,
    },
    #[error("there is no operation {0}")]
    OperationNotFound(OperationId),
    /// Things are not so that it could be done; the sentence says what stands against it.
    #[error("{0}")]
    Conflict(String),
}

impl Refusal {
    /// Refuses when the condition does not hold for `what`, which is at that version, or not there.
    pub(crate) fn unless_matching(
        if_match: Option<&IfMatch>,
        what: &str,
        version: Option<u64>,
    ) -> Result<(), Self> {
        match (version, if_match) {
            (None, Some(_)) => Err(Self::NothingToMatch(what.to_owned())),
            (Some(version), Some(IfMatch::Versions(versions))) if !versions.contains(&version) => {
                let what = what.to_owned();
                Err(Self::VersionDiffers { what, version })
            }
            _ => Ok(()),
        }
    }

    /// Refuses when anything is wrong.
    pub(crate) fn unless_good(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self::Invalid(faults))
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::TopicNotFound(_) => Self::new(ErrorCode::TopicNotFound, detail),
            Refusal::AlreadyExists(_) => Self::new(ErrorCode::AlreadyExists, detail),
            Refusal::Internal(_) => Self::new(ErrorCode::Forbidden, detail),
            Refusal::VersionDiffers { version, .. } => {
                Self::new(ErrorCode::PreconditionFailed, detail).with("version", version)
            }
            Refusal::NothingToMatch(_) => Self::new(ErrorCode::PreconditionFailed, detail),
            Refusal::Invalid(faults) => {
                // One fault is its own summary; several are counted and listed.
                let detail = match faults.as_slice() {
                    [fault] => format!("{}: {}", fault.pointer, fault.what),
                    faults => format!("{} fields are wrong; see errors", faults.len()),
                };
                let problem = Self::new(ErrorCode::InvalidParameter, detail);
                faults
                    .into_iter()
                    .fold(problem, |problem, Fault { pointer, what }| {
                        problem.at(pointer.into_owned(), what)
                    })
            }
            Refusal::PartitionNotFound { count, .. } => {
                Self::new(ErrorCode::PartitionNotFound, detail).with("partitions", count)
            }
            Refusal::PartitionTwice { at, .. } => {
                Self::new(ErrorCode::InvalidParameter, detail.clone())
                    .at(format!("/partitions/{at}/partition"), detail)
            }
            Refusal::LeaderChanged { .. } => Self::new(ErrorCode::Unavailable, detail),
            Refusal::OffsetTooLarge { at } => {
                Self::new(ErrorCode::InvalidParameter, detail.clone())
                    .at(format!("/partitions/{at}/before_offset"), detail)
            }
            Refusal::SpuNotFound(_) | Refusal::SpuNotEntered(_) => {
                Self::new(ErrorCode::SpuNotFound, detail)
            }
            Refusal::SpuGroupNotFound(_) => Self::new(ErrorCode::SpuGroupNotFound, detail),
            Refusal::OperationNotFound(_) => Self::new(ErrorCode::OperationNotFound, detail),
            Refusal::SpuExists(_) | Refusal::SpuGroupExists(_) => {
                Self::new(ErrorCode::AlreadyExists, detail)
            }
            Refusal::SpuFenced(_)
            | Refusal::SpuSuperseded(_)
            | Refusal::OutsideGroup { .. }
            | Refusal::Conflict(_) => Self::new(ErrorCode::Conflict, detail),
            Refusal::NotSupported { pointer, what } => Self::new(ErrorCode::NotSupported, detail)
                .at(pointer, format!("{what} is not supported by this version")),
        }
    }
}
