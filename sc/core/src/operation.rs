//! The books of operations: begun, counted, ended, forgotten.
//!
//! What is left to do is what the partitions' rows say; nothing here moves anything.

use std::collections::BTreeMap;

use tidegate_proto::id::OperationId;
use tidegate_proto::limits::INTEGER_MAX;

use crate::draft::Draft;
use crate::ids::Ids;
use crate::limits::{
    MOVES_AT_ONCE_DEFAULT, MOVES_AT_ONCE_MAX, OPERATIONS_KEPT_MAX, OPERATIONS_RUNNING_MAX,
};
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::{OperationKind, OperationRow, OperationState, PartitionRow, Progress, Throttle};

/// How fast an operation may go, when nothing is asked for too.
///
/// # Errors
/// When it is out of bounds.
pub(crate) fn checked(throttle: Option<Throttle>) -> Result<Throttle, Refusal> {
    let throttle = throttle.unwrap_or(Throttle {
        partitions_at_once: MOVES_AT_ONCE_DEFAULT,
        bytes_per_second: None,
    });
    if !(1..=MOVES_AT_ONCE_MAX).contains(&throttle.partitions_at_once) {
        let what = format!("from 1 to {MOVES_AT_ONCE_MAX}");
        let pointer = "/throttle/partitions_at_once";
        return Err(Refusal::Invalid(vec![Fault::new(pointer, what)]));
    }
    let is_rate = |rate: u64| (1..=INTEGER_MAX).contains(&rate);
    if !throttle.bytes_per_second.is_none_or(is_rate) {
        let pointer = "/throttle/bytes_per_second";
        let what = format!("from 1 to {INTEGER_MAX}, or null for no bound");
        return Err(Refusal::Invalid(vec![Fault::new(pointer, what)]));
    }
    Ok(throttle)
}

/// A new operation over `total` partitions, put into the draft.
pub(crate) fn begin(
    draft: &mut Draft<'_>,
    now_ms: i64,
    ids: &mut Ids,
    kind: OperationKind,
    total: usize,
    throttle: Option<Throttle>,
) -> Result<OperationId, Refusal> {
    let throttle = checked(throttle)?;
    let running = draft.model().operations.values();
    if running.filter(|row| !row.state.is_ended()).count() >= OPERATIONS_RUNNING_MAX {
        return Err(Refusal::Conflict(format!(
            "{OPERATIONS_RUNNING_MAX} operations are running; wait for one or cancel it"
        )));
    }
    let id = OperationId(ids.next_id());
    draft.put_operation(OperationRow {
        id,
        version: 1,
        kind,
        state: OperationState::Running,
        reason: None,
        progress: Progress {
            total: total as u64,
            ..Progress::default()
        },
        throttle,
        only_empty: false,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
        ended_at_ms: None,
    });
    Ok(id)
}

/// The operation that a partition is part of.
pub(crate) fn operation_of(row: &PartitionRow) -> Option<OperationId> {
    let seal = row.seal.as_ref().map(|seal| seal.operation);
    seal.or_else(|| row.moving.as_ref().map(|moving| moving.operation))
}

/// Notes that the operation moves only what holds no record.
pub(crate) fn only_empty(draft: &mut Draft<'_>, id: OperationId) {
    if let Some(row) = draft.operation(id) {
        let row = OperationRow {
            only_empty: true,
            ..row.clone()
        };
        draft.put_operation(row);
    }
}

/// Counts one partition of the operation as given up.
pub(crate) fn count_failed(draft: &mut Draft<'_>, id: OperationId, reason: String) {
    if let Some(row) = draft.operation(id) {
        let mut row = row.clone();
        row.progress.failed += 1;
        row.reason = Some(reason);
        draft.put_operation(row);
    }
}

/// What running operations cannot do now, or at all.
#[derive(Debug, Default)]
pub(crate) struct Obstacles {
    /// What each waits for.
    pub(crate) waits: BTreeMap<OperationId, String>,
    /// Of drains that have nothing left but that: partitions which stay where they are.
    pub(crate) stays: BTreeMap<OperationId, Stays>,
}

/// Partitions that a drain leaves where they are.
#[derive(Debug, Default)]
pub(crate) struct Stays {
    pub(crate) count: u64,
    /// Why, with the first of their names.
    pub(crate) reason: String,
}

/// Brings every running operation's row up to what the partitions' rows say; ends those that have
/// nothing left to do.
pub(crate) fn keep_books(draft: &mut Draft<'_>, now_ms: i64, obstacles: &Obstacles) {
    let waits = &obstacles.waits;
    let model = draft.model();
    let mut left: BTreeMap<OperationId, u64> = BTreeMap::new();
    for key in model.waiting() {
        if let Some(id) = draft.partition(key).and_then(operation_of) {
            *left.entry(id).or_default() += 1;
        }
    }
    let running = model
        .operations
        .values()
        .filter(|row| !row.state.is_ended());
    let ids: Vec<OperationId> = running.map(|row| row.id).collect();
    for id in ids {
        let Some(row) = draft.operation(id) else {
            continue;
        };
        let to_go = left.get(&id).copied().unwrap_or(0);
        let (mut row, mut left) = (row.clone(), to_go);
        if let OperationKind::Drain { spu } = row.kind
            && row.state == OperationState::Running
            && left == 0
        {
            // It goes on while its unit holds anything, and is done when it does not, whatever was
            // given up on the way and begun again.
            left = u64::from(model.load(spu).0 > 0);
            if left == 0 {
                row.progress.failed = 0;
            } else if let Some(stays) = obstacles.stays.get(&id) {
                left = 0;
                let moved = row.progress.total.saturating_sub(row.progress.failed);
                row.progress.total = moved + stays.count;
                row.progress.failed = stays.count;
                row.reason = Some(stays.reason.clone());
            }
        }
        let row = counted(&row, now_ms, left, waits.get(&id));
        draft.put_operation(row);
    }
}

/// Drops the oldest ended operations beyond the number that is kept.
pub(crate) fn forget_old(draft: &mut Draft<'_>) {
    let model: &Model = draft.model();
    let ended = model.operations.values().filter(|row| row.state.is_ended());
    let mut ended: Vec<_> = ended.collect();
    ended.sort_by_key(|row| (row.ended_at_ms, row.id));
    let surplus = ended.len().saturating_sub(OPERATIONS_KEPT_MAX);
    for row in &ended[..surplus] {
        draft.forget(row);
    }
}

fn counted(row: &OperationRow, now_ms: i64, left: u64, waits: Option<&String>) -> OperationRow {
    let mut row = row.clone();
    let before = row.clone();
    let Progress { total, failed, .. } = row.progress;
    row.progress.done = total.saturating_sub(failed).saturating_sub(left);
    if left > 0 {
        // Why some were given up stays; what the others wait for is said beside it.
        if failed == 0 {
            row.reason = waits.cloned();
        }
    } else {
        row.state = match row.state {
            OperationState::Cancelling => OperationState::Cancelled,
            _ if failed > 0 => OperationState::Failed,
            _ => OperationState::Done,
        };
        row.ended_at_ms = Some(now_ms);
        if row.state == OperationState::Done {
            row.reason = None;
        }
    }
    if row != before {
        row.updated_at_ms = now_ms;
    }
    row
}
