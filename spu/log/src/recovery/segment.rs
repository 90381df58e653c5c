//! Looks at one segment: whether its index says how it was closed, or else what its batches say.
//!
//! Invariant: nothing is cut off a file that the journal does not have, or a cut explains, before a copy
//! of it and the verdict are durable.

use tidegate_proto::position::Offset;

use super::Recovery;
use super::judge::Judge;
use crate::error::{Context as _, DiskError};
use crate::files::FileKind;
use crate::index::{self, IndexEntry};
use crate::quarantine;
use crate::segment::{Active, SegmentInfo};
use crate::segments::{CutSegment, Segments, is_crossed};
use crate::walk::{WalkStop, walk};

/// What became of a segment.
pub(super) enum Walked {
    /// It is what it must be, or was made so; with the torn bytes that were cut.
    Kept(Found, u64),
    /// The cut went through a hole, or behind damage, and was carried out.
    Cut(CutSegment),
    /// It cannot be read: what comes next comes behind it.
    Left,
}

/// A segment after its walk.
pub(super) struct Found {
    pub(super) active: Active,
    pub(super) end: Offset,
    /// The walk did not reach the end of the file.
    pub(super) stopped: bool,
    /// The file's length before.
    pub(super) len: u64,
}

impl Recovery<'_> {
    /// Walks one segment and cuts off its file what does not belong there.
    pub(super) fn walk_one(
        &mut self,
        segments: &Segments,
        judge: &mut Judge<'_>,
        base: Offset,
        next: Option<Offset>,
    ) -> Result<Walked, DiskError> {
        let len = segments.file_len(base)?;
        let path = self.home.path(base, FileKind::Records);
        let (folded, tail) = (judge.folded, (judge.tail_base, judge.tail_len));
        let mut crossed = None;
        let walk = walk(
            &self.home,
            base,
            len,
            |entry| {
                let synced = base < tail.0 || (base == tail.0 && entry.position < tail.1);
                synced && folded.cut.is_none_or(|cut| entry.offset < cut)
            },
            |batch, at| {
                let cut = judge.cut.filter(|cut| is_crossed(batch, *cut));
                crossed = cut.map(|cut| (batch.clone(), cut));
                judge.keeps(batch, base, at)
            },
        )?;
        if let Some((hole, cut)) = crossed {
            let made = segments.cut_hole(base, &hole, cut, self.unsynced)?;
            return Ok(Walked::Cut(made));
        }
        if let Some(cut) = judge.cut_through(base, next)
            && walk.end < cut
        {
            // Below a cut all was synced: it is damaged, and no word of what stands behind it.
            let made = self.cut_around(segments, judge, base, cut)?;
            return Ok(Walked::Cut(made));
        }
        let good = walk.active.info.len;
        let synced = judge.synced_len(base, len);
        if len > synced || judge.cut.is_some() {
            // Written by a process that was killed before it synced: kept, so it must last.
            let file = self.home.open(base, FileKind::Records);
            let file = file.during("open", &path)?;
            let id = self.home.id(base, FileKind::Records);
            self.unsynced.wrote(id, &self.home.dir(), &file, 0)?;
            self.unsynced.renamed(&self.home.dir())?;
        }
        let stopped = walk.stop != WalkStop::End;
        let keep = if good < synced && judge.is_uncut(next) {
            synced.min(len)
        } else {
            good
        };
        let torn = len - keep;
        if torn > 0 {
            let unexplained = judge.is_unexplained(|| self.has_batch_after(base, keep, len));
            if unexplained || good < synced.min(keep) {
                quarantine::copy(&self.home, base, keep..len)?;
                self.verdicts.not_intact(&judge.folded.state)?;
            }
            segments.shorten(base, keep, self.unsynced)?;
        }
        let found = Found {
            active: walk.active,
            end: walk.end,
            stopped,
            len,
        };
        Ok(Walked::Kept(found, torn))
    }

    /// A segment that was closed and synced: its index says how it ends.
    pub(super) fn closed_info(&self, base: Offset, next: Offset) -> Option<SegmentInfo> {
        let vfs = self.home.pool.vfs();
        let records = vfs.open_read(&self.home.path(base, FileKind::Records));
        let index = vfs.open_read(&self.home.path(base, FileKind::Index));
        // What cannot be had here, the walk looks at again.
        let (records, index) = (records.ok()?, index.ok()?);
        let len = records.len().ok()?;
        let closing = |entry: &IndexEntry| entry.position == len && entry.offset == next;
        let (_, entry) = index::last_entry(&*index, closing).ok()??;
        Some(SegmentInfo {
            base,
            len,
            max_timestamp_ms: entry.timestamp_before_ms,
            last_append_ms: entry.last_append_ms(),
        })
    }
}
