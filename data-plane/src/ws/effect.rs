//! The words between a session and the loop that drives it: what can happen, what may be asked for.
//!
//! Types only.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_proto::api::socket::CloseCode;
use tidegate_proto::control::Topology;
use tidegate_proto::error::Problem;
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::protocol::ProduceOp;
use super::subscription::{Resolution, StartPlace};
use crate::encode::codecs::Codecs;
use crate::encode::frame::Frame;
use crate::opening::Absent;
use crate::partitions::Tail;
use crate::position::Start;

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionTimes {
    pub(crate) ping_every: Duration,
    pub(crate) idle_after: Duration,
}

/// What a socket speaks, by its subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Json,
    Batches,
}

/// What frames of records are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Batches { topic_number: u32, codecs: Codecs },
}

/// What a read gave.
#[derive(Debug)]
pub(crate) enum ReadOutcome {
    Frames {
        frames: Vec<Frame>,
        next: Offset,
        tail: Tail,
    },
    /// The asked offset can no longer be read; the next that can is `to`.
    Gap {
        to: Offset,
        reason: &'static str,
    },
    Failed(Problem),
}

/// Names the positions that a result belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Of {
    pub(crate) topic: TopicName,
    pub(crate) generation: u64,
}

/// A frame on its way, and whose it is.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) of: Of,
    pub(crate) partition: PartitionId,
    pub(crate) frame: Frame,
}

/// What a socket that takes nothing gives up, to read it again later.
#[derive(Debug, Default)]
pub(crate) struct LetGo {
    /// Frames that were handed over and not written, in order.
    pub(crate) unsent: Vec<Sending>,
    /// Reads that came back meanwhile, without what they brought.
    pub(crate) unread: Vec<(Of, PartitionId)>,
}

/// Everything that can happen to a session.
#[derive(Debug)]
pub(crate) enum Input {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A message above the limit, or one that is no WebSocket message.
    Unreadable(CloseCode),
    /// A sign of life that asks for nothing.
    Alive,
    Resolved {
        of: Of,
        outcome: Result<Resolution, Problem>,
    },
    Tail {
        of: Of,
        partition: PartitionId,
        tail: Tail,
    },
    /// A partition is there that was absent.
    Joined {
        of: Of,
        start: StartPlace,
    },
    /// A partition that was absent will never be there.
    Refused {
        of: Of,
        problem: Problem,
    },
    Read {
        of: Of,
        partition: PartitionId,
        outcome: ReadOutcome,
    },
    Retry {
        of: Of,
        partition: PartitionId,
    },
    Produced {
        id: Option<u32>,
        bytes: usize,
        outcome: Result<Map<String, Value>, Problem>,
    },
    /// Names the subscriptions that the fresh credential does not allow.
    Reauthenticated {
        id: Option<u32>,
        outcome: Result<Vec<TopicName>, Problem>,
    },
    Topology(Arc<Topology>),
    Tick,
    /// All that was handed over has been written.
    Flushed,
    /// Nothing could be written for a while, or others need the room: what was read goes.
    Stuck(LetGo),
    Drain {
        retry_after_ms: u64,
    },
}

/// Everything a session may ask for, in order.
#[derive(Debug)]
pub(crate) enum Effect {
    Send(String),
    SendRecords(Sending),
    /// Look up where to start and follow the tails.
    Resolve {
        of: Of,
        partitions: Option<Vec<PartitionId>>,
        at: Start,
    },
    /// Follow the tail of a partition that the topic got since.
    Follow {
        of: Of,
        key: ReplicaKey,
    },
    /// Wait until a partition can be reached.
    Join {
        of: Of,
        absent: Absent,
    },
    Read {
        of: Of,
        key: ReplicaKey,
        from: Offset,
        form: Form,
        /// Only the last record of each key.
        latest: bool,
    },
    RetryLater {
        of: Of,
        partition: PartitionId,
    },
    /// Nothing of this generation is of interest any more.
    Forget {
        generation: u64,
    },
    Produce(ProduceOp),
    Reauthenticate {
        id: Option<u32>,
        token: String,
    },
    Ping,
    Close(CloseCode),
}

impl Effect {
    /// Length of the message that it sends, if it does.
    pub(crate) fn message_bytes(&self) -> Option<usize> {
        match self {
            Self::Send(text) => Some(text.len()),
            Self::SendRecords(sending) => Some(sending.frame.bytes()),
            Self::Ping => Some(0),
            Self::Resolve { .. }
            | Self::Follow { .. }
            | Self::Join { .. }
            | Self::Read { .. }
            | Self::RetryLater { .. }
            | Self::Forget { .. }
            | Self::Produce(_)
            | Self::Reauthenticate { .. }
            | Self::Close(_) => None,
        }
    }
}

/// What one input leads to.
pub(crate) type Effects = Vec<Effect>;
