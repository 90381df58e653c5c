//! The segment that compaction writes, under staged names, batch by batch.
//!
//! Runs of batches of which nothing is left become one hole of the same epoch, so that the log stays
//! without gaps and an epoch keeps its place. Invariant: what is written takes every offset from the
//! base to where it ends, once; what does not is not given out.

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_proto::batch::{Batch, Placement};
use tidegate_proto::position::Offset;

use crate::durable;
use crate::durable::remove_if_there;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::COMPACTION_STEP_BYTES;
use crate::segment::{Active, Home, Span};
use crate::vfs::{Vfs, VfsFile};

#[derive(Debug)]
pub(super) struct Output {
    vfs: Arc<dyn Vfs>,
    records: (PathBuf, Arc<dyn VfsFile>),
    index: (PathBuf, Vec<u8>),
    active: Active,
    /// Where the next batch must begin; `None` once one did not.
    end: Option<Offset>,
    /// Encoded, not yet written, and where that begins.
    pending: Vec<u8>,
    at: u64,
    hole: Option<(Placement, u32)>,
}

impl Output {
    pub(super) fn create(home: &Home, base: Offset) -> Result<Self, DiskError> {
        let vfs = Arc::clone(home.pool.vfs());
        let path = |name: String| home.dir().join(layout::staged(&name));
        let (records, index) = (path(layout::segment(base)), path(layout::index(base)));
        let file = vfs.create(&records).during("create", &records)?;
        file.set_len(0).during("truncate", &records)?;
        Ok(Self {
            vfs,
            records: (records, file),
            index: (index, Vec::new()),
            active: Active::new(base, i64::MIN),
            end: Some(base),
            pending: Vec::new(),
            at: 0,
            hole: None,
        })
    }

    pub(super) fn push(&mut self, batch: &Batch) -> Result<(), DiskError> {
        self.end_hole();
        self.put(batch);
        if self.pending.len() as u64 >= COMPACTION_STEP_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Takes note of a batch of which nothing is left.
    pub(super) fn push_nothing(&mut self, batch: &Batch) {
        let (placement, span) = (batch.placement, batch.client.span());
        if let Some((hole, so_far)) = &mut self.hole
            && hole.leader_epoch == placement.leader_epoch
            && let Some(together) = so_far.checked_add(span)
        {
            *so_far = together;
            // As the last of them would have told it.
            hole.high_watermark = placement.high_watermark;
            hole.append_time_ms = placement.append_time_ms;
            return;
        }
        self.end_hole();
        self.hole = Some((placement, span));
    }

    /// Completes and syncs both files; `None` when they do not take every offset up to `end`.
    pub(super) fn finish(mut self, end: Offset) -> Result<Option<Span>, DiskError> {
        self.end_hole();
        if self.end != Some(end) {
            return Ok(None);
        }
        self.flush()?;
        let (path, file) = self.records;
        durable::complete(file, &path)?;
        let (path, mut entries) = self.index;
        entries.extend(self.active.closing(end).encode());
        let file = self.vfs.create(&path).during("create", &path)?;
        file.set_len(0).during("truncate", &path)?;
        durable::write_all_at(&*file, &[&entries], 0).during("write", &path)?;
        durable::complete(file, &path)?;
        let info = self.active.info;
        Ok(Some(Span { info, end }))
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.active.info.len
    }

    fn end_hole(&mut self) {
        if let Some((placement, span)) = self.hole.take()
            && let Some(hole) = Batch::hole(placement, span)
        {
            self.put(&hole);
        }
    }

    fn put(&mut self, batch: &Batch) {
        let base = batch.placement.base_offset;
        let follows = self.end == Some(base);
        self.end = follows.then(|| batch.next_offset());
        let entry = self.active.note(batch);
        self.index
            .1
            .extend(entry.iter().flat_map(|entry| entry.encode()));
        batch.encode_into(&mut self.pending);
    }

    fn flush(&mut self) -> Result<(), DiskError> {
        let (path, file) = &self.records;
        durable::write_all_at(&**file, &[&self.pending], self.at).during("write", path)?;
        self.at += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// Takes away what an output of that base left.
pub(super) fn discard(home: &Home, base: Offset) -> Result<(), DiskError> {
    for name in [layout::segment(base), layout::index(base)] {
        let path = home.dir().join(layout::staged(&name));
        remove_if_there(&**home.pool.vfs(), &path)?;
    }
    Ok(())
}
