//! What must hold whatever goes wrong, watched while it happens.
//!
//! The world sees all disks and all memories at once, which no node does. It keeps for each partition what
//! was ever committed, and holds every replica to it. The numbers are those of the replication contract.
//! Invariant: a promise that is broken ends the run at that event, with a sentence.

use std::collections::BTreeMap;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

/// What was committed of one partition.
#[derive(Debug, Default)]
struct Committed {
    /// From the first offset on: epoch, first and last offset, checksum.
    batches: Vec<Fingerprint>,
    /// All below it was promised to somebody.
    promised: Offset,
}

/// What tells one batch from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    base: Offset,
    next: Offset,
    epoch: LeaderEpoch,
    crc: u32,
}

impl Fingerprint {
    pub(crate) fn of(batch: &Batch) -> Self {
        Self {
            base: batch.placement.base_offset,
            next: batch.next_offset(),
            epoch: batch.placement.leader_epoch,
            crc: batch.client.crc(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    partitions: BTreeMap<ReplicaKey, Committed>,
    leaders: BTreeMap<(ReplicaKey, LeaderEpoch), u32>,
}

/// Batches that take offsets, as far as they are committed.
fn counted(log: &[Batch], to: Offset) -> impl Iterator<Item = Fingerprint> {
    let taking = log.iter().filter(move |batch| {
        batch.next_offset() > batch.placement.base_offset && batch.next_offset() <= to
    });
    taking.map(Fingerprint::of)
}

impl Truth {
    /// 5: an epoch has one leader.
    pub(crate) fn appended(
        &mut self,
        unit: u32,
        key: ReplicaKey,
        epoch: LeaderEpoch,
    ) -> Result<(), String> {
        let leader = *self.leaders.entry((key, epoch)).or_insert(unit);
        if leader == unit {
            return Ok(());
        }
        Err(format!(
            "5 OneLeaderPerEpoch: units {leader} and {unit} append to {key} in epoch {epoch}"
        ))
    }

    /// 4, 10, 13: a replica counts what is between the two as committed: it agrees with what others did, or
    /// adds to it.
    pub(crate) fn committed(
        &mut self,
        unit: u32,
        key: ReplicaKey,
        log: &[Batch],
        (from, to): (Offset, Offset),
    ) -> Result<(), String> {
        let known = self.partitions.entry(key).or_default();
        let first = log.partition_point(|batch| batch.next_offset() <= from);
        for found in counted(&log[first..], to) {
            let last = known.batches.last().map_or(Offset::ZERO, |last| last.next);
            let at = known.batches.partition_point(|one| one.base < found.base);
            match known.batches.get(at) {
                Some(one) if *one == found => {}
                Some(one) => {
                    return Err(format!(
                        "4 LogMatching: {key} on unit {unit} commits {found:?} where {one:?} was committed"
                    ));
                }
                None if found.base == last || known.batches.is_empty() => {
                    known.batches.push(found);
                }
                None => {
                    return Err(format!(
                        "10 ConsumedStable: {key} on unit {unit} commits {found:?} behind {last}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// A quorum answer left.
    pub(crate) fn promised(&mut self, key: ReplicaKey, end: Offset) {
        let known = self.partitions.entry(key).or_default();
        known.promised = known.promised.max(end);
    }

    /// Exclusive end of what was committed anywhere.
    pub(crate) fn end(&self, key: ReplicaKey) -> Offset {
        let known = self
            .partitions
            .get(&key)
            .and_then(|known| known.batches.last());
        known.map_or(Offset::ZERO, |last| last.next)
    }

    /// 1, 2, 8: this log holds everything that was committed below `to`, from its start on.
    pub(crate) fn holds(
        &self,
        name: &str,
        unit: u32,
        key: ReplicaKey,
        (log, log_start): (&[Batch], Offset),
        to: Offset,
    ) -> Result<(), String> {
        let Some(known) = self.partitions.get(&key) else {
            return Ok(());
        };
        let first = known.batches.partition_point(|one| one.next <= log_start);
        let mut found = counted(log, Offset::new(u64::MAX)).skip_while(|one| one.next <= log_start);
        for one in known.batches[first..]
            .iter()
            .take_while(|one| one.next <= to)
        {
            let own = found.next();
            if own != Some(*one) {
                return Err(format!(
                    "{name}: {key} on unit {unit} has {own:?} where {one:?} was committed"
                ));
            }
        }
        Ok(())
    }

    /// 7, 18: what a replica is about to cut was never committed.
    pub(crate) fn cuts(&self, unit: u32, key: ReplicaKey, dropped: &[Batch]) -> Result<(), String> {
        let Some(known) = self.partitions.get(&key) else {
            return Ok(());
        };
        for found in counted(dropped, Offset::new(u64::MAX)) {
            let at = known.batches.partition_point(|one| one.base < found.base);
            if known.batches.get(at) == Some(&found) {
                return Err(format!(
                    "7 NoCutBelowHW: {key} on unit {unit} cuts {found:?}, which was committed"
                ));
            }
        }
        Ok(())
    }

    /// What was promised to somebody.
    pub(crate) fn promised_end(&self, key: ReplicaKey) -> Offset {
        self.partitions
            .get(&key)
            .map_or(Offset::ZERO, |known| known.promised)
    }
}
