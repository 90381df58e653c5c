//! The segments of one replica as the writer sees them: append, roll, cut, trim.
//!
//! Used by one thread at a time, only for what is durable in the journal already (rule J4), so any
//! state a crash leaves behind can be made right from it. Bytes are written in place order and
//! synced later; [`Unsynced`] keeps count.

mod around;

mod hole;

pub(crate) use around::Below;
pub(crate) use hole::{CutSegment, is_crossed};

use std::io;
use std::sync::{Arc, LazyLock};

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::{CUT, Context as _, DiskError};
use crate::files::{FileId, FileKind, Unsynced};
use crate::index::ENTRY_LEN;
use crate::segment::{Active, Home, SegmentConfig, SegmentInfo};
use crate::walk::walk;

/// No closed segments: one list for all replicas that have none yet, which most of thousands are.
pub(crate) fn none_closed() -> Arc<Vec<SegmentInfo>> {
    static NONE: LazyLock<Arc<Vec<SegmentInfo>>> = LazyLock::new(Arc::default);
    Arc::clone(&NONE)
}

/// Removes a file of a replica that may be gone already.
pub(crate) fn remove_file(home: &Home, id: FileId) -> Result<(), DiskError> {
    let path = id.path(&home.dir());
    match home.pool.vfs().remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).during("remove", &path);
        }
        _ => {}
    }
    home.pool.forget(id);
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Segments {
    pub(crate) home: Home,
    /// Closed segments, in order. Readers share it.
    pub(crate) closed: Arc<Vec<SegmentInfo>>,
    pub(crate) active: Option<Active>,
    /// End of what is written.
    pub(crate) end: Offset,
}

impl Segments {
    /// Writes batches, which begin at the end, and closes segments as they fill. Counts in `written`
    /// those that are in; after an error that passes the rest may be written again.
    pub(crate) fn append(
        &mut self,
        batches: &[Batch],
        config: &SegmentConfig,
        unsynced: &mut Unsynced,
        written: &mut usize,
    ) -> Result<(), DiskError> {
        let mut rest = batches;
        while let Some(first) = rest.first() {
            let base = first.placement.base_offset;
            if let Some(active) = &self.active
                && active.is_due(first, config)
                && active.may_end_before(base)
            {
                self.close_active(unsynced)?;
            }
            // A copy, which takes its place when all is written.
            let mut active = match &self.active {
                Some(active) => active.clone(),
                None => self.begin(base, first.placement.append_time_ms, unsynced)?,
            };
            let (at, index_at) = (active.info.len, active.index_len);
            let mut entries = Vec::new();
            let mut count = 0;
            for batch in rest {
                let base = batch.placement.base_offset;
                if count > 0 && active.is_due(batch, config) && active.may_end_before(base) {
                    break;
                }
                entries.extend(active.note(batch).map(|entry| entry.encode()));
                count += 1;
            }
            let (group, others) = rest.split_at(count);
            active.index_len += entries.len() as u64 * ENTRY_LEN;
            self.write_records(active.info.base, at, group, unsynced)?;
            self.write_index(active.info.base, index_at, &entries)?;
            self.end = group.last().map_or(self.end, Batch::next_offset);
            self.active = Some(active);
            *written += count;
            rest = others;
        }
        Ok(())
    }

    /// Closes the active segment when its first append is old enough.
    pub(crate) fn roll_by_time(
        &mut self,
        now_ms: i64,
        config: &SegmentConfig,
        unsynced: &mut Unsynced,
    ) -> Result<(), DiskError> {
        match &self.active {
            // A segment that ends in a batch without offsets cannot end there; the next append
            // closes it. Leaders submit a marker with the records behind it, so only a cut leaves one.
            Some(active) if active.is_old(now_ms, config) && !active.last_is_empty => {
                self.close_active(unsynced)
            }
            _ => Ok(()),
        }
    }

    /// Drops what begins at or above `to`. After an error that passes it may be done again.
    pub(crate) fn cut(&mut self, to: Offset, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        self.cut_by(to, unsynced, Self::cut_one)
    }

    /// Drops segments that begin at or above `to`, and lets the one before be cut.
    fn cut_by(
        &mut self,
        to: Offset,
        unsynced: &mut Unsynced,
        cut_one: impl FnOnce(&Self, Offset, Offset, &mut Unsynced) -> Result<CutSegment, DiskError>,
    ) -> Result<(), DiskError> {
        if to > self.end {
            return Ok(());
        }
        let mut bases: Vec<Offset> = self.closed.iter().map(|segment| segment.base).collect();
        bases.extend(self.active.as_ref().map(|active| active.info.base));
        while bases.last().is_some_and(|base| *base >= to) {
            let Some(base) = bases.pop() else { break };
            self.remove(base, unsynced)?;
        }
        let last = bases.last().copied();
        let kept = match last {
            Some(base) => Some(cut_one(self, base, to, unsynced)?),
            None => None,
        };
        let closed = Arc::make_mut(&mut self.closed);
        closed.retain(|segment| segment.base < to && Some(segment.base) != last);
        let (before, active) = kept.map_or((None, None), |cut| (cut.before, cut.active));
        closed.extend(before);
        self.active = active;
        self.end = to;
        Ok(())
    }

    /// Cuts the segment that reaches up to `to` there; it is written to from now on.
    fn cut_one(
        &self,
        base: Offset,
        to: Offset,
        unsynced: &mut Unsynced,
    ) -> Result<CutSegment, DiskError> {
        let path = self.home.path(base, FileKind::Records);
        let end = self.file_len(base)?;
        let mut crossed = None;
        let walk = walk(
            &self.home,
            base,
            end,
            |entry| entry.offset < to,
            |batch, _| {
                crossed = Some(batch.clone()).filter(|batch| is_crossed(batch, to));
                batch.placement.base_offset < to && batch.next_offset() <= to
            },
        )?;
        if let Some(hole) = crossed {
            return self.cut_hole(base, &hole, to, unsynced);
        }
        if walk.end != to {
            let what = io::Error::other(format!("no batch of the log ends at the cut at {to}"));
            return Err(what).during(CUT, &path);
        }
        self.shorten(base, walk.active.info.len, unsynced)?;
        Ok(CutSegment {
            before: None,
            active: Some(walk.active),
        })
    }

    /// Forgets segments that lie wholly below `to` and names their files, which the caller removes
    /// when it likes. Beyond the end, everything goes.
    pub(crate) fn trim(&mut self, to: Offset, unsynced: &mut Unsynced) -> Vec<FileId> {
        let mut gone = Vec::new();
        let mut keep_from = 0;
        let active_base = self
            .active
            .as_ref()
            .map_or(self.end, |active| active.info.base);
        for (number, segment) in self.closed.iter().enumerate() {
            let next = self
                .closed
                .get(number + 1)
                .map_or(active_base, |next| next.base);
            if next > to {
                break;
            }
            gone.push(segment.base);
            keep_from = number + 1;
        }
        if keep_from > 0 {
            Arc::make_mut(&mut self.closed).drain(..keep_from);
        }
        // A batch without offsets that stands at `to` is not below it.
        if self.end <= to
            && let Some(active) = self.active.take_if(|active| active.last_base < to)
        {
            gone.push(active.info.base);
        }
        self.end = self.end.max(to);
        let kinds = [FileKind::Records, FileKind::Index];
        let ids: Vec<FileId> = gone
            .iter()
            .flat_map(|base| kinds.map(|kind| self.home.id(*base, kind)))
            .collect();
        for id in &ids {
            unsynced.forget(*id);
        }
        ids
    }

    /// The last segment and its length, for the checkpoint.
    pub(crate) fn tail(&self) -> (Offset, u64) {
        let last = self
            .active
            .as_ref()
            .map(|active| active.info)
            .or(self.closed.last().copied());
        last.map_or((self.end, 0), |info| (info.base, info.len))
    }

    /// Closes the active segment: its index gets the entry that says so.
    pub(crate) fn close_active(&mut self, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        let Some(active) = &self.active else {
            return Ok(());
        };
        let entry = active.closing(self.end);
        self.write_index(active.info.base, active.index_len, &[entry.encode()])?;
        unsynced.renamed(&self.home.dir())?;
        Arc::make_mut(&mut self.closed).push(active.info);
        self.active = None;
        Ok(())
    }

    /// Cuts a segment's file to a length.
    pub(crate) fn shorten(
        &self,
        base: Offset,
        len: u64,
        unsynced: &mut Unsynced,
    ) -> Result<(), DiskError> {
        let path = self.home.path(base, FileKind::Records);
        let file = self.home.open(base, FileKind::Records);
        let file = file.during("open", &path)?;
        if file.len().during("stat", &path)? != len {
            file.set_len(len).during("truncate", &path)?;
        }
        unsynced.wrote(
            self.home.id(base, FileKind::Records),
            &self.home.dir(),
            &file,
            0,
        )
    }

    /// Removes a segment's files.
    pub(crate) fn remove(&self, base: Offset, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        for kind in [FileKind::Records, FileKind::Index] {
            let id = self.home.id(base, kind);
            unsynced.forget(id);
            remove_file(&self.home, id)?;
        }
        unsynced.renamed(&self.home.dir())?;
        Ok(())
    }

    pub(crate) fn file_len(&self, base: Offset) -> Result<u64, DiskError> {
        let path = self.home.path(base, FileKind::Records);
        let file = self.home.open(base, FileKind::Records);
        file.during("open", &path)?.len().during("stat", &path)
    }

    fn begin(
        &self,
        base: Offset,
        first_append_ms: i64,
        unsynced: &mut Unsynced,
    ) -> Result<Active, DiskError> {
        for kind in [FileKind::Records, FileKind::Index] {
            let path = self.home.path(base, kind);
            let file = self.home.open_or_create(base, kind);
            let file = file.during("create", &path)?;
            file.set_len(0).during("truncate", &path)?;
        }
        unsynced.renamed(&self.home.dir())?;
        Ok(Active::new(base, first_append_ms))
    }

    fn write_records(
        &self,
        base: Offset,
        at: u64,
        batches: &[Batch],
        unsynced: &mut Unsynced,
    ) -> Result<(), DiskError> {
        let id = self.home.id(base, FileKind::Records);
        let dir = self.home.dir();
        let path = id.path(&dir);
        let file = self.home.open(base, FileKind::Records);
        let file = file.during("open", &path)?;
        let headers: Vec<_> = batches.iter().map(Batch::header_bytes).collect();
        let buffers: Vec<&[u8]> = headers
            .iter()
            .zip(batches)
            .flat_map(|(header, batch)| [&header[..], &batch.client.as_bytes()[..]])
            .collect();
        if let Err(error) = durable::write_all_at(&*file, &buffers, at).during("write", &path) {
            // What got in is not counted: it must not stand behind the end, where the segment may
            // be closed before it grows again. Cutting frees space, so it goes well on a full disk.
            file.set_len(at).during("truncate", &path)?;
            return Err(error);
        }
        let bytes = buffers.iter().map(|buffer| buffer.len() as u64).sum();
        unsynced.wrote(id, &dir, &file, bytes)
    }

    fn write_index(&self, base: Offset, at: u64, entries: &[Vec<u8>]) -> Result<(), DiskError> {
        if entries.is_empty() {
            return Ok(());
        }
        let path = self.home.path(base, FileKind::Index);
        let file = self.home.open_or_create(base, FileKind::Index);
        let file = file.during("create", &path)?;
        durable::write_all_at(&*file, &[&entries.concat()], at).during("write", &path)
    }
}
