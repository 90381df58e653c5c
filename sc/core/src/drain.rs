//! Emptying a unit: it gets nothing new, others lead where they can, and its copies move to other units.
//!
//! Wishes only; the steps are in `moves.rs`. What comes to the unit while it was begun is taken in by the
//! controller's tick. Where units copy no records, what holds any stays, and the operation that has nothing
//! else left says which and ends. What is empty and could not be moved is tried again, but keeps its leader
//! for [`MOVE_RETRY_MS`](crate::limits::MOVE_RETRY_MS) before, or as long as its unit said that it remembers
//! what producers sent.

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::id::{OperationId, SpuId};
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};

use crate::decision::{Decision, MoveTerms, Outcome};
use crate::difference::moved;
use crate::draft::{Draft, drafted};
use crate::elect::elect;
use crate::holdings::Holdings;
use crate::ids::Ids;
use crate::limits::STAYING_NAMED_MAX;
use crate::model::Model;
use crate::moves::{NOT_COPIED, begin_moves, is_pinned};
use crate::operation::{Obstacles, Stays, begin, only_empty, operation_of};
use crate::place::Planner;
use crate::refusal::Refusal;
use crate::rows::{Move, OperationKind, OperationState, PartitionRow, SpuRow};

/// Empties a unit: it gets nothing new, others lead where they can, and its copies move away.
pub(crate) fn drain(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    spu: SpuId,
    terms: &MoveTerms,
) -> Result<Decision, Refusal> {
    let row = model.spu(spu).ok_or(Refusal::SpuNotFound(spu))?;
    if let Some(running) = drain_of(model, spu) {
        return Ok(Decision {
            outcome: Outcome::Operation(running),
            ..Decision::unchanged()
        });
    }
    let mut draft = Draft::new(model);
    draft.put_spu(SpuRow {
        draining: true,
        ..row.clone()
    });
    let wishes = wishes_without(&draft, spu, terms)?;
    let kind = OperationKind::Drain { spu };
    let operation = match begin_moves(&mut draft, now_ms, ids, kind.clone(), wishes, terms)? {
        Some(operation) => operation,
        None => begin(&mut draft, now_ms, ids, kind, 0, terms.throttle)?,
    };
    if !terms.can_copy {
        only_empty(&mut draft, operation);
    }
    for key in model.led_by(spu) {
        let Some(mut row) = draft.partition(key).cloned() else {
            continue;
        };
        if row.replicas.len() > 1 && row.seal.is_none() {
            elect(&draft, &mut row, LeaderEpoch(0));
            if row.leader != Some(spu) {
                draft.put_partition(row);
            }
        }
    }
    if model.load(spu).0 == 0 {
        end_now(&mut draft, now_ms, operation);
    }
    let outcome = Outcome::Operation(operation);
    let warnings = failure_ahead(&draft, spu, terms);
    let decision = moved(model, drafted(draft, WriteResult::Updated, outcome));
    Ok(Decision {
        warnings,
        ..decision
    })
}

/// Says which partitions will stay on the unit, so that the drain cannot but fail, and which may.
fn failure_ahead(draft: &Draft<'_>, spu: SpuId, terms: &MoveTerms) -> Vec<String> {
    let model = draft.model();
    let held = model.held_by(spu).filter_map(|key| model.partition(key));
    let stays = held.filter(|row| !terms.can_copy && is_pinned(row, terms));
    let keys = stays.map(|row| row.key());
    let (holding, untold): (Vec<_>, Vec<_>) = keys.partition(|key| terms.holding.contains(key));
    let told = |keys: &[ReplicaKey]| {
        let partitions = if keys.len() == 1 {
            "partition"
        } else {
            "partitions"
        };
        let (count, names) = (keys.len(), named(draft, keys));
        (
            format!("{count} {partitions} with one copy on storage unit {spu}"),
            names,
        )
    };
    let mut warnings = Vec::new();
    if !holding.is_empty() {
        let (what, names) = told(&holding);
        let stays = match holding.len() {
            1 => "holds records and stays",
            _ => "hold records and stay",
        };
        warnings.push(format!(
            "the drain will fail: {what} {stays}: {names}; {NOT_COPIED}. Then drain it again"
        ));
    }
    if !untold.is_empty() {
        let (what, names) = told(&untold);
        warnings.push(format!(
            "the drain waits until it is known whether {what} can go: {names}; with records they stay, \
             and it fails"
        ));
    }
    warnings
}

/// Takes into running drains what came to their units while they were begun. What cannot be moved is
/// said in the operation's row.
pub(crate) fn drain_the_rest(
    draft: &mut Draft<'_>,
    now_ms: i64,
    holdings: &dyn Holdings,
) -> Obstacles {
    let model = draft.model();
    let running = model
        .operations
        .values()
        .filter(|row| row.state == OperationState::Running);
    let mut obstacles = Obstacles::default();
    for operation in running {
        let OperationKind::Drain { spu } = operation.kind else {
            continue;
        };
        let held = model.held_by(spu).filter_map(|key| model.partition(key));
        let (rest, moving): (Vec<_>, Vec<_>) = held.partition(|row| operation_of(row).is_none());
        let mut planner = Planner::new(draft);
        let mut stays = Vec::new();
        let mut is_settled = moving.is_empty();
        for row in rest {
            let is_single = operation.only_empty && row.replicas.len() == 1;
            match holdings.is_empty(row).filter(|_| is_single) {
                Some(false) => {
                    stays.push(row.key());
                    continue;
                }
                None if is_single => {
                    is_settled = false;
                    let key = draft.told(row.key());
                    let why = format!("nobody has told yet whether {key} holds records");
                    obstacles.waits.entry(operation.id).or_insert(why);
                    continue;
                }
                Some(true) if row.stayed_lately(now_ms) => {
                    is_settled = false;
                    let key = draft.told(row.key());
                    let why = format!("{key} could not be moved just now and is tried again");
                    obstacles.waits.entry(operation.id).or_insert(why);
                    continue;
                }
                Some(true) | None => is_settled = false,
            }
            let Ok(target) = without(draft, &mut planner, row, spu) else {
                continue;
            };
            let moving = Move {
                operation: operation.id,
                target,
                empty: is_single,
            };
            take_in(draft, row, moving);
        }
        if is_settled && !stays.is_empty() {
            obstacles
                .stays
                .insert(operation.id, kept_back(draft, spu, &stays));
        }
    }
    obstacles
}

/// Adds the partition to the operation. One that is tried again was counted before, as given up.
fn take_in(draft: &mut Draft<'_>, row: &PartitionRow, moving: Move) {
    if let Some(mut operation) = draft.operation(moving.operation).cloned() {
        let progress = &mut operation.progress;
        if row.stayed_at_ms.is_some() && progress.failed > 0 {
            progress.failed -= 1;
        } else {
            progress.total += 1;
        }
        draft.put_operation(operation);
    }
    draft.put_partition(PartitionRow {
        moving: Some(Box::new(moving)),
        ..row.clone()
    });
}

/// The first of them by name.
fn named(draft: &Draft<'_>, keys: &[ReplicaKey]) -> String {
    let named = keys.iter().take(STAYING_NAMED_MAX);
    let mut names: Vec<String> = named.map(|key| draft.told(*key)).collect();
    if keys.len() > names.len() {
        names.push(format!("{} more", keys.len() - names.len()));
    }
    names.join(", ")
}

fn kept_back(draft: &Draft<'_>, spu: SpuId, keys: &[ReplicaKey]) -> Stays {
    let (count, names) = (keys.len(), named(draft, keys));
    Stays {
        count: count as u64,
        reason: format!(
            "{count} of the partitions on storage unit {spu} hold records and stay: {names}; {NOT_COPIED}"
        ),
    }
}

fn end_now(draft: &mut Draft<'_>, now_ms: i64, id: OperationId) {
    if let Some(mut row) = draft.operation(id).cloned() {
        row.state = OperationState::Done;
        row.ended_at_ms = Some(now_ms);
        draft.put_operation(row);
    }
}

/// The drain of that unit that goes on, if any.
pub(crate) fn drain_of(model: &Model, spu: SpuId) -> Option<OperationId> {
    let mut running = model.operations.values();
    running
        .find(|row| !row.state.is_ended() && row.kind == OperationKind::Drain { spu })
        .map(|row| row.id)
}

/// For each partition of the unit, the same units with another in its place.
fn wishes_without(
    draft: &Draft<'_>,
    spu: SpuId,
    terms: &MoveTerms,
) -> Result<Vec<(ReplicaKey, Vec<SpuId>)>, Refusal> {
    let model = draft.model();
    let mut planner = Planner::new(draft);
    let mut wishes = Vec::new();
    for key in model.held_by(spu) {
        let Some(row) = model.partition(key) else {
            continue;
        };
        // The gate: what is short of copies already does not give up one more.
        if row.isr.len() < row.replicas.len() && !terms.force {
            return Err(Refusal::Conflict(format!(
                "{} has {} of {} copies in sync; wait for them, or force it",
                draft.told(key),
                row.isr.len(),
                row.replicas.len()
            )));
        }
        if !terms.can_copy && is_pinned(row, terms) {
            continue;
        }
        wishes.push((key, without(draft, &mut planner, row, spu)?));
    }
    Ok(wishes)
}

/// The units of the partition with another one in the place of `spu`.
fn without(
    draft: &Draft<'_>,
    planner: &mut Planner,
    row: &PartitionRow,
    spu: SpuId,
) -> Result<Vec<SpuId>, Refusal> {
    let key = row.key();
    let held: Vec<SpuId> = row.replicas.iter().map(|replica| replica.spu).collect();
    let keep: Vec<SpuId> = held.iter().copied().filter(|other| *other != spu).collect();
    let policy = draft.topic(key.topic_id).map(|topic| topic.placement);
    let leads = held.first() == Some(&spu);
    let other = planner.one_more(&keep, &[spu], policy.unwrap_or_default(), leads);
    let Some(other) = other else {
        return Err(Refusal::Conflict(format!(
            "{} is on storage unit {}, and no other one is at hand to take the copy on {spu}; at hand: {}",
            draft.told(key),
            listed(&held),
            at_hand(draft.model())
        )));
    };
    let swap = |old: SpuId| if old == spu { other } else { old };
    Ok(held.into_iter().map(swap).collect())
}

/// Units by number, for a sentence; not more than it can bear.
fn listed(units: &[SpuId]) -> String {
    const TOLD_MAX: usize = 12;
    let told: Vec<String> = units
        .iter()
        .take(TOLD_MAX)
        .map(ToString::to_string)
        .collect();
    let rest = units.len().saturating_sub(TOLD_MAX);
    match (told.is_empty(), rest) {
        (true, _) => "none".to_owned(),
        (false, 0) => told.join(", "),
        (false, rest) => format!("{} and {rest} more", told.join(", ")),
    }
}

pub(crate) fn at_hand(model: &Model) -> String {
    let units: Vec<SpuId> = model.spus_at_hand().map(|row| row.spu).collect();
    listed(&units)
}
