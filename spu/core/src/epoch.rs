//! The epoch index: where in the log each leader epoch starts.
//!
//! It answers the leader's question of rule T1: which is the greatest own epoch not above the
//! follower's last one, and where does it end. It holds no batches and decides nothing. Epochs and
//! their starts never decrease along the index.

use tidegate_proto::position::{LeaderEpoch, Offset};

/// Start offsets of epochs, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EpochIndex {
    starts: Vec<(LeaderEpoch, Offset)>,
}

impl EpochIndex {
    /// Notes that a batch of `epoch` stands at `offset`; only the first one of an epoch counts.
    pub fn note(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.last().is_none_or(|last| last < epoch) {
            if self.starts.is_empty() {
                // Mostly there is one, in thousands of replicas.
                self.starts.reserve_exact(1);
            }
            self.starts.push((epoch, offset));
        }
    }

    /// The newest epoch that has an entry in the log.
    pub fn last(&self) -> Option<LeaderEpoch> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch of the record before `end`.
    pub(crate) fn at(&self, end: Offset) -> Option<LeaderEpoch> {
        let before = self.starts.partition_point(|(_, start)| *start < end);
        let (epoch, _) = self.starts.get(before.checked_sub(1)?)?;
        Some(*epoch)
    }

    /// The oldest epoch that is known, and where it starts.
    pub(crate) fn first(&self) -> Option<(LeaderEpoch, Offset)> {
        self.starts.first().copied()
    }

    /// T1: the greatest own epoch not above `asked`, and the offset at which it ends.
    pub fn end_of(&self, asked: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.starts.partition_point(|(epoch, _)| *epoch <= asked);
        let (epoch, _) = *self.starts.get(after.checked_sub(1)?)?;
        let end = self.starts.get(after).map_or(log_end, |(_, start)| *start);
        Some((epoch, end))
    }

    /// T2: forgets epochs that start at or above `to`.
    pub fn cut(&mut self, to: Offset) {
        self.starts.retain(|(_, start)| *start < to);
    }

    /// Forgets epochs that end below `log_start`. That of the last record before it stays, and markers
    /// behind that: a complete copy that ends there has no older one, so that it is never taken for one
    /// that differs.
    pub fn trim(&mut self, log_start: Offset) {
        let before = self.starts.partition_point(|(_, start)| *start < log_start);
        self.starts.drain(..before.saturating_sub(1));
    }

    pub(crate) fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> EpochIndex {
        let mut index = EpochIndex::default();
        for (epoch, start) in [(1, 0), (1, 4), (3, 10), (7, 25)] {
            index.note(LeaderEpoch(epoch), Offset::new(start));
        }
        index
    }

    fn end_of(index: &EpochIndex, asked: u64) -> Option<(u64, u64)> {
        let found = index.end_of(LeaderEpoch(asked), Offset::new(30));
        found.map(|(epoch, end)| (epoch.0, end.get()))
    }

    #[test]
    fn an_epoch_ends_where_the_next_one_starts() {
        let index = index();
        let asked = [0, 1, 2, 3, 6, 7, 9].map(|asked| end_of(&index, asked));
        let e = |epoch, end| Some((epoch, end));
        assert_eq!(
            asked,
            [
                None,
                e(1, 10),
                e(1, 10),
                e(3, 25),
                e(3, 25),
                e(7, 30),
                e(7, 30)
            ]
        );
    }

    #[test]
    fn a_cut_forgets_later_epochs_and_a_trim_keeps_the_one_that_covers_the_start() {
        let mut index = index();
        index.cut(Offset::new(25));
        assert_eq!(index.last(), Some(LeaderEpoch(3)));
        index.trim(Offset::new(12));
        assert_eq!(end_of(&index, 2), None);
        assert_eq!(end_of(&index, 3), Some((3, 30)));
        index.note(LeaderEpoch(8), Offset::new(30));
        index.trim(Offset::new(30));
        assert_eq!(
            end_of(&index, 3),
            Some((3, 30)),
            "who ends there may have no later one"
        );
    }
}
