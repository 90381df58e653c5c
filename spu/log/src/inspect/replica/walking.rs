//! The walk through one segment of a replica, with its index beside it.
//!
//! Every batch goes to the judge that a start uses; what it would keep, cut or call rot is told so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{ReplicaCheck, Stop};
use crate::inspect::finding::{Finding, FindingKind};
use crate::inspect::index::{Extent, IndexCheck};
use crate::inspect::segment::{BadRange, Checked, SegmentCheck};
use crate::layout;
use crate::vfs::VfsFile;

impl ReplicaCheck<'_> {
    pub(super) fn segment(&mut self, base: Offset, next: Option<Offset>) -> Stop {
        let Some((file, len)) = self.open_segment(base, next) else {
            return Stop::End;
        };
        let path = self.path(base);
        let synced = self.judge.synced_len(base, len);
        let mut index = self.index(base);
        let key = self.state.key;
        let mut check = SegmentCheck::new(file, key, 0..len, self.expected, self.epoch);
        let mut lost_until = Offset::ZERO;
        let stop = loop {
            let before = check.position();
            match check.step() {
                Ok(Checked::End) => break Stop::End,
                Ok(Checked::Batch { batch, at }) => {
                    if !self.batch(&batch, base, at) {
                        let what = "written before a cut, or out of step with the journal";
                        self.torn(&path, at..len, what);
                        break Stop::Torn;
                    }
                    note(&mut index, |index| index.batch(&batch, at));
                }
                Ok(Checked::Bad(bad)) => {
                    if let Some(index) = &mut index {
                        index.damage();
                    }
                    if !self.bad(&path, &bad, synced.min(len), next) {
                        self.torn(&path, bad.bytes.start..len, bad.what);
                        break Stop::Torn;
                    }
                    if bad.next.is_none() {
                        lost_until = next.unwrap_or(self.synced_end);
                    }
                }
                Err(error) => {
                    self.unreadable_from(&path, before..len, check.expected, &error);
                    self.expected = next.unwrap_or(check.expected);
                    self.sink.progress(len.saturating_sub(before));
                    return Stop::End;
                }
            }
            self.sink.progress(check.position().saturating_sub(before));
            if self.sink.is_stopped() {
                return Stop::Torn;
            }
        };
        self.expected = check.expected.max(lost_until);
        self.epoch = check.epoch;
        if stop == Stop::End {
            self.end_index(base, index, len, next.is_some());
        }
        if let Some(next) =
            next.filter(|next| self.judge.trusts_up_to(*next) && *next > self.expected)
            && stop == Stop::End
        {
            let what = "batches are missing at the end of the segment";
            self.missing(path, self.expected..next, what);
            self.expected = next;
        }
        stop
    }

    /// The segment's file with its length.
    fn open_segment(
        &mut self,
        base: Offset,
        next: Option<Offset>,
    ) -> Option<(Arc<dyn VfsFile>, u64)> {
        let path = self.path(base);
        let opened = self.place.vfs.open_read(&path);
        let (file, len) = match opened.and_then(|file| file.len().map(|len| (file, len))) {
            Ok(opened) => opened,
            Err(error) => {
                self.unreadable(path, &error);
                self.expected = next.unwrap_or(self.expected);
                return None;
            }
        };
        self.held.segments += 1;
        self.held.bytes += len;
        let synced = self.judge.synced_len(base, len);
        if synced > len && self.judge.cut.is_none() {
            self.judge.rot = true;
            let what = format!("the file ends {} bytes early", synced - len);
            let finding = Finding::new(FindingKind::Rot, path, what);
            self.tell(
                finding
                    .bytes(len..synced)
                    .offsets(self.expected..self.expected),
            );
        }
        Some((file, len))
    }

    /// Takes note of a good batch; false when the next start does not keep it.
    fn batch(&mut self, batch: &Batch, base: Offset, at: u64) -> bool {
        let was_rot = std::mem::take(&mut self.judge.rot);
        let keeps = self.judge.keeps(batch, base, at);
        if self.judge.rot {
            let path = self.path(base);
            let what =
                "a whole batch that the journal does not know: a round is gone that was synced";
            let offsets = batch.placement.base_offset..batch.next_offset();
            let end = at + batch.encoded_len() as u64;
            self.tell(
                Finding::new(FindingKind::Rot, path, what)
                    .bytes(at..end)
                    .offsets(offsets),
            );
        }
        self.judge.rot |= was_rot;
        if keeps {
            self.held.batches += 1;
            self.held.records += u64::from(batch.client.record_count());
        }
        keeps
    }

    /// Tells of damage; false when a crash explains it.
    fn bad(&mut self, path: &Path, bad: &BadRange, synced: u64, next: Option<Offset>) -> bool {
        let was_synced = bad.bytes.start < synced;
        let is_cut = self.folded.cut.is_some_and(|cut| cut <= bad.from);
        if is_cut || (!was_synced && !self.is_unexplained(bad.next.is_some())) {
            return false;
        }
        self.judge.rot = true;
        let end = bad.next.or(next).unwrap_or(self.synced_end);
        let finding = Finding::new(FindingKind::Rot, path.to_path_buf(), bad.what)
            .bytes(bad.bytes.clone())
            .offsets(bad.from..end.max(bad.from));
        self.tell(finding);
        true
    }

    fn is_unexplained(&mut self, has_batch_after: bool) -> bool {
        self.judge.is_unexplained(|| Ok(has_batch_after))
    }

    /// A segment that begins where nothing ends.
    pub(super) fn does_not_follow(&mut self, base: Offset) {
        let known = self.folded.lowest_cut.is_some() || self.judge.kept < self.folded.batches.len();
        if known {
            self.torn_segment(base, "a segment that does not follow");
            return;
        }
        self.judge.rot = true;
        let what = "a segment that does not follow, and that the journal does not explain";
        let path = self.path(base);
        self.tell(Finding::new(FindingKind::Rot, path, what).offsets(base..base));
    }

    fn index(&mut self, base: Offset) -> Option<IndexCheck> {
        let path = self.place.path(layout::index(base));
        let opened = self.place.vfs.open_read(&path).and_then(IndexCheck::new);
        match opened {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if base < self.judge.tail_base {
                    let what = "a segment without an index";
                    self.tell(Finding::new(FindingKind::Index, path, what));
                }
                None
            }
            Err(error) => {
                self.unreadable(path, &error);
                None
            }
        }
    }

    fn end_index(&mut self, base: Offset, index: Option<IndexCheck>, len: u64, is_closed: bool) {
        // What a crash left of a newer one is mended at the next start.
        let is_settled = is_closed && base < self.judge.tail_base;
        let extent = if is_settled {
            Extent::Closed
        } else {
            Extent::Active
        };
        let Some(index) = index else { return };
        let path = self.place.path(layout::index(base));
        match index.finish(len, self.expected, extent) {
            Ok(Some(fault)) if is_settled => {
                let finding = Finding::new(FindingKind::Index, path, fault.what);
                self.tell(finding.bytes(fault.bytes));
            }
            Ok(_) => {}
            Err(error) => self.unreadable(path, &error),
        }
    }
}

/// An index that cannot be read is not checked further.
fn note(index: &mut Option<IndexCheck>, step: impl FnOnce(&mut IndexCheck) -> io::Result<()>) {
    if let Some(check) = index
        && step(check).is_err()
    {
        *index = None;
    }
}
