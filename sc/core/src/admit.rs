//! Topics: create, ensure, alter, delete.
//!
//! Decides on one model and changes nothing itself. Ensure is idempotent: asking twice for the same
//! gives no changes the second time. Names with the system's prefix are refused.

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::change::{Change, DeletedTopic};
use crate::decision::{Decision, IfMatch, TopicWrite};
use crate::difference::differences;
use crate::ids::Ids;
use crate::model::{Model, Topic};
use crate::place::Planner;
use crate::refusal::Refusal;
use crate::rows::{PartitionRow, TopicRow};
use crate::settings::Settings;
use crate::settle::{partition_changes, settle};

/// Makes a topic; one of that name already is a refusal.
pub(crate) fn create_topic(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    write: &TopicWrite,
) -> Result<Decision, Refusal> {
    refuse_internal(&write.name)?;
    if model.topics.contains_key(&write.name) {
        return Err(Refusal::AlreadyExists(write.name.clone()));
    }
    insert(model, now_ms, ids, write)
}

/// Makes a topic, or changes the one of that name into what is asked.
pub(crate) fn ensure_topic(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    write: &TopicWrite,
) -> Result<Decision, Refusal> {
    refuse_internal(&write.name)?;
    let Some(topic) = matching(model, &write.name, write.if_match.as_ref())? else {
        return insert(model, now_ms, ids, write);
    };
    alter(model, now_ms, ids, topic, write)
}

/// Deletes a topic with all its records.
pub(crate) fn delete_topic(
    model: &Model,
    name: &TopicName,
    if_match: Option<&IfMatch>,
) -> Result<Decision, Refusal> {
    refuse_internal(name)?;
    if !model.topics.contains_key(name) && if_match.is_none() {
        return Err(Refusal::TopicNotFound(name.clone()));
    }
    let Some(topic) = matching(model, name, if_match)? else {
        return Err(Refusal::TopicNotFound(name.clone()));
    };
    let TopicRow {
        id, name, version, ..
    } = topic.row.clone();
    Ok(Decision {
        result: WriteResult::Deleted,
        differences: differences(Some(&topic.row), None),
        changes: vec![Change::DeleteTopic(DeletedTopic { id, name, version })],
    })
}

pub(crate) fn refuse_internal(name: &TopicName) -> Result<(), Refusal> {
    if name.is_internal() {
        Err(Refusal::Internal(name.clone()))
    } else {
        Ok(())
    }
}

/// The topic of that name, if `if_match` allows what it is.
pub(crate) fn matching<'a>(
    model: &'a Model,
    name: &TopicName,
    if_match: Option<&IfMatch>,
) -> Result<Option<&'a Topic>, Refusal> {
    let topic = model.topics.get(name).map(std::convert::AsRef::as_ref);
    match (topic, if_match) {
        (None, Some(_)) => Err(Refusal::NothingToMatch(name.clone())),
        (Some(topic), Some(IfMatch::Versions(versions)))
            if !versions.contains(&topic.row.version) =>
        {
            Err(Refusal::VersionDiffers {
                name: name.clone(),
                version: topic.row.version,
            })
        }
        (topic, _) => Ok(topic),
    }
}

fn insert(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    write: &TopicWrite,
) -> Result<Decision, Refusal> {
    let mut planner = Planner::new(model);
    // The defaults count as what the topic has, but nothing has been promised about partitions yet.
    let at_hand = planner.at_hand();
    let blank = Settings {
        partitions: 0,
        ..Settings::defaults(at_hand)
    };
    let mut request = write.request.clone();
    if request.partitions.is_absent() {
        request.partitions = Settings::defaults(at_hand).partitions.into();
    }
    let settings = blank.merge(&request, at_hand)?;
    let row = TopicRow {
        id: TopicId(ids.next_id()),
        name: write.name.clone(),
        version: 1,
        partitions: settings.partitions,
        replication_factor: settings.replication_factor,
        min_in_sync: settings.min_in_sync,
        placement: settings.placement,
        config: settings.config,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    let mut partitions: Vec<_> = (0..row.partitions).map(|n| unplaced(&row, n)).collect();
    settle(&row, &mut partitions, &mut planner, ids);
    let differences = differences(None, Some(&row));
    let mut changes = vec![Change::PutTopic(row)];
    changes.extend(partition_changes(&[], partitions));
    Ok(Decision {
        result: WriteResult::Created,
        differences,
        changes,
    })
}

fn alter(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    topic: &Topic,
    write: &TopicWrite,
) -> Result<Decision, Refusal> {
    let before = &topic.row;
    let mut planner = Planner::new(model);
    let settings = Settings::of(before).merge(&write.request, planner.at_hand())?;
    refuse_fewer_copies(topic, settings.replication_factor)?;
    if settings == Settings::of(before) {
        return Ok(Decision::unchanged());
    }
    let row = TopicRow {
        version: before.version + 1,
        partitions: settings.partitions,
        replication_factor: settings.replication_factor,
        min_in_sync: settings.min_in_sync,
        placement: settings.placement,
        config: settings.config,
        updated_at_ms: now_ms,
        ..before.clone()
    };
    let mut partitions = topic.partitions.clone();
    partitions.extend((before.partitions..row.partitions).map(|n| unplaced(&row, n)));
    settle(&row, &mut partitions, &mut planner, ids);
    let differences = differences(Some(before), Some(&row));
    let mut changes = vec![Change::PutTopic(row)];
    changes.extend(partition_changes(&topic.partitions, partitions));
    Ok(Decision {
        result: WriteResult::Updated,
        differences,
        changes,
    })
}

/// Copies that are placed stay until replicas can be moved.
fn refuse_fewer_copies(topic: &Topic, copies: u16) -> Result<(), Refusal> {
    let placed = topic
        .partitions
        .iter()
        .map(|partition| partition.replicas.len())
        .max();
    if copies < topic.row.replication_factor && placed.unwrap_or(0) > usize::from(copies) {
        return Err(Refusal::NotSupported {
            pointer: "/replication_factor",
            what: "lowering the replication factor of placed partitions".to_owned(),
        });
    }
    Ok(())
}

fn unplaced(row: &TopicRow, partition: u32) -> PartitionRow {
    PartitionRow {
        topic_id: row.id,
        partition: PartitionId(partition),
        version: 1,
        leader: None,
        leader_epoch: LeaderEpoch(0),
        replicas: Vec::new(),
        isr: Vec::new(),
        min_isr: row.effective_min_in_sync(),
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        moving: None,
        seal: None,
    }
}
