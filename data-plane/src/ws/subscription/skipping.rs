//! What a subscription leaves out when it is too slow and its client wants that.
//!
//! Whether it is too slow, [`Watcher`](crate::ws::slow::Watcher) says. Invariant: what is left out is told
//! by a [`Gap`] from the first record that was not sent.

use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;

use super::Subscription;
use crate::ws::slow::OnSlow;

/// Offsets that were left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) from: Offset,
    pub(crate) to: Offset,
}

impl Subscription {
    /// Looks at all partitions; gives those that are slow, and what the client wants then.
    pub(crate) fn look(&mut self) -> (OnSlow, Vec<PartitionId>) {
        let Some(watcher) = &mut self.watcher else {
            return (OnSlow::Block, Vec::new());
        };
        if self.paused || self.opening.is_some() {
            watcher.forget();
        }
        let slow = self.parts.iter().filter(|(partition, part)| {
            watcher.look(**partition, part.next, part.tail.high_watermark)
        });
        let slow = slow.map(|(partition, _)| *partition).collect();
        (watcher.on_slow(), slow)
    }

    /// Leaves out what waits below `to`, or below the end; gives the first offset left out.
    pub(crate) fn skip(&mut self, partition: PartitionId, to: Option<Offset>) -> Option<Gap> {
        let part = self.parts.get_mut(&partition)?;
        let (from, to) = (part.next, to.unwrap_or(part.tail.high_watermark));
        if to <= from {
            return None;
        }
        self.pending_bytes -= part.skip(to);
        part.is_unsure |= self.away.is_told(partition);
        Some(Gap { from, to })
    }

    /// What a reader of samples leaves out after a frame.
    pub(crate) fn skip_to_sample(&mut self, partition: PartitionId, records: u64) -> Option<Gap> {
        let watcher = self.watcher.as_mut()?;
        let part = self.parts.get(&partition)?;
        let end = part.tail.high_watermark;
        let to = watcher.next_sample(partition, records, part.next, end)?;
        self.skip(partition, Some(to))
    }

    /// Whether only the last record of each key is wanted of a partition now.
    pub(crate) fn wants_latest(&self, partition: PartitionId) -> bool {
        let watcher = self.watcher.as_ref();
        watcher.is_some_and(|watcher| watcher.wants_latest(partition))
    }
}
