//! Runs a log over a recording disk, step by step, and writes down beside each operation what had been
//! submitted and what acknowledged.
//!
//! No threads: rounds and the writer's steps run when the script says so.

mod compacting;

mod unsynced;

pub use compacting::Keyed;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, Placement, epoch_marker};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{Incarnation, ReplicaGen};
use tidegate_proto::position::{LeaderEpoch, Offset};
use tidegate_proto::record::{Datum, RecordRef};
use uuid::Uuid;

use super::model::{Model, ReplicaModel};
use super::setting::{DIR, deaf, key};
use crate::testing::Dice;
use crate::testing::trace::{Op, TraceVfs, Tree};
use crate::{Entry, Log, LogConfig, ReplicaMeta, Submission};

/// Something that a workload knows at a moment, between two operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// The history has grown to this entry.
    Submitted(usize),
    /// All up to this entry of the history is acknowledged.
    Durable(usize),
    /// All up to this entry of the history survives the end of the process.
    Written(usize),
    /// The log was closed in order.
    Closed,
    /// The log is about to be opened.
    Opening,
    /// The directory served under this registration, durably.
    Incarnation(u64),
    /// A file of somebody else's is there, durably: it must never be lost.
    Foreign(Arc<[u8]>),
    /// So many of the retired replicas may be deleted.
    Purged(usize),
}

/// A workload that was run.
#[derive(Debug, Default)]
pub struct Recording {
    /// Operations in order.
    pub trace: Vec<Op>,
    /// What was known before the operation of that number, in order.
    pub moments: Vec<(usize, Moment)>,
    /// What the log held after each submission; the first is the empty log.
    pub history: Vec<Model>,
    /// The sizes it ran with.
    pub config: LogConfig,
}

/// A workload that runs.
#[derive(Debug)]
pub struct Script {
    vfs: TraceVfs,
    log: Log,
    config: LogConfig,
    /// Decides what the workload leaves open.
    pub dice: Dice,
    now: Model,
    moments: Vec<(usize, Moment)>,
    history: Vec<Model>,
    /// Of the history, what is acknowledged.
    durable: usize,
    /// Of the history, what is in a round.
    written: usize,
    time_ms: i64,
    /// Where calls of compaction could reach, and when.
    passes: Vec<(Offset, i64)>,
}

impl Script {
    /// Begins with an empty disk, and formats it.
    #[must_use]
    pub fn new(vfs: TraceVfs, config: LogConfig, seed: u64) -> Self {
        let mut moments = vec![(0, Moment::Opening)];
        let log = open(&vfs, &config);
        moments.push((vfs.len(), Moment::Durable(0)));
        Self {
            vfs,
            log,
            config,
            dice: Dice::new(seed),
            now: Model::default(),
            moments,
            history: vec![Model::default()],
            durable: 0,
            written: 0,
            time_ms: 1_000,
            passes: Vec::new(),
        }
    }

    /// Ends the workload.
    #[must_use]
    pub fn finish(self) -> Recording {
        Recording {
            trace: self.vfs.take_trace(),
            moments: self.moments,
            history: self.history,
            config: self.config,
        }
    }

    /// Ends the workload as a crash does that loses nothing: what the disk holds, and what the log held.
    #[must_use]
    pub(super) fn into_tree(self) -> (Tree, Model) {
        (self.vfs.tree(), self.now)
    }

    /// What the log must hold.
    #[must_use]
    pub(super) fn model(&self) -> &Model {
        &self.now
    }

    /// The disk.
    #[must_use]
    pub fn vfs(&self) -> &TraceVfs {
        &self.vfs
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// What the log must hold of a replica.
    #[must_use]
    pub fn expected(&self, partition: u32) -> &ReplicaModel {
        &self.now.replicas[&key(partition)]
    }

    /// True when the replica is there.
    #[must_use]
    pub fn has(&self, partition: u32) -> bool {
        self.now.replicas.contains_key(&key(partition))
    }

    /// Makes a replica.
    pub fn create(&mut self, partition: u32, generation: u128) {
        let replica_gen = ReplicaGen(Uuid::from_u128(generation));
        let made = self
            .log
            .create_replica(key(partition), replica_gen, self.config.segment);
        made.expect("a disk in memory makes directories");
        self.now.create(key(partition), replica_gen);
        self.submitted();
    }

    /// Gives a replica up.
    pub fn retire(&mut self, partition: u32) {
        let retired = self.log.retire_replica(key(partition));
        retired.expect("the replica is there");
        self.now.retire(key(partition));
        self.submitted();
    }

    /// Submits entries that land in one round.
    pub fn submit(&mut self, entries: Vec<Entry>) {
        entries.iter().for_each(|entry| self.now.entry(entry));
        let submission = Submission { shard: 0, entries };
        let submitted = self.log.submit(submission);
        submitted.expect("the script keeps count");
        self.submitted();
    }

    /// A batch at the replica's end, plus what the submission holds before it.
    #[must_use]
    pub fn batch(&mut self, partition: u32, end: Offset, records: u32, bytes: usize) -> Batch {
        let client = self.records(records, bytes);
        self.place(partition, client, end)
    }

    /// Appends batches in one submission.
    pub fn append(&mut self, partition: u32, batches: u32, records: u32, bytes: usize) {
        let mut end = self.expected(partition).end;
        let mut entries = Vec::new();
        for _ in 0..batches {
            let batch = self.batch(partition, end, records, bytes);
            end = batch.next_offset();
            entries.push(Entry::Batch(batch));
        }
        self.submit(entries);
    }

    /// Appends a batch without records.
    pub fn append_marker(&mut self, partition: u32) {
        let end = self.expected(partition).end;
        let batch = self.place(partition, epoch_marker(self.time_ms), end);
        self.submit(vec![Entry::Batch(batch)]);
    }

    /// Cuts the last batches off.
    pub fn cut(&mut self, partition: u32, batches: usize) {
        let replica = self.expected(partition);
        let first_gone = replica.batches.len().saturating_sub(batches);
        let Some(first_gone) = replica.batches.get(first_gone) else {
            return;
        };
        let to = first_gone.placement.base_offset.max(replica.log_start);
        let key = key(partition);
        self.submit(vec![Entry::Cut { key, to }]);
    }

    /// Moves the first offset.
    pub fn trim(&mut self, partition: u32, to: Offset) {
        let key = key(partition);
        self.submit(vec![Entry::Trim { key, to }]);
    }

    /// Accepts an epoch.
    pub fn accept(&mut self, partition: u32, epoch: u64) {
        let meta = ReplicaMeta {
            leader_epoch: LeaderEpoch(epoch),
            version: epoch + 1,
            ..self.expected(partition).meta
        };
        let key = key(partition);
        self.submit(vec![Entry::Meta { key, meta }]);
    }

    /// Replaces the producer snapshot.
    pub fn snapshot(&mut self, partition: u32, bytes: usize) {
        let as_of = self.expected(partition).end;
        let bytes: Bytes = self.noise(bytes).into();
        let key = key(partition);
        self.submit(vec![Entry::Snapshot { key, as_of, bytes }]);
    }

    /// Says that everything there is committed.
    pub fn commit(&mut self, partition: u32) {
        let offset = self.expected(partition).end;
        let key = key(partition);
        self.submit(vec![Entry::HighWatermark { key, offset }]);
    }

    /// Runs rounds until nothing waits: all that was submitted is acknowledged.
    pub fn round(&mut self) {
        while self.log.run_round().expect("the disk does not fail") {}
        self.acknowledged();
    }

    /// Closes the last round with an empty one.
    pub fn closing_round(&self) {
        let ran = self.log.run_closing_round();
        ran.expect("the disk does not fail");
    }

    /// One piece of the segment writer's work.
    pub fn step(&self) -> bool {
        self.log.run_writer_step().expect("the disk does not fail")
    }

    /// Rounds, then everything the writer has to do.
    pub fn settle(&mut self) {
        self.round();
        while self.step() {}
    }

    /// Segments, synced, and a checkpoint.
    pub fn checkpoint(&self) {
        self.log.checkpoint().expect("the disk does not fail");
    }

    /// Lets time pass.
    pub fn tick(&mut self, ms: i64) {
        self.time_ms += ms;
        self.log.tick(self.time_ms);
    }

    /// Deletes what is in the trash and dated.
    pub fn purge(&mut self) {
        self.note(Moment::Purged(self.now.retired.len()));
        let purged = self.log.purge_trash(i64::MAX);
        purged.expect("the disk does not fail");
    }

    /// Registers.
    pub fn register(&mut self, incarnation: u64) {
        let set = self.log.set_incarnation(Incarnation(incarnation));
        set.expect("the disk does not fail");
        self.note(Moment::Incarnation(incarnation));
    }

    /// Closes in order, and opens again.
    pub fn reopen(&mut self) {
        self.close();
        self.open();
    }

    /// Closes in order. Only `open` may follow.
    pub fn close(&mut self) {
        // Closing runs what waits.
        self.log.close().expect("the disk does not fail");
        self.acknowledged();
        self.note(Moment::Closed);
    }

    /// The process is killed; another one opens what it left. What was not in a round is lost.
    pub fn kill(&mut self) {
        self.now = self.history[self.written].clone();
        let is_synced = self.written == self.durable;
        self.submitted();
        self.written = self.history.len() - 1;
        self.note(Moment::Written(self.written));
        if is_synced {
            self.acknowledged();
        }
        self.open();
        self.acknowledged();
    }

    /// Opens the directory anew.
    pub fn open(&mut self) {
        self.note(Moment::Opening);
        // The lock is the process's: the old log must be gone before another can have it.
        self.log = open(&TraceVfs::default(), &self.config);
        self.log = open(&self.vfs, &self.config);
    }

    /// Writes down something that is known from now on.
    pub fn note(&mut self, moment: Moment) {
        self.moments.push((self.vfs.len(), moment));
    }

    fn submitted(&mut self) {
        self.history.push(self.now.clone());
        self.note(Moment::Submitted(self.history.len() - 1));
    }

    fn acknowledged(&mut self) {
        self.durable = self.history.len() - 1;
        self.written = self.durable;
        self.note(Moment::Durable(self.durable));
    }

    fn records(&mut self, count: u32, bytes: usize) -> ClientBatch {
        let mut builder = BatchBuilder::new(Codec::None);
        for number in 0..count {
            let value = self.noise(bytes);
            let record = RecordRef {
                timestamp_ms: self.time_ms + i64::from(number),
                key: Datum::Absent,
                value: Datum::Bytes(&value),
                headers: &[],
            };
            builder.push(&record).expect("the record is small");
        }
        builder.finish().expect("the batch is small")
    }

    fn place(&mut self, partition: u32, client: ClientBatch, base: Offset) -> Batch {
        self.time_ms += 10;
        let replica = self.expected(partition);
        let placement = Placement {
            key: key(partition),
            base_offset: base,
            leader_epoch: replica.meta.leader_epoch,
            high_watermark: replica.high_watermark,
            append_time_ms: self.time_ms,
            append_timestamps: false,
        };
        Batch { placement, client }
    }

    fn noise(&mut self, bytes: usize) -> Vec<u8> {
        let mut noise = Vec::with_capacity(bytes + 8);
        while noise.len() < bytes {
            noise.extend_from_slice(&self.dice.below(u64::MAX).to_le_bytes());
        }
        noise.truncate(bytes);
        noise
    }
}

fn open(vfs: &TraceVfs, config: &LogConfig) -> Log {
    let opened = Log::open(
        Arc::new(vfs.clone()),
        Path::new(DIR),
        config.clone(),
        deaf(),
    );
    opened.expect("a disk that lost nothing opens").log
}
