//! The invariants of the contract, held against the whole cluster at the moments that matter.
//!
//! Here is what needs to see more than one replica. Reading only.

use tidegate_proto::id::{ReplicaGen, SpuId};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::RoleName;

use super::World;
use crate::queue::{MS, Time};

/// How long an acknowledgement may be under way.
const LATE: Time = 6_000 * MS;

impl World {
    /// 8: what is promised is on the disks of enough units.
    pub(super) fn check_promise(&mut self, unit: u32, key: ReplicaKey, end: Offset) {
        let from = self.truth.promised_end(key);
        if end <= from {
            return;
        }
        let Some(row) = self.store.model.partition(key).cloned() else {
            return;
        };
        let holds = |image: &crate::disk::Image| {
            let first = image
                .log
                .partition_point(|batch| batch.next_offset() <= from);
            let log_start = from.max(image.log_start);
            image.end() >= end
                && self
                    .truth
                    .holds("", unit, key, (&image.log[first..], log_start), end)
                    .is_ok()
        };
        // One that was lost between its acknowledgement and now was there.
        let was_lost = |at: usize| {
            let lost = self
                .lost_at
                .get(&at)
                .is_some_and(|lost| self.queue.now() < lost + LATE);
            lost && row
                .replica(SpuId(u32::try_from(at).unwrap_or_default()))
                .is_some()
        };
        let disks = self.disks.iter().enumerate();
        let copies = disks
            .filter(|(at, disk)| was_lost(*at) || disk.images.get(&key).is_some_and(holds))
            .count();
        // While an operator changes it, the leader may know the earlier minimum.
        let required = self
            .least_min_isr
            .get(&key)
            .copied()
            .unwrap_or(row.min_isr)
            .min(row.min_isr);
        if copies < usize::from(required) {
            self.fail(format!(
                "8 AckDurable: unit {unit} promises {key} up to {end}, which is on {copies} disks, {required} are required"
            ));
        }
        self.truth.promised(key, end);
    }

    /// 1: who leads in the newest epoch holds all that was committed.
    pub(super) fn check_leader(&mut self, unit: u32, key: ReplicaKey) {
        let Some(hosted) = self.units[unit as usize]
            .as_ref()
            .and_then(|unit| unit.replicas.get(&key))
        else {
            return;
        };
        let epoch = hosted.machine.status().meta.leader_epoch;
        let is_newest = self
            .store
            .model
            .partition(key)
            .is_some_and(|row| row.leader_epoch == epoch);
        if is_newest {
            let end = self.truth.end(key);
            let log = (&hosted.log[..], hosted.log_start);
            let outcome = self
                .truth
                .holds("1 LeaderCompleteness", unit, key, log, end);
            self.check(outcome);
        }
    }

    /// 3: the leader of the newest epoch counts on everybody who may be elected.
    pub(super) fn check_superset(&mut self, key: ReplicaKey) {
        let Some(row) = self.store.model.partition(key) else {
            return;
        };
        let led = row
            .leader
            .and_then(|leader| self.units[leader.0 as usize].as_ref());
        let Some(hosted) = led.and_then(|unit| unit.replicas.get(&key)) else {
            return;
        };
        let machine = &hosted.machine;
        let is_newest = machine.role() == RoleName::Leading
            && machine.status().meta.leader_epoch == row.leader_epoch;
        if !is_newest || row.isr.len() < usize::from(row.min_isr) {
            return;
        }
        let counted = machine.counted();
        let is_missing = |spu: SpuId| counted.iter().all(|member| member.spu != spu);
        if row.isr.iter().any(|member| is_missing(member.spu)) {
            let (isr, leader) = (row.isr.clone(), row.leader);
            self.fail(format!(
                "3 QuorumSuperset: {key} has {isr:?} in sync, its leader {leader:?} counts {counted:?}"
            ));
        }
    }

    /// 9: nothing more is committed in an epoch that somebody whose word counts has left.
    pub(super) fn check_ghost(&mut self, unit: u32, key: ReplicaKey, end: Offset) {
        let hosted = self.units[unit as usize]
            .as_ref()
            .and_then(|unit| unit.replicas.get(&key));
        let led = hosted.filter(|hosted| hosted.machine.role() == RoleName::Leading);
        let Some(machine) = led.map(|hosted| &hosted.machine) else {
            return;
        };
        if end <= self.truth.end(key) {
            return; // It was committed before.
        }
        let epoch = machine.status().meta.leader_epoch;
        let others = machine
            .counted()
            .into_iter()
            .filter(|member| member.spu.0 != unit);
        let mut outcome = Ok(());
        for member in others {
            let image = self.disks[member.spu.0 as usize].images.get(&key);
            if let Some(newer) = image.map(|image| image.meta.leader_epoch) {
                let spu = member.spu.0;
                outcome = outcome.and(self.truth.no_ghost(spu, key, (epoch, newer), end));
            }
        }
        self.check(outcome);
    }

    /// 18: a copy goes only when the rows do not name it any more.
    pub(super) fn check_given_up(&mut self, unit: u32, key: ReplicaKey, replica_gen: ReplicaGen) {
        let row = self.store.model.partition(key);
        let named = row.and_then(|row| row.replica(SpuId(unit)));
        if named.is_some_and(|copy| copy.replica_gen == replica_gen) {
            self.fail(format!(
                "18 DataNeverOrphanDeleted: unit {unit} gives up its copy of {key}, which it still has"
            ));
        }
    }

    /// 2: every member of an in-sync set whose disk is as it was left has all that was committed.
    pub(super) fn check_candidates(&mut self) {
        let mut found = Vec::new();
        let model = self.store.model.clone();
        for key in &self.keys {
            let Some(row) = model.partition(*key) else {
                continue;
            };
            let least = self.least_min_isr.entry(*key).or_insert(row.min_isr);
            *least = (*least).min(row.min_isr);
            if self.checked.insert(*key, row.version) == Some(row.version) || self.is_interval(*key)
            {
                continue;
            }
            for member in &row.isr {
                let disk = &self.disks[member.spu.0 as usize];
                let is_known = model.spu(member.spu).is_some_and(|unit| {
                    unit.incarnation == member.incarnation
                        && unit.storage_id == Some(disk.storage_id)
                });
                if disk.is_tainted || !is_known {
                    continue;
                }
                let end = self.truth.end(*key);
                let Some(image) = disk.images.get(key) else {
                    if end > Offset::ZERO {
                        found.push(format!(
                            "2 CandidateCompleteness: {key} is not on unit {}",
                            member.spu
                        ));
                    }
                    continue;
                };
                let log = (&image.log[..], image.log_start);
                let outcome =
                    self.truth
                        .holds("2 CandidateCompleteness", member.spu.0, *key, log, end);
                found.extend(outcome.err());
            }
        }
        if let Some(what) = found.pop() {
            self.fail(what);
        }
    }

    /// 4: what replicas count as committed is the same everywhere.
    pub(super) fn check_logs(&mut self) {
        let mut found = Vec::new();
        for (at, unit) in self.units.iter().enumerate() {
            for (key, hosted) in unit.iter().flat_map(|unit| &unit.replicas) {
                let unit = u32::try_from(at).unwrap_or_default();
                let to = hosted.machine.status().high_watermark;
                let log = (&hosted.log[..], hosted.log_start);
                found.extend(self.truth.holds("4 LogMatching", unit, *key, log, to).err());
            }
        }
        if let Some(what) = found.pop() {
            self.fail(what);
        }
    }

    /// What a machine says must never be.
    pub(super) fn alarm(&mut self, unit: u32, key: ReplicaKey, what: &'static str) {
        self.fail(format!("alarm of {key} on unit {unit}: {what}"));
    }
}
