//! The control state: one row per storage unit, topic and partition, as the metadata store keeps them.
//!
//! Rows are shared, so that a copy of the model is cheap and a change copies little. No decision is made
//! here.
//!
//! Invariants: a topic's partitions are numbered from 0 without gaps and as many as its row says; the
//! model after [`Model::commit`] equals the one built from the store's rows at that revision.

mod accept;
mod index;
mod topic;

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tidegate_proto::control::{Topology, TopologyChange};
use tidegate_proto::id::{ClusterId, OperationId, PartitionId, SpuId, TopicId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::ReplicaKey;

use crate::change::Change;
use crate::rows::{OperationRow, PartitionRow, SpuGroupRow, SpuRow, TopicRow};
use crate::shared::SharedMap;
use index::Index;
pub use topic::Topic;

/// Every row of the store at one revision, in any order.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub spus: Vec<SpuRow>,
    pub spu_groups: Vec<SpuGroupRow>,
    pub topics: Vec<TopicRow>,
    pub partitions: Vec<PartitionRow>,
    pub operations: Vec<OperationRow>,
}

/// Rows that cannot belong to one state of the store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ModelError {
    /// A partition row names a topic that has no row.
    #[error("partition {partition} belongs to topic {topic_id}, which has no row")]
    Orphan {
        topic_id: TopicId,
        partition: PartitionId,
    },
    /// A topic's partition rows are not numbered 0 to the count in its row.
    #[error("topic {name} should have {expected} partitions, {found} fit")]
    Partitions {
        name: TopicName,
        expected: u32,
        found: usize,
    },
}

/// The whole control state at one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub cluster_id: ClusterId,
    pub revision: u64,
    pub spus: BTreeMap<SpuId, SpuRow>,
    pub spu_groups: BTreeMap<SpuGroupName, SpuGroupRow>,
    pub operations: BTreeMap<OperationId, OperationRow>,
    pub topics: SharedMap<TopicName, Arc<Topic>>,
    names: SharedMap<TopicId, TopicName>,
    index: Index,
}

impl Model {
    /// A cluster without units or topics.
    #[must_use]
    pub fn empty(cluster_id: ClusterId) -> Self {
        Self {
            cluster_id,
            revision: 0,
            spus: BTreeMap::new(),
            spu_groups: BTreeMap::new(),
            operations: BTreeMap::new(),
            topics: SharedMap::new(),
            names: SharedMap::new(),
            index: Index::default(),
        }
    }

    /// The state that these rows of one store snapshot make up.
    ///
    /// # Errors
    /// Rows that cannot be of one state.
    pub fn from_rows(cluster_id: ClusterId, revision: u64, rows: Rows) -> Result<Self, ModelError> {
        let Rows {
            spus,
            spu_groups,
            topics,
            partitions,
            operations,
        } = rows;
        let mut by_topic: BTreeMap<TopicId, Vec<PartitionRow>> =
            topics.iter().map(|row| (row.id, Vec::new())).collect();
        for row in partitions {
            let Some(rows) = by_topic.get_mut(&row.topic_id) else {
                let (topic_id, partition) = (row.topic_id, row.partition);
                return Err(ModelError::Orphan {
                    topic_id,
                    partition,
                });
            };
            rows.push(row);
        }
        let mut model = Self::empty(cluster_id);
        model.revision = revision;
        model.spus = spus.into_iter().map(|row| (row.spu, row)).collect();
        model.spu_groups = spu_groups
            .into_iter()
            .map(|row| (row.name.clone(), row))
            .collect();
        model.operations = operations.into_iter().map(|row| (row.id, row)).collect();
        for row in topics {
            let mut rows = by_topic.remove(&row.id).unwrap_or_default();
            rows.sort_unstable_by_key(|partition| partition.partition);
            let found = rows
                .iter()
                .zip(0..row.partitions)
                .filter(|(p, n)| p.partition.0 == *n);
            let found = found.count();
            if found != rows.len() || rows.len() != row.partitions as usize {
                let (name, expected) = (row.name, row.partitions);
                return Err(ModelError::Partitions {
                    name,
                    expected,
                    found,
                });
            }
            for partition in &rows {
                model.index.put(&model.spus, None, partition);
            }
            let rows = rows.into_iter().map(Arc::new).collect();
            model.names.insert(row.id, row.name.clone());
            model
                .topics
                .insert(row.name.clone(), Arc::new(Topic::new(row, rows)));
        }
        Ok(model)
    }

    /// The same from the rows as changes that put them.
    ///
    /// # Panics
    /// When a change deletes something: a snapshot has no deletes.
    pub fn from_puts(
        cluster_id: ClusterId,
        revision: u64,
        puts: impl IntoIterator<Item = Change>,
    ) -> Result<Self, ModelError> {
        let mut rows = Rows::default();
        for put in puts {
            match put {
                Change::PutSpu(row) => rows.spus.push(row),
                Change::PutSpuGroup(row) => rows.spu_groups.push(row),
                Change::PutTopic(row) => rows.topics.push(row),
                Change::PutPartition(row) => rows.partitions.push(row),
                Change::PutOperation(row) => rows.operations.push(row),
                Change::DeleteTopic(_) | Change::DeleteOperation(_) => {
                    panic!("a snapshot has no deletes: {put:?}")
                }
            }
        }
        Self::from_rows(cluster_id, revision, rows)
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// The partition of that key.
    #[must_use]
    pub fn partition(&self, key: ReplicaKey) -> Option<&Arc<PartitionRow>> {
        let topic = self.topic_by_id(key.topic_id)?;
        topic.partitions.get(key.partition.0 as usize)
    }

    /// The unit of that id, unless it was removed.
    #[must_use]
    pub fn spu(&self, spu: SpuId) -> Option<&SpuRow> {
        self.spus.get(&spu).filter(|row| !row.removed)
    }

    /// The group of that name, unless it was removed.
    #[must_use]
    pub fn spu_group(&self, name: &SpuGroupName) -> Option<&SpuGroupRow> {
        self.spu_groups.get(name).filter(|row| !row.removed)
    }

    /// Partitions that the unit has a copy of, in order.
    pub fn held_by(&self, spu: SpuId) -> impl Iterator<Item = ReplicaKey> {
        self.index.held(spu)
    }

    /// Partitions that the unit leads, in order.
    pub fn led_by(&self, spu: SpuId) -> impl Iterator<Item = ReplicaKey> {
        self.index.led(spu)
    }

    /// How many partitions the unit holds, and how many of them it leads.
    #[must_use]
    pub fn load(&self, spu: SpuId) -> (u64, u64) {
        self.index.counts(spu)
    }

    /// Partitions that have no working leader, no place, or are on their way somewhere, in order.
    pub fn waiting(&self) -> impl Iterator<Item = ReplicaKey> {
        self.index.waiting()
    }

    /// True when the partition is one of [`Model::waiting`].
    #[must_use]
    pub fn is_waiting(&self, key: ReplicaKey) -> bool {
        self.index.is_waiting(key)
    }

    /// Units that may get replicas, by id.
    pub fn spus_at_hand(&self) -> impl Iterator<Item = &SpuRow> {
        self.spus.values().filter(|row| row.is_at_hand())
    }

    /// Number of partitions over all topics.
    #[must_use]
    pub fn partition_count(&self) -> u64 {
        self.topics
            .values()
            .map(|topic| u64::from(topic.row.partitions))
            .sum()
    }

    /// Takes in what was committed as `revision`; the changes were decided on this very model.
    pub fn commit(&mut self, revision: u64, changes: &[Change]) {
        assert!(
            revision > self.revision,
            "revisions grow: {revision} after {}",
            self.revision
        );
        self.revision = revision;
        for change in changes {
            self.take_in(change);
        }
    }

    /// The form in which every process sees the state, without the store's identity. Cheap: the topics
    /// are shared.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let topics = self.topics.iter();
        let spus = self.spus.iter();
        Topology {
            revision: self.revision,
            store_id: None,
            spus: spus
                .filter_map(|(spu, row)| Some((*spu, row.spec()?)))
                .collect(),
            topics: topics
                .map(|(name, topic)| (name.clone(), Arc::clone(topic.spec())))
                .collect(),
        }
    }

    /// The same as changes that make it out of nothing, a topic before its partitions.
    pub fn topology_changes(&self) -> impl Iterator<Item = TopologyChange> {
        let units = self.spus.iter();
        let units = units.filter_map(|(spu, row)| {
            let (spu, spec) = (*spu, row.spec()?);
            Some(TopologyChange::PutSpu { spu, spec })
        });
        let topics = self.topics.values().flat_map(|topic| {
            let (topic_id, spec) = (topic.row.id, topic.row.spec(&[]));
            let partitions = topic.partitions.iter();
            let partitions = partitions.map(move |row| TopologyChange::PutPartition {
                topic_id,
                spec: row.spec(),
            });
            std::iter::once(TopologyChange::PutTopic { spec }).chain(partitions)
        });
        units.chain(topics)
    }

    fn topic_mut(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.topics.get_mut(self.names.get(&id)?).map(Arc::make_mut)
    }

    /// Puts one change in place.
    fn take_in(&mut self, change: &Change) {
        match change {
            Change::PutSpu(row) => self.take_in_spu(row),
            Change::PutTopic(row) => {
                if let Some(topic) = self.topic_mut(row.id) {
                    topic.set_row(row.clone());
                } else {
                    self.names.insert(row.id, row.name.clone());
                    let topic = Topic::new(row.clone(), Vec::new());
                    self.topics.insert(row.name.clone(), Arc::new(topic));
                }
            }
            Change::PutPartition(row) => {
                let before = self.partition(row.key()).cloned();
                self.index.put(&self.spus, before.as_deref(), row);
                let topic = self
                    .topic_mut(row.topic_id)
                    .expect("a partition's topic comes first");
                topic.set_partition(row.clone());
            }
            Change::PutSpuGroup(row) => {
                self.spu_groups.insert(row.name.clone(), row.clone());
            }
            Change::PutOperation(row) => {
                self.operations.insert(row.id, row.clone());
            }
            Change::DeleteTopic(gone) => {
                self.names.remove(&gone.id);
                if let Some(topic) = self.topics.remove(&gone.name) {
                    for partition in &topic.partitions {
                        self.index.take_out(partition);
                    }
                }
            }
            Change::DeleteOperation(gone) => {
                self.operations.remove(&gone.id);
            }
        }
    }

    fn take_in_spu(&mut self, row: &SpuRow) {
        self.spus.insert(row.spu, row.clone());
        let led: Vec<_> = self.index.led(row.spu).collect();
        for key in led {
            if let Some(partition) = self.partition(key).cloned() {
                self.index.wait_or_not(&self.spus, &partition);
            }
        }
    }
}
