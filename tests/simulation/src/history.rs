//! What clients saw, in the order in which it happened.
//!
//! Every record has a value of its own. Nothing is judged here.

use std::collections::BTreeMap;

use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::Durable;

use crate::options::Writer;
use crate::queue::Time;

/// Names a record.
pub(crate) type Value = u64;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It did not.
    Open,
    Done {
        base: Offset,
        durable: Durable,
    },
    Refused,
    Unknown,
}

/// A request of a writer.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) writer: u32,
    pub(crate) kind: Writer,
    pub(crate) key: ReplicaKey,
    pub(crate) values: Vec<Value>,
    /// When it began and ended.
    pub(crate) began: Time,
    pub(crate) ended: Time,
    pub(crate) end: End,
}

/// What a reader got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) consumer: u32,
    pub(crate) key: ReplicaKey,
    pub(crate) offset: Offset,
    pub(crate) value: Value,
    pub(crate) high_watermark: Offset,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) sent: Vec<Sent>,
    pub(crate) seen: Vec<Seen>,
    /// The whole of each partition at the end: where it begins, and its values.
    pub(crate) scans: BTreeMap<ReplicaKey, Vec<(Offset, Value)>>,
    pub(crate) starts: BTreeMap<ReplicaKey, Offset>,
}

impl History {
    pub(crate) fn begin(&mut self, sent: Sent) -> usize {
        self.sent.push(sent);
        self.sent.len() - 1
    }

    pub(crate) fn end(&mut self, at: usize, now: Time, end: End) {
        if let Some(sent) = self.sent.get_mut(at).filter(|sent| sent.end == End::Open) {
            sent.end = end;
            sent.ended = now;
        }
    }

    /// Requests that ended well.
    pub(crate) fn done(&self) -> u64 {
        let done = self
            .sent
            .iter()
            .filter(|sent| matches!(sent.end, End::Done { .. }));
        done.map(|sent| sent.values.len() as u64).sum()
    }
}
