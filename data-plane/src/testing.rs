//! Partitions held in memory, for tests of the surface above them.
//!
//! Offsets, expected ends, producer sequences, request keys, deletion and the tail watch behave as a
//! storage node's do; durability is a word. Time stands still at a settable moment, so that answers
//! can be compared text by text.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::batch::{Batch, ClientBatch, Placement};
use tidegate_proto::control::{
    PartitionSpec, PartitionStatus, TimestampType, TopicConfig, TopicSpec, Topology,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, ProducerId, SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tokio::sync::watch;
use uuid::Uuid;

use crate::partitions::{AppendRequest, Appended, BoxFuture, Chunk, Partitions, Tail};

/// What the clock of [`MemoryPartitions`] says until it is set.
pub const START_MS: i64 = 1_700_000_000_000;

const EPOCH: LeaderEpoch = LeaderEpoch(1);

/// Partitions in memory.
pub struct MemoryPartitions {
    topology: watch::Sender<Arc<Topology>>,
    replicas: Mutex<HashMap<ReplicaKey, Replica>>,
    now_ms: AtomicI64,
}

struct Replica {
    batches: Vec<Batch>,
    log_start: Offset,
    end: Offset,
    append_timestamps: bool,
    tail: watch::Sender<Tail>,
    producers: HashMap<ProducerId, Producer>,
    request_keys: HashMap<[u8; 16], Appended>,
    failure: Option<Problem>,
}

struct Producer {
    epoch: u16,
    next_seq: u32,
    last: (u32, Appended),
}

impl MemoryPartitions {
    /// No topics yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            topology: watch::Sender::new(Arc::new(Topology::default())),
            replicas: Mutex::new(HashMap::new()),
            now_ms: AtomicI64::new(START_MS),
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
            partitions: (0..partitions).map(|number| partition(PartitionId(number))).collect(),
        });
        for number in 0..partitions {
            let key = ReplicaKey { topic_id: id, partition: PartitionId(number) };
            self.lock().insert(key, Replica::new(append_timestamps));
        }
        self.edit_topology(|topology| {
            topology.topics.insert(name, Arc::clone(&spec));
        });
        spec
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

    /// Cuts the log before `to`, as retention does.
    pub fn trim(&self, key: ReplicaKey, to: Offset) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.log_start = to;
            replica.batches.retain(|batch| batch.next_offset() > to);
            replica.publish();
        }
    }

    /// Every append to `key` fails with `problem` from now on, or succeeds again with `None`.
    pub fn fail_appends(&self, key: ReplicaKey, problem: Option<Problem>) {
        if let Some(replica) = self.lock().get_mut(&key) {
            replica.failure = problem;
        }
    }

    /// Sets the clock that stamps appends.
    pub fn set_now_ms(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
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
            Some(replica) => work(replica),
            None => Err(Problem::new(ErrorCode::PartitionNotFound, "the partition is gone")),
        }
    }
}

impl fmt::Debug for MemoryPartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPartitions").finish_non_exhaustive()
    }
}

impl Replica {
    fn new(append_timestamps: bool) -> Self {
        let tail = Tail { log_start: Offset::ZERO, high_watermark: Offset::ZERO, leader_epoch: EPOCH };
        Self {
            batches: Vec::new(),
            log_start: Offset::ZERO,
            end: Offset::ZERO,
            append_timestamps,
            tail: watch::Sender::new(tail),
            producers: HashMap::new(),
            request_keys: HashMap::new(),
            failure: None,
        }
    }

    fn publish(&self) {
        self.tail.send_replace(Tail {
            log_start: self.log_start,
            high_watermark: self.end,
            leader_epoch: EPOCH,
        });
    }

    fn append(
        &mut self,
        key: ReplicaKey,
        request: AppendRequest,
        now_ms: i64,
    ) -> Result<Appended, Problem> {
        if let Some(problem) = &self.failure {
            return Err(problem.clone());
        }
        let Some(first) = request.batches.first() else {
            return Err(Problem::new(ErrorCode::Internal, "an append without batches"));
        };
        if let Some(known) = self.known(first)? {
            return Ok(Appended { duplicate: true, ..known });
        }
        if let Some(expected) = request.expected_end
            && expected != self.end
        {
            return Err(Problem::new(ErrorCode::PreconditionFailed, "the end has moved")
                .with("end", self.end.get()));
        }
        let appended = Appended {
            base_offset: self.end,
            count: request.batches.iter().map(|batch| u64::from(batch.record_count())).sum(),
            timestamp_ms: now_ms,
            durable: request.acks.durable(),
            duplicate: false,
        };
        for batch in request.batches {
            self.remember(&batch, appended);
            self.push(key, batch, now_ms);
        }
        self.publish();
        Ok(appended)
    }

    fn push(&mut self, key: ReplicaKey, client: ClientBatch, now_ms: i64) {
        let placement = Placement {
            key,
            base_offset: self.end,
            leader_epoch: EPOCH,
            high_watermark: self.end,
            append_time_ms: now_ms,
            append_timestamps: self.append_timestamps,
        };
        let batch = Batch { placement, client };
        self.end = batch.next_offset();
        self.batches.push(batch);
    }

    /// The first answer, when this batch has been seen.
    fn known(&self, batch: &ClientBatch) -> Result<Option<Appended>, Problem> {
        if let Some(key) = batch.request_key() {
            return Ok(self.request_keys.get(&key).copied());
        }
        let Some(stamp) = batch.producer() else { return Ok(None) };
        let Some(producer) = self.producers.get(&stamp.id) else { return Ok(None) };
        if stamp.epoch < producer.epoch {
            return Err(Problem::new(ErrorCode::ProducerFenced, "a newer producer took over")
                .with("current_epoch", producer.epoch));
        }
        if stamp.epoch > producer.epoch || stamp.seq == producer.next_seq {
            return Ok(None);
        }
        if stamp.seq == producer.last.0 {
            return Ok(Some(producer.last.1));
        }
        Err(Problem::new(ErrorCode::OutOfOrder, "a sequence number is missing")
            .with("expected", producer.next_seq)
            .with("received", stamp.seq))
    }

    fn remember(&mut self, batch: &ClientBatch, appended: Appended) {
        if let Some(key) = batch.request_key() {
            self.request_keys.insert(key, appended);
        }
        if let Some(stamp) = batch.producer() {
            let next_seq = stamp.seq.wrapping_add(batch.record_count());
            let producer = Producer { epoch: stamp.epoch, next_seq, last: (stamp.seq, appended) };
            self.producers.insert(stamp.id, producer);
        }
    }

    fn read(&self, from: Offset, bytes_max: usize) -> Result<Chunk, Problem> {
        if from < self.log_start || from > self.end {
            return Err(Problem::new(ErrorCode::OffsetOutOfRange, "outside of the log")
                .with("log_start", self.log_start.get())
                .with("end", self.end.get()));
        }
        let mut batches: Vec<Batch> = Vec::new();
        let mut bytes = 0;
        for batch in self.batches.iter().filter(|batch| batch.next_offset() > from) {
            bytes += batch.encoded_len();
            if !batches.is_empty() && bytes > bytes_max {
                break;
            }
            batches.push(batch.clone());
        }
        let next = batches.last().map_or(from, Batch::next_offset);
        let tail = *self.tail.borrow();
        Ok(Chunk {
            batches,
            next,
            log_start: tail.log_start,
            high_watermark: tail.high_watermark,
            leader_epoch: tail.leader_epoch,
        })
    }

    fn offset_at(&self, time_ms: i64) -> Offset {
        for batch in &self.batches {
            let records = batch.client.records().expect("appended batches are valid");
            for (index, record) in records.iter().enumerate() {
                let record = record.expect("appended batches are valid");
                if batch.timestamp_of(&record) >= time_ms {
                    return batch.placement.base_offset.plus(index as u64);
                }
            }
        }
        self.end
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
        Box::pin(async move { self.with(key, |replica| replica.read(from, bytes_max)) })
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move {
            self.with(key, |replica| {
                Ok(PartitionStatus {
                    log_start: replica.log_start,
                    high_watermark: replica.end,
                    end: replica.end,
                    leader_epoch: EPOCH,
                    size_bytes: replica.batches.iter().map(|batch| batch.encoded_len() as u64).sum(),
                    last_append_ms: replica.batches.last().map(|b| b.placement.append_time_ms),
                })
            })
        })
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move { self.with(key, |replica| Ok(replica.offset_at(time_ms))) })
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move { self.with(key, |replica| Ok(replica.tail.subscribe())) })
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
    }
}
