//! What is on its way between units, and between a unit and the controllers.
//!
//! A message that was sent stays until it is delivered; it may never be, which is how it is lost, others
//! may overtake it, and a few arrive twice.

use std::hash::{Hash, Hasher};

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::{IsrMember, IsrOutcome, IsrProposal, SealAnswer};
use tidegate_proto::position::{LogPosition, Offset};
use tidegate_spu_core::{AttachAnswer, AttachRequest};

use crate::disk::hash_batch;

/// One attach of one life of a follower: both sides know their messages by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link {
    pub follower: usize,
    /// The follower's registration.
    pub run: u64,
    pub attempt: u64,
    pub leader: usize,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// To the leader.
    Attach { link: Link, request: AttachRequest },
    /// To the follower.
    Answer {
        link: Link,
        answer: AttachAnswer,
        snapshot: Option<(Offset, Bytes)>,
    },
    /// To the follower.
    Push {
        link: Link,
        batches: Vec<Batch>,
        high_watermark: Offset,
        log_start: Offset,
    },
    /// To the follower: the leader ended the session.
    Ended { link: Link },
    /// To the leader.
    Ack {
        link: Link,
        position: LogPosition,
        ledger_as_of: Option<Offset>,
    },
    /// To the controllers.
    Propose {
        leader: IsrMember,
        proposal: IsrProposal,
    },
    /// To the controllers: what a sealed copy holds.
    Sealed { answer: SealAnswer },
    /// To the leader.
    Proposed {
        leader: IsrMember,
        version: u64,
        outcome: IsrOutcome,
    },
}

impl Message {
    /// The unit that it goes to; none when to the controllers.
    #[must_use]
    pub const fn receiver(&self) -> Option<usize> {
        match self {
            Self::Attach { link, .. } | Self::Ack { link, .. } => Some(link.leader),
            Self::Answer { link, .. } | Self::Push { link, .. } | Self::Ended { link } => {
                Some(link.follower)
            }
            Self::Proposed { leader, .. } => Some(leader.spu.0 as usize),
            Self::Propose { .. } | Self::Sealed { .. } => None,
        }
    }

    /// The stream that carries it; requests stand alone.
    #[must_use]
    pub const fn link(&self) -> Option<Link> {
        match self {
            Self::Attach { link, .. }
            | Self::Answer { link, .. }
            | Self::Push { link, .. }
            | Self::Ended { link }
            | Self::Ack { link, .. } => Some(*link),
            Self::Propose { .. } | Self::Proposed { .. } | Self::Sealed { .. } => None,
        }
    }
}

impl Hash for Message {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        self.link().hash(state);
        match self {
            Self::Push {
                batches,
                high_watermark,
                log_start,
                ..
            } => {
                (high_watermark, log_start).hash(state);
                for batch in batches {
                    hash_batch(batch, state);
                }
            }
            Self::Ack {
                position,
                ledger_as_of,
                ..
            } => (position.end, position.last_epoch, ledger_as_of).hash(state),
            // Few, short, and plain data that prints as what it is.
            other => format!("{other:?}").hash(state),
        }
    }
}
