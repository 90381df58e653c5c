//! What happens to partitions in memory: leaders change, units go, records are cut off.
//!
//! Whoever tests stages it; nothing here happens by itself.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use tidegate_proto::control::{IsrMember, Loss, ReplicaSpec, SpuSpec, SpuStanding, TopicSpec};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{Incarnation, PartitionId, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use uuid::Uuid;

use super::{EPOCH, MemoryPartitions};

impl MemoryPartitions {
    /// The partition is led in that epoch from now on, here and in the topology.
    pub fn lead(
        &self,
        topic: &TopicSpec,
        partition: PartitionId,
        leader: SpuId,
        epoch: LeaderEpoch,
    ) {
        if let Some(replica) = self.lock().get_mut(&topic.key(partition)) {
            replica.epoch = epoch;
            replica.publish();
        }
        self.announce(topic, partition, leader, epoch);
    }

    /// The topology says so, and the partition does not know it yet.
    pub fn announce(
        &self,
        topic: &TopicSpec,
        partition: PartitionId,
        leader: SpuId,
        epoch: LeaderEpoch,
    ) {
        self.edit_topology(|topology| {
            let spec = topology.topics.get_mut(&topic.name);
            let spec = Arc::make_mut(spec.expect("the topic is there"));
            let row = spec.partitions.get_mut(partition.0 as usize);
            let row = row.expect("the partition is there");
            (row.leader, row.leader_epoch) = (Some(leader), epoch);
            row.version += 1;
        });
    }

    /// Nobody leads the partition, because the one unit that has a copy is shut out; or it is back and leads.
    pub fn shut_out(&self, topic: &TopicSpec, partition: PartitionId, spu: SpuId, is_out: bool) {
        let problem = Problem::new(ErrorCode::NotLeader, "nobody leads it");
        self.take_away(topic.key(partition), is_out.then_some(problem));
        let standing = match is_out {
            true => SpuStanding::Fenced,
            false => SpuStanding::Active,
        };
        self.edit_topology(|topology| {
            let unit = topology.spus.entry(spu).or_insert_with(|| SpuSpec {
                endpoints: Vec::new(),
                rack: None,
                site: None,
                standing,
                incarnation: Incarnation(1),
            });
            unit.standing = standing;
            let spec = topology.topics.get_mut(&topic.name);
            let spec = Arc::make_mut(spec.expect("the topic is there"));
            let row = spec.partitions.get_mut(partition.0 as usize);
            let row = row.expect("the partition is there");
            row.leader = (!is_out).then_some(SpuId(1));
            row.replicas = vec![ReplicaSpec {
                spu,
                replica_gen: ReplicaGen(Uuid::nil()),
            }];
            row.version += 1;
        });
    }

    /// Enters a storage unit into the topology, or takes it out.
    pub fn enter(&self, spu: SpuId, spec: Option<SpuSpec>) {
        self.edit_topology(|topology| match spec {
            Some(spec) => drop(topology.spus.insert(spu, spec)),
            None => drop(topology.spus.remove(&spu)),
        });
    }

    /// Cuts the log before `to`, as retention does.
    pub fn trim(&self, key: ReplicaKey, to: Offset) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.log_start = to;
            replica.batches.retain(|batch| batch.next_offset() > to);
            replica.publish();
        }
    }

    /// The next leader has the log up to `end` and no further, as where an operator accepts a loss.
    pub fn cut_off(&self, key: ReplicaKey, end: Offset) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.end = end;
            replica.batches.retain(|batch| batch.next_offset() <= end);
            replica.epoch = LeaderEpoch(replica.epoch.0 + 1);
            replica.publish();
        }
    }

    /// An operator accepts the loss of what is at and after `end`: the next leader does not have it.
    pub fn give_up(&self, topic: &TopicSpec, partition: PartitionId, end: Offset) {
        let key = topic.key(partition);
        self.cut_off(key, end);
        let before = self.lock().get(&key).map(|replica| replica.epoch);
        self.edit_topology(|topology| {
            let spec = topology.topics.get_mut(&topic.name);
            let spec = Arc::make_mut(spec.expect("the topic is there"));
            let row = spec.partitions.get_mut(partition.0 as usize);
            let row = row.expect("the partition is there");
            row.losses.push(Loss {
                before: before.unwrap_or(EPOCH),
                from: end,
            });
            row.recovery_gen += 1;
        });
    }

    /// Gives up what is before `to`, as an operator's truncation does: the topology says it too.
    pub fn truncate(&self, topic: &TopicSpec, partition: PartitionId, to: Offset) {
        self.edit_topology(|topology| {
            let spec = topology.topics.get_mut(&topic.name);
            let spec = Arc::make_mut(spec.expect("the topic is there"));
            let row = spec.partitions.get_mut(partition.0 as usize);
            row.expect("the partition is there").truncate_before = to;
        });
        self.trim(topic.key(partition), to);
    }

    /// Those units are in sync.
    pub fn in_sync(&self, topic: &TopicSpec, partition: PartitionId, units: &[SpuId]) {
        self.edit_topology(|topology| {
            let spec = topology.topics.get_mut(&topic.name);
            let spec = Arc::make_mut(spec.expect("the topic is there"));
            let row = spec.partitions.get_mut(partition.0 as usize);
            let row = row.expect("the partition is there");
            let member = |spu: &SpuId| IsrMember {
                spu: *spu,
                incarnation: Incarnation(1),
            };
            row.isr = units.iter().map(member).collect();
            row.version += 1;
        });
    }

    /// Whoever asks for any copy of `key` is answered by one that has all that is there now, and gets
    /// nothing more.
    pub fn copy(&self, key: ReplicaKey) {
        let copy = Self::new();
        if let Some(replica) = self.lock().get(&key) {
            copy.lock().insert(key, replica.copy());
        }
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.insert(key, copy);
    }

    /// Records before `to` are as if on a disk from now on.
    pub fn cool(&self, key: ReplicaKey, to: Offset) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.cold_before = to;
        }
    }

    /// How many reads began on that disk.
    pub fn cold_reads(&self) -> usize {
        self.cold_reads.load(Ordering::SeqCst)
    }

    /// Every append to `key` fails with `problem` from now on, or succeeds again with `None`.
    pub fn fail_appends(&self, key: ReplicaKey, problem: Option<Problem>) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.failure = problem;
        }
    }

    /// Whoever asks for `key` is told `problem` from now on, or finds it again with `None`.
    pub fn take_away(&self, key: ReplicaKey, problem: Option<Problem>) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.away = problem;
        }
    }

    /// Sets the clock that stamps appends.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }
}
