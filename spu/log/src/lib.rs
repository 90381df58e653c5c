//! The storage engine: one journal and many segment files in one data directory, behind [`Vfs`].
//! Synchronous, with two threads of its own; it never reads a clock and decides nothing about
//! replication. The rules it keeps (J1-J5, T2, T3, S2) are those of the replication contract.
//!
//! # Surface
//! ```text
//! Log::open(vfs: Arc<dyn Vfs>, dir: &Path, LogConfig, listener: Arc<dyn RoundListener>) -> Result<Opened, OpenError>
//! Opened { log, storage_id, last_incarnation, clean, clean_incarnation, same_boot, replicas: Vec<ReplicaFacts>, missing: Vec<MissingReplica>, journal_rot }
//!
//! log.replica(ReplicaKey) -> Option<Arc<Replica>>          log.replicas() -> Vec<Arc<Replica>>
//! log.create_replica(ReplicaKey, ReplicaGen, SegmentConfig) -> Result<Arc<Replica>, CreateError>     makes a directory: blocks
//! log.create_replicas(&[NewReplica]) -> Result<Vec<Result<Arc<Replica>, CreateError>>, LogDead>       many, with one sync of their names
//! log.retire_replica(ReplicaKey) -> Result<(), SubmitError>                                           moved to trash/ by the writer thread
//! log.submit(Submission { shard, entries }) -> Result<(), SubmitError>                                never blocks
//! log.start_threads() -> Result<(), LogDead>               or, in a simulation:
//! log.run_round() -> Result<bool, LogDead>                 log.run_writer_step() -> Result<bool, LogDead>
//! log.run_sync() -> Result<bool, LogDead>                  what deferring replicas wrote
//! log.run_compaction_step(now_ms) -> Result<CompactionStep, LogDead>                                  blocks; in production a thread calls it
//! log.tick(now_ms)                                         about once a second: rolls by time, checkpoints by age
//! log.attempt_registration(AttemptId) -> Result<(AttemptId, Option<AttemptId>), LogDead>              durable when it returns
//! log.set_incarnation(Incarnation) -> Result<(), LogDead>  durable when it returns
//! log.close() -> Result<(), LogDead>                       flushes all, leaves the clean marker, ends the threads
//! Scrubber::new(log, share).step(bytes_max) -> Scrubbed   checks stored bytes, around the page cache: blocks
//! log.purge_trash(older_than_ms) -> io::Result<usize>      log.stats() -> LogStats
//!
//! trait RoundListener { durable(shard, round, ends: &[(ReplicaKey, Offset)]); written(shard, round, ends); failed(&LogDead) }      from the journal thread; must not block
//!
//! replica.key() replica_gen() meta() durable_meta() log_start() end() high_watermark() size_bytes() last_append_ms()
//! replica.snapshot() -> Result<Option<(Offset, Bytes)>, SnapshotLost>                 replica.is_whole() -> bool        replica.damage() -> Option<FileDamage>
//! replica.read_cached(from, upto, bytes_max) -> Option<Vec<Batch>>                   memory only; None = ask the disk
//! replica.read(from, upto, bytes_max) -> Result<Vec<Batch>, ReadError>               blocks on the disk
//! replica.offset_at(time_ms, upto) -> Result<Option<Offset>, ReadError>              blocks
//! replica.batch_headers(from, |&BatchHeader| ) -> Result<(), ReadError>              blocks; for producer tables
//! replica.set_config(SegmentConfig { segment_bytes, segment_ms })
//! replica.set_sync_deferred(bool)                          replica.written_end() -> Offset
//! replica.durable_position() written_position() -> LogPosition                       replica.is_shortened() -> bool: every cut and trim is durable
//! replica.read_after_cached(LogPosition, bytes_max) -> Option<Vec<Batch>>             for followers: markers at the end included
//! replica.read_after(LogPosition, bytes_max) -> Result<Vec<Batch>, ReadError>         blocks      replica.readable_from() -> Result<Offset, ReadError>
//! replica.set_replicated(Option<Offset>) durable_snapshot() found_last_epoch(LeaderEpoch)
//! replica.set_compaction(Option<CompactionConfig { delete_retention_ms }>)           replica.take_snapshot_wanted() -> bool
//! replica.retention(now_ms, retention_ms: Option<u64>, retention_bytes: Option<u64>, high_watermark) -> Option<Offset>   submit it as Entry::Trim
//! ```
//!
//! # What is promised
//! - A submission lands whole in one round. When [`RoundListener::durable`] names an end, all below
//!   it survives kill -9 and power loss.
//! - A submitted batch is readable at once; readers bound themselves by the high watermark (`upto`).
//! - When [`RoundListener::written`] names an end, all below it survives kill -9. It is told of replicas
//!   that asked for it, whose entries then wait for a sync of the journal at most
//!   [`LogConfig::sync_interval_ms`]; a power loss takes a last part of them and nothing before it.
//! - Any failed write, sync or close ends the log ([`LogDead`]): nothing is retried, nothing more is
//!   accepted, `failed` is called once, reads go on.
//! - A stored file that cannot be read, or rotted, is the trouble of one replica ([`FileDamage`]): it is
//!   written on beside that, not intact, and no other notices.
//! - Every byte read from disk is checked before it is served.
//!
//! Locks are held for memory work only: a shard never waits for the disk in `submit` or
//! `read_cached`.

pub mod limits;

mod space;

mod platform;

pub mod vfs;

mod error;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub mod guard;

mod durable;

mod scalar;

mod layout;

mod identity;

mod note;

mod damage;

mod entry;

mod round;

mod checkpoint;

mod ballast;

mod failure;

mod journal;

mod folded;

mod replay;

mod places;

mod files;

mod stored;

mod index;

mod segment;

mod walk;

mod quarantine;

mod segments;

mod snapshot;

mod compacted;

mod tail;

mod disk_read;

mod replica;

mod fold;

mod recovery;

pub mod inspect;

mod config;

mod registry;

mod writer;

mod compaction;

mod opening;

mod log;

mod threads;

mod scrub;

#[cfg(any(test, feature = "testing"))]
pub mod images;

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

pub use compacted::CompactionConfig;
pub use compaction::CompactionStep;
pub use config::{CompactionStats, LogConfig, LogStats, RoundListener};
pub use damage::FileDamage;
pub use entry::{Entry, ReplicaMeta, Submission};
pub use error::{
    CreateError, DeadCause, DiskFailure, LogDead, OpenError, ReadError, SnapshotLost, SubmitError,
};
pub use failure::{AcceptedFailure, accept_failure};
pub use log::{Log, NewReplica, Opened};
pub use opening::{MissingReplica, ReplicaFacts};
pub use replica::{BatchHeader, Replica};
pub use scrub::{Scrubbed, Scrubber};
pub use segment::SegmentConfig;
pub use space::{Space, SpaceConfig, SpaceLevel};
pub use vfs::{DirItem, FileSystem, OsVfs, Vfs, VfsFile};
