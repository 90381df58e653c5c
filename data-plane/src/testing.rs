//! Partitions held in memory, for tests of the surface above them.
//!
//! Offsets, expected ends, producer sequences, request keys, deletion and the tail watch behave as a
//! storage node's do; durability is a word. Time stands still at a settable moment, so that answers
//! can be compared text by text.

mod keeper;
mod replica;
mod staging;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::control::{
    PartitionSpec, PartitionStatus, TimestampType, TopicConfig, TopicSpec, Topology,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tokio::sync::watch;
use uuid::Uuid;

use crate::partitions::{AppendRequest, Appended, BoxFuture, Chunk, Partitions, Tail};
pub use keeper::{Keeper, Kept};
use replica::Replica;

/// What the clock of [`MemoryPartitions`] says until it is set.
pub const START_MS: i64 = 1_700_000_000_000;

/// What an answer gets at least, however little is left.
pub const ANSWER_BYTES_MIN: usize = crate::limits::ANSWER_BYTES_MIN;
/// Longest header of high watermarks.
pub const HIGH_WATERMARK_BYTES_MAX: usize = crate::limits::HIGH_WATERMARK_BYTES_MAX;

const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// Partitions in memory.
pub struct MemoryPartitions {
    topology: watch::Sender<Arc<Topology>>,
    replicas: Mutex<HashMap<ReplicaKey, Replica>>,
    now_ms: AtomicI64,
    tails_are_held: watch::Sender<bool>,
    cold_reads: AtomicUsize,
    /// Copies that are not as far.
    copies: Mutex<HashMap<ReplicaKey, Arc<Self>>>,
}

impl MemoryPartitions {
    /// No topics yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            topology: watch::Sender::new(Arc::new(Topology::default())),
            replicas: Mutex::new(HashMap::new()),
            now_ms: AtomicI64::new(START_MS),
            tails_are_held: watch::Sender::new(false),
            cold_reads: AtomicUsize::new(0),
            copies: Mutex::new(HashMap::new()),
        })
    }

    /// A topic with the default configuration.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Arc<TopicSpec> {
        self.create_topic_with(name, partitions, TopicConfig::default())
    }

    /// A topic; its id is new each time, also when the name was used before.
    pub fn create_topic_with(
        &self,
        name: &str,
        partitions: u32,
        config: TopicConfig,
    ) -> Arc<TopicSpec> {
        let name = TopicName::parse(name).expect("tests use valid topic names");
        let append_timestamps = config.timestamp == TimestampType::Append;
        let id = TopicId(Uuid::now_v7());
        let spec = Arc::new(TopicSpec {
            id,
            name: name.clone(),
            version: 1,
            replication_factor: 1,
            min_in_sync: 1,
            config,
            partitions: (0..partitions)
                .map(|number| partition(PartitionId(number)))
                .collect(),
        });
        for number in 0..partitions {
            let key = ReplicaKey {
                topic_id: id,
                partition: PartitionId(number),
            };
            self.lock().insert(key, Replica::new(append_timestamps));
        }
        self.edit_topology(|topology| {
            topology.topics.insert(name, Arc::clone(&spec));
        });
        spec
    }

    /// Gives a topic partitions beside those it has.
    pub fn add_partitions(&self, name: &str, count: u32) {
        let name = TopicName::parse(name).expect("tests use valid topic names");
        self.edit_topology(|topology| {
            let spec = topology.topics.get_mut(&name).expect("the topic is there");
            let mut grown = TopicSpec::clone(spec);
            for _ in 0..count {
                let number = PartitionId(u32::try_from(grown.partitions.len()).unwrap_or(u32::MAX));
                let replica = Replica::new(grown.config.timestamp == TimestampType::Append);
                self.lock().insert(grown.key(number), replica);
                grown.partitions.push(partition(number));
            }
            *spec = Arc::new(grown);
        });
    }

    /// Lets nobody have a tail, and so find their start, until it is called again with `false`.
    pub fn hold_tails(&self, are_held: bool) {
        self.tails_are_held.send_replace(are_held);
    }

    /// Removes a topic and its records; its tails close.
    pub fn delete_topic(&self, name: &str) {
        let name = TopicName::parse(name).expect("tests use valid topic names");
        let mut removed = None;
        self.edit_topology(|topology| removed = topology.topics.remove(&name));
        if let Some(spec) = removed {
            self.lock().retain(|key, _| key.topic_id != spec.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaKey, Replica>> {
        self.replicas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit_topology(&self, edit: impl FnOnce(&mut Topology)) {
        self.topology.send_modify(|topology| {
            let mut next = Topology::clone(topology);
            next.revision += 1;
            edit(&mut next);
            *topology = Arc::new(next);
        });
    }

    fn with<T>(
        &self,
        key: ReplicaKey,
        work: impl FnOnce(&mut Replica) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        match self.lock().get_mut(&key) {
            Some(replica) => match &replica.away {
                Some(problem) => Err(problem.clone()),
                None => work(replica),
            },
            None => Err(Problem::new(
                ErrorCode::PartitionNotFound,
                "the partition is gone",
            )),
        }
    }
}

impl fmt::Debug for MemoryPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPartitions").finish_non_exhaustive()
    }
}

impl Partitions for MemoryPartitions {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.subscribe()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        let now_ms = self.now_ms.load(Ordering::Relaxed);
        Box::pin(async move { self.with(key, |replica| replica.append(key, request, now_ms)) })
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(async move {
            self.with(key, |replica| {
                if from < replica.cold_before {
                    self.cold_reads.fetch_add(1, Ordering::SeqCst);
                }
                replica.read(from, bytes_max)
            })
        })
    }

    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        let copy = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        match copy.get(&key).cloned() {
            Some(copy) => Box::pin(async move { copy.read(key, from, bytes_max).await }),
            None => self.read(key, from, bytes_max),
        }
    }

    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        let copy = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        match copy.get(&key).cloned() {
            Some(copy) => Box::pin(async move { copy.offsets(key).await }),
            None => self.offsets(key),
        }
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        let read = |replica: &mut Replica| {
            let is_there = from >= replica.cold_before && from < replica.end;
            is_there.then(|| replica.read(from, bytes_max)).transpose()
        };
        self.with(key, read).ok().flatten()
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move {
            self.with(key, |replica| {
                Ok(PartitionStatus {
                    log_start: replica.log_start,
                    high_watermark: replica.end,
                    end: replica.end,
                    leader_epoch: replica.epoch,
                    size_bytes: replica
                        .batches
                        .iter()
                        .map(|batch| batch.encoded_len() as u64)
                        .sum(),
                    last_append_ms: replica.batches.last().map(|b| b.placement.append_time_ms),
                    damage: None,
                    is_latest_known: true,
                })
            })
        })
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move { self.with(key, |replica| Ok(replica.end)) })
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move { self.with(key, |replica| Ok(replica.offset_at(time_ms))) })
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move {
            let mut are_held = self.tails_are_held.subscribe();
            // The sender lives as long as `self`.
            let _ = are_held.wait_for(|are_held| !are_held).await;
            self.with(key, |replica| Ok(replica.tail.subscribe()))
        })
    }

    fn is_in_doubt(&self, key: ReplicaKey) -> bool {
        self.with(key, |_| Ok(())).is_err()
    }
}

fn partition(partition: PartitionId) -> PartitionSpec {
    PartitionSpec {
        partition,
        leader: Some(SpuId(1)),
        leader_epoch: EPOCH,
        version: 1,
        replicas: Vec::new(),
        isr: Vec::new(),
        min_isr: 1,
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        is_sealed: false,
        losses: Vec::new(),
    }
}
