//! What a request holds of the bytes that appends may have under way: its part of what the node grants,
//! counted at its partition too.
//!
//! The partition's part is a counter in its reader and no budget of its own: of ten thousand partitions
//! that were written to once, each would keep one. Nobody waits for it, so it needs no line.
//! Invariant: the requests of a partition hold no more together than one partition may.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_kit::budget::{ByteBudget, BytePermit};

use super::reader::Reader;
use crate::limits::PARTITION_APPEND_BYTES_MAX;

/// Bytes of appends that a partition has under way.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(AtomicUsize);

/// Bytes of one request; dropping gives them back.
#[derive(Debug)]
pub(crate) struct AppendPermit {
    node: BytePermit,
    partition: Arc<Reader>,
}

/// The most that one request may ask for.
pub(crate) fn bytes_max(node: &ByteBudget) -> usize {
    node.total().min(PARTITION_APPEND_BYTES_MAX)
}

impl AppendPermit {
    /// Takes `bytes` of both, or of neither.
    pub(crate) fn take(node: &ByteBudget, partition: &Arc<Reader>, bytes: usize) -> Option<Self> {
        let more = |held: usize| {
            let sum = held.checked_add(bytes)?;
            (sum <= PARTITION_APPEND_BYTES_MAX).then_some(sum)
        };
        let UnderWay(held) = &partition.under_way;
        held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        let Some(node) = node.try_acquire(bytes) else {
            held.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        };
        Some(Self {
            node,
            partition: Arc::clone(partition),
        })
    }
}

impl Drop for AppendPermit {
    fn drop(&mut self) {
        let UnderWay(held) = &self.partition.under_way;
        held.fetch_sub(self.node.bytes(), Ordering::Relaxed);
    }
}
