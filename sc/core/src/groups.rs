//! Groups of storage units: made, changed, removed, and what they give their units.
//!
//! A group has a range of ids, which bounds the number of its units; ranges of groups do not overlap.
//! The group `default` is there without being made and then takes in any number.

use tidegate_proto::api::spu::SpuGroupRequest;
use tidegate_proto::api::topic::{Setting, WriteResult};
use tidegate_proto::id::SpuId;
use tidegate_proto::name::SpuGroupName;

use crate::decision::{Decision, IfMatch, Outcome, SpuGroupWrite};
use crate::difference::group_differences;
use crate::draft::{Draft, drafted};
use crate::limits::{SPU_GROUPS_MAX, SPU_TEXT_LEN_MAX, SPUS_PER_GROUP_MAX};
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::{SpuGroupRow, SpuKind, SpuRow};
use crate::settings::lay;

/// Makes a group; one of that name already is a refusal.
pub(crate) fn create_group(
    model: &Model,
    now_ms: i64,
    write: &SpuGroupWrite,
) -> Result<Decision, Refusal> {
    if model.spu_group(&write.name).is_some() {
        return Err(Refusal::SpuGroupExists(write.name.clone()));
    }
    put_group(model, now_ms, write)
}

/// Makes a group, or changes the one of that name into what is asked.
pub(crate) fn put_group(
    model: &Model,
    now_ms: i64,
    write: &SpuGroupWrite,
) -> Result<Decision, Refusal> {
    let known = model.spu_group(&write.name);
    let what = format!("group {}", write.name);
    Refusal::unless_matching(write.if_match.as_ref(), &what, known.map(|row| row.version))?;
    let mut row = laid(model, now_ms, known, write)?;
    check_group(model, &row)?;
    if known == Some(&row) {
        return Ok(Decision::unchanged());
    }
    row.updated_at_ms = now_ms;
    let result = match known {
        None => WriteResult::Created,
        Some(_) => WriteResult::Updated,
    };
    let differences = group_differences(known, Some(&row));
    let mut draft = Draft::new(model);
    draft.put_group(row);
    Ok(Decision {
        differences,
        // Its range was compared with those of all others, and with all units.
        whole_state: true,
        ..drafted(draft, result, Outcome::None)
    })
}

/// Removes a group that no unit belongs to.
pub(crate) fn remove_group(
    model: &Model,
    name: &SpuGroupName,
    if_match: Option<&IfMatch>,
) -> Result<Decision, Refusal> {
    let known = model.spu_group(name);
    let what = format!("group {name}");
    Refusal::unless_matching(if_match, &what, known.map(|row| row.version))?;
    let row = known.ok_or_else(|| Refusal::SpuGroupNotFound(name.clone()))?;
    let members = members(model, name).count();
    if members > 0 {
        return Err(Refusal::Conflict(format!(
            "{members} storage units belong to group {name}; remove them first"
        )));
    }
    let differences = group_differences(Some(row), None);
    let mut draft = Draft::new(model);
    draft.put_group(SpuGroupRow {
        removed: true,
        ..row.clone()
    });
    Ok(Decision {
        differences,
        // A unit may just be joining.
        whole_state: true,
        ..drafted(draft, WriteResult::Deleted, Outcome::None)
    })
}

/// How many units belong to a group.
#[must_use]
pub fn units_of(model: &Model, name: &SpuGroupName) -> u64 {
    members(model, name).count() as u64
}

/// The row as asked, over the one there is.
fn laid(
    model: &Model,
    now_ms: i64,
    known: Option<&SpuGroupRow>,
    write: &SpuGroupWrite,
) -> Result<SpuGroupRow, Refusal> {
    let SpuGroupRequest {
        replicas,
        first_id,
        racks,
        site,
        ..
    } = &write.request;
    if *replicas == Setting::Null || (known.is_none() && replicas.is_absent()) {
        let what = "is required: how many units the group takes in".to_owned();
        return Err(Refusal::Invalid(vec![Fault::new("/replicas", what)]));
    }
    let free = first_free(model, &write.name);
    let mut row = known.cloned().unwrap_or_else(|| SpuGroupRow {
        name: write.name.clone(),
        version: 1,
        replicas: 0,
        first_id: free,
        racks: Vec::new(),
        site: None,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        removed: false,
    });
    lay(&mut row.replicas, *replicas, 0);
    lay(&mut row.first_id, *first_id, free);
    lay(&mut row.racks, racks.clone(), Vec::new());
    lay(&mut row.site, site.clone().map(Some), None);
    Ok(row)
}

/// The first id after all units and other groups; of a group that has units, the first of those.
fn first_free(model: &Model, name: &SpuGroupName) -> SpuId {
    if let Some(first) = members(model, name).map(|row| row.spu).min() {
        return first;
    }
    let groups = model.spu_groups.values().filter(|row| !row.removed);
    let groups = groups
        .filter(|row| row.name != *name)
        .map(|row| range(row).end);
    let units = model.spus.values().filter(|row| !row.removed);
    let units = units.map(|row| row.spu.0.saturating_add(1));
    SpuId(groups.chain(units).max().unwrap_or(0))
}

/// As rows have it: those that name none are of the default group.
pub(crate) fn named(group: &SpuGroupName) -> Option<SpuGroupName> {
    Some(group.clone()).filter(|group| *group != SpuGroupName::default())
}

/// The ids of a group.
pub(crate) fn range(row: &SpuGroupRow) -> std::ops::Range<u32> {
    row.first_id.0..row.first_id.0.saturating_add(row.replicas)
}

/// The rack of a new unit of the group: its own if the group allows it, else the emptiest of the group's.
pub(crate) fn rack_in(
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

fn members<'a>(model: &'a Model, name: &'a SpuGroupName) -> impl Iterator<Item = &'a SpuRow> {
    let units = model.spus.values().filter(|row| !row.removed);
    let managed = units.filter(|row| row.kind == SpuKind::Managed);
    managed.filter(move |row| row.group == named(name))
}

fn check_group(model: &Model, row: &SpuGroupRow) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    let text = |text: &String| (1..=SPU_TEXT_LEN_MAX).contains(&text.len());
    if !(1..=SPUS_PER_GROUP_MAX).contains(&row.replicas) {
        let what = format!("from 1 to {SPUS_PER_GROUP_MAX}, not {}", row.replicas);
        faults.push(Fault::new("/replicas", what));
    }
    if row.racks.len() > SPUS_PER_GROUP_MAX as usize {
        let what = format!("at most {SPUS_PER_GROUP_MAX} racks");
        faults.push(Fault::new("/racks", what));
    } else if let Some(at) = row.racks.iter().position(|rack| !text(rack)) {
        let what = format!("from 1 to {SPU_TEXT_LEN_MAX} bytes");
        faults.push(Fault::new(format!("/racks/{at}"), what));
    }
    if !row.site.iter().all(text) {
        let what = format!("from 1 to {SPU_TEXT_LEN_MAX} bytes");
        faults.push(Fault::new("/site", what));
    }
    let ids = range(row);
    if ids.end.checked_sub(ids.start) != Some(row.replicas) {
        let what = format!(
            "{} ids from {} on are more than there are",
            row.replicas, ids.start
        );
        faults.push(Fault::new("/first_id", what));
    }
    let others = model.spu_groups.values().filter(|other| !other.removed);
    for other in others.filter(|other| other.name != row.name) {
        if ids.start < range(other).end && range(other).start < ids.end {
            let what = format!(
                "ids {} to {} are asked for, and group {} has {} to {}",
                ids.start,
                ids.end - 1,
                other.name,
                range(other).start,
                range(other).end - 1
            );
            faults.push(Fault::new("/first_id", what));
        }
    }
    let outside = members(model, &row.name).filter(|unit| !ids.contains(&unit.spu.0));
    let outside = outside.count();
    if outside > 0 {
        let what =
            format!("{outside} units of the group would be outside its ids; remove them first");
        faults.push(Fault::new("/replicas", what));
    }
    Refusal::unless_good(faults)?;
    let groups = model.spu_groups.values().filter(|row| !row.removed).count();
    if model.spu_group(&row.name).is_none() && groups >= SPU_GROUPS_MAX {
        let what = format!("a cluster has at most {SPU_GROUPS_MAX} groups of storage units");
        return Err(Refusal::Conflict(what));
    }
    Ok(())
}
