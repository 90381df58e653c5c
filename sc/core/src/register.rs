//! A storage unit registers: new incarnation, in-sync sets and leaders brought up to date (S1-S5, L1).
//!
//! Invariants: the incarnation of a unit only grows; a replica that is not intact leaves every in-sync
//! set, whatever its size; a partition led by the unit gets a new epoch, above any epoch the unit
//! accepted, so that nothing from its earlier run can act.

use std::collections::BTreeMap;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::{Durability, Register, ReplicaReport};
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

use crate::admit::raise_what_is_short;
use crate::decision::{Decision, Outcome};
use crate::draft::Draft;
use crate::elect::{candidate, elect, lead, may_lead};
use crate::ids::Ids;
use crate::membership::admitted;
use crate::model::Model;
use crate::place::Planner;
use crate::refusal::Refusal;
use crate::rows::{PartitionRow, SpuRow};
use crate::rule::{Rule, holds};
use crate::settle::{follow_min_isr, settle};

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
    same_boot: bool,
    reports: BTreeMap<ReplicaKey, &'a ReplicaReport>,
}

/// Admits the unit, in one decision with all that follows from it for its partitions.
pub(crate) fn register(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    report: &Register,
) -> Result<Decision, Refusal> {
    let known = admitted(model, report)?;
    let row = spu_row(model, known, report);
    let arrival = Arrival {
        spu: row.spu,
        incarnation: row.incarnation,
        disk: disk(model.spu(report.spu_id), report),
        same_boot: report.same_boot,
        reports: report
            .replicas
            .iter()
            .map(|replica| (replica.key, replica))
            .collect(),
    };
    let mut draft = Draft::new(model);
    draft.put_spu(row);
    let held: Vec<_> = model.held_by(arrival.spu).collect();
    for key in &held {
        receive(&arrival, &mut draft, *key, ids);
    }
    place_what_waits(&mut draft, ids);
    raise_what_is_short(&mut draft, now_ms, ids);
    let (changes, guards) = draft.finish();
    Ok(Decision {
        result: WriteResult::Updated,
        changes,
        guards,
        // Nobody adds partitions to a unit that is shut out; to one that is not, somebody may just be.
        whole_state: model.spu(report.spu_id).is_some_and(|row| !row.fenced),
        outcome: Outcome::Registered(arrival.incarnation),
        ..Decision::unchanged()
    })
}

/// Places partitions that waited for units.
pub(crate) fn place_what_waits(draft: &mut Draft<'_>, ids: &mut Ids) {
    let mut planner = Planner::new(draft);
    let model = draft.model();
    let unplaced = model.waiting().filter_map(|key| model.partition(key));
    for partition in unplaced.filter(|row| !row.is_placed()) {
        let Some(topic) = draft.topic(partition.topic_id) else {
            continue;
        };
        if usize::from(topic.replication_factor) > planner.at_hand() {
            continue;
        }
        let (topic, mut partition) = (topic.clone(), (**partition).clone());
        settle(&topic, &mut partition, &mut planner, ids);
        draft.put_partition(partition);
    }
}

fn spu_row(model: &Model, known: SpuRow, report: &Register) -> SpuRow {
    let same_disk = known.storage_id == Some(report.storage_id);
    let last_seen = known.incarnation.0;
    let on_disk = report
        .last_incarnation
        .map_or(0, |incarnation| incarnation.0);
    let persisted = known.persisted.filter(|_| same_disk);
    SpuRow {
        storage_id: Some(report.storage_id),
        run_id: Some(report.run_id),
        // The revision of this registration, unless the row or the disk is ahead of it.
        incarnation: Incarnation((model.revision + 1).max(last_seen + 1).max(on_disk + 1)),
        persisted: report.last_incarnation.max(persisted),
        attempt: report.attempt,
        fenced: false,
        endpoints: report.site.endpoints.clone(),
        ..known
    }
}

fn disk(old: Option<&SpuRow>, report: &Register) -> Disk {
    match old.filter(|row| row.storage_id.is_some()) {
        None => Disk::Current,
        Some(row) if row.storage_id != Some(report.storage_id) => Disk::Other,
        Some(row) => {
            let is_as_new = match row.attempt {
                // It remembers that it was granted, or that it asked: then it died before it wrote the
                // answer down, and so before it acted under it.
                Some(_) if report.attempt.is_some() => {
                    [report.attempt, report.granted].contains(&row.attempt)
                }
                // As far as can be told of versions that know no attempts.
                Some(_) | None => report.last_incarnation >= row.persisted,
            };
            if holds(Rule::DiskWentBack, is_as_new) {
                Disk::Current
            } else {
                Disk::WentBack
            }
        }
    }
}

/// Brings one partition up to date with what its unit reports.
fn receive(arrival: &Arrival<'_>, draft: &mut Draft<'_>, key: ReplicaKey, ids: &mut Ids) {
    let Some(mut partition) = draft.partition(key).cloned() else {
        return;
    };
    let spu = arrival.spu;
    let is_only = partition.replicas.len() == 1;
    let topic = draft.topic(key.topic_id);
    let waits_for_disk = topic.is_some_and(|topic| topic.config.durability == Durability::Ack);
    let synced_from = partition.synced_from;
    let mut replicas = partition.replicas.iter_mut();
    let Some(replica) = replicas.find(|replica| replica.spu == spu) else {
        return;
    };
    let report = arrival.reports.get(&key);
    let report = report.filter(|report| report.replica_gen == replica.replica_gen);
    let keeps_place = match report {
        Some(report) => {
            let is_intact = holds(Rule::SuspectLeaves, report.intact);
            let is_kept = is_intact && arrival.disk == Disk::Current;
            // An only replica's owner chose what a power loss takes, and no other copy will ever come.
            let is_synced = waits_for_disk && report.leader_epoch >= synced_from;
            is_kept && (arrival.same_boot || is_only || is_synced)
        }
        // Never seen: it was assigned, and its unit stopped before making it. Seen: it is lost (S4).
        None => holds(
            Rule::MissingIsLost,
            !replica.joined && arrival.disk == Disk::Current,
        ),
    };
    replica.joined |= report.is_some();
    replica.failed_in = None;
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
        replica.vouched = false;
    }
    if let Some(seal) = &mut partition.seal {
        // What its earlier run answered is not what this one holds.
        seal.answers.retain(|answer| answer.member.spu != spu);
        // A copy that accepted a later epoch would not answer: all are asked anew above it.
        let accepted = report.map_or(LeaderEpoch(0), |report| report.leader_epoch);
        if accepted > seal.epoch {
            seal.answers.clear();
            seal.epoch = LeaderEpoch(accepted.0 + 1);
            partition.leader_epoch = seal.epoch;
        }
    }
    if partition.leader == Some(spu) || partition.leader.is_none() {
        let accepted = report.map_or(LeaderEpoch(0), |report| report.leader_epoch);
        lead_on(arrival, draft, &mut partition, accepted);
    }
    if let Some(topic) = draft.topic(key.topic_id) {
        follow_min_isr(topic, &mut partition);
    }
    draft.put_partition(partition);
}

/// L1, but a leader that comes back goes on leading unless it is to go.
fn lead_on(
    arrival: &Arrival<'_>,
    draft: &Draft<'_>,
    partition: &mut PartitionRow,
    accepted: LeaderEpoch,
) {
    let spu = arrival.spu;
    let led = partition.leader == Some(spu) && may_lead(draft, partition, spu);
    let drains = draft.spu(spu).is_some_and(|row| row.draining);
    if led && (!drains || candidate(draft, partition) == Some(spu)) {
        lead(partition, Some(spu), accepted);
    } else {
        elect(draft, partition, accepted);
    }
}
