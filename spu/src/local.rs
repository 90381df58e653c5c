//! The data plane's partitions, over the replicas of this node.
//!
//! Appends go to the shard. Reads never do: they are bounded by what the shard published, served from
//! memory when the log still has it there, and else in turns on a few blocking threads, so that cold
//! reads can neither starve appends nor pile up. A partition that the topology knows and that is not open yet
//! is waited for.

mod found;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidegate_data_plane::partitions::{
    AppendRequest, Appended, BoxFuture, Chunk, Held, Partitions, Tail,
};
use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::{Log, ReadError, SpaceLevel};
use tidegate_proto::batch::Batch;
use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::SpuId;
use tidegate_proto::limits::READ_BYTES_MAX;
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::Span;

use crate::lane::{Lane, Turn};
use crate::limits::{COLD_CHUNK_BYTES, OPEN_WAIT_MAX};
use crate::shard::{Directory, PartitionHandle, Reader, Service};
use crate::traffic::TrafficCounter;
use crate::{metrics, refusal};
use found::{chunk, read_problem};

/// What a node needs before it can serve.
#[derive(Debug)]
struct Started {
    topology: watch::Receiver<Arc<Topology>>,
    tasks: Tasks,
}

/// The partitions of this node.
#[derive(Debug)]
pub(crate) struct LocalPartitions {
    own: SpuId,
    log: Log,
    directory: Directory,
    lane: Lane,
    traffic: Arc<TrafficCounter>,
    started: OnceLock<Started>,
    stopping: AtomicBool,
}

impl LocalPartitions {
    pub(crate) fn new(
        own: SpuId,
        log: Log,
        directory: Directory,
        lane: Lane,
        traffic: Arc<TrafficCounter>,
    ) -> Self {
        Self {
            own,
            log,
            directory,
            lane,
            traffic,
            started: OnceLock::new(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Gives it what it serves by; false when it was started before.
    pub(crate) fn start(&self, topology: watch::Receiver<Arc<Topology>>, tasks: Tasks) -> bool {
        self.started.set(Started { topology, tasks }).is_ok()
    }

    /// From now on nothing that is not open is waited for.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.directory.touch();
    }

    /// The partition, as soon as its role is settled.
    async fn partition(
        &self,
        key: ReplicaKey,
        wait: Duration,
    ) -> Result<Arc<PartitionHandle>, Problem> {
        match self.settled(key) {
            Some(handle) => Ok(handle),
            None => timeout(wait.min(OPEN_WAIT_MAX), self.opened(key))
                .await
                .unwrap_or_else(|_| {
                    Err(refusal::unavailable(
                        "the partition is still being opened on this node",
                    ))
                }),
        }
    }

    /// The same, unless somebody else leads it and knows more; with `any_copy` unless this one may lack what
    /// is committed.
    async fn readable(
        &self,
        key: ReplicaKey,
        any_copy: bool,
    ) -> Result<Arc<PartitionHandle>, Problem> {
        let handle = self.partition(key, OPEN_WAIT_MAX).await?;
        if handle.reader.service() != Service::Following {
            return Ok(handle);
        }
        let topology = self.started.get().map(|started| started.topology.borrow());
        let topic = topology
            .as_ref()
            .and_then(|now| now.topic_by_id(key.topic_id));
        let row = topic.and_then(|topic| topic.partition(key.partition));
        match row {
            // One that is damaged leads nothing, and nobody has more of it; nor of the only copy.
            Some(row) if row.leader == Some(self.own) || row.replicas.len() == 1 => Ok(handle),
            Some(row) if any_copy && row.is_in_sync(self.own) => Ok(handle),
            _ => Err(refusal::elsewhere(row.and_then(|row| row.leader), self.own)),
        }
    }

    fn settled(&self, key: ReplicaKey) -> Option<Arc<PartitionHandle>> {
        let handle = self.directory.get(key)?;
        let is_settled = matches!(
            handle.reader.service(),
            Service::Full | Service::ReadOnly | Service::Following
        );
        is_settled.then_some(handle)
    }

    async fn opened(&self, key: ReplicaKey) -> Result<Arc<PartitionHandle>, Problem> {
        let mut changes = self.directory.changes();
        loop {
            if let Some(handle) = self.settled(key) {
                return Ok(handle);
            }
            self.check_known(key)?;
            if !changes.next().await {
                return Err(refusal::unavailable("this node is stopping"));
            }
        }
    }

    /// Whether the topology says that this node has a replica of the partition.
    fn check_known(&self, key: ReplicaKey) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(refusal::unavailable("this node is stopping"));
        }
        let Some(started) = self.started.get() else {
            return Err(refusal::unavailable("this node has not been started yet"));
        };
        let topology = started.topology.borrow();
        let topic = topology.topic_by_id(key.topic_id);
        let partition = topic.and_then(|topic| topic.partition(key.partition));
        let Some(partition) = partition else {
            return Err(refusal::no_such_partition(key, topic.is_some()));
        };
        if partition.replicas.is_empty() {
            let wanted = topic.map_or(0, |topic| topic.replication_factor);
            return Err(refusal::unplaced(wanted));
        }
        if partition
            .replicas
            .iter()
            .any(|replica| replica.spu == self.own)
        {
            return Ok(());
        }
        Err(refusal::elsewhere(partition.leader, self.own))
    }

    async fn read_chunk(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
        any_copy: bool,
    ) -> Result<Chunk, Problem> {
        let handle = self.readable(key, any_copy).await?;
        let tail = handle.reader.tail();
        if from < tail.log_start {
            return Err(refusal::truncated(
                from,
                tail.log_start,
                handle.reader.end(),
            ));
        }
        if from >= tail.high_watermark {
            let end = handle.reader.end();
            // Between the high watermark and the end are records that may be read later.
            let waits = from <= end;
            let none = || Ok(chunk(Vec::new(), from, tail, Held::default()));
            return if waits {
                none()
            } else {
                Err(refusal::out_of_range(from, tail.log_start, end))
            };
        }
        let bytes_max = bytes_max.clamp(1, READ_BYTES_MAX);
        if let Some(batches) = self.cached(&handle, tail, from, bytes_max) {
            return Ok(chunk(batches, from, tail, Held::default()));
        }
        let upto = tail.high_watermark;
        let bytes_max = bytes_max.min(COLD_CHUNK_BYTES);
        let read = move |reader: &Reader| reader.log.read(from, upto, bytes_max);
        let (batches, turn) = self.cold(&handle, from, read).await?;
        let bytes = self.count(&handle, "disk", &batches);
        Ok(chunk(batches, from, tail, self.lane.read(turn, bytes)))
    }

    /// What the log has in memory from there on.
    fn cached(
        &self,
        handle: &PartitionHandle,
        tail: Tail,
        from: Offset,
        bytes_max: usize,
    ) -> Option<Vec<Batch>> {
        let log = &handle.reader.log;
        let batches = log.read_cached(from, tail.high_watermark, bytes_max)?;
        self.count(handle, "memory", &batches);
        Some(batches)
    }

    /// Counts a read; how many bytes it is.
    fn count(&self, handle: &PartitionHandle, source: &'static str, batches: &[Batch]) -> usize {
        let bytes = batches.iter().map(Batch::encoded_len).sum();
        let records = batches
            .iter()
            .map(|one| u64::from(one.client.record_count()));
        metrics::read(source, batches.len() as u64, bytes as u64);
        self.traffic.moved(records.sum(), bytes as u64);
        self.traffic.answered(1);
        handle.reader.moved_out(bytes as u64);
        bytes
    }

    /// Runs a blocking read when it is its turn.
    async fn cold<T: Send + 'static>(
        &self,
        handle: &PartitionHandle,
        from: Offset,
        read: impl FnOnce(&Reader) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<(T, Turn), Problem> {
        let stopping = || refusal::unavailable("this node is stopping");
        let tasks = &self.started.get().ok_or_else(stopping)?.tasks;
        let turn = self.lane.turn().await;
        let reader = Arc::clone(&handle.reader);
        // The turn goes with the work: who asked may be gone before the disk answers.
        let work = move || read(&reader).map(|found| (found, turn));
        let outcome = tasks
            .spawn_blocking(TaskKind::Blocking, Span::current(), work)
            .await;
        match outcome {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(read_problem(&error, from, &handle.reader)),
            Err(error) => Err(Problem::new(ErrorCode::Internal, error.to_string())),
        }
    }

    async fn offset_at_time(&self, key: ReplicaKey, time_ms: i64) -> Result<Offset, Problem> {
        let handle = self.readable(key, false).await?;
        let tail = handle.reader.tail();
        let upto = tail.high_watermark;
        let find = move |reader: &Reader| reader.log.offset_at(time_ms, upto);
        let (found, _turn) = self.cold(&handle, tail.log_start, find).await?;
        Ok(found.unwrap_or(upto))
    }
}

impl Partitions for LocalPartitions {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        // Before the start there is nothing to see, and nobody who would change it.
        let empty = || watch::Sender::new(Arc::new(Topology::default())).subscribe();
        self.started
            .get()
            .map_or_else(empty, |started| started.topology.clone())
    }

    fn append(
        &self,
        key: ReplicaKey,
        mut request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        Box::pin(async move {
            // Control batches are the server's, and an empty one has no offset to answer with.
            if request.batches.is_empty()
                || request
                    .batches
                    .iter()
                    .any(|batch| batch.record_count() == 0)
            {
                return Err(Problem::new(
                    ErrorCode::CorruptBatch,
                    "a batch without records",
                ));
            }
            if request.batches.iter().any(|batch| batch.is_control()) {
                let detail = "control batches are written by the server alone";
                return Err(Problem::new(ErrorCode::CorruptBatch, detail));
            }
            let settled = self.settled(key);
            // Here, before anything is placed: what has a place waits for room, and its outcome is open.
            if self.log.space_level() == SpaceLevel::Full {
                if settled.is_none() {
                    self.check_known(key)?;
                }
                metrics::shed("disk_full");
                return Err(refusal::disk_full());
            }
            if let Some(handle) = settled {
                return handle.append(request).await;
            }
            let since = clock::monotonic();
            let handle = self.partition(key, request.timeout).await?;
            let waited = clock::monotonic().saturating_duration_since(since);
            request.timeout = request.timeout.saturating_sub(waited);
            handle.append(request).await
        })
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(self.read_chunk(key, from, bytes_max, false))
    }

    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(self.read_chunk(key, from, bytes_max, true))
    }

    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move { Ok(self.readable(key, true).await?.reader.status()) })
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        let handle = self.settled(key)?;
        let is_following = handle.reader.service() == Service::Following;
        let tail = handle.reader.tail();
        if is_following || from < tail.log_start || from >= tail.high_watermark {
            return None;
        }
        let bytes_max = bytes_max.clamp(1, READ_BYTES_MAX);
        let batches = self.cached(&handle, tail, from, bytes_max)?;
        Some(chunk(batches, from, tail, Held::default()))
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move { Ok(self.readable(key, false).await?.reader.status()) })
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move {
            let handle = self.readable(key, false).await?;
            let sealed = handle.reader.log.sealed_end();
            Ok(sealed.min(handle.reader.tail().high_watermark))
        })
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(self.offset_at_time(key, time_ms))
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move { Ok(self.readable(key, false).await?.reader.follow()) })
    }

    fn is_in_doubt(&self, key: ReplicaKey) -> bool {
        let handle = self.directory.get(key);
        handle.is_none_or(|handle| handle.reader.service() != Service::Full)
    }
}
