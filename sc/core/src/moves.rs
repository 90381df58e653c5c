//! Moving copies of partitions, one replica at a time (L4): the wish, the next step, the way back.
//!
//! A wish stands in the partition's row until it is fulfilled; steps are taken by the controller's tick.
//! Invariants: each change of the replica set has an epoch of its own; a copy goes only when those in
//! sync without it are at least `min_isr` and one of them can lead.

use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{OperationId, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::decision::MoveTerms;
use crate::draft::Draft;
use crate::elect::{candidate, elect, is_live, lead, may_lead};
use crate::ids::Ids;
use crate::limits::MOVES_PER_OPERATION_MAX;
use crate::operation::{begin, checked, operation_of};
use crate::refusal::Refusal;
use crate::rows::{Move, OperationKind, PartitionRow, Replica, Seal};

/// What to do about single copies that hold records.
pub(crate) const NOT_COPIED: &str = "its only copy holds records and stays where it is; to move it, raise \
     the replication factor of its topic, reassign it, and lower the factor again";

/// What can be done next for a partition that is to move.
#[derive(Debug)]
pub(crate) enum Step {
    /// Nothing, for this reason.
    Wait(String),
    /// A copy is begun: counts against the throttle.
    Copy(PartitionRow),
    /// It is on the way.
    Go(PartitionRow),
    /// It cannot get there any more, for this reason.
    GiveUp(String),
}

/// Begins an operation that moves these partitions. Those that are there already are left out; when none
/// is left there is no operation.
pub(crate) fn begin_moves(
    draft: &mut Draft<'_>,
    now_ms: i64,
    ids: &mut Ids,
    kind: OperationKind,
    wishes: Vec<(ReplicaKey, Vec<SpuId>)>,
    terms: &MoveTerms,
) -> Result<Option<OperationId>, Refusal> {
    // Also when nothing is left to move.
    checked(terms.throttle)?;
    let mut rows = Vec::with_capacity(wishes.len());
    for (key, target) in wishes {
        let Some(row) = draft.partition(key) else {
            continue;
        };
        if let Some(other) = operation_of(row) {
            return Err(Refusal::Conflict(format!(
                "{} is part of operation {other}; wait for it or cancel it",
                draft.told(key)
            )));
        }
        let held = row.replicas.iter().map(|replica| replica.spu);
        if held.eq(target.iter().copied()) {
            continue;
        }
        refuse_records(draft, row, &target, terms)?;
        rows.push((row.clone(), target));
    }
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.len() > MOVES_PER_OPERATION_MAX {
        return Err(Refusal::Conflict(format!(
            "{} partitions would move; one operation moves at most {MOVES_PER_OPERATION_MAX}",
            rows.len()
        )));
    }
    let operation = begin(draft, now_ms, ids, kind, rows.len(), terms.throttle)?;
    for (mut row, target) in rows {
        let empty = terms.empty.contains(&row.key());
        row.moving = Some(Box::new(Move {
            operation,
            target,
            empty,
        }));
        draft.put_partition(row);
    }
    Ok(Some(operation))
}

/// True when moves under these terms leave the partition where it is: its only copy may hold records, and
/// nobody asked for it to be copied, or nobody can.
pub(crate) fn is_pinned(row: &PartitionRow, terms: &MoveTerms) -> bool {
    let is_copied = terms.force && terms.can_copy;
    row.replicas.len() == 1 && !is_copied && !terms.empty.contains(&row.key())
}

/// A single copy that is not known to be empty can only be copied, for which it has to be asked.
fn refuse_records(
    draft: &Draft<'_>,
    row: &PartitionRow,
    target: &[SpuId],
    terms: &MoveTerms,
) -> Result<(), Refusal> {
    let leaves = row
        .replicas
        .iter()
        .any(|replica| !target.contains(&replica.spu));
    if !leaves || !is_pinned(row, terms) {
        return Ok(());
    }
    let key = draft.told(row.key());
    Err(Refusal::Conflict(if terms.can_copy {
        format!(
            "{key} has a single copy that is not known to be empty; raise its replication factor first, \
             or force the move and let it wait until it was copied"
        )
    } else {
        format!("{key} has a single copy that is not known to be empty; {NOT_COPIED}")
    }))
}

/// The next step of a partition that is to move.
pub(crate) fn next_step(draft: &Draft<'_>, ids: &mut Ids, row: &PartitionRow) -> Step {
    let key = draft.told(row.key());
    let Some(moving) = &row.moving else {
        return Step::Wait(format!("{key} is not to move"));
    };
    if row.seal.is_some() {
        return Step::Wait(format!("{key} is sealed and asked what it holds"));
    }
    let Some(leader) = row.leader.filter(|spu| may_lead(draft, row, *spu)) else {
        return Step::Wait(format!("{key} has no leader"));
    };
    let mut lagging = row.adding().filter(|spu| row.replica(*spu).is_some());
    if let Some(spu) = lagging.next() {
        let is_away = draft.spu(spu).is_none_or(|unit| unit.fenced);
        return Step::Wait(if is_away {
            format!("{key} is to be copied to storage unit {spu}, which is offline")
        } else {
            format!("{key} is being copied to storage unit {spu}")
        });
    }
    let missing = moving
        .target
        .iter()
        .find(|spu| row.replica(**spu).is_none());
    if let Some(spu) = missing
        && draft.spu(*spu).is_none_or(|unit| unit.draining)
    {
        return Step::GiveUp(format!(
            "{key} was to go to storage unit {spu}, which is being emptied or was removed"
        ));
    }
    let has_extra = row.removing().next().is_some();
    match missing {
        Some(_) if row.replicas.len() > moving.target.len() => remove_one(draft, row, leader),
        Some(spu) if moving.empty && row.replicas.len() == 1 && has_extra => {
            relocate(draft, row, *spu)
        }
        Some(spu) => add_one(draft, ids, row, *spu),
        None if has_extra => remove_one(draft, row, leader),
        None => Step::Go(arrive(draft, row)),
    }
}

/// True when a copy of the partition is on its way.
pub(crate) fn is_copying(row: &PartitionRow) -> bool {
    let mut adding = row.adding();
    row.seal.is_some() || adding.any(|spu| row.replica(spu).is_some())
}

/// Ends the wish: what was not begun is forgotten, what was begun is undone or finished. May leave a
/// last step for the tick.
pub(crate) fn give_up(draft: &Draft<'_>, row: &PartitionRow) -> PartitionRow {
    let mut row = row.clone();
    let Some(moving) = row.moving.take() else {
        return row;
    };
    if row.seal.take().is_some() {
        elect(draft, &mut row, LeaderEpoch(0));
        return row;
    }
    let copies = moving.target.len();
    let is_new = |row: &PartitionRow, spu: SpuId| {
        moving.target.contains(&spu) && !row.has_in_sync(spu) && row.replicas.len() > copies
    };
    let lagging = row.replicas.iter().map(|replica| replica.spu);
    if let Some(spu) = lagging.into_iter().find(|spu| is_new(&row, *spu)) {
        row.replicas.retain(|replica| replica.spu != spu);
        let leader = row.leader;
        lead(&mut row, leader, LeaderEpoch(0));
        return row;
    }
    if row.replicas.len() > copies {
        // One too many is in sync: the step is finished, nothing further is begun.
        let kept = moving
            .target
            .iter()
            .filter(|spu| row.replica(**spu).is_some());
        let mut target: Vec<SpuId> = kept.copied().collect();
        let others = row.replicas.iter().map(|replica| replica.spu);
        let others: Vec<SpuId> = others.filter(|spu| !target.contains(spu)).collect();
        target.extend(others);
        target.truncate(copies);
        row.moving = Some(Box::new(Move { target, ..*moving }));
    }
    row
}

/// Puts a sealed partition where it is to be; the caller knows that it holds nothing and ends at `end`.
pub(crate) fn put_empty(
    draft: &Draft<'_>,
    ids: &mut Ids,
    row: &PartitionRow,
    end: Offset,
) -> Option<PartitionRow> {
    let target = row.moving.as_ref()?.target.first().copied()?;
    let unit = draft.spu(target).filter(|unit| unit.is_at_hand())?;
    let mut row = row.clone();
    // An empty log is a whole one: what began here was moved with its first offset.
    row.replicas = vec![Replica {
        vouched: true,
        failed_in: None,
        ..fresh(target, ids)
    }];
    row.isr = vec![IsrMember {
        spu: target,
        incarnation: unit.incarnation,
    }];
    row.begins_at = row.begins_at.max(end);
    row.stayed_at_ms = None;
    row.remembers_ms = 0;
    row.seal = None;
    row.moving = None;
    lead(&mut row, Some(target), LeaderEpoch(0));
    Some(row)
}

fn fresh(spu: SpuId, ids: &mut Ids) -> Replica {
    Replica {
        spu,
        replica_gen: ReplicaGen(ids.next_id()),
        joined: false,
        vouched: false,
        failed_in: None,
    }
}

fn add_one(draft: &Draft<'_>, ids: &mut Ids, row: &PartitionRow, spu: SpuId) -> Step {
    if !draft.spu(spu).is_some_and(|unit| unit.is_at_hand()) {
        let key = draft.told(row.key());
        return Step::Wait(format!(
            "{key} is to go to storage unit {spu}, which is not at hand"
        ));
    }
    let mut row = row.clone();
    row.replicas.push(fresh(spu, ids));
    let leader = row.leader;
    lead(&mut row, leader, LeaderEpoch(0));
    Step::Copy(row)
}

/// A partition without records is not copied: it is closed here, asked, and opened there.
fn relocate(draft: &Draft<'_>, row: &PartitionRow, spu: SpuId) -> Step {
    let key = draft.told(row.key());
    if !draft.spu(spu).is_some_and(|unit| unit.is_at_hand()) {
        return Step::Wait(format!(
            "{key} is to go to storage unit {spu}, which is not at hand"
        ));
    }
    let Some(operation) = operation_of(row) else {
        return Step::Wait(format!("{key} is not to move"));
    };
    let mut row = row.clone();
    lead(&mut row, None, LeaderEpoch(0));
    row.seal = Some(Box::new(Seal {
        operation,
        epoch: row.leader_epoch,
        accept_loss: false,
        answers_needed: 1,
        answers: Vec::new(),
    }));
    Step::Copy(row)
}

fn remove_one(draft: &Draft<'_>, row: &PartitionRow, leader: SpuId) -> Step {
    let key = draft.told(row.key());
    // Those that are of least use go first.
    let gone = row
        .removing()
        .min_by_key(|spu| (row.has_in_sync(*spu), *spu == leader, *spu));
    let Some(gone) = gone else {
        return Step::Go(arrive(draft, row));
    };
    let mut after = row.clone();
    after.replicas.retain(|replica| replica.spu != gone);
    after.isr.retain(|member| member.spu != gone);
    if row.has_in_sync(gone) && after.isr.len() < usize::from(row.min_isr) {
        return Step::Wait(format!(
            "{key} would have {} copies in sync without storage unit {gone}, and {} are needed",
            after.isr.len(),
            row.min_isr
        ));
    }
    let leader = if gone == leader {
        candidate(draft, &after)
    } else {
        Some(leader)
    };
    if leader.is_none() {
        return Step::Wait(format!("{key} has nobody else who could lead"));
    }
    lead(&mut after, leader, LeaderEpoch(0));
    Step::Go(after)
}

/// Every copy is where it should be: in the order asked for, the preferred one leads.
fn arrive(draft: &Draft<'_>, row: &PartitionRow) -> PartitionRow {
    let mut row = row.clone();
    let Some(moving) = row.moving.take() else {
        return row;
    };
    let place = |spu: SpuId| moving.target.iter().position(|wanted| *wanted == spu);
    row.replicas.sort_by_key(|replica| place(replica.spu));
    let first = row.isr.iter().find(|member| member.spu == moving.target[0]);
    if let Some(first) = first
        && row.leader != Some(first.spu)
        && is_live(draft, first)
        && draft.spu(first.spu).is_some_and(|unit| !unit.draining)
    {
        let first = first.spu;
        lead(&mut row, Some(first), LeaderEpoch(0));
    }
    row
}
