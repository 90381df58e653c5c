//! Replicas of a running node whose log takes nothing any more, for the controllers (S1, L1).
//!
//! The controllers elect others and rely on these no more. Whoever can reach them brings what is found here, and
//! it is found again, now and then and after every change of the row, while the row names the replica as leader
//! or in sync. Invariant: what is told is of the registration and the membership that failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_proto::control::{FailedReplica, FailedRequest, IsrMember, PartitionSpec, Topology};
use tidegate_proto::position::ReplicaKey;
use tokio::sync::watch;

use crate::limits::{FAILED_PER_REQUEST, FAILED_TELL_AGAIN};
use crate::shard::{Changes, Directory};

/// A row that a controller was told about, and when.
#[derive(Clone, Copy, Debug)]
struct Told {
    version: u64,
    at: Instant,
}

/// Finds the failed replicas of one node.
#[derive(Debug)]
pub struct Failures {
    own: IsrMember,
    directory: Directory,
    changes: Changes,
    topology: watch::Receiver<Arc<Topology>>,
    /// Versions of the rows that the last request was made on.
    asked: BTreeMap<ReplicaKey, u64>,
    told: BTreeMap<ReplicaKey, Told>,
}

impl Failures {
    pub(crate) fn new(
        own: IsrMember,
        directory: Directory,
        topology: watch::Receiver<Arc<Topology>>,
    ) -> Self {
        Self {
            own,
            changes: directory.changes(),
            directory,
            topology,
            asked: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Waits for replicas that failed and that rows still rely on; none when the topology is
    /// followed no more.
    pub async fn next(&mut self) -> Option<FailedRequest> {
        loop {
            let replicas = self.untold();
            if !replicas.is_empty() {
                return Some(FailedRequest {
                    spu_id: self.own.spu,
                    incarnation: self.own.incarnation,
                    replicas,
                });
            }
            tokio::select! {
                goes_on = self.changes.next() => if !goes_on { return None },
                changed = self.topology.changed() => changed.ok()?,
                () = tokio::time::sleep(FAILED_TELL_AGAIN), if !self.told.is_empty() => {}
            }
        }
    }

    /// A controller took these.
    pub fn told(&mut self, request: &FailedRequest) {
        let at = clock::monotonic();
        for replica in &request.replicas {
            if let Some(version) = self.asked.get(&replica.key).copied() {
                self.told.insert(replica.key, Told { version, at });
            }
        }
    }

    fn untold(&mut self) -> Vec<FailedReplica> {
        let topology = Arc::clone(&self.topology.borrow_and_update());
        let now = clock::monotonic();
        self.told
            .retain(|key, _| self.directory.get(*key).is_some());
        self.asked.clear();
        let mut replicas = Vec::new();
        for handle in self.directory.failed() {
            let key = handle.reader.key;
            let replica_gen = handle.reader.log.replica_gen();
            let topic = topology.topic_by_id(key.topic_id);
            let row = topic.and_then(|topic| topic.partition(key.partition));
            let Some(row) = row.filter(|row| self.relies(row)) else {
                continue;
            };
            let is_told = self.told.get(&key).is_some_and(|told| {
                let age = now.saturating_duration_since(told.at);
                told.version == row.version && age < FAILED_TELL_AGAIN
            });
            if is_told || replicas.len() == FAILED_PER_REQUEST {
                continue;
            }
            self.asked.insert(key, row.version);
            let status = handle.reader.status();
            replicas.push(FailedReplica {
                key,
                replica_gen,
                leader_epoch: status.leader_epoch,
                intact: status.damage.is_none(),
            });
        }
        replicas
    }

    /// Whether the row counts on the replica here.
    fn relies(&self, row: &PartitionSpec) -> bool {
        let own = self.own.spu;
        row.leader == Some(own) || row.isr.iter().any(|member| member.spu == own)
    }
}
