//! Topics: create, ensure, alter, delete.
//!
//! Decides on one model and changes nothing itself. Ensure is idempotent: asking twice for the same
//! gives no changes the second time. Names with the system's prefix are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_proto::api::topic::{PlacementPolicy, TopicRequest, WriteResult};
use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{OperationId, PartitionId, SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::change::{Change, DeletedTopic};
use crate::decision::{Decision, IfMatch, MoveTerms, Outcome, TopicWrite};
use crate::difference::{assignments, differences};
use crate::draft::{Draft, drafted};
use crate::ids::Ids;
use crate::limits::{MOVES_PER_OPERATION_MAX, PARTITIONS_MAX, TOPICS_MAX};
use crate::model::{Model, Topic};
use crate::moves::begin_moves;
use crate::operation::operation_of;
use crate::place::Planner;
use crate::refusal::{Fault, Refusal};
use crate::rows::{OperationKind, PartitionRow, TopicRow};
use crate::settings::Settings;
use crate::settle::{follow_durability, set_place, settle};

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
        ..Decision::unchanged()
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
    let version = topic.map(|topic| topic.row.version);
    Refusal::unless_matching(if_match, &format!("topic {name}"), version)?;
    Ok(topic)
}

fn insert(
    model: &Model,
    now_ms: i64,
    ids: &mut Ids,
    write: &TopicWrite,
) -> Result<Decision, Refusal> {
    let mut draft = Draft::new(model);
    let mut planner = Planner::new(&draft);
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
    // Who places copies by hand says how many there are.
    if request.replication_factor.is_absent()
        && let Some(first) = request.assignment.value().and_then(|places| places.first())
        && let Ok(copies) = u16::try_from(first.len().max(1))
    {
        request.replication_factor = copies.into();
    }
    let settings = blank.merge(&request, at_hand)?;
    check_quota(model, settings.partitions)?;
    if model.topics.len() >= TOPICS_MAX {
        let what = format!("a cluster has at most {TOPICS_MAX} topics");
        return Err(Refusal::Conflict(what));
    }
    // No row's version is above the revision that it was written at.
    let first_version = model.revision + 1;
    let row = TopicRow {
        id: TopicId(ids.next_id()),
        name: write.name.clone(),
        version: first_version,
        first_version,
        partitions: settings.partitions,
        replication_factor: settings.replication_factor,
        min_in_sync: settings.min_in_sync,
        placement: settings.placement,
        config: settings.config,
        created_at_ms: now_ms,
        updated_at_ms: now_ms,
    };
    let places = assigned(&row, &[], &write.request, &planner)?;
    add_partitions(&mut draft, &row, 0, places, &mut planner, ids);
    let mut differences = differences(None, Some(&row));
    draft.put_topic(row);
    let decision = drafted(draft, WriteResult::Created, Outcome::None);
    differences.extend(assignments(None, &decision.changes));
    Ok(Decision {
        differences,
        ..decision
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
    let mut draft = Draft::new(model);
    let mut planner = Planner::new(&draft);
    let settings = Settings::of(before).merge(&write.request, planner.at_hand())?;
    let row = TopicRow {
        partitions: settings.partitions,
        replication_factor: settings.replication_factor,
        min_in_sync: settings.min_in_sync,
        placement: settings.placement,
        config: settings.config.clone(),
        updated_at_ms: now_ms,
        ..before.clone()
    };
    let places = assigned(&row, &topic.partitions, &write.request, &planner)?;
    if settings == Settings::of(before) {
        return Ok(Decision::unchanged());
    }
    check_quota(model, row.partitions - before.partitions)?;
    draft.put_topic(row.clone());
    for partition in &topic.partitions {
        let mut partition = (**partition).clone();
        if row.config.durability != before.config.durability {
            follow_durability(&row, &mut partition);
        }
        settle(&row, &mut partition, &mut planner, ids);
        draft.put_partition(partition);
    }
    let outcome = follow_factor(&mut draft, now_ms, ids, topic, &row, &mut planner)?;
    add_partitions(
        &mut draft,
        &row,
        before.partitions,
        places,
        &mut planner,
        ids,
    );
    let mut differences = differences(Some(before), Some(&row));
    let decision = drafted(draft, WriteResult::Updated, outcome);
    differences.extend(assignments(Some(topic), &decision.changes));
    Ok(Decision {
        differences,
        ..decision
    })
}

fn check_quota(model: &Model, more: u32) -> Result<(), Refusal> {
    let partitions = model.partition_count() + u64::from(more);
    if partitions > PARTITIONS_MAX {
        return Err(Refusal::Conflict(format!(
            "the cluster would have {partitions} partitions; it has at most {PARTITIONS_MAX}"
        )));
    }
    Ok(())
}

/// Puts the partitions from `first` on, each where it was assigned to or where there is most room.
fn add_partitions(
    draft: &mut Draft<'_>,
    row: &TopicRow,
    first: u32,
    places: Vec<Vec<IsrMember>>,
    planner: &mut Planner,
    ids: &mut Ids,
) {
    let mut places = places.into_iter();
    for number in first..row.partitions {
        let mut partition = unplaced(row, number);
        if let Some(members) = places.next() {
            set_place(&mut partition, members, ids);
        }
        settle(row, &mut partition, planner, ids);
        draft.put_partition(partition);
    }
}

/// Where the operator wants the partitions that are new; nothing when the computer chooses.
fn assigned(
    row: &TopicRow,
    known: &[Arc<PartitionRow>],
    request: &TopicRequest,
    planner: &Planner,
) -> Result<Vec<Vec<IsrMember>>, Refusal> {
    let fault =
        |pointer: String, what: String| Err(Refusal::Invalid(vec![Fault::new(pointer, what)]));
    let pointer = "/assignment".to_owned();
    let Some(assignment) = request.assignment.value() else {
        if row.placement == PlacementPolicy::Manual && known.len() < row.partitions as usize {
            return fault(
                pointer,
                "manual placement needs the units of every partition".to_owned(),
            );
        }
        return Ok(Vec::new());
    };
    if row.placement != PlacementPolicy::Manual {
        return fault(
            pointer,
            "is for manual placement; ask for it too".to_owned(),
        );
    }
    if assignment.len() != row.partitions as usize {
        let what = format!(
            "has {} lists for {} partitions",
            assignment.len(),
            row.partitions
        );
        return fault(pointer, what);
    }
    let mut places = Vec::new();
    for (at, units) in assignment.iter().enumerate() {
        let pointer = format!("/assignment/{at}");
        if let Some(known) = known.get(at) {
            let held = known.replicas.iter().map(|replica| replica.spu);
            if !held.eq(units.iter().copied()) {
                return fault(pointer, "is placed elsewhere; reassign it".to_owned());
            }
            continue;
        }
        if units.len() != usize::from(row.replication_factor) {
            let copies = row.replication_factor;
            let what = format!("names {} units for {copies} copies", units.len());
            return fault(pointer, what);
        }
        if units.iter().collect::<BTreeSet<_>>().len() != units.len() {
            return fault(pointer, "names a unit twice".to_owned());
        }
        let members: Option<Vec<_>> = units.iter().map(|spu| planner.member(*spu)).collect();
        match members {
            Some(members) => places.push(members),
            None => return fault(pointer, "names a unit that is not at hand".to_owned()),
        }
    }
    Ok(places)
}

/// Copies that topics have asked for and could not get are added now, as far as units are at hand.
pub(crate) fn raise_what_is_short(
    draft: &mut Draft<'_>,
    now_ms: i64,
    ids: &mut Ids,
) -> Option<OperationId> {
    let mut planner = Planner::new(draft);
    let mut wishes = Vec::new();
    for topic in draft.model().topics.values() {
        let wanted = usize::from(topic.row.replication_factor);
        let short = topic.partitions.iter();
        let short = short.filter(|row| row.is_placed() && row.replicas.len() < wanted);
        for row in short.filter(|row| operation_of(row).is_none()) {
            if wishes.len() < MOVES_PER_OPERATION_MAX {
                wishes.push((row.key(), wider(&topic.row, row, &mut planner)));
            }
        }
    }
    let terms = MoveTerms::default();
    let begun = begin_moves(draft, now_ms, ids, OperationKind::Reassign, wishes, &terms);
    // With too many operations running they wait for the next unit.
    begun.unwrap_or_default()
}

/// Where the copies are, and as many more as the topic wants and units are at hand for.
fn wider(row: &TopicRow, partition: &PartitionRow, planner: &mut Planner) -> Vec<SpuId> {
    let copies = usize::from(row.replication_factor);
    let held = partition.replicas.iter().map(|replica| replica.spu);
    let mut target: Vec<_> = held.collect();
    target.truncate(copies);
    while target.len() < copies {
        let Some(spu) = planner.one_more(&target, &[], row.placement, false) else {
            break;
        };
        target.push(spu);
    }
    target
}

/// Copies are added or taken away as an operation, when the number wanted changed.
fn follow_factor(
    draft: &mut Draft<'_>,
    now_ms: i64,
    ids: &mut Ids,
    topic: &Topic,
    row: &TopicRow,
    planner: &mut Planner,
) -> Result<Outcome, Refusal> {
    if row.replication_factor == topic.row.replication_factor {
        return Ok(Outcome::None);
    }
    // With too few units the topic waits for more, as a new one does.
    let placed = topic.partitions.iter().filter(|row| row.is_placed());
    let wishes = placed.map(|partition| (partition.key(), wider(row, partition, planner)));
    let wishes = wishes.collect();
    let terms = MoveTerms {
        force: true,
        ..MoveTerms::default()
    };
    let kind = OperationKind::Reassign;
    let operation = begin_moves(draft, now_ms, ids, kind, wishes, &terms)?;
    Ok(operation.map_or(Outcome::None, Outcome::Operation))
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
        synced_from: LeaderEpoch(0),
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        stayed_at_ms: None,
        remembers_ms: 0,
        losses: Vec::new(),
        moving: None,
        seal: None,
    }
}
