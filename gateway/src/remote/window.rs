//! The newest batches of one partition, for all who read at its tail.
//!
//! Pure. Batches come in order and leave at the other end when there are too many bytes. What is here is
//! one run of the log: a batch that does not follow on throws away what was there.
//! Invariant: the bytes held are within the bound, or it is one batch.

use std::collections::VecDeque;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

/// A run of batches.
#[derive(Debug, Default)]
pub(super) struct Window {
    batches: VecDeque<Batch>,
    bytes: usize,
}

impl Window {
    /// Adds a batch at the end.
    pub(super) fn push(&mut self, batch: Batch, bytes_max: usize) {
        let (start, end) = (batch.placement.base_offset, batch.next_offset());
        // Control batches show nothing, and say nothing of what is before or after them.
        if start == end {
            return;
        }
        match self.end() {
            Some(at) if at == start => {}
            // It is here already.
            Some(at) if end <= at => return,
            Some(_) => self.clear(),
            None => {}
        }
        self.bytes += batch.encoded_len();
        self.batches.push_back(batch);
        while self.bytes > bytes_max && self.batches.len() > 1 {
            if let Some(oldest) = self.batches.pop_front() {
                self.bytes -= oldest.encoded_len();
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Where it ends; none when it is empty.
    pub(super) fn end(&self) -> Option<Offset> {
        self.batches.back().map(Batch::next_offset)
    }

    /// Batches from the one with `from` on, up to `upto` and about `bytes_max` bytes; none when `from` is
    /// not here.
    pub(super) fn read(&self, from: Offset, upto: Offset, bytes_max: usize) -> Option<Vec<Batch>> {
        let first = self.batches.front()?;
        if from < first.placement.base_offset || self.end()? <= from {
            return None;
        }
        let at = self
            .batches
            .partition_point(|batch| batch.next_offset() <= from);
        let mut bytes = 0;
        let mut found = Vec::new();
        for batch in self.batches.range(at..) {
            bytes += batch.encoded_len();
            let is_over = bytes > bytes_max && !found.is_empty();
            if is_over || batch.next_offset() > upto {
                break;
            }
            found.push(batch.clone());
        }
        (!found.is_empty()).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_proto::batch::{BatchBuilder, Placement};
    use tidegate_proto::compression::Codec;
    use tidegate_proto::id::{PartitionId, TopicId};
    use tidegate_proto::position::{LeaderEpoch, ReplicaKey};
    use tidegate_proto::record::{Datum, RecordRef};

    use super::*;

    fn batch(base: u64, records: u32) -> Batch {
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..records {
            let record = RecordRef {
                timestamp_ms: 1,
                key: Datum::Absent,
                value: Datum::Utf8("v"),
                headers: &[],
            };
            builder.push(&record).unwrap();
        }
        Batch {
            placement: Placement {
                key: ReplicaKey {
                    topic_id: TopicId::from_bytes([1; 16]),
                    partition: PartitionId(0),
                },
                base_offset: Offset::new(base),
                leader_epoch: LeaderEpoch(1),
                high_watermark: Offset::ZERO,
                append_time_ms: 0,
                append_timestamps: false,
            },
            client: builder.finish().unwrap(),
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_the_run_that_was_asked_for(
            sizes in proptest::collection::vec((1..4_u32, 0..5_u64), 1..30),
            bytes_max in 100..2_000_usize, from in 0..100_u64, upto in 0..100_u64, read_max in 1..1_000_usize,
        ) {
            let mut window = Window::default();
            let mut base = 0;
            for (records, gap) in sizes {
                // One in five leaves a gap.
                base += u64::from(gap == 4);
                window.push(batch(base, records), bytes_max);
                base += u64::from(records);
                prop_assert!(window.bytes <= bytes_max || window.batches.len() == 1);
            }
            prop_assert_eq!(window.end(), Some(Offset::new(base)));
            let Some(found) = window.read(Offset::new(from), Offset::new(upto), read_max) else {
                return Ok(());
            };
            prop_assert!(found[0].placement.base_offset.get() <= from && from < found[0].next_offset().get());
            prop_assert!(found.last().unwrap().next_offset().get() <= upto);
            for two in found.windows(2) {
                prop_assert_eq!(two[0].next_offset(), two[1].placement.base_offset);
            }
        }
    }

    #[test]
    fn a_batch_that_comes_twice_is_here_once_and_a_gap_begins_anew() {
        let mut window = Window::default();
        window.push(batch(0, 2), 10_000);
        window.push(batch(2, 1), 10_000);
        window.push(batch(0, 2), 10_000);
        assert_eq!(
            window
                .read(Offset::ZERO, Offset::new(3), 10_000)
                .unwrap()
                .len(),
            2
        );
        window.push(batch(9, 1), 10_000);
        assert!(window.read(Offset::ZERO, Offset::new(10), 10_000).is_none());
        assert_eq!(
            window
                .read(Offset::new(9), Offset::new(10), 10_000)
                .unwrap()
                .len(),
            1
        );
    }
}
