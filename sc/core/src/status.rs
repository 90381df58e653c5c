//! What state a topic, a partition or a storage unit is in, and why, computed from the rows.
//!
//! States are never stored: they follow from the rows, so they cannot disagree with them.

use tidegate_proto::api::cluster::{SpuState, SpuStatus};
use tidegate_proto::api::topic::{PartitionState, TopicState, TopicStatus};

use crate::model::{Model, Topic};
use crate::rows::{PartitionRow, SpuRow};

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
pub fn spu_status(row: &SpuRow) -> SpuStatus {
    let (state, reason) = if row.fenced {
        (
            SpuState::Offline,
            Some("it is shut out until it registers again".to_owned()),
        )
    } else if row.draining {
        (SpuState::Draining, Some("it is being emptied".to_owned()))
    } else {
        (SpuState::Online, None)
    };
    SpuStatus { state, reason }
}
