//! What a caller may choose about a log, and what it is told.
//!
//! The numbers of [`crate::limits`] are the defaults; tests take small ones, so that a few
//! kilobytes meet every border.

use tidegate_proto::id::StorageId;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::error::LogDead;
use crate::journal::JournalSizes;
use crate::limits;
use crate::segment::SegmentConfig;
use crate::space::{Space, SpaceConfig, SpaceLevel};

/// Sizes and budgets of one log. All bytes.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// Identity of a directory that is made now; random when `None`.
    pub storage_id_if_new: Option<StorageId>,
    /// Segments of replicas found at opening, until `set_config`.
    pub segment: SegmentConfig,
    /// First journal file, and those made in a hurry.
    pub journal_file_bytes_first: u64,
    /// Journal files prepared in the background.
    pub journal_file_bytes: u64,
    /// All journal files.
    pub journal_bytes_max: u64,
    /// Journal written since the last checkpoint that makes one due.
    pub checkpoint_bytes: u64,
    /// Durable bytes of a replica worth writing to its segment.
    pub flush_bytes: u64,
    /// Durable unwritten bytes of all replicas that make the writer write.
    pub unflushed_bytes_soft: u64,
    /// The same, at which rounds wait.
    pub unflushed_bytes_max: u64,
    /// Batches kept in memory for readers at the tail.
    pub tail_cache_bytes: u64,
    /// Open segment and index files.
    pub open_files_max: usize,
    /// When the disk counts as full, and what is held back for then.
    pub space: SpaceConfig,
    /// Longest time that a round stays unsynced when nobody waits for its sync.
    pub sync_interval_ms: u64,
    /// Memory for the keys of one compaction pass.
    pub compaction_map_bytes: usize,
    /// Bytes that compaction may read a second.
    pub compaction_bytes_per_s: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            storage_id_if_new: None,
            segment: SegmentConfig::default(),
            journal_file_bytes_first: limits::JOURNAL_FILE_BYTES_FIRST,
            journal_file_bytes: limits::JOURNAL_FILE_BYTES,
            journal_bytes_max: limits::JOURNAL_BYTES_MAX,
            checkpoint_bytes: limits::CHECKPOINT_BYTES,
            flush_bytes: limits::FLUSH_BYTES as u64,
            unflushed_bytes_soft: limits::UNFLUSHED_BYTES_SOFT,
            unflushed_bytes_max: limits::UNFLUSHED_BYTES_MAX,
            tail_cache_bytes: limits::TAIL_CACHE_BYTES,
            open_files_max: limits::OPEN_FILES_MAX,
            space: SpaceConfig::OFF,
            sync_interval_ms: limits::SYNC_INTERVAL_MS,
            compaction_map_bytes: limits::COMPACTION_MAP_BYTES,
            compaction_bytes_per_s: limits::COMPACTION_BYTES_PER_S,
        }
    }
}

impl LogConfig {
    pub(crate) fn journal_sizes(&self) -> JournalSizes {
        JournalSizes {
            first: self
                .journal_file_bytes_first
                .next_multiple_of(limits::ROUND_ALIGN),
            standard: self
                .journal_file_bytes
                .next_multiple_of(limits::ROUND_ALIGN),
            total_max: self.journal_bytes_max,
        }
    }
}

/// Who is told about rounds. Called from the thread that runs rounds; must not block, nor call the
/// log's blocking functions.
pub trait RoundListener: Send + Sync {
    /// A round with entries of `shard` is durable. `ends` names every replica the shard's entries
    /// touched, with the end of what is durable of it now; entries without offsets (metadata,
    /// snapshots) are announced by the same call.
    fn durable(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]);
    /// A round is written that holds entries of `shard` whose replicas do not wait for its sync
    /// ([`crate::Replica::set_sync_deferred`]): what is below these ends survives the end of the
    /// process, and a crash of the system only after `durable`, which follows.
    fn written(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        let _ = (shard, round, ends);
    }
    /// The log is dead; called once. What was announced as durable is.
    fn failed(&self, error: &LogDead);
}

/// Numbers for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Number of the last durable round.
    pub round: u64,
    /// Bytes submitted and not yet in a round.
    pub waiting_bytes: u64,
    /// Durable bytes not yet in segments.
    pub unflushed_bytes: u64,
    /// Bytes of batches in memory.
    pub tail_bytes: u64,
    /// Journal files on disk, in bytes.
    pub journal_bytes: u64,
    /// Their cap.
    pub journal_bytes_max: u64,
    /// Journal bytes that a start after a crash would fold.
    pub uncheckpointed_bytes: u64,
    /// Replicas open.
    pub replicas: usize,
    /// What the file system said last; `None` before [`crate::Log::poll_space`].
    pub space: Option<Space>,
    /// How full the disk is.
    pub space_level: SpaceLevel,
    /// Bytes of the ballast.
    pub ballast_bytes: u64,
    /// The log has died, of anything but an orderly close.
    pub is_dead: bool,
    /// What compaction has done since the log was opened.
    pub compaction: CompactionStats,
}

/// What compaction has done since the log was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CompactionStats {
    /// Passes finished.
    pub passes: u64,
    /// Passes given up: segments changed under them, could not be read, or there was no room.
    pub abandoned: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes by which segments became shorter.
    pub freed_bytes: u64,
    /// Records taken out.
    pub removed_records: u64,
}
