//! Copies that are of a membership which the topology ended: the partition is elsewhere, or made anew here.
//!
//! What is left of one goes to the trash, never further (18), and only when the row proves itself newer
//! than all that the copy accepted, and no record is in it: everything else may be the metadata's
//! mistake and is kept.

use std::collections::HashSet;

use tidegate_log::{Log, SubmitError};
use tidegate_proto::control::PartitionSpec;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;

/// Removes departed copies of one node.
#[derive(Debug)]
pub(crate) struct Departed {
    own: SpuId,
    log: Log,
    /// Those that are kept, which was said.
    kept: HashSet<ReplicaKey>,
}

impl Departed {
    pub(crate) fn new(own: SpuId, log: Log) -> Self {
        Self {
            own,
            log,
            kept: HashSet::new(),
        }
    }

    /// Moves the copy of that partition to the trash if it departed. It must be closed.
    pub(crate) fn discard(&mut self, key: ReplicaKey, row: &PartitionSpec) {
        let Some(copy) = self.log.replica(key) else {
            return;
        };
        let (epoch, end) = (copy.meta().leader_epoch, copy.end());
        let mut replicas = row.replicas.iter();
        if replicas.any(|own| own.spu == self.own && own.replica_gen == copy.replica_gen()) {
            return;
        }
        let why = if row.replicas.is_empty() || row.leader_epoch <= epoch {
            "the topology knows of no epoch later than the one that it accepted"
        } else if copy.log_start() != end {
            "it holds records"
        } else {
            match self.log.retire_replica(key) {
                Ok(()) => {
                    self.kept.remove(&key);
                    tracing::info!(topic_id = %key.topic_id, partition = %key.partition,
                        "a copy that changed its place goes to the trash");
                    return;
                }
                Err(SubmitError::UnknownReplica(_) | SubmitError::NotNext { .. }) => return,
                Err(SubmitError::Dead(_)) => "the log takes nothing any more",
            }
        };
        if self.kept.insert(key) {
            tracing::warn!(topic_id = %key.topic_id, partition = %key.partition, %epoch, %end, why,
                "a copy that the topology does not have here any more is kept and not served");
        }
    }
}
