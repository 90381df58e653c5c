//! The partitions of a subscription that cannot be reached, and what its client was told of them.
//!
//! Some were not there when it began: they are absent, and have no part yet. Others went since. Invariant: a
//! client is told once that a partition is away, and once that it is back.

use std::collections::BTreeMap;

use tidegate_proto::cursor::Cursor;
use tidegate_proto::id::PartitionId;

use super::part::Part;
use super::{StartPlace, Subscription};
use crate::opening::{Absent, Wanted};

/// Why a partition is away, and so what brings it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Reading failed.
    Read,
    /// The topology says so.
    Topology,
}

/// Those that are away.
#[derive(Debug, Default)]
pub(super) struct Away {
    absent: BTreeMap<PartitionId, Wanted>,
    told: BTreeMap<PartitionId, Cause>,
}

impl Away {
    pub(super) fn of(absent: &[Absent]) -> Self {
        let absent = absent.iter();
        Self {
            absent: absent.map(|one| (one.partition, one.from)).collect(),
            told: BTreeMap::new(),
        }
    }

    pub(super) fn absent_count(&self) -> usize {
        self.absent.len()
    }

    pub(super) fn is_absent(&self, partition: PartitionId) -> bool {
        self.absent.contains_key(&partition)
    }

    /// Whether its client knows.
    pub(super) fn is_told(&self, partition: PartitionId) -> bool {
        self.told.contains_key(&partition)
    }

    /// Says in a cursor what is wanted of them.
    pub(super) fn note(&self, cursor: &mut Cursor) {
        for (partition, wanted) in &self.absent {
            wanted.note(*partition, cursor);
        }
    }
}

impl Subscription {
    /// All of its partitions, in order.
    pub(crate) fn partitions(&self) -> Vec<PartitionId> {
        let absent = self.away.absent.keys();
        let mut all: Vec<_> = self.parts.keys().chain(absent).copied().collect();
        all.sort_unstable();
        all
    }

    /// A partition that was absent is there. False when it is not waited for.
    pub(crate) fn join(&mut self, start: StartPlace) -> bool {
        let is_waited_for = self.away.absent.remove(&start.partition).is_some();
        if is_waited_for {
            self.parts.insert(start.partition, Part::at(start));
            self.owes_caught_up = true;
        }
        is_waited_for
    }

    /// A partition cannot be reached any more. Whether its client is to be told.
    pub(crate) fn goes(&mut self, partition: PartitionId, cause: Cause) -> bool {
        let is_new =
            self.parts.contains_key(&partition) && !self.away.told.contains_key(&partition);
        if is_new {
            self.away.told.insert(partition, cause);
        }
        is_new
    }

    /// What made a partition go is over. Whether its client is to be told.
    pub(crate) fn comes_back(&mut self, partition: PartitionId, cause: Cause) -> bool {
        let is_back = self.away.told.get(&partition) == Some(&cause);
        if is_back {
            self.away.told.remove(&partition);
            self.owes_caught_up = true;
        }
        is_back
    }
}
