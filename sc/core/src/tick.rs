//! What the controller does by itself, now and then: shuts out the silent, elects, places, moves on.
//!
//! One transaction at a time, the most urgent work first, so that a row which others change cannot hold
//! up what is urgent. Call it again until it changes nothing. Costs what waits, not what there is.

use std::collections::BTreeMap;

use tidegate_proto::id::{OperationId, SpuId};
use tidegate_proto::position::LeaderEpoch;
use uuid::Uuid;

use crate::change::{Change, Guard};
use crate::draft::Draft;
use crate::drain::drain_the_rest;
use crate::elect::{candidate, elect, fence, may_lead};
use crate::holdings::Holdings;
use crate::ids::Ids;
use crate::limits::STEPS_PER_TICK_MAX;
use crate::liveness::Liveness;
use crate::model::Model;
use crate::moves::{Step, give_up, is_copying, next_step};
use crate::operation::{count_failed, forget_old, keep_books, operation_of};
use crate::recover::{end_survey, stuck};
use crate::register::place_what_waits;
use crate::rows::{PartitionRow, SpuRow};

/// One transaction of the controller's own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tick {
    /// To be made all or none; empty when there is nothing to do.
    pub changes: Vec<Change>,
    /// Rows that must still be at these versions when the changes are made.
    pub guards: Vec<Guard>,
    /// Units that it shuts out.
    pub fenced: Vec<SpuId>,
}

/// The two clocks: what rows carry, and what deadlines are measured by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clocks {
    /// Milliseconds since 1970.
    pub wall_ms: i64,
    /// Milliseconds that never go back.
    pub monotonic_ms: u64,
}

/// What is to be done in the state `model`; new ids follow from `seed`.
#[must_use]
pub fn tick(
    model: &Model,
    clocks: Clocks,
    seed: Uuid,
    liveness: &Liveness,
    holdings: &dyn Holdings,
) -> Tick {
    let overdue = model
        .spus
        .values()
        .filter(|row| is_overdue(liveness, row, clocks));
    let fenced: Vec<SpuId> = overdue.map(|row| row.spu).collect();
    let mut ids = Ids::new(seed);
    let mut draft = Draft::new(model);
    for spu in &fenced {
        fence(&mut draft, *spu);
    }
    elect_what_waits(&mut draft);
    place_what_waits(&mut draft, &mut ids);
    let urgent = ticked(draft, fenced);
    if !urgent.changes.is_empty() {
        return urgent;
    }
    let mut draft = Draft::new(model);
    let mut obstacles = drain_the_rest(&mut draft, clocks.wall_ms, holdings);
    let waits = move_on(&mut draft, clocks.wall_ms, &mut ids);
    obstacles.waits.extend(waits);
    keep_books(&mut draft, clocks.wall_ms, &obstacles);
    forget_old(&mut draft);
    ticked(draft, Vec::new())
}

fn ticked(draft: Draft<'_>, fenced: Vec<SpuId>) -> Tick {
    let (changes, guards) = draft.finish();
    Tick {
        changes,
        guards,
        fenced,
    }
}

fn is_overdue(liveness: &Liveness, row: &SpuRow, clocks: Clocks) -> bool {
    !row.removed && row.is_registered() && liveness.is_overdue(row, clocks.monotonic_ms)
}

/// L1 for partitions whose leader is none, or not the one it was elected as.
fn elect_what_waits(draft: &mut Draft<'_>) {
    for key in draft.model().waiting() {
        let Some(row) = draft.partition(key) else {
            continue;
        };
        let leads = row
            .leader
            .is_some_and(|leader| may_lead(draft, row, leader));
        if leads || row.seal.is_some() || !row.is_placed() {
            continue;
        }
        if row.leader.is_some() || candidate(draft, row).is_some() {
            let mut row = row.clone();
            elect(draft, &mut row, LeaderEpoch(0));
            draft.put_partition(row);
        }
    }
}

/// Says that a sealed partition waits for units that are not there.
fn unheard(draft: &Draft<'_>, row: &PartitionRow) -> Option<String> {
    let is_away = |spu: SpuId| draft.spu(spu).is_none_or(|unit| unit.fenced);
    let mut units = row.replicas.iter().map(|replica| replica.spu);
    let away = units.find(|spu| is_away(*spu))?;
    let key = draft.told(row.key());
    Some(format!(
        "{key} waits for storage unit {away} to say what it holds; it is offline"
    ))
}

/// Takes one step for each partition that may go one further; tells what each operation waits for.
fn move_on(draft: &mut Draft<'_>, now_ms: i64, ids: &mut Ids) -> BTreeMap<OperationId, String> {
    let model = draft.model();
    let mut copying: BTreeMap<OperationId, u32> = BTreeMap::new();
    let rows = || model.waiting().filter_map(|key| model.partition(key));
    for row in rows().filter(|row| is_copying(row)) {
        if let Some(id) = operation_of(row) {
            *copying.entry(id).or_default() += 1;
        }
    }
    let mut waits = BTreeMap::new();
    for row in rows() {
        let Some(id) = operation_of(row) else {
            continue;
        };
        if draft.touched() >= STEPS_PER_TICK_MAX {
            break;
        }
        if row.seal.is_some() {
            // Units may have come or gone since the last answer.
            end_survey(draft, now_ms, ids, row.key());
            let is_open = draft
                .partition(row.key())
                .is_some_and(|now| now.seal.is_some());
            let why = unheard(draft, row).or_else(|| stuck(draft, row).filter(|_| is_open));
            if let Some(why) = why {
                waits.entry(id).or_insert(why);
            }
            continue;
        }
        let limit = draft
            .operation(id)
            .map_or(0, |row| row.throttle.partitions_at_once);
        match next_step(draft, ids, row) {
            Step::Wait(why) => {
                waits.entry(id).or_insert(why);
            }
            Step::Go(row) => draft.put_partition(row),
            Step::GiveUp(why) => {
                let row = give_up(draft, row);
                draft.put_partition(row);
                count_failed(draft, id, why);
            }
            Step::Copy(row) => {
                let begun = copying.entry(id).or_default();
                if *begun < limit {
                    *begun += 1;
                    draft.put_partition(row);
                }
            }
        }
    }
    waits
}
