//! Storage units and their groups: entered, taken in, described, emptied ones removed.
//!
//! A custom unit is entered by an operator with its id before it runs; a managed one is taken in as part
//! of a group, whose range of ids bounds their number. Invariant: an id that comes back goes on with
//! its versions and incarnations, so nothing from its earlier life fits.

use std::collections::BTreeMap;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::Register;
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::name::SpuGroupName;
use tidegate_proto::position::ReplicaKey;

use crate::decision::{Decision, Outcome, SpuGroupWrite, SpuWrite};
use crate::draft::Draft;
use crate::elect::fence;
use crate::limits::{
    LABELS_PER_SPU_MAX, SPU_GROUPS_MAX, SPU_TEXT_LEN_MAX, SPUS_MAX, SPUS_PER_GROUP_MAX,
};
use crate::liveness::{Standing, standing};
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::{SpuGroupRow, SpuKind, SpuRow};

/// The row of a unit that registers, if it may: the one it has, or that of its group.
pub(crate) fn admitted(model: &Model, report: &Register) -> Result<SpuRow, Refusal> {
    let spu = report.spu_id;
    let site = &report.site;
    if let Some(row) = model.spu(spu) {
        return Ok(SpuRow {
            rack: row.rack.clone().or_else(|| site.rack.clone()),
            site: row.site.clone().or_else(|| site.site.clone()),
            ..row.clone()
        });
    }
    // A disk that was registered belongs to a unit that was removed, or to a store that forgot it.
    let Some(group) = report
        .group
        .as_ref()
        .filter(|_| report.last_incarnation.is_none())
    else {
        return Err(Refusal::SpuNotFound(spu));
    };
    let rack = rack_in(model, group, site.rack.as_ref())?;
    if let Some(row) = model.spu_group(group)
        && !range(row).contains(&spu.0)
    {
        let (group, first, end) = (group.clone(), row.first_id, range(row).end);
        return Err(Refusal::OutsideGroup { group, first, end });
    }
    let row = fresh(model, spu, SpuKind::Managed)?;
    Ok(SpuRow {
        group: named(group),
        rack,
        site: site.site.clone(),
        ..row
    })
}

/// Gives a managed unit the lowest id of its group that is free.
pub(crate) fn join_group(
    model: &Model,
    group: &SpuGroupName,
    rack: Option<&String>,
) -> Result<Decision, Refusal> {
    let ids = match model.spu_group(group) {
        Some(row) => range(row),
        None => 0..u32::MAX,
    };
    let rack = rack_in(model, group, rack)?;
    let end = ids.end;
    let free = ids.into_iter().find(|id| model.spu(SpuId(*id)).is_none());
    let Some(id) = free else {
        let (group, first) = (group.clone(), SpuId(0));
        return Err(Refusal::OutsideGroup { group, first, end });
    };
    let row = SpuRow {
        group: named(group),
        rack,
        ..fresh(model, SpuId(id), SpuKind::Managed)?
    };
    Ok(put_spu(model, row, WriteResult::Created))
}

/// Enters a custom unit.
pub(crate) fn enter_spu(model: &Model, write: &SpuWrite) -> Result<Decision, Refusal> {
    if model.spu(write.spu).is_some() {
        return Err(Refusal::SpuExists(write.spu));
    }
    check(write)?;
    let row = described(fresh(model, write.spu, SpuKind::Custom)?, write);
    Ok(put_spu(model, row, WriteResult::Created))
}

/// Changes what is said of a unit. Copies stay where they are.
pub(crate) fn describe_spu(model: &Model, write: &SpuWrite) -> Result<Decision, Refusal> {
    let row = model
        .spu(write.spu)
        .ok_or(Refusal::SpuNotFound(write.spu))?;
    check(write)?;
    Ok(put_spu(
        model,
        described(row.clone(), write),
        WriteResult::Updated,
    ))
}

/// Removes a unit that holds nothing and takes no part.
pub(crate) fn remove_spu(model: &Model, spu: SpuId) -> Result<Decision, Refusal> {
    let row = model.spu(spu).ok_or(Refusal::SpuNotFound(spu))?;
    let (holds, _) = model.load(spu);
    if holds > 0 {
        return Err(Refusal::Conflict(format!(
            "storage unit {spu} holds {holds} partitions; drain it first"
        )));
    }
    if row.is_at_hand() {
        return Err(Refusal::Conflict(format!(
            "storage unit {spu} takes part; drain or stop it first"
        )));
    }
    let gone = SpuRow {
        version: row.version,
        incarnation: row.incarnation,
        removed: true,
        ..SpuRow::entered(spu, row.kind)
    };
    Ok(put_spu(model, gone, WriteResult::Deleted))
}

/// Makes or changes a group.
pub(crate) fn put_group(
    model: &Model,
    now_ms: i64,
    write: &SpuGroupWrite,
) -> Result<Decision, Refusal> {
    check_group(model, write)?;
    let known = model.spu_group(&write.name);
    let row = SpuGroupRow {
        name: write.name.clone(),
        version: 0,
        replicas: write.replicas,
        first_id: write.first_id,
        racks: write.racks.clone(),
        site: write.site.clone(),
        created_at_ms: known.map_or(now_ms, |row| row.created_at_ms),
        updated_at_ms: known.map_or(now_ms, |row| row.updated_at_ms),
        removed: false,
    };
    let version = known.map_or(0, |row| row.version);
    if known
        == Some(&SpuGroupRow {
            version,
            ..row.clone()
        })
    {
        return Ok(Decision::unchanged());
    }
    let row = SpuGroupRow {
        updated_at_ms: now_ms,
        ..row
    };
    let result = match known {
        None => WriteResult::Created,
        Some(_) => WriteResult::Updated,
    };
    let mut draft = Draft::new(model);
    draft.put_group(row);
    Ok(drafted(draft, result, Outcome::None))
}

/// Removes a group that no unit belongs to.
pub(crate) fn remove_group(model: &Model, name: &SpuGroupName) -> Result<Decision, Refusal> {
    let known = model.spu_group(name);
    let row = known.ok_or_else(|| Refusal::SpuGroupNotFound(name.clone()))?;
    let members = members(model, name).count();
    if members > 0 {
        return Err(Refusal::Conflict(format!(
            "{members} storage units belong to group {name}; remove them first"
        )));
    }
    let mut draft = Draft::new(model);
    draft.put_group(SpuGroupRow {
        removed: true,
        ..row.clone()
    });
    Ok(drafted(draft, WriteResult::Deleted, Outcome::None))
}

/// A unit stops on purpose.
pub(crate) fn leave(
    model: &Model,
    spu: SpuId,
    incarnation: Incarnation,
) -> Result<Decision, Refusal> {
    match current(model, spu, incarnation) {
        Err(Refusal::SpuFenced(_)) => return Ok(Decision::unchanged()),
        other => other?,
    }
    let mut draft = Draft::new(model);
    fence(&mut draft, spu);
    Ok(drafted(draft, WriteResult::Updated, Outcome::None))
}

/// Replicas were made: from now on a missing one is lost, not new (S4).
pub(crate) fn attest(
    model: &Model,
    spu: SpuId,
    incarnation: Incarnation,
    made: &[(ReplicaKey, ReplicaGen)],
) -> Result<Decision, Refusal> {
    current(model, spu, incarnation)?;
    let mut draft = Draft::new(model);
    for (key, replica_gen) in made {
        let Some(mut row) = draft.partition(*key).cloned() else {
            continue;
        };
        let mut replicas = row.replicas.iter_mut();
        let own = replicas.find(|own| own.spu == spu && own.replica_gen == *replica_gen);
        if let Some(replica) = own {
            replica.joined = true;
            draft.put_partition(row);
        }
    }
    Ok(drafted(draft, WriteResult::Updated, Outcome::None))
}

/// Refuses a unit that does not take part under that registration.
pub(crate) fn current(model: &Model, spu: SpuId, incarnation: Incarnation) -> Result<(), Refusal> {
    match standing(model, spu, incarnation) {
        Standing::Current => Ok(()),
        Standing::Fenced => Err(Refusal::SpuFenced(spu)),
        Standing::Superseded => Err(Refusal::SpuSuperseded(spu)),
        Standing::Unknown => Err(Refusal::SpuNotFound(spu)),
    }
}

/// The decision that a draft makes up; `unchanged` when it holds no change.
pub(crate) fn drafted(draft: Draft<'_>, result: WriteResult, outcome: Outcome) -> Decision {
    let (changes, guards) = draft.finish();
    let result = if changes.is_empty() {
        WriteResult::Unchanged
    } else {
        result
    };
    Decision {
        result,
        changes,
        guards,
        outcome,
        ..Decision::unchanged()
    }
}

/// A unit that never registered, on the row that its id had before, if any.
fn fresh(model: &Model, spu: SpuId, kind: SpuKind) -> Result<SpuRow, Refusal> {
    let former = model.spus.get(&spu);
    if former.is_none() && model.spus.len() >= SPUS_MAX {
        return Err(Refusal::Conflict(format!(
            "a cluster has at most {SPUS_MAX} storage units"
        )));
    }
    Ok(SpuRow {
        incarnation: former.map_or(Incarnation(0), |row| row.incarnation),
        ..SpuRow::entered(spu, kind)
    })
}

fn described(row: SpuRow, write: &SpuWrite) -> SpuRow {
    SpuRow {
        rack: write.rack.clone(),
        site: write.site.clone(),
        labels: write.labels.clone(),
        ..row
    }
}

fn put_spu(model: &Model, row: SpuRow, result: WriteResult) -> Decision {
    let outcome = Outcome::Spu(row.spu);
    let mut draft = Draft::new(model);
    draft.put_spu(row);
    drafted(draft, result, outcome)
}

/// As rows have it: those that name none are of the default group.
fn named(group: &SpuGroupName) -> Option<SpuGroupName> {
    Some(group.clone()).filter(|group| *group != SpuGroupName::default())
}

fn range(row: &SpuGroupRow) -> std::ops::Range<u32> {
    row.first_id.0..row.first_id.0.saturating_add(row.replicas)
}

fn members<'a>(model: &'a Model, name: &'a SpuGroupName) -> impl Iterator<Item = &'a SpuRow> {
    let units = model.spus.values().filter(|row| !row.removed);
    let managed = units.filter(|row| row.kind == SpuKind::Managed);
    managed.filter(move |row| row.group == named(name))
}

/// The rack of a new unit of the group: its own if the group allows it, else the emptiest of the group's.
fn rack_in(
    model: &Model,
    group: &SpuGroupName,
    own: Option<&String>,
) -> Result<Option<String>, Refusal> {
    let Some(row) = model.spu_group(group) else {
        // The default group is there without a row.
        return if *group == SpuGroupName::default() {
            Ok(own.cloned())
        } else {
            Err(Refusal::SpuGroupNotFound(group.clone()))
        };
    };
    match own {
        Some(rack) if row.racks.is_empty() || row.racks.contains(rack) => Ok(Some(rack.clone())),
        Some(rack) => Err(Refusal::Conflict(format!(
            "group {group} has no rack {rack:?}, but {}",
            row.racks.join(", ")
        ))),
        None => {
            let crowd = |rack: &&String| {
                let there = |unit: &&SpuRow| unit.rack.as_ref() == Some(*rack);
                members(model, group).filter(there).count()
            };
            Ok(row.racks.iter().min_by_key(crowd).cloned())
        }
    }
}

fn check(write: &SpuWrite) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    let mut bound = |pointer: &str, text: &str| {
        if text.is_empty() || text.len() > SPU_TEXT_LEN_MAX {
            faults.push(Fault::new(
                pointer.to_owned(),
                format!("from 1 to {SPU_TEXT_LEN_MAX} bytes"),
            ));
        }
    };
    write.rack.iter().for_each(|rack| bound("/rack", rack));
    write.site.iter().for_each(|site| bound("/site", site));
    let labels: &BTreeMap<String, String> = &write.labels;
    for (name, value) in labels {
        bound("/labels", name);
        bound("/labels", value);
    }
    if labels.len() > LABELS_PER_SPU_MAX {
        let what = format!("at most {LABELS_PER_SPU_MAX} labels");
        faults.push(Fault::new("/labels", what));
    }
    Refusal::unless_good(faults)
}

fn check_group(model: &Model, write: &SpuGroupWrite) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    if !(1..=SPUS_PER_GROUP_MAX).contains(&write.replicas) {
        let what = format!("from 1 to {SPUS_PER_GROUP_MAX}, not {}", write.replicas);
        faults.push(Fault::new("/replicas", what));
    }
    if write.racks.len() > SPUS_PER_GROUP_MAX as usize
        || write
            .racks
            .iter()
            .any(|rack| rack.is_empty() || rack.len() > SPU_TEXT_LEN_MAX)
    {
        let what = format!("racks are names of 1 to {SPU_TEXT_LEN_MAX} bytes");
        faults.push(Fault::new("/racks", what));
    }
    let (first, end) = (
        write.first_id.0,
        write.first_id.0.saturating_add(write.replicas),
    );
    let others = model.spu_groups.values().filter(|row| !row.removed);
    for other in others.filter(|row| row.name != write.name) {
        if first < range(other).end && range(other).start < end {
            let what = format!(
                "ids {first} to {} are those of group {}",
                end - 1,
                other.name
            );
            faults.push(Fault::new("/first_id", what));
        }
    }
    let outside = members(model, &write.name).filter(|row| !(first..end).contains(&row.spu.0));
    let outside = outside.count();
    if outside > 0 {
        let what =
            format!("{outside} units of the group would be outside its ids; remove them first");
        faults.push(Fault::new("/replicas", what));
    }
    Refusal::unless_good(faults)?;
    let groups = model.spu_groups.values().filter(|row| !row.removed).count();
    if model.spu_group(&write.name).is_none() && groups >= SPU_GROUPS_MAX {
        let what = format!("a cluster has at most {SPU_GROUPS_MAX} groups of storage units");
        return Err(Refusal::Conflict(what));
    }
    Ok(())
}
