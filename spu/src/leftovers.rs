//! Replicas on disk that no topic of the topology has.
//!
//! A node removes nothing by itself (S7): it names what is left over, and whoever keeps the tombstones
//! says which of these topics were deleted. What is open is never touched.

use std::collections::BTreeSet;

use tidegate_log::{Log, LogDead, SubmitError};
use tidegate_proto::control::Topology;
use tidegate_proto::id::TopicId;
use tokio::sync::watch;

use crate::shard::Directory;

/// What is left over on a node. Clones see the same node.
#[derive(Clone, Debug)]
pub struct Leftovers {
    log: Log,
    directory: Directory,
    closings: watch::Receiver<u64>,
}

impl Leftovers {
    pub(crate) fn new(log: Log, directory: Directory, closings: watch::Receiver<u64>) -> Self {
        Self {
            log,
            directory,
            closings,
        }
    }

    /// Topics that have closed replicas here and that the topology lacks.
    pub fn topics(&self, topology: &Topology) -> Vec<TopicId> {
        let replicas = self.log.replicas();
        let closed = replicas
            .iter()
            .map(|replica| replica.key())
            .filter(|key| self.directory.get(*key).is_none());
        let ids: BTreeSet<TopicId> = closed.map(|key| key.topic_id).collect();
        ids.into_iter()
            .filter(|id| topology.topic_by_id(*id).is_none())
            .collect()
    }

    /// Moves the closed replicas of a deleted topic to the trash; how many there were.
    pub fn discard(&self, topic: TopicId) -> Result<usize, LogDead> {
        let mut count = 0;
        for replica in self.log.replicas() {
            let key = replica.key();
            if key.topic_id != topic || self.directory.get(key).is_some() {
                continue;
            }
            match self.log.retire_replica(key) {
                Ok(()) => count += 1,
                Err(SubmitError::Dead(dead)) => return Err(dead),
                // Somebody else was faster.
                Err(SubmitError::UnknownReplica(_) | SubmitError::NotNext { .. }) => {}
            }
        }
        Ok(count)
    }

    /// Waits until topics were closed that the topology no longer has; false when the node is gone.
    pub async fn changed(&mut self) -> bool {
        self.closings.changed().await.is_ok()
    }
}
