//! Puts the topology together from the lines of a watch stream.
//!
//! Pure. Invariant: what it shows is a whole revision, and every revision after a reset was taken in;
//! lines that do not fit are an error, after which only a new snapshot helps.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;

use super::{Seen, Topology, TopologyChange, WatchLine};
use crate::error::Problem;
use crate::id::{ClusterId, PartitionId, StoreId, TopicId};
use crate::name::TopicName;

/// What a line came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Folded {
    /// More of the same revision follows.
    Partial,
    /// A revision is whole: [`TopologyFold::topology`] shows it.
    Whole,
    /// Nothing changed. When the controller has not heard from its store for long: how long, in
    /// milliseconds.
    Alive { stale_ms: Option<u64> },
    /// The stream ends.
    End(Problem),
}

/// A line that does not fit what came before.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FoldError {
    /// A revision is missing, or came twice.
    #[error("revision {found} came after {last}")]
    Gap { last: u64, found: u64 },
    /// There was no snapshot to begin with.
    #[error("changes came before a snapshot")]
    NoSnapshot,
    /// A partition of a topic that is not known, or with a number that leaves a gap.
    #[error("partition {partition} of topic {topic_id} does not fit")]
    Partition {
        topic_id: TopicId,
        partition: PartitionId,
    },
}

/// Where the lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Only a reset fits.
    Nowhere,
    /// A snapshot is being told: of this revision, once its first line came.
    Snapshot(Option<u64>),
    /// A revision was told whole, or the next one is being told.
    After(u64),
}

/// The state of a follower.
#[derive(Debug, Clone)]
pub struct TopologyFold {
    work: Topology,
    names: BTreeMap<TopicId, TopicName>,
    cluster_id: Option<ClusterId>,
    store_id: Option<StoreId>,
    place: Place,
    /// Some lines of the next revision were taken in.
    is_partial: bool,
    seen: Option<Seen>,
}

impl Default for TopologyFold {
    fn default() -> Self {
        Self::new()
    }
}

impl TopologyFold {
    /// Knows nothing.
    #[must_use]
    pub fn new() -> Self {
        Self {
            work: Topology::default(),
            names: BTreeMap::new(),
            cluster_id: None,
            store_id: None,
            place: Place::Nowhere,
            is_partial: false,
            seen: None,
        }
    }

    /// Takes a line in.
    ///
    /// # Errors
    /// A line that does not fit; from then on [`TopologyFold::resume`] gives nothing.
    pub fn take(&mut self, line: WatchLine) -> Result<Folded, FoldError> {
        let taken = self.try_take(line);
        if taken.is_err() {
            self.place = Place::Nowhere;
            self.seen = None;
        }
        taken
    }

    /// A stream broke off; lines of a revision that was not whole will come again. What they changed
    /// already is changed again to the same.
    pub fn broke_off(&mut self) {
        if let Place::Snapshot(_) = self.place {
            self.place = Place::Nowhere;
            self.seen = None;
        }
    }

    /// The newest revision; none while only a part of it was told. Meant to be called once what is at
    /// hand was taken in, for it copies a pointer per topic.
    #[must_use]
    pub fn topology(&self) -> Option<Arc<Topology>> {
        let is_whole = !self.is_partial && matches!(self.place, Place::After(_));
        is_whole.then(|| Arc::new(self.work.clone()))
    }

    /// From where to go on: what to remember, and what to ask for.
    #[must_use]
    pub fn resume(&self) -> Option<Seen> {
        self.seen
    }

    /// The cluster that was told of, once a reset came.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id
    }

    fn try_take(&mut self, line: WatchLine) -> Result<Folded, FoldError> {
        match line {
            WatchLine::Reset {
                cluster_id,
                store_id,
            } => {
                self.work = Topology {
                    store_id: Some(store_id),
                    ..Topology::default()
                };
                self.names.clear();
                self.cluster_id = Some(cluster_id);
                self.store_id = Some(store_id);
                self.place = Place::Snapshot(None);
                self.is_partial = false;
                self.seen = None;
                Ok(Folded::Partial)
            }
            WatchLine::Changes {
                revision,
                changes,
                hash,
            } => {
                self.expect(revision)?;
                for change in changes {
                    self.apply(change)?;
                }
                let Some((hash, store_id)) = hash.zip(self.store_id) else {
                    self.is_partial = true;
                    return Ok(Folded::Partial);
                };
                self.work.revision = revision;
                self.place = Place::After(revision);
                self.is_partial = false;
                self.seen = Some(Seen {
                    store_id,
                    revision,
                    hash,
                });
                Ok(Folded::Whole)
            }
            WatchLine::Alive { stale_ms, .. } => Ok(Folded::Alive { stale_ms }),
            WatchLine::End { problem } => Ok(Folded::End(problem)),
        }
    }

    fn expect(&mut self, found: u64) -> Result<(), FoldError> {
        match self.place {
            Place::Nowhere => return Err(FoldError::NoSnapshot),
            Place::Snapshot(None) => self.place = Place::Snapshot(Some(found)),
            Place::Snapshot(Some(last)) if last == found => {}
            Place::After(last) if last + 1 == found => {}
            Place::Snapshot(Some(last)) | Place::After(last) => {
                return Err(FoldError::Gap { last, found });
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: TopologyChange) -> Result<(), FoldError> {
        match change {
            TopologyChange::PutSpu { spu, spec } => {
                self.work.spus.insert(spu, spec);
            }
            TopologyChange::RemoveSpu { spu } => {
                self.work.spus.remove(&spu);
            }
            TopologyChange::PutTopic { mut spec } => {
                if let Some(before) = self.work.topics.get(&spec.name)
                    && before.id == spec.id
                {
                    spec.partitions.clone_from(&before.partitions);
                }
                self.names.insert(spec.id, spec.name.clone());
                self.work.topics.insert(spec.name.clone(), Arc::new(spec));
            }
            TopologyChange::PutPartition { topic_id, spec } => {
                let partition = spec.partition;
                let misfit = FoldError::Partition {
                    topic_id,
                    partition,
                };
                let name = self.names.get(&topic_id);
                let topic = name.and_then(|name| self.work.topics.get_mut(name));
                let Some(topic) = topic.filter(|topic| topic.id == topic_id) else {
                    return Err(misfit);
                };
                let partitions = &mut Arc::make_mut(topic).partitions;
                let at = partition.0 as usize;
                match at.cmp(&partitions.len()) {
                    Ordering::Less => partitions[at] = spec,
                    Ordering::Equal => partitions.push(spec),
                    Ordering::Greater => return Err(misfit),
                }
            }
            TopologyChange::RemoveTopic { topic_id, name } => {
                self.names.remove(&topic_id);
                let is_that = self.work.topics.get(&name);
                if is_that.is_some_and(|topic| topic.id == topic_id) {
                    self.work.topics.remove(&name);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
