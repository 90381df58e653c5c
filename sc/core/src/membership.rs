//! Storage units: entered, taken in, described, emptied ones removed.
//!
//! A custom unit is entered by an operator with its id before it runs; a managed one is taken in as part
//! of a group, whose range of ids bounds their number. Invariant: an id that comes back goes on with
//! its versions and incarnations, so nothing from its earlier life fits.

use std::collections::BTreeMap;

use tidegate_proto::api::spu::SpuRequest;
use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::control::Register;
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_proto::name::SpuGroupName;

use crate::decision::{Decision, IfMatch, Outcome, SpuWrite};
use crate::difference::{pointed, spu_differences};
use crate::draft::{Draft, drafted};
use crate::elect::fence;
use crate::groups::{named, rack_in, range};
use crate::limits::{LABELS_PER_SPU_MAX, SPU_TEXT_LEN_MAX, SPUS_MAX};
use crate::liveness::{Standing, standing};
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::{SpuKind, SpuRow};
use crate::settings::lay;

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
        return Err(Refusal::SpuNotEntered(spu));
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

/// Enters a custom unit; one of that id already is a refusal.
pub(crate) fn enter_spu(model: &Model, write: &SpuWrite) -> Result<Decision, Refusal> {
    if model.spu(write.spu).is_some() {
        return Err(Refusal::SpuExists(write.spu));
    }
    ensure_spu(model, write)
}

/// Enters a custom unit, or changes what is said of the one there is. Copies stay where they are.
pub(crate) fn ensure_spu(model: &Model, write: &SpuWrite) -> Result<Decision, Refusal> {
    let known = model.spu(write.spu);
    let what = format!("storage unit {}", write.spu);
    Refusal::unless_matching(write.if_match.as_ref(), &what, known.map(|row| row.version))?;
    let (row, result) = match known {
        Some(row) => (row.clone(), WriteResult::Updated),
        None => (
            fresh(model, write.spu, SpuKind::Custom)?,
            WriteResult::Created,
        ),
    };
    let row = described(row, &write.request);
    check(&row)?;
    let differences = spu_differences(known, Some(&row));
    Ok(Decision {
        differences,
        ..put_spu(model, row, result)
    })
}

/// Removes a unit that holds nothing and takes no part.
pub(crate) fn remove_spu(
    model: &Model,
    spu: SpuId,
    if_match: Option<&IfMatch>,
) -> Result<Decision, Refusal> {
    let known = model.spu(spu);
    let what = format!("storage unit {spu}");
    Refusal::unless_matching(if_match, &what, known.map(|row| row.version))?;
    let row = known.ok_or(Refusal::SpuNotFound(spu))?;
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
    Ok(Decision {
        differences: spu_differences(Some(row), None),
        ..put_spu(model, gone, WriteResult::Deleted)
    })
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

/// Refuses a unit that does not take part under that registration.
pub(crate) fn current(model: &Model, spu: SpuId, incarnation: Incarnation) -> Result<(), Refusal> {
    match standing(model, spu, incarnation) {
        Standing::Current => Ok(()),
        Standing::Fenced => Err(Refusal::SpuFenced(spu)),
        Standing::Superseded => Err(Refusal::SpuSuperseded(spu)),
        Standing::Unknown => Err(Refusal::SpuNotFound(spu)),
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

/// The row with what the request says laid over it.
fn described(mut row: SpuRow, request: &SpuRequest) -> SpuRow {
    lay(&mut row.rack, request.rack.clone().map(Some), None);
    lay(&mut row.site, request.site.clone().map(Some), None);
    lay(&mut row.labels, request.labels.clone(), BTreeMap::new());
    row
}

fn put_spu(model: &Model, row: SpuRow, result: WriteResult) -> Decision {
    let outcome = Outcome::Spu(row.spu);
    let mut draft = Draft::new(model);
    draft.put_spu(row);
    drafted(draft, result, outcome)
}

fn check(row: &SpuRow) -> Result<(), Refusal> {
    let mut faults = Vec::new();
    let mut bound = |pointer: String, text: &str| {
        if text.is_empty() || text.len() > SPU_TEXT_LEN_MAX {
            let what = format!("from 1 to {SPU_TEXT_LEN_MAX} bytes");
            faults.push(Fault::new(pointer, what));
        }
    };
    row.rack
        .iter()
        .for_each(|rack| bound("/rack".to_owned(), rack));
    row.site
        .iter()
        .for_each(|site| bound("/site".to_owned(), site));
    for (name, value) in &row.labels {
        bound("/labels".to_owned(), name);
        bound(format!("/labels/{}", pointed(name)), value);
    }
    if row.labels.len() > LABELS_PER_SPU_MAX {
        let what = format!("at most {LABELS_PER_SPU_MAX} labels");
        faults.push(Fault::new("/labels", what));
    }
    Refusal::unless_good(faults)
}
