//! One replica inside its shard: the machine, its published side, and the bytes it has under way.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_kit::budget::BytePermit;
use tidegate_proto::control::{Cleanup, TopicConfig};
use tidegate_proto::position::Offset;
use tidegate_spu_core::{Input, Replica};

use super::reader::Reader;

/// How long records are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retention {
    pub(crate) age_ms: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

impl Retention {
    pub(crate) fn of(config: &TopicConfig) -> Self {
        match config.cleanup {
            Cleanup::Delete => Self {
                age_ms: config.retention_ms,
                bytes: config.retention_bytes,
            },
            Cleanup::Compact => Self {
                age_ms: None,
                bytes: None,
            },
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
    pub(crate) inflight: VecDeque<(Offset, BytePermit)>,
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
    }

    /// Where retention would cut now, if anywhere.
    pub(crate) fn expired(&self, now_ms: i64) -> Option<Offset> {
        let Retention { age_ms, bytes } = self.retention;
        if age_ms.is_none() && bytes.is_none() {
            return None;
        }
        let high_watermark = self.reader.tail().high_watermark;
        self.reader
            .log
            .retention(now_ms, age_ms, bytes, high_watermark)
    }
}
