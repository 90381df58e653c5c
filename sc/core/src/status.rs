//! What state a topic, a partition or a storage unit is in, and why, computed from the rows.
//!
//! States are never stored: they follow from the rows, so they cannot disagree with them.

use tidegate_proto::api::cluster::{SpuState, SpuStatus};
use tidegate_proto::api::topic::{PartitionState, TopicState, TopicStatus};
use tidegate_proto::id::SpuId;

use crate::model::{Model, Topic};
use crate::rows::{OperationKind, OperationRow, OperationState, PartitionRow, SpuRow};

/// State of a topic; everything but `provisioned` says why.
#[must_use]
pub fn topic_status(model: &Model, topic: &Topic) -> TopicStatus {
    let copies = usize::from(topic.row.replication_factor);
    let short = topic
        .partitions
        .iter()
        .find(|partition| partition.replicas.len() < copies);
    let (state, reason) = if let Some(partition) = short {
        short_of_copies(model, topic, partition)
    } else if let Some(partition) = topic.partitions.iter().find(|p| p.leader.is_none()) {
        let number = partition.partition;
        (
            TopicState::Pending,
            format!("partition {number} has no leader: no replica of it is in sync"),
        )
    } else {
        return TopicStatus {
            state: TopicState::Provisioned,
            reason: None,
        };
    };
    TopicStatus {
        state,
        reason: Some(reason),
    }
}

fn short_of_copies(model: &Model, topic: &Topic, partition: &PartitionRow) -> (TopicState, String) {
    let copies = topic.row.replication_factor;
    let (number, has) = (partition.partition, partition.replicas.len());
    let at_hand = model.spus_at_hand().count();
    if at_hand < usize::from(copies) {
        let reason = format!(
            "{copies} copies of each partition are asked for and {at_hand} storage units are at hand; \
             partition {number} has {has}"
        );
        return (TopicState::InsufficientResources, reason);
    }
    (
        TopicState::Pending,
        format!("partition {number} has {has} of {copies} copies"),
    )
}

/// Whether a partition can be written to.
#[must_use]
pub fn partition_state(partition: &PartitionRow) -> PartitionState {
    match partition.leader {
        Some(_) => PartitionState::Online,
        None if partition.is_placed() => PartitionState::Offline,
        None => PartitionState::Unplaced,
    }
}

/// State of a storage unit.
#[must_use]
pub fn spu_status(model: &Model, row: &SpuRow) -> SpuStatus {
    let (holds, _) = model.load(row.spu);
    let is_stuck = row.draining && holds > 0 && !is_drained(model, row.spu);
    let emptied = match holds {
        _ if is_stuck => stuck(model, row.spu, holds),
        0 => "it holds nothing and can be removed".to_owned(),
        1 => "it is being emptied: it holds 1 partition".to_owned(),
        holds => format!("it is being emptied: it holds {holds} partitions"),
    };
    let (state, reason) = match (row.fenced, row.draining) {
        (true, _) if !row.is_registered() => {
            (SpuState::Offline, "it has not registered yet".to_owned())
        }
        (true, false) => (
            SpuState::Offline,
            "it is shut out until it registers again".to_owned(),
        ),
        (true, true) => (
            SpuState::Offline,
            format!("it is shut out until it registers again; {emptied}"),
        ),
        (false, true) if is_stuck => (SpuState::Cordoned, emptied),
        (false, true) => (SpuState::Draining, emptied),
        (false, false) => {
            return SpuStatus {
                state: SpuState::Online,
                reason: None,
            };
        }
    };
    SpuStatus {
        state,
        reason: Some(reason),
    }
}

fn drains(model: &Model, spu: SpuId) -> impl Iterator<Item = &OperationRow> {
    let operations = model.operations.values();
    operations.filter(move |row| row.kind == OperationKind::Drain { spu })
}

/// True while an operation empties the unit.
fn is_drained(model: &Model, spu: SpuId) -> bool {
    drains(model, spu).any(|row| row.state == OperationState::Running)
}

/// Why a unit that was to be emptied holds what it holds.
fn stuck(model: &Model, spu: SpuId, holds: u64) -> String {
    let last = drains(model, spu).max_by_key(|row| (row.created_at_ms, row.id));
    let why = match last.map(|row| (row.state, row.reason.as_deref())) {
        Some((OperationState::Failed, Some(reason))) => format!("its drain failed: {reason}"),
        Some((OperationState::Failed, None)) => "its drain failed".to_owned(),
        Some((OperationState::Cancelling | OperationState::Cancelled, _)) => {
            "its drain was cancelled".to_owned()
        }
        _ => "no drain of it goes on".to_owned(),
    };
    format!("{why}; it holds {holds} and gets nothing new: drain it again, or resume it")
}
