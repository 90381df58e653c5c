//! Operators' requests about where copies are: preferred leaders, reassignment, the end of a drain, cancel.
//!
//! Checks and wishes only; the steps are in `moves.rs`. A request is refused as a whole or taken as a
//! whole.

use std::collections::BTreeSet;

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::id::{OperationId, PartitionId, SpuId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::LeaderEpoch;

use crate::decision::{Decision, MoveTerms, Outcome, Target};
use crate::difference::moved;
use crate::draft::{Draft, drafted};
use crate::drain::{at_hand, drain_of};
use crate::elect::{elect, lead, may_lead};
use crate::ids::Ids;
use crate::model::{Model, Topic};
use crate::moves::{begin_moves, give_up};
use crate::operation::{Obstacles, keep_books, operation_of};
use crate::refusal::{Fault, Refusal};
use crate::rows::{OperationKind, OperationState, PartitionRow, SpuRow};

/// Lets preferred replicas lead that can. A partition that was named and cannot is a refusal.
pub(crate) fn elect_preferred(
    model: &Model,
    name: &TopicName,
    partitions: &[PartitionId],
) -> Result<Decision, Refusal> {
    let topic = found(model, name)?;
    let all = || topic.partitions.iter().map(|row| row.partition).collect();
    let numbers: BTreeSet<PartitionId> = if partitions.is_empty() {
        all()
    } else {
        partitions.iter().copied().collect()
    };
    let mut draft = Draft::new(model);
    for number in numbers {
        let row = partition_of(topic, name, number)?;
        let Some(preferred) = row.replicas.first().map(|replica| replica.spu) else {
            continue;
        };
        if row.leader == Some(preferred) {
            continue;
        }
        if may_lead(&draft, row, preferred) {
            let mut row = row.clone();
            lead(&mut row, Some(preferred), LeaderEpoch(0));
            draft.put_partition(row);
        } else if !partitions.is_empty() {
            return Err(Refusal::Conflict(format!(
                "storage unit {preferred}, the preferred leader of partition {number}, is not in sync or not there"
            )));
        }
    }
    let decision = drafted(draft, WriteResult::Updated, Outcome::None);
    Ok(moved(model, decision))
}

/// Moves copies to where the operator wants them.
pub(crate) fn reassign(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    targets: &[Target],
    terms: &MoveTerms,
) -> Result<Decision, Refusal> {
    let mut wishes = Vec::with_capacity(targets.len());
    let mut seen = BTreeSet::new();
    for (at, target) in targets.iter().enumerate() {
        let topic = found(model, &target.topic)?;
        let row = partition_of(topic, &target.topic, target.partition)?;
        if !seen.insert(row.key()) {
            let what = format!("partition {} is named twice", target.partition);
            let pointer = format!("/partitions/{at}/partition");
            return Err(Refusal::Invalid(vec![Fault::new(pointer, what)]));
        }
        // The body about one partition has no list of them.
        let pointer = match targets {
            [_] => "/replicas".to_owned(),
            _ => format!("/partitions/{at}/replicas"),
        };
        check_target(model, topic, row, &target.replicas, pointer)?;
        wishes.push((row.key(), target.replicas.clone()));
    }
    let mut draft = Draft::new(model);
    let kind = OperationKind::Reassign;
    let operation = begin_moves(&mut draft, now_ms, ids, kind, wishes, terms)?;
    let outcome = operation.map_or(Outcome::None, Outcome::Operation);
    Ok(moved(model, drafted(draft, WriteResult::Updated, outcome)))
}

/// Lets a unit take part again; a drain of it that is running is cancelled.
pub(crate) fn resume(model: &Model, now_ms: i64, spu: SpuId) -> Result<Decision, Refusal> {
    let row = model.spu(spu).ok_or(Refusal::SpuNotFound(spu))?;
    let mut draft = Draft::new(model);
    draft.put_spu(SpuRow {
        draining: false,
        ..row.clone()
    });
    if let Some(operation) = drain_of(model, spu) {
        stop(&mut draft, now_ms, operation);
    }
    let decision = drafted(draft, WriteResult::Updated, Outcome::Spu(spu));
    Ok(moved(model, decision))
}

/// Stops an operation. What it began is undone, or finished where that is the shorter way.
pub(crate) fn cancel(model: &Model, now_ms: i64, id: OperationId) -> Result<Decision, Refusal> {
    let row = model.operations.get(&id);
    let row = row.ok_or(Refusal::OperationNotFound(id))?;
    let outcome = Outcome::Operation(id);
    if row.state != OperationState::Running {
        return Ok(Decision {
            outcome,
            ..Decision::unchanged()
        });
    }
    let mut draft = Draft::new(model);
    stop(&mut draft, now_ms, id);
    Ok(moved(model, drafted(draft, WriteResult::Updated, outcome)))
}

fn stop(draft: &mut Draft<'_>, now_ms: i64, id: OperationId) {
    let Some(mut row) = draft.operation(id).cloned() else {
        return;
    };
    let model = draft.model();
    for key in model.waiting() {
        let Some(partition) = draft.partition(key) else {
            continue;
        };
        if operation_of(partition) != Some(id) {
            continue;
        }
        let partition = if partition.moving.is_some() {
            give_up(draft, partition)
        } else {
            let mut partition = partition.clone();
            partition.seal = None;
            elect(draft, &mut partition, LeaderEpoch(0));
            partition
        };
        // What still moves is on its last step, and counts when that is done.
        row.progress.failed += u64::from(operation_of(&partition) != Some(id));
        draft.put_partition(partition);
    }
    row.state = OperationState::Cancelling;
    row.updated_at_ms = now_ms;
    draft.put_operation(row);
    keep_books(draft, now_ms, &Obstacles::default());
}

fn check_target(
    model: &Model,
    topic: &Topic,
    row: &PartitionRow,
    target: &[SpuId],
    pointer: String,
) -> Result<(), Refusal> {
    let copies = usize::from(topic.row.replication_factor);
    let fault = if target.len() != copies {
        Some(format!(
            "names {} units, the topic has {copies} copies",
            target.len()
        ))
    } else if target.iter().collect::<BTreeSet<_>>().len() != target.len() {
        Some("names a unit twice".to_owned())
    } else {
        let bad = target.iter().find(|spu| {
            let at_hand = model.spu(**spu).is_some_and(SpuRow::is_at_hand);
            row.replica(**spu).is_none() && !at_hand
        });
        bad.map(|spu| match model.spu(*spu) {
            Some(row) if row.draining => format!("storage unit {spu} is being emptied"),
            Some(_) => format!("storage unit {spu} is offline"),
            None => format!(
                "there is no storage unit {spu}; at hand: {}",
                at_hand(model)
            ),
        })
    };
    match fault {
        None if row.is_placed() => Ok(()),
        None => Err(Refusal::Conflict(format!(
            "partition {} is not placed yet",
            row.partition
        ))),
        Some(what) => Err(Refusal::Invalid(vec![Fault::new(pointer, what)])),
    }
}

fn found<'a>(model: &'a Model, name: &TopicName) -> Result<&'a Topic, Refusal> {
    let topic = model.topics.get(name).map(AsRef::as_ref);
    topic.ok_or_else(|| Refusal::TopicNotFound(name.clone()))
}

fn partition_of<'a>(
    topic: &'a Topic,
    name: &TopicName,
    partition: PartitionId,
) -> Result<&'a PartitionRow, Refusal> {
    let row = topic
        .partitions
        .get(partition.0 as usize)
        .map(AsRef::as_ref);
    row.ok_or_else(|| Refusal::PartitionNotFound {
        name: name.clone(),
        count: topic.row.partitions,
    })
}
