//! A unit's journal: what waits, and the one round that is under way.
//!
//! A round takes all that waits. It is written, then synced; the next begins when that is done. Invariant:
//! rounds reach the disk in order, each whole or not at all.

use tidegate_proto::position::ReplicaKey;

use crate::disk::{Disk, Entry};
use crate::queue::Time;
use crate::random::Random;

/// Entries of one round: with a queue that is longer, a crash takes part of it.
const ROUND_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Journal {
    queue: Vec<(ReplicaKey, Entry)>,
    round: Vec<(ReplicaKey, Entry)>,
    number: u64,
    is_written: bool,
}

impl Journal {
    /// Nothing waits, and nothing is on its way to the disk.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.round.is_empty()
    }

    pub(crate) fn submit(&mut self, key: ReplicaKey, entry: Entry) {
        self.queue.push((key, entry));
    }

    /// Begins a round, when none is under way and something waits: its number, and when it is written and
    /// synced.
    pub(crate) fn begin(
        &mut self,
        random: &mut Random,
        (low, high): (u64, u64),
        slow: u64,
    ) -> Option<(u64, Time, Time)> {
        if !self.round.is_empty() || self.queue.is_empty() {
            return None;
        }
        let count = self.queue.len().min(ROUND_MAX);
        self.round = self.queue.drain(..count).collect();
        self.number += 1;
        self.is_written = false;
        let written = random.between(20, 60) * (1 + slow * 10);
        let synced = written + random.between(low, high) * (1 + slow * 50);
        Some((self.number, written, synced))
    }

    /// The round is written: what is in it survives the process.
    pub(crate) fn write(&mut self, round: u64) -> &[(ReplicaKey, Entry)] {
        if round != self.number {
            return &[];
        }
        self.is_written = true;
        &self.round
    }

    /// The round is on the disk.
    pub(crate) fn sync(&mut self, disk: &mut Disk, round: u64) -> Vec<(ReplicaKey, Entry)> {
        if round != self.number {
            return Vec::new();
        }
        let round = std::mem::take(&mut self.round);
        put(disk, &round);
        round
    }

    /// What is under way, and whether it is written, when the process ends and the log itself tells what is left.
    pub(crate) fn end(&mut self) -> (Vec<(ReplicaKey, Entry)>, bool) {
        self.queue.clear();
        (std::mem::take(&mut self.round), self.is_written)
    }

    pub(crate) fn round(&self) -> &[(ReplicaKey, Entry)] {
        &self.round
    }

    /// The replica is closed: what waits of it goes. What is under way the log has already.
    pub(crate) fn forget_waiting(&mut self, key: ReplicaKey) {
        self.queue.retain(|(other, _)| *other != key);
    }

    /// What the end of the process, or of the power, leaves of the round under way. True when something
    /// that was written is lost.
    pub(crate) fn crash(&mut self, disk: &mut Disk, is_power: bool, random: &mut Random) -> bool {
        let round = std::mem::take(&mut self.round);
        self.queue.clear();
        let survives = (self.is_written && !is_power) || random.hits(500);
        if survives {
            put(disk, &round);
        }
        self.is_written && !survives && !round.is_empty()
    }

    /// The replica is closed: what waits of it is not for a later one.
    pub(crate) fn forget(&mut self, key: ReplicaKey) {
        self.queue.retain(|(other, _)| *other != key);
        self.round.retain(|(other, _)| *other != key);
    }
}

fn put(disk: &mut Disk, round: &[(ReplicaKey, Entry)]) {
    for (key, entry) in round {
        let image = disk.images.get_mut(key);
        let image = image.expect("a replica has its place on the disk before it is opened");
        image.apply(entry);
    }
}
