//! Which records of a stored batch a consumer has not seen yet. Pure.
//!
//! The server sends whole batches: the first may begin below the wanted offset, and the last may
//! reach beyond the end at which a consumer is to stop. Each partition has a span `[next, stop)`
//! that only shrinks from below.

use std::collections::BTreeMap;
use std::ops::Range;

use tidegate_proto::batch::Batch;
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{LeaderEpoch, Offset};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) next: Offset,
    /// Exclusive; absent when following.
    pub(crate) stop: Option<Offset>,
    pub(crate) leader_epoch: LeaderEpoch,
}

impl Span {
    pub(crate) fn is_done(&self) -> bool {
        self.stop.is_some_and(|stop| self.next >= stop)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(pub(crate) BTreeMap<PartitionId, Span>);

impl Spans {
    pub(crate) fn all_done(&self) -> bool {
        self.0.values().all(Span::is_done)
    }

    /// Whether there is something of that partition to read.
    pub(crate) fn wants(&self, partition: u32) -> bool {
        let span = self.0.get(&PartitionId(partition));
        span.is_none_or(|span| !span.is_done())
    }

    /// A partition that was not known is read from its beginning.
    pub(crate) fn follow(&mut self, partition: PartitionId) {
        self.0.entry(partition).or_insert(Span {
            next: Offset::ZERO,
            stop: None,
            leader_epoch: LeaderEpoch(0),
        });
    }

    /// Takes note of a batch and returns which of its records are wanted, as offsets above its base.
    pub(crate) fn advance(&mut self, batch: &Batch) -> Range<u32> {
        let base = batch.placement.base_offset;
        let count = batch.client.span();
        let Some(span) = self.0.get_mut(&batch.placement.key.partition) else {
            return 0..0;
        };
        let wanted = wanted(base.get(), count, span);
        let end = batch.next_offset();
        if end > span.next {
            span.next = end;
            span.leader_epoch = batch.placement.leader_epoch;
        }
        if batch.client.is_control() {
            0..0
        } else {
            wanted
        }
    }
}

fn wanted(base: u64, count: u32, span: &Span) -> Range<u32> {
    let index = |offset: u64| u32::try_from(offset.saturating_sub(base)).unwrap_or(u32::MAX);
    let first = index(span.next.get()).min(count);
    let last = span.stop.map_or(count, |stop| index(stop.get()).min(count));
    first..last.max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(next: u64, stop: Option<u64>) -> Span {
        Span {
            next: Offset::new(next),
            stop: stop.map(Offset::new),
            leader_epoch: LeaderEpoch(1),
        }
    }

    #[test]
    fn records_below_the_position_are_skipped() {
        assert_eq!(wanted(10, 5, &span(12, None)), 2..5);
        assert_eq!(wanted(10, 5, &span(10, None)), 0..5);
        assert_eq!(wanted(10, 5, &span(3, None)), 0..5);
        assert!(wanted(10, 5, &span(20, None)).is_empty());
    }

    #[test]
    fn records_from_the_stop_on_are_left() {
        assert_eq!(wanted(10, 5, &span(10, Some(13))), 0..3);
        assert_eq!(wanted(10, 5, &span(12, Some(13))), 2..3);
        assert!(wanted(10, 5, &span(10, Some(10))).is_empty());
        assert!(wanted(10, 5, &span(13, Some(12))).is_empty());
    }

    #[test]
    fn a_span_is_done_at_its_stop_and_never_without_one() {
        assert!(span(5, Some(5)).is_done());
        assert!(!span(4, Some(5)).is_done());
        assert!(!span(u64::MAX >> 1, None).is_done());
    }
}
