//! A cut within a hole: compaction made one batch without records of many, and a cut may end at any of
//! those.
//!
//! What is left of the hole begins a segment of its own, with what stands before it at its offset, and
//! only then is the old segment shortened. Invariant: a crash leaves the old segment whole, or what is
//! left of the hole under its name, synced; as long as the journal has the cut, it can be done again.

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::Segments;
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::files::{FileKind, Unsynced};
use crate::index::ENTRY_LEN;
use crate::layout;
use crate::segment::{Active, SegmentInfo};
use crate::stored::Scanned;
use crate::walk::{scanner, walk};

/// True when the batch stands for offsets of which nothing is left, some below `to` and some not.
pub(crate) fn is_crossed(batch: &Batch, to: Offset) -> bool {
    let is_hole = batch.client.is_sparse() && batch.client.record_count() == 0;
    is_hole && batch.placement.base_offset < to && batch.next_offset() > to
}

/// A segment that was cut.
#[derive(Debug)]
pub(crate) struct CutSegment {
    /// What of it is closed now.
    pub(crate) before: Option<SegmentInfo>,
    /// What is to be written on: the segment, or what is left of a hole.
    pub(crate) active: Option<Active>,
}

impl Segments {
    /// Cuts the segment `base` at `to`, which lies within `hole`. After an error that passes it may be
    /// done again.
    pub(crate) fn cut_hole(
        &self,
        base: Offset,
        hole: &Batch,
        to: Offset,
        unsynced: &mut Unsynced,
    ) -> Result<CutSegment, DiskError> {
        let from = hole.placement.base_offset;
        let len = self.file_len(base)?;
        let head = walk(
            &self.home,
            base,
            len,
            |entry| entry.offset < from,
            |batch, _| batch.placement.base_offset < from,
        )?;
        let at = head.active.info.len;
        let mut left = self.standing_before(base, hole, (at, len))?;
        left.extend(Batch::hole(hole.placement, span(from, to)));
        let active = self.put_left(from, &left, unsynced)?;
        if at == 0 {
            return Ok(CutSegment {
                before: None,
                active: Some(active),
            });
        }
        self.shorten(base, at, unsynced)?;
        let closing = head.active.closing(from).encode();
        match self.write_index(base, head.active.index_len, &[closing]) {
            // It is a hint: who misses it walks the segment.
            Err(error) if !error.is_passing() => return Err(error),
            _ => {}
        }
        Ok(CutSegment {
            before: Some(head.active.info),
            active: Some(active),
        })
    }

    /// Batches without offsets that stand at the hole's base, before it.
    fn standing_before(
        &self,
        base: Offset,
        hole: &Batch,
        (at, len): (u64, u64),
    ) -> Result<Vec<Batch>, DiskError> {
        let path = self.home.path(base, FileKind::Records);
        let mut scanner = scanner(&self.home, base, at, len).during("open", &path)?;
        let mut found = Vec::new();
        while let Scanned::Batch { batch, .. } = scanner.step().during("read", &path)?
            && batch != *hole
        {
            found.push(batch);
        }
        Ok(found)
    }

    /// Makes a segment of these batches, synced, its name as well; the index first, for a crash may
    /// leave it and nothing relies on it.
    fn put_left(
        &self,
        base: Offset,
        batches: &[Batch],
        unsynced: &mut Unsynced,
    ) -> Result<Active, DiskError> {
        let (home, vfs) = (&self.home, self.home.pool.vfs());
        let first_append_ms = batches
            .first()
            .map_or(i64::MAX, |batch| batch.placement.append_time_ms);
        let mut active = Active::new(base, first_append_ms);
        let (mut records, mut entries) = (Vec::new(), Vec::new());
        for batch in batches {
            entries.extend(active.note(batch).map(|entry| entry.encode()));
            batch.encode_into(&mut records);
        }
        active.index_len = entries.len() as u64 * ENTRY_LEN;
        let path = home.path(base, FileKind::Index);
        let index = home.open_or_create(base, FileKind::Index);
        let index = index.during("create", &path)?;
        index.set_len(0).during("truncate", &path)?;
        self.write_index(base, 0, &entries)?;
        let name = layout::segment(base);
        let staged = home.dir().join(layout::staged(&name));
        let file = vfs.create(&staged).during("create", &staged)?;
        file.set_len(0).during("truncate", &staged)?;
        durable::write_all_at(&*file, &[&records], 0).during("write", &staged)?;
        file.sync_all().during("sync", &staged)?;
        durable::close(file, &staged)?;
        let (path, id) = (home.dir().join(&name), home.id(base, FileKind::Records));
        vfs.rename(&staged, &path).during("rename", &path)?;
        home.pool.forget(id);
        unsynced.forget(id);
        vfs.sync_dir(&home.dir())
            .during("sync directory", &home.dir())?;
        Ok(active)
    }
}

fn span(from: Offset, to: Offset) -> u32 {
    // Less than the hole's, which is a number of that size.
    u32::try_from(to.distance_from(from)).unwrap_or(u32::MAX)
}
