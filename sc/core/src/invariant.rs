//! What holds in every state of the control plane, and over every step, by name.
//!
//! For tests, for the simulation, and for a controller that wants to know before it publishes. Each
//! check is one sentence of replication.md; the first breach found is reported.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;

use crate::model::Model;
use crate::rows::PartitionRow;

/// A broken invariant, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name} does not hold for {subject}")]
pub struct Breach {
    /// The invariant's name.
    pub name: &'static str,
    /// A partition, a unit, an operation.
    pub subject: String,
}

fn hold(name: &'static str, subject: &impl ToString, holds: bool) -> Result<(), Breach> {
    if holds {
        Ok(())
    } else {
        let subject = subject.to_string();
        Err(Breach { name, subject })
    }
}

/// What holds in one state.
///
/// # Errors
/// The first breach.
pub fn check_state(model: &Model) -> Result<(), Breach> {
    let mut loads: BTreeMap<SpuId, (u64, u64)> = BTreeMap::new();
    for topic in model.topics.values() {
        let wanted = topic.row.partitions as usize;
        hold(
            "PartitionsAreDense",
            &topic.row.name,
            topic.partitions.len() == wanted,
        )?;
        for row in &topic.partitions {
            check_partition(model, row)?;
            for replica in &row.replicas {
                let load = loads.entry(replica.spu).or_default();
                load.0 += 1;
                load.1 += u64::from(row.leader == Some(replica.spu));
            }
        }
    }
    for row in model.spus.values() {
        let load = loads.get(&row.spu).copied().unwrap_or_default();
        hold("LoadIsCounted", &row.spu, model.load(row.spu) == load)?;
        hold(
            "RemovedHoldsNothing",
            &row.spu,
            !row.removed || load == (0, 0),
        )?;
    }
    for row in model.operations.values() {
        let ended = row.state.is_ended() == row.ended_at_ms.is_some();
        hold("EndedHasATime", &row.id, ended)?;
        let counted = row.progress.done + row.progress.failed <= row.progress.total;
        hold("ProgressIsWithinTotal", &row.id, counted)?;
    }
    Ok(())
}

fn check_partition(model: &Model, row: &PartitionRow) -> Result<(), Breach> {
    let key = row.key();
    let units: BTreeSet<SpuId> = row.replicas.iter().map(|replica| replica.spu).collect();
    let distinct = units.len() == row.replicas.len();
    hold("ReplicasOnDistinctSpus", &key, distinct)?;
    let members: BTreeSet<SpuId> = row.isr.iter().map(|member| member.spu).collect();
    let distinct = members.len() == row.isr.len();
    hold("IsrIsASet", &key, distinct)?;
    hold("IsrIsWithinReplicas", &key, members.is_subset(&units))?;
    let known = units.iter().all(|spu| model.spu(*spu).is_some());
    hold("ReplicasOnKnownSpus", &key, known)?;
    let current = row.isr.iter().all(|member| {
        model
            .spu(member.spu)
            .is_some_and(|unit| unit.incarnation == member.incarnation)
    });
    hold("IncarnationGate", &key, current)?;
    if let Some(leader) = row.leader {
        hold("LeaderIsInSync", &key, members.contains(&leader))?;
        // A partition that was made while its leader was shut out waits for another one.
        let live = model.spu(leader).is_some_and(|unit| !unit.fenced);
        hold("LeaderIsLive", &key, live || model.is_waiting(key))?;
        hold("SealedHasNoLeader", &key, row.seal.is_none())?;
        hold("LedHasAnEpoch", &key, row.leader_epoch.0 > 0)?;
    }
    let operations = [
        row.moving.as_ref().map(|moving| moving.operation),
        row.seal.as_ref().map(|seal| seal.operation),
    ];
    for id in operations.into_iter().flatten() {
        let runs = model
            .operations
            .get(&id)
            .is_some_and(|row| !row.state.is_ended());
        hold("MovesBelongToARunningOperation", &key, runs)?;
    }
    let leader = row.leader.and_then(|leader| model.spu(leader));
    let idle = leader.is_some_and(|unit| !unit.fenced) && operations == [None, None];
    hold("WhatWaitsIsListed", &key, model.is_waiting(key) != idle)
}

/// What holds over one step from `before` to `after`.
///
/// # Errors
/// The first breach.
pub fn check_step(before: &Model, after: &Model) -> Result<(), Breach> {
    for old in before.spus.values() {
        let new = after.spus.get(&old.spu);
        hold("SpuRowsStay", &old.spu, new.is_some())?;
        let Some(new) = new else { continue };
        hold(
            "VersionMonotone",
            &old.spu,
            old == new || new.version == old.version + 1,
        )?;
        hold(
            "IncarnationMonotone",
            &old.spu,
            new.incarnation >= old.incarnation,
        )?;
        let registered = new.incarnation > old.incarnation;
        let unfenced = old.fenced && !new.fenced;
        hold(
            "UnfencedByRegistrationOnly",
            &old.spu,
            !unfenced || registered,
        )?;
    }
    for topic in after.topics.values() {
        for new in &topic.partitions {
            let Some(old) = before.partition(new.key()) else {
                continue;
            };
            if old != new {
                check_change(before, after, old, new)?;
            }
        }
    }
    for old in before.operations.values() {
        if let Some(new) = after.operations.get(&old.id) {
            let frozen = !old.state.is_ended() || old == new;
            hold("EndedIsNeverChanged", &old.id, frozen)?;
        }
    }
    Ok(())
}

fn check_change(
    before: &Model,
    after: &Model,
    old: &PartitionRow,
    new: &PartitionRow,
) -> Result<(), Breach> {
    let key: ReplicaKey = old.key();
    hold("VersionMonotone", &key, new.version == old.version + 1)?;
    hold("EpochMonotone", &key, new.leader_epoch >= old.leader_epoch)?;
    let one = new.leader_epoch > old.leader_epoch || new.leader == old.leader;
    hold("OneLeaderPerEpoch", &key, one)?;
    let set = |row: &PartitionRow| -> BTreeSet<_> {
        let units = row.replicas.iter();
        units.map(|replica| replica.spu).collect()
    };
    let (was, is) = (set(old), set(new));
    let bumped = new.leader_epoch > old.leader_epoch || was == is;
    hold("ReplicaSetHasAnEpoch", &key, bumped)?;
    let one_by_one = old.replicas.is_empty()
        || is.difference(&was).count() + was.difference(&is).count() <= 1
        || (old.seal.is_some() && is.len() == 1);
    hold("OneReplicaAtATime", &key, one_by_one)?;
    hold(
        "RecoveryGenMonotone",
        &key,
        new.recovery_gen >= old.recovery_gen,
    )?;
    hold(
        "TruncationMonotone",
        &key,
        new.truncate_before >= old.truncate_before,
    )?;
    let kept = new.replicas.iter().all(|replica| {
        let former = old.replica(replica.spu);
        former.is_none_or(|former| {
            // Another disk is another replica, though the unit's number is the same.
            former.replica_gen == replica.replica_gen || registered(before, after, replica.spu)
        })
    });
    hold("ReplicaGenStays", &key, kept)?;
    // I1: only what is not intact, which its unit says when it registers or when it fails, may leave too
    // few; and a survey, which begins with what it found.
    let lost = old.isr.iter().filter(|member| !new.has_in_sync(member.spu));
    let shrunk = lost.clone().count() > 0;
    let by_loss = lost.clone().all(|member| {
        let replica = new.replica(member.spu);
        let is_damaged = replica.is_some_and(|own| new.has_failed(member) && !own.vouched);
        is_damaged || registered(before, after, member.spu)
    });
    let floor = new.isr.len() >= usize::from(old.min_isr.min(new.min_isr));
    hold(
        "IsrFloor",
        &key,
        !shrunk || floor || by_loss || old.seal.is_some(),
    )
}

fn registered(before: &Model, after: &Model, spu: SpuId) -> bool {
    let incarnation = |model: &Model| model.spus.get(&spu).map(|row| row.incarnation);
    incarnation(after) > incarnation(before)
}
