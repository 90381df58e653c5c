//! Truncation: the oldest records of partitions are given up.
//!
//! A desired state in the partition's row, which its leader carries out. Invariant: it never goes
//! down, so that whoever repeats a request, or sends an older one late, changes nothing. Whether an
//! offset is committed is known to the leader alone and not judged here; only that the leader who was asked
//! still is it.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_proto::api::topic::{FieldChange, WriteResult};
use tidegate_proto::limits::{INTEGER_MAX, PARTITIONS_PER_TOPIC_MAX};

use crate::admit::{matching, refuse_internal};
use crate::change::Change;
use crate::decision::{Decision, TruncateWrite};
use crate::model::Model;
use crate::refusal::{Fault, Refusal};
use crate::rows::PartitionRow;

/// Notes what is to go. The topic itself and its version stay.
pub(crate) fn truncate_topic(model: &Model, write: &TruncateWrite) -> Result<Decision, Refusal> {
    refuse_internal(&write.name)?;
    let not_found = || Refusal::TopicNotFound(write.name.clone());
    let topic = matching(model, &write.name, write.if_match.as_ref())?.ok_or_else(not_found)?;
    check_shape(write)?;
    let mut seen = BTreeMap::new();
    for (at, item) in write.partitions.iter().enumerate() {
        if seen.insert(item.partition, item.before_offset).is_some() {
            let partition = item.partition;
            return Err(Refusal::PartitionTwice { at, partition });
        }
    }
    let mut decision = Decision::unchanged();
    for (partition, before) in seen {
        let row = topic.partitions.get(partition.0 as usize);
        let row = row.ok_or_else(|| Refusal::PartitionNotFound {
            name: write.name.clone(),
            count: topic.row.partitions,
        })?;
        if before <= row.truncate_before {
            continue;
        }
        if let Some(asked) = &write.leader_epochs
            && asked.get(&partition) != Some(&row.leader_epoch)
        {
            return Err(Refusal::LeaderChanged { partition });
        }
        decision.result = WriteResult::Updated;
        decision.differences.push(FieldChange {
            path: format!("/partitions/{partition}/truncate_before"),
            from: Value::from(row.truncate_before.get()),
            to: Value::from(before.get()),
        });
        decision.changes.push(Change::PutPartition(PartitionRow {
            version: row.version + 1,
            truncate_before: before,
            ..(**row).clone()
        }));
    }
    Ok(decision)
}

fn check_shape(write: &TruncateWrite) -> Result<(), Refusal> {
    let count = write.partitions.len();
    if count == 0 || count > PARTITIONS_PER_TOPIC_MAX as usize {
        let what = format!("has {count} items; 1 to {PARTITIONS_PER_TOPIC_MAX} are taken");
        return Err(Refusal::Invalid(vec![Fault::new("/partitions", what)]));
    }
    let mut offsets = write.partitions.iter();
    match offsets.position(|item| item.before_offset.get() > INTEGER_MAX) {
        Some(at) => Err(Refusal::OffsetTooLarge { at }),
        None => Ok(()),
    }
}
