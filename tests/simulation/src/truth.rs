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
    /// How far each unit said in an epoch that it was.
    acked: BTreeMap<(ReplicaKey, LeaderEpoch, u32), Offset>,
    /// What leaders gave up by retention.
    given_up: BTreeMap<ReplicaKey, Offset>,
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

    /// A follower says how far it is.
    pub(crate) fn acks(&mut self, unit: u32, key: ReplicaKey, epoch: LeaderEpoch, end: Offset) {
        let known = self.acked.entry((key, epoch, unit)).or_default();
        *known = end.max(*known);
    }

    /// 9: a member of MaxISR that has accepted `newer` since acknowledged all that is committed in `epoch`.
    pub(crate) fn no_ghost(
        &self,
        member: u32,
        key: ReplicaKey,
        (epoch, newer): (LeaderEpoch, LeaderEpoch),
        end: Offset,
    ) -> Result<(), String> {
        let acked = self.acked.get(&(key, epoch, member)).copied();
        if newer <= epoch || acked >= Some(end) {
            return Ok(());
        }
        Err(format!(
            "9 NoGhostAck: {key} is committed up to {end} in epoch {epoch}, of which unit {member}, now in \
             {newer}, acknowledged {acked:?}"
        ))
    }

    /// 18: bytes go by retention of what is committed, at the leader first.
    pub(crate) fn trims(
        &mut self,
        unit: u32,
        key: ReplicaKey,
        to: Offset,
        leads: bool,
    ) -> Result<(), String> {
        let (committed, given_up) = (self.end(key), self.given_up.entry(key).or_default());
        if leads && to <= committed {
            *given_up = to.max(*given_up);
        }
        if to <= *given_up {
            return Ok(());
        }
        Err(format!(
            "18 DataNeverOrphanDeleted: unit {unit} gives up {key} below {to}, of which {committed} is \
             committed and {given_up} was given up"
        ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::batch;
    use tidegate_proto::batch::Placement;
    use tidegate_proto::id::{PartitionId, TopicId};

    const KEY: ReplicaKey = ReplicaKey {
        topic_id: TopicId(uuid::Uuid::from_u128(7)),
        partition: PartitionId(0),
    };

    fn at(base: u64, epoch: u64, value: u64) -> Batch {
        let placement = Placement {
            key: KEY,
            base_offset: Offset::new(base),
            leader_epoch: LeaderEpoch(epoch),
            high_watermark: Offset::ZERO,
            append_time_ms: 0,
            append_timestamps: false,
        };
        let client = batch(None, None, &[value]);
        Batch { placement, client }
    }

    fn committed(log: &[Batch]) -> Truth {
        let mut truth = Truth::default();
        let all = (Offset::ZERO, Offset::new(u64::MAX));
        truth.committed(0, KEY, log, all).unwrap();
        truth
    }

    fn is_named(outcome: Result<(), String>, name: &str) {
        let told = outcome.unwrap_err();
        assert!(told.starts_with(name), "{told}");
    }

    #[test]
    fn what_was_committed_is_the_same_everywhere_and_has_no_holes() {
        let mut truth = committed(&[at(0, 1, 5), at(1, 1, 6)]);
        let (from, to) = (Offset::ZERO, Offset::new(9));
        assert_eq!(truth.committed(1, KEY, &[at(0, 1, 5)], (from, to)), Ok(()));
        let other = truth.committed(1, KEY, &[at(0, 1, 8)], (from, to));
        is_named(other, "4 LogMatching");
        let hole = truth.committed(1, KEY, &[at(3, 1, 8)], (from, to));
        is_named(hole, "10 ConsumedStable");
        is_named(truth.cuts(1, KEY, &[at(1, 1, 6)]), "7 NoCutBelowHW");
        assert_eq!(truth.cuts(1, KEY, &[at(1, 1, 7)]), Ok(()));
    }

    #[test]
    fn a_log_lacks_nothing_that_was_committed() {
        let truth = committed(&[at(0, 1, 5), at(1, 1, 6)]);
        let (end, start) = (truth.end(KEY), Offset::ZERO);
        let lacks = [at(0, 1, 5)];
        let told = truth.holds("1 LeaderCompleteness", 1, KEY, (&lacks, start), end);
        is_named(told, "1 LeaderCompleteness");
    }

    #[test]
    fn an_epoch_has_one_leader() {
        let mut truth = Truth::default();
        assert_eq!(truth.appended(0, KEY, LeaderEpoch(3)), Ok(()));
        is_named(
            truth.appended(1, KEY, LeaderEpoch(3)),
            "5 OneLeaderPerEpoch",
        );
    }

    #[test]
    fn who_left_an_epoch_counts_for_what_it_acknowledged_in_it() {
        let mut truth = Truth::default();
        let epochs = (LeaderEpoch(3), LeaderEpoch(4));
        truth.acks(1, KEY, LeaderEpoch(3), Offset::new(5));
        assert_eq!(truth.no_ghost(1, KEY, epochs, Offset::new(5)), Ok(()));
        is_named(
            truth.no_ghost(1, KEY, epochs, Offset::new(6)),
            "9 NoGhostAck",
        );
        let same = (LeaderEpoch(3), LeaderEpoch(3));
        assert_eq!(truth.no_ghost(1, KEY, same, Offset::new(6)), Ok(()));
    }

    #[test]
    fn bytes_go_by_retention_of_what_is_committed_at_the_leader_first() {
        let mut truth = committed(&[at(0, 1, 5), at(1, 1, 6)]);
        let name = "18 DataNeverOrphanDeleted";
        is_named(truth.trims(1, KEY, Offset::new(1), false), name);
        is_named(truth.trims(0, KEY, Offset::new(3), true), name);
        assert_eq!(truth.trims(0, KEY, Offset::new(1), true), Ok(()));
        assert_eq!(truth.trims(1, KEY, Offset::new(1), false), Ok(()));
    }
}
