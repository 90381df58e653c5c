//! A working copy of a few rows over a model: edit them in any order, then get the changes.
//!
//! Later steps of one decision see what earlier ones did. Invariants: versions are raised here and
//! nowhere else, once per row and only when the row differs; every unit that the changed partitions
//! rely on is either changed too or guarded.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::id::{OperationId, SpuId, TopicId};
use tidegate_proto::name::SpuGroupName;
use tidegate_proto::position::ReplicaKey;

use crate::change::{Change, DeletedOperation, Guard, Kind};
use crate::decision::{Decision, Outcome};
use crate::model::Model;
use crate::rows::{OperationRow, PartitionRow, SpuGroupRow, SpuRow, TopicRow};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Draft<'a> {
    model: &'a Model,
    spus: BTreeMap<SpuId, SpuRow>,
    groups: BTreeMap<SpuGroupName, SpuGroupRow>,
    topics: BTreeMap<TopicId, TopicRow>,
    operations: BTreeMap<OperationId, OperationRow>,
    forgotten: Vec<DeletedOperation>,
    partitions: BTreeMap<ReplicaKey, PartitionRow>,
}

impl<'a> Draft<'a> {
    pub(crate) const fn new(model: &'a Model) -> Self {
        Self {
            model,
            spus: BTreeMap::new(),
            groups: BTreeMap::new(),
            topics: BTreeMap::new(),
            operations: BTreeMap::new(),
            forgotten: Vec::new(),
            partitions: BTreeMap::new(),
        }
    }

    /// What it was made over: without the edits.
    pub(crate) const fn model(&self) -> &'a Model {
        self.model
    }

    pub(crate) fn spu(&self, spu: SpuId) -> Option<&SpuRow> {
        let row = self.spus.get(&spu).or_else(|| self.model.spus.get(&spu));
        row.filter(|row| !row.removed)
    }

    /// Every unit that is not removed, by id.
    pub(crate) fn spus(&self) -> impl Iterator<Item = &SpuRow> {
        let new = self
            .spus
            .keys()
            .filter(|spu| !self.model.spus.contains_key(spu));
        let ids: BTreeSet<SpuId> = self.model.spus.keys().chain(new).copied().collect();
        ids.into_iter().filter_map(|spu| self.spu(spu))
    }

    pub(crate) fn put_spu(&mut self, row: SpuRow) {
        self.spus.insert(row.spu, row);
    }

    pub(crate) fn put_group(&mut self, row: SpuGroupRow) {
        self.groups.insert(row.name.clone(), row);
    }

    pub(crate) fn put_topic(&mut self, row: TopicRow) {
        self.topics.insert(row.id, row);
    }

    pub(crate) fn topic(&self, id: TopicId) -> Option<&TopicRow> {
        let known = || self.model.topic_by_id(id).map(|topic| &topic.row);
        self.topics.get(&id).or_else(known)
    }

    pub(crate) fn operation(&self, id: OperationId) -> Option<&OperationRow> {
        let known = || self.model.operations.get(&id);
        self.operations.get(&id).or_else(known)
    }

    pub(crate) fn put_operation(&mut self, row: OperationRow) {
        self.operations.insert(row.id, row);
    }

    pub(crate) fn forget(&mut self, row: &OperationRow) {
        let OperationRow { id, version, .. } = *row;
        self.forgotten.push(DeletedOperation { id, version });
    }

    pub(crate) fn partition(&self, key: ReplicaKey) -> Option<&PartitionRow> {
        let known = || self.model.partition(key).map(AsRef::as_ref);
        self.partitions.get(&key).or_else(known)
    }

    /// The partition as people name it: `partition 3 of topic orders`.
    pub(crate) fn told(&self, key: ReplicaKey) -> String {
        self.topic(key.topic_id).map_or_else(
            || format!("partition {key}"),
            |topic| format!("partition {} of topic {}", key.partition, topic.name),
        )
    }

    /// Puts a row in the place of the one of its key; its version is looked after here.
    pub(crate) fn put_partition(&mut self, row: PartitionRow) {
        self.partitions.insert(row.key(), row);
    }

    /// Number of partitions that were put.
    pub(crate) fn touched(&self) -> usize {
        self.partitions.len()
    }

    /// The changes, and what else must be as it was for them to be right.
    pub(crate) fn finish(self) -> (Vec<Change>, Vec<Guard>) {
        let Self { model, .. } = self;
        let mut guards = Guards::new(model);
        let mut changes = Vec::new();
        for (name, mut row) in self.groups {
            if raised(model.spu_groups.get(&name), &mut row, 1, |row| {
                &mut row.version
            }) {
                changes.push(Change::PutSpuGroup(row));
            }
        }
        for (spu, mut row) in self.spus {
            if raised(model.spus.get(&spu), &mut row, 1, |row| &mut row.version) {
                guards.changed.insert(spu);
                changes.push(Change::PutSpu(row));
            }
        }
        for (id, mut row) in self.topics {
            guards.changed_topics.insert(id);
            let before = model.topic_by_id(id).map(|topic| &topic.row);
            let first = row.first_version;
            if raised(before, &mut row, first, |row| &mut row.version) {
                changes.push(Change::PutTopic(row));
            }
        }
        for (id, mut row) in self.operations {
            if raised(model.operations.get(&id), &mut row, 1, |row| {
                &mut row.version
            }) {
                changes.push(Change::PutOperation(row));
            }
        }
        let forgotten = self.forgotten.into_iter().map(Change::DeleteOperation);
        changes.extend(forgotten);
        for (key, mut row) in self.partitions {
            let before = model.partition(key).map(AsRef::as_ref);
            if raised(before, &mut row, 1, |row| &mut row.version) {
                guards.rely_on(&row);
                if before.is_none_or(|before| before.replicas != row.replicas) {
                    guards.topics.insert(key.topic_id);
                }
                changes.push(Change::PutPartition(row));
            }
        }
        (changes, guards.list())
    }
}

/// The decision that a draft makes up; `unchanged` when it holds no change.
pub(crate) fn drafted(draft: Draft<'_>, result: WriteResult, outcome: Outcome) -> Decision {
    let (changes, guards) = draft.finish();
    let result = if changes.is_empty() {
        WriteResult::Unchanged
    } else {
        result
    };
    Decision {
        result,
        changes,
        guards,
        outcome,
        ..Decision::unchanged()
    }
}

/// Brings the version to the one after `before`, or to the first; false when nothing else differs.
fn raised<R: PartialEq + Clone>(
    before: Option<&R>,
    row: &mut R,
    first: u64,
    version: impl Fn(&mut R) -> &mut u64,
) -> bool {
    let Some(before) = before else {
        *version(row) = first;
        return true;
    };
    let mut old = before.clone();
    let next = *version(&mut old);
    *version(row) = next;
    if *before == *row {
        return false;
    }
    *version(row) = next + 1;
    true
}

/// Collects the units that changed partitions rely on.
#[derive(Debug)]
pub(crate) struct Guards<'a> {
    model: &'a Model,
    changed: BTreeSet<SpuId>,
    units: BTreeSet<SpuId>,
    changed_topics: BTreeSet<TopicId>,
    /// Those whose wishes were followed.
    topics: BTreeSet<TopicId>,
}

impl<'a> Guards<'a> {
    pub(crate) const fn new(model: &'a Model) -> Self {
        Self {
            model,
            changed: BTreeSet::new(),
            units: BTreeSet::new(),
            changed_topics: BTreeSet::new(),
            topics: BTreeSet::new(),
        }
    }

    /// Who leads and who is in sync was decided on what those units are; and no copy may go to a unit
    /// that is removed meanwhile.
    pub(crate) fn rely_on(&mut self, row: &PartitionRow) {
        self.units.extend(row.leader);
        self.units.extend(row.isr.iter().map(|member| member.spu));
        self.units
            .extend(row.replicas.iter().map(|replica| replica.spu));
    }

    pub(crate) fn list(self) -> Vec<Guard> {
        let units = self.units.difference(&self.changed);
        let units = units.filter_map(|spu| self.model.spus.get(spu));
        let units = units.map(|row| Guard {
            kind: Kind::Spu,
            row_key: row.spu.to_string(),
            version: row.version,
        });
        let topics = self.topics.difference(&self.changed_topics);
        let topics = topics.filter_map(|id| self.model.topic_by_id(*id));
        let topics = topics.map(|topic| Guard {
            kind: Kind::Topic,
            row_key: topic.row.id.to_string(),
            version: topic.row.version,
        });
        units.chain(topics).collect()
    }
}
