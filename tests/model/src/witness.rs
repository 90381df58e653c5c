//! What was promised so far, and what does not hold any more: the invariants of the contract, by number.
//!
//! The witness sees everything at once, as nothing in the cluster can. Promises are forgiven only where an
//! operator accepted loss, which the row says by a greater `recovery_gen`.

use std::collections::BTreeMap;

use tidegate_proto::batch::Batch;
use tidegate_proto::control::IsrMember;
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::disk::{Disk, Stored, starts};
use crate::node::Node;
use crate::store::Store;

/// Names of what can be found broken.
pub const LEADER_COMPLETENESS: &str = "1 LeaderCompleteness";
pub const CANDIDATE_COMPLETENESS: &str = "2 CandidateCompleteness";
pub const QUORUM_SUPERSET: &str = "3 QuorumSuperset";
pub const LOG_MATCHING: &str = "4 LogMatching";
pub const ONE_LEADER: &str = "5 OneLeaderPerEpoch";
pub const EPOCH_MONOTONE: &str = "6 EpochMonotone";
pub const NO_CUT: &str = "7 NoCutBelowHW";
pub const ACK_DURABLE: &str = "8 AckDurable";
pub const LATEST: &str = "13 LatestIsCommitted";
pub const INCARNATION_GATE: &str = "14 IncarnationGate";
pub const ISR_RULE: &str = "15 IsrRule";
pub const LIVENESS: &str = "21 Liveness";
pub const ASSERTION: &str = "assertion of the machine";
pub const CONTROL: &str = "invariant of the rows";

/// Everything that can be found broken.
pub const PROPERTIES: [&str; 14] = [
    LEADER_COMPLETENESS,
    CANDIDATE_COMPLETENESS,
    QUORUM_SUPERSET,
    LOG_MATCHING,
    ONE_LEADER,
    EPOCH_MONOTONE,
    NO_CUT,
    ACK_DURABLE,
    LATEST,
    INCARNATION_GATE,
    ISR_RULE,
    LIVENESS,
    ASSERTION,
    CONTROL,
];

/// A committed batch: where, of which epoch, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Committed {
    base: Offset,
    epoch: LeaderEpoch,
    crc: u32,
}

impl Committed {
    const fn of(batch: &Batch) -> Self {
        Self {
            base: starts(batch),
            epoch: batch.placement.leader_epoch,
            crc: batch.client.crc(),
        }
    }
}

/// What was seen and promised.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Witness {
    /// What leaders committed, records only, in order.
    committed: Vec<Committed>,
    /// Where it ends.
    committed_end: Offset,
    /// What clients were told is safe.
    acked: Vec<Committed>,
    /// Where what they were told ends.
    acked_end: Offset,
    leaders: BTreeMap<u64, usize>,
    appenders: BTreeMap<u64, usize>,
    recovery_gen: u64,
    /// What was there when a disk lost what was on it: how many copies of it there are says nothing any more.
    lost: Vec<u32>,
    /// The newest that a row ever had, whatever the store remembers of it.
    newest_epoch: LeaderEpoch,
}

impl Witness {
    /// The rows changed.
    pub fn see_row(&mut self, store: &Store) {
        self.newest_epoch = self.newest_epoch.max(store.row().leader_epoch);
        let now = store.row().recovery_gen;
        if now > self.recovery_gen {
            self.recovery_gen = now;
            self.committed.clear();
            self.acked.clear();
            (self.committed_end, self.acked_end) = (Offset::ZERO, Offset::ZERO);
        }
    }

    /// A client was told that its record is committed.
    pub fn see_ack(
        &mut self,
        nodes: &[&Node],
        leader: usize,
        base: Offset,
        min_isr: u16,
    ) -> Option<&'static str> {
        let log = nodes.get(leader)?.log()?;
        if log.meta.recovery_gen != self.recovery_gen {
            return None;
        }
        let batch = log.batches.iter().find(|batch| holds_record(batch, base))?;
        let found = Committed::of(batch);
        let has = |node: &&&Node| {
            let disk = node.disk.replica.as_ref();
            disk.is_some_and(|disk| contains(disk, found))
        };
        let copies = nodes.iter().filter(has).count();
        self.acked.push(found);
        self.acked_end = self.acked_end.max(batch.next_offset());
        let counts = !self.lost.contains(&found.crc);
        (counts && copies < usize::from(min_isr)).then_some(ACK_DURABLE)
    }

    /// A disk is about to be changed behind its unit's back.
    pub fn see_disk_lost(&mut self, disk: &Disk) {
        let batches = disk.replica.iter().flat_map(|stored| &stored.batches);
        self.lost.extend(batches.map(|batch| batch.client.crc()));
    }

    /// A unit took a step: who leads, who appends, what is committed.
    pub fn see_step(&mut self, node: &Node, before: Option<LeaderEpoch>) -> Option<&'static str> {
        let replica = node.replica()?;
        let log = node.log()?;
        let status = replica.status();
        if before.is_some_and(|before| status.meta.leader_epoch < before) {
            return Some(EPOCH_MONOTONE);
        }
        if !node.leads() {
            return None;
        }
        let epoch = status.meta.leader_epoch.0;
        if *self.leaders.entry(epoch).or_insert(node.own) != node.own {
            return Some(ONE_LEADER);
        }
        let last = log.batches.last();
        if last.is_some_and(|batch| batch.placement.leader_epoch.0 == epoch)
            && *self.appenders.entry(epoch).or_insert(node.own) != node.own
        {
            return Some(ONE_LEADER);
        }
        self.commit(log, status.high_watermark)
    }

    /// A leader says that everything below is committed.
    fn commit(&mut self, log: &Stored, high_watermark: Offset) -> Option<&'static str> {
        if log.meta.recovery_gen != self.recovery_gen {
            return None;
        }
        let batches = log.batches.iter();
        for batch in batches.filter(|batch| batch.next_offset() > starts(batch)) {
            if batch.next_offset() > high_watermark {
                break;
            }
            let found = Committed::of(batch);
            match self.committed.iter().find(|at| at.base == found.base) {
                Some(known) if *known != found => return Some(LOG_MATCHING),
                Some(_) => {}
                None => {
                    self.committed.push(found);
                    self.committed_end = self.committed_end.max(batch.next_offset());
                }
            }
        }
        None
    }

    /// What holds in every state.
    pub fn judge(&self, store: &Store, nodes: &[&Node]) -> Option<&'static str> {
        self.leader_completeness(store, nodes)
            .or_else(|| self.candidate_completeness(store, nodes))
            .or_else(|| log_matching(nodes))
            .or_else(|| nodes.iter().find_map(|node| epochs_monotone(node)))
    }

    fn leader_completeness(&self, store: &Store, nodes: &[&Node]) -> Option<&'static str> {
        let row = store.row();
        for node in nodes.iter().filter(|node| node.leads()) {
            let (Some(replica), Some(log)) = (node.replica(), node.log()) else {
                continue;
            };
            let status = replica.status();
            let is_newest = row.leader == Some(node.spu())
                && row.leader_epoch == status.meta.leader_epoch
                && row.leader_epoch == self.newest_epoch
                && status.meta.recovery_gen == self.recovery_gen;
            if !is_newest {
                continue;
            }
            if !self.acked.iter().all(|acked| contains(log, *acked)) {
                return Some(LEADER_COMPLETENESS);
            }
            let counted = replica.counted();
            let is_counted = |member: &IsrMember| counted.iter().any(|at| at.spu == member.spu);
            let is_enough = row.isr.len() >= usize::from(row.min_isr);
            if is_enough && !store.is_frozen && !row.isr.iter().all(is_counted) {
                return Some(QUORUM_SUPERSET);
            }
            if status.is_latest_known && status.high_watermark < self.acked_end {
                return Some(LATEST);
            }
        }
        None
    }

    fn candidate_completeness(&self, store: &Store, nodes: &[&Node]) -> Option<&'static str> {
        let row = store.row();
        // One that was found out names nobody any more.
        if row.recovery_gen != self.recovery_gen || store.is_frozen {
            return None;
        }
        for member in &row.isr {
            let Some(node) = nodes.iter().find(|node| node.spu() == member.spu) else {
                continue;
            };
            // Until it registers nobody can know.
            let is_current = node.disk.last_incarnation == Some(member.incarnation);
            if node.disk.is_tampered || !is_current {
                continue;
            }
            let replica_gen = row.replica(member.spu).map(|at| at.replica_gen);
            let held = node.disk.replica.as_ref();
            let held = held.filter(|held| Some(held.meta.replica_gen) == replica_gen);
            let is_complete = match held {
                Some(held) => self.committed.iter().all(|at| contains(held, *at)),
                None => self.committed.is_empty(),
            };
            if !is_complete {
                return Some(CANDIDATE_COMPLETENESS);
            }
        }
        None
    }

    /// Where what was committed ends.
    #[must_use]
    pub const fn committed_end(&self) -> Offset {
        self.committed_end
    }
}

fn holds_record(batch: &Batch, offset: Offset) -> bool {
    starts(batch) <= offset && offset < batch.next_offset()
}

fn contains(log: &Stored, wanted: Committed) -> bool {
    wanted.base < log.log_start
        || log
            .batches
            .iter()
            .any(|batch| batch.next_offset() > starts(batch) && Committed::of(batch) == wanted)
}

/// Epochs of batches never decrease along a log, and none is above the accepted one.
fn epochs_monotone(node: &Node) -> Option<&'static str> {
    let log = node.log()?;
    let epochs = log.batches.iter().map(|batch| batch.placement.leader_epoch);
    (!epochs.is_sorted()).then_some(EPOCH_MONOTONE)
}

/// Two logs agree below both high watermarks; and where they have the same batch, they have the same
/// before it.
fn log_matching(nodes: &[&Node]) -> Option<&'static str> {
    for (at, left) in nodes.iter().enumerate() {
        for right in nodes.iter().skip(at + 1) {
            let (Some(one), Some(other)) = (left.log(), right.log()) else {
                continue;
            };
            if one.meta.recovery_gen != other.meta.recovery_gen {
                continue;
            }
            let watermark = |node: &Node, log: &Stored| {
                node.replica().map_or(log.high_watermark, |replica| {
                    replica.status().high_watermark
                })
            };
            let both = watermark(left, one).min(watermark(right, other));
            let start = one.log_start.max(other.log_start);
            if !agree(&records(one, start), &records(other, start), both) {
                return Some(LOG_MATCHING);
            }
        }
    }
    None
}

fn records(log: &Stored, start: Offset) -> Vec<Committed> {
    let batches = log.batches.iter();
    let batches =
        batches.filter(|batch| batch.next_offset() > starts(batch) && starts(batch) >= start);
    batches.map(Committed::of).collect()
}

fn agree(one: &[Committed], other: &[Committed], both: Offset) -> bool {
    let common = one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let (one_rest, other_rest) = (&one[common..], &other[common..]);
    let (Some(first), Some(second)) = (one_rest.first(), other_rest.first()) else {
        return true;
    };
    // They part here: it must not be committed, and nothing behind it may be the same again.
    let parts_at = first.base.min(second.base);
    let is_same = |left: &Committed| {
        let same = |right: &Committed| left.base == right.base && left.epoch == right.epoch;
        other_rest.iter().any(same)
    };
    parts_at >= both && !one_rest.iter().any(is_same)
}
