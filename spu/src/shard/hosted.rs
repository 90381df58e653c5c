//! One replica inside its shard: the machine, its published side, and the bytes it has under way.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_kit::budget::BytePermit;
use tidegate_proto::control::{Cleanup, CopyStatus, PartitionSpec, TopicConfig};
use tidegate_proto::position::Offset;
use tidegate_spu_core::{Input, Now, Replica, SessionId};

use super::peers::Session;
use super::permit::AppendPermit;
use super::reader::Reader;

/// Which records are not kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) age_ms: Option<u64>,
    pub(crate) bytes: Option<u64>,
    /// What is below it was given up, as far as it is committed.
    pub(crate) before: Offset,
}

impl Retention {
    pub(crate) fn of(config: &TopicConfig, partition: &PartitionSpec) -> Self {
        let (age_ms, bytes) = match config.cleanup {
            Cleanup::Delete => (config.retention_ms, config.retention_bytes),
            Cleanup::Compact => (None, None),
        };
        Self {
            age_ms,
            bytes,
            before: partition.truncate_before,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) machine: Replica,
    pub(crate) reader: Arc<Reader>,
    pub(crate) retention: Retention,
    /// What the shard steps as soon as it has taken the replica in.
    pub(crate) first: Option<Box<Input>>,
    /// Bytes of requests that were answered before their batches were durable.
    pub(crate) inflight: VecDeque<(Offset, AppendPermit)>,
    /// Bytes of a leader's batches that are not durable here yet.
    pub(crate) arrived: VecDeque<(Offset, BytePermit)>,
    /// Bytes of a shipped snapshot that the log has not come up to.
    pub(crate) shipped: Option<BytePermit>,
    /// Followers that are attached here, or about to be.
    pub(crate) sessions: Vec<Arc<Session>>,
    /// The log is being shortened; the ledger is read again when that is durable.
    pub(crate) is_truncating: bool,
    /// The machine wants to be looked at from time to time.
    pub(crate) is_unsettled: bool,
    /// Something happened to it since the last look by the clock.
    pub(crate) is_stirred: bool,
}

impl Hosted {
    pub(crate) fn new(
        machine: Replica,
        reader: Arc<Reader>,
        retention: Retention,
        first: Input,
    ) -> Self {
        Self {
            machine,
            reader,
            retention,
            first: Some(Box::new(first)),
            inflight: VecDeque::new(),
            arrived: VecDeque::new(),
            shipped: None,
            sessions: Vec::new(),
            is_truncating: false,
            is_unsettled: false,
            is_stirred: false,
        }
    }

    /// Gives back the bytes that are durable now.
    pub(crate) fn release(&mut self, durable_end: Offset) {
        while self
            .inflight
            .front()
            .is_some_and(|(end, _)| *end <= durable_end)
        {
            self.inflight.pop_front();
        }
        while self
            .arrived
            .front()
            .is_some_and(|(end, _)| *end <= durable_end)
        {
            self.arrived.pop_front();
        }
    }

    /// Gives back what a shipped snapshot held, once it is applied or given up.
    pub(crate) fn release_shipped(&mut self) {
        if self.shipped.is_some() && !self.machine.holds_shipped() {
            self.shipped = None;
        }
    }

    /// Shows how the other copies are, while it is led here.
    pub(crate) fn tell_copies(&self, now: Now) {
        // The first is the own one.
        let others = self.machine.members(now).into_iter().skip(1);
        let copies = others.map(|member| {
            let lag_ms = i64::try_from(member.lag_ms).unwrap_or(i64::MAX);
            // In whole seconds: the same moment reckoned twice is one.
            let since_ms = now.wall_ms.saturating_sub(lag_ms).div_euclid(1_000) * 1_000;
            CopyStatus {
                spu: member.spu,
                end: member.acked.filter(|_| member.is_attached).map(|at| at.end),
                behind_since_ms: (lag_ms > 0).then_some(since_ms),
            }
        });
        self.reader.set_copies(copies.collect());
    }

    /// The session of that name; it is forgotten unless it stays.
    pub(crate) fn session(&mut self, id: SessionId, stays: bool) -> Option<Arc<Session>> {
        let at = self.sessions.iter().position(|session| session.id == id)?;
        if stays {
            return Some(Arc::clone(&self.sessions[at]));
        }
        Some(self.sessions.swap_remove(at))
    }

    /// Where retention or truncation would cut now, if anywhere.
    pub(crate) fn expired(&self, now_ms: i64) -> Option<Offset> {
        let Retention {
            age_ms,
            bytes,
            before,
        } = self.retention;
        let tail = self.reader.tail();
        let given_up = before.min(tail.high_watermark);
        let given_up = Some(given_up).filter(|to| *to > tail.log_start);
        if age_ms.is_none() && bytes.is_none() {
            return given_up;
        }
        let log = &self.reader.log;
        let expired = log.retention(now_ms, age_ms, bytes, tail.high_watermark);
        expired.max(given_up)
    }
}
