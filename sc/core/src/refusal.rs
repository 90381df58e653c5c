//! Why a request is refused, as facts, and each fact as the problem that clients see.
//!
//! Every refusal is definite: nothing was changed.

use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::limits::INTEGER_MAX;
use tidegate_proto::name::TopicName;

/// One thing wrong with a request body: a JSON pointer and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub pointer: &'static str,
    pub what: String,
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
    #[error("If-Match does not hold: topic {name} is at version {version}")]
    VersionDiffers { name: TopicName, version: u64 },
    #[error("If-Match does not hold: there is no topic {0}")]
    NothingToMatch(TopicName),
    #[error("the topic cannot be like that")]
    Invalid(Vec<Fault>),
    #[error("topic {name} has {count} partitions, numbered from 0")]
    PartitionNotFound { name: TopicName, count: u32 },
    #[error("partition {partition} is named twice")]
    PartitionTwice { at: usize, partition: PartitionId },
    #[error("before_offset is above {INTEGER_MAX}")]
    OffsetTooLarge { at: usize },
    #[error("{what} is not supported by this version")]
    NotSupported { pointer: &'static str, what: String },
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
                        problem.at(pointer, what)
                    })
            }
            Refusal::PartitionNotFound { count, .. } => {
                Self::new(ErrorCode::PartitionNotFound, detail).with("partitions", count)
            }
            Refusal::PartitionTwice { at, .. } => {
                Self::new(ErrorCode::InvalidParameter, detail.clone())
                    .at(format!("/partitions/{at}/partition"), detail)
            }
            Refusal::OffsetTooLarge { at } => {
                Self::new(ErrorCode::InvalidParameter, detail.clone())
                    .at(format!("/partitions/{at}/before_offset"), detail)
            }
            Refusal::NotSupported { pointer, what } => Self::new(ErrorCode::NotSupported, detail)
                .at(pointer, format!("{what} is not supported by this version")),
        }
    }
}
