//! A storage unit registers: new incarnation, in-sync sets and leaders brought up to date (S1-S5, L1).
//!
//! Invariants: the incarnation of a unit only grows; a replica that is not intact leaves every in-sync
//! set, whatever its size; a partition led by the unit gets a new epoch, above any epoch the unit
//! accepted, so that nothing from its earlier run can act.

use std::collections::BTreeMap;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::{IsrMember, Register, ReplicaReport};
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId, TopicId};
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

use crate::change::Change;
use crate::decision::Decision;
use crate::ids::Ids;
use crate::model::Model;
use crate::place::Planner;
use crate::rows::{PartitionRow, SpuKind, SpuRow};
use crate::settle::{partition_changes, settle};

/// What the unit's disk is, compared with what its row remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    /// The one that was known, as new as it was left.
    Current,
    /// The one that was known, but from an earlier time (S2).
    WentBack,
    /// Another one (S3).
    Other,
}

struct Arrival<'a> {
    spu: SpuId,
    incarnation: Incarnation,
    disk: Disk,
    reports: BTreeMap<ReplicaKey, &'a ReplicaReport>,
    /// Units that may lead once this one is in.
    alive: BTreeMap<SpuId, Incarnation>,
}

/// Admits the unit, in one decision with all that follows from it for its partitions.
pub(crate) fn register(model: &Model, ids: &mut Ids, report: &Register) -> Decision {
    let row = spu_row(model, report);
    // Planner and elections look at the unit as it will be.
    let mut model_after = model.clone();
    model_after.spus.insert(row.spu, row.clone());
    let arrival = Arrival {
        spu: row.spu,
        incarnation: row.incarnation,
        disk: disk(model.spus.get(&row.spu), report),
        reports: report
            .replicas
            .iter()
            .map(|replica| (replica.key, replica))
            .collect(),
        alive: model_after
            .spus_at_hand()
            .map(|unit| (unit.spu, unit.incarnation))
            .collect(),
    };
    let mut planner = Planner::new(&model_after);
    let mut changes = vec![Change::PutSpu(row)];
    for topic in model.topics.values() {
        let mut partitions = topic.partitions.clone();
        for partition in &mut partitions {
            receive(&arrival, topic.row.id, partition, ids);
        }
        settle(&topic.row, &mut partitions, &mut planner, ids);
        changes.extend(partition_changes(&topic.partitions, partitions));
    }
    Decision {
        result: WriteResult::Updated,
        differences: Vec::new(),
        changes,
    }
}

/// The incarnation that a registration decided on `model` was given.
pub(crate) fn granted(changes: &[Change]) -> Option<Incarnation> {
    changes.iter().find_map(|change| {
        if let Change::PutSpu(row) = change {
            Some(row.incarnation)
        } else {
            None
        }
    })
}

fn spu_row(model: &Model, report: &Register) -> SpuRow {
    let old = model.spus.get(&report.spu_id);
    let known = old.filter(|row| row.storage_id == Some(report.storage_id));
    let last_seen = old.map_or(0, |row| row.incarnation.0);
    let on_disk = report
        .last_incarnation
        .map_or(0, |incarnation| incarnation.0);
    let blank = SpuRow::entered(report.spu_id, SpuKind::Managed);
    SpuRow {
        version: old.map_or(1, |row| row.version + 1),
        storage_id: Some(report.storage_id),
        run_id: Some(report.run_id),
        // The revision of this registration, unless the row or the disk is ahead of it.
        incarnation: Incarnation((model.revision + 1).max(last_seen + 1).max(on_disk + 1)),
        persisted: report
            .last_incarnation
            .max(known.and_then(|row| row.persisted)),
        fenced: false,
        endpoints: report.site.endpoints.clone(),
        ..old.cloned().unwrap_or(blank)
    }
}

fn disk(old: Option<&SpuRow>, report: &Register) -> Disk {
    match old {
        None => Disk::Current,
        Some(row) if row.storage_id != Some(report.storage_id) => Disk::Other,
        // A unit that died between being granted an incarnation and writing it down acted under
        // none of those it was granted since: any from the last one written down on is current.
        Some(row) if report.last_incarnation < row.persisted => Disk::WentBack,
        Some(_) => Disk::Current,
    }
}

/// Brings one partition up to date with what its unit reports, if it has a replica there.
fn receive(arrival: &Arrival<'_>, topic_id: TopicId, partition: &mut PartitionRow, ids: &mut Ids) {
    let key = ReplicaKey {
        topic_id,
        partition: partition.partition,
    };
    let spu = arrival.spu;
    let Some(replica) = partition
        .replicas
        .iter_mut()
        .find(|replica| replica.spu == spu)
    else {
        return;
    };
    let report = arrival
        .reports
        .get(&key)
        .filter(|report| report.replica_gen == replica.replica_gen);
    let keeps_place = match report {
        Some(report) => report.intact && arrival.disk == Disk::Current,
        // Never seen: it was assigned, and its unit stopped before making it. Seen: it is lost (S4).
        None => !replica.joined && arrival.disk == Disk::Current,
    };
    replica.joined |= report.is_some();
    if arrival.disk == Disk::Other {
        replica.replica_gen = ReplicaGen(ids.next_id());
        replica.joined = false;
    }
    if keeps_place {
        for member in partition.isr.iter_mut().filter(|member| member.spu == spu) {
            member.incarnation = arrival.incarnation;
        }
    } else {
        partition.isr.retain(|member| member.spu != spu);
    }
    if partition.leader == Some(spu) || partition.leader.is_none() {
        let accepted = report.map_or(LeaderEpoch(0), |report| report.leader_epoch);
        elect(arrival, partition, accepted);
    }
}

/// L1: the first live replica in preferred order that is in sync leads, in a new epoch.
fn elect(arrival: &Arrival<'_>, partition: &mut PartitionRow, accepted: LeaderEpoch) {
    let is_live = |spu: SpuId| {
        let member = partition.isr.iter().find(|member| member.spu == spu);
        member.is_some_and(|IsrMember { incarnation, .. }| {
            arrival.alive.get(&spu) == Some(incarnation)
        })
    };
    let mut preferred = partition.replicas.iter().map(|replica| replica.spu);
    let leader = if is_live(arrival.spu) && partition.leader == Some(arrival.spu) {
        Some(arrival.spu)
    } else {
        preferred.find(|spu| is_live(*spu))
    };
    if leader.is_none() && partition.leader.is_none() {
        return;
    }
    partition.leader = leader;
    partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0.max(accepted.0) + 1);
}
