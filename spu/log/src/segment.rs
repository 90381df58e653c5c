//! One segment: when it is closed, where its files are, and the running state of the one that is
//! written to.
//!
//! Pure but for paths and for opening what they name. Invariant: a segment's base offset is above every base in the segment before
//! it, so that an offset belongs to one segment and a file name is used once.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::files::{FileId, FileKind, FilePool};
use crate::index::{IndexEntry, IndexRule};
use crate::layout;
use crate::vfs::VfsFile;

/// When segments are closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentConfig {
    /// A segment is closed before it grows beyond this, unless one batch is larger.
    pub segment_bytes: u64,
    /// A segment is closed when its first append is this long ago.
    pub segment_ms: u64,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self {
            segment_bytes: crate::limits::SEGMENT_BYTES_DEFAULT,
            segment_ms: crate::limits::SEGMENT_MS_DEFAULT,
        }
    }
}

/// One segment, as much as readers need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentInfo {
    pub(crate) base: Offset,
    pub(crate) len: u64,
    pub(crate) max_timestamp_ms: i64,
    /// Greatest append time of its batches as far as it is known, the leader's clock.
    pub(crate) last_append_ms: i64,
}

/// A segment and where it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) info: SegmentInfo,
    pub(crate) end: Offset,
}

/// Where a replica's files are.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) key: ReplicaKey,
    /// Number of this open replica; see [`FileId`].
    pub(crate) number: u64,
    pub(crate) replica_gen: ReplicaGen,
    pub(crate) pool: Arc<FilePool>,
}

impl Home {
    pub(crate) fn id(&self, base: Offset, kind: FileKind) -> FileId {
        FileId {
            replica: self.number,
            base,
            kind,
        }
    }

    /// Made when it is asked for: of ten thousand idle replicas each would keep a hundred bytes.
    pub(crate) fn dir(&self) -> Arc<Path> {
        let below = layout::replica_path(self.key, self.replica_gen);
        self.pool.root().join(below).into()
    }

    pub(crate) fn path(&self, base: Offset, kind: FileKind) -> PathBuf {
        self.id(base, kind).path(&self.dir())
    }

    /// An existing file.
    pub(crate) fn open(&self, base: Offset, kind: FileKind) -> io::Result<Arc<dyn VfsFile>> {
        self.pool.get(self.id(base, kind), || self.dir())
    }

    /// A file that is made, empty, when it is not there.
    pub(crate) fn open_or_create(
        &self,
        base: Offset,
        kind: FileKind,
    ) -> io::Result<Arc<dyn VfsFile>> {
        self.pool.get_or_create(self.id(base, kind), || self.dir())
    }
}

/// The segment that is written to.
#[derive(Debug, Clone)]
pub(crate) struct Active {
    pub(crate) info: SegmentInfo,
    pub(crate) index_len: u64,
    pub(crate) rule: IndexRule,
    /// Append time of its first batch.
    pub(crate) first_append_ms: i64,
    /// Base of its last batch, and whether that took no offset. A new segment must not begin at an
    /// offset that a batch in this one begins at.
    pub(crate) last_base: Offset,
    pub(crate) last_is_empty: bool,
}

impl Active {
    pub(crate) fn new(base: Offset, first_append_ms: i64) -> Self {
        Self {
            info: SegmentInfo {
                base,
                len: 0,
                max_timestamp_ms: i64::MIN,
                last_append_ms: first_append_ms,
            },
            index_len: 0,
            rule: IndexRule::new(),
            first_append_ms,
            last_base: base,
            last_is_empty: false,
        }
    }

    /// Takes note of a batch at the end; gives the index entry that belongs before it.
    pub(crate) fn note(&mut self, batch: &Batch) -> Option<IndexEntry> {
        let base = batch.placement.base_offset;
        if self.info.len == 0 {
            // Also of a file that a crash left empty, which says nothing of its age.
            self.first_append_ms = batch.placement.append_time_ms;
            self.info.last_append_ms = self.first_append_ms;
        }
        let append_ms = batch.placement.append_time_ms;
        self.info.last_append_ms = self.info.last_append_ms.max(append_ms);
        let entry = self
            .rule
            .batch(base, self.info.len, batch.max_timestamp_ms());
        self.info.len += batch.encoded_len() as u64;
        self.info.max_timestamp_ms = self.rule.max_timestamp_ms;
        self.last_base = base;
        self.last_is_empty = batch.next_offset() == base;
        entry
    }

    /// The entry that closes its index, when it ends at `end`.
    pub(crate) fn closing(&self, end: Offset) -> IndexEntry {
        let info = &self.info;
        IndexEntry::closing(end, info.len, info.max_timestamp_ms, info.last_append_ms)
    }

    pub(crate) fn is_due(&self, batch: &Batch, config: &SegmentConfig) -> bool {
        let full =
            self.info.len > 0 && self.info.len + batch.encoded_len() as u64 > config.segment_bytes;
        full || self.is_old(batch.placement.append_time_ms, config)
    }

    pub(crate) fn is_old(&self, now_ms: i64, config: &SegmentConfig) -> bool {
        self.info.len > 0
            && now_ms.saturating_sub(self.first_append_ms)
                >= i64::try_from(config.segment_ms).unwrap_or(i64::MAX)
    }

    pub(crate) fn may_end_before(&self, base: Offset) -> bool {
        base > self.last_base && !self.last_is_empty
    }
}
