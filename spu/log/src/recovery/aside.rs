//! Keeps what recovery takes out of a segment and nothing explains: copies in `quarantine/`.
//!
//! Invariant: a copy, and the verdict, are durable before the original is cut.

use std::io;
use std::iter::Peekable;

use tidegate_proto::position::Offset;

use super::Recovery;
use super::judge::Judge;
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::files::FileKind;
use crate::layout;
use crate::segments::Segments;
use crate::stored::Scanned;
use crate::walk::scanner;

impl Recovery<'_> {
    pub(super) fn has_batch_after(&self, base: Offset, at: u64, len: u64) -> io::Result<bool> {
        let mut scan = scanner(&self.home, base, at, len)?;
        if matches!(scan.step()?, Scanned::Batch { .. }) {
            return Ok(true);
        }
        scan.resync()
    }

    /// Copies the end of a segment to quarantine.
    pub(super) fn quarantine(&self, base: Offset, from: u64, len: u64) -> Result<(), DiskError> {
        let path = self.home.path(base, FileKind::Records);
        let file = self.home.open(base, FileKind::Records);
        let file = file.during("open", &path)?;
        let name = self
            .home
            .dir()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dir = self.root.path(layout::QUARANTINE);
        let name = format!("{name}-{}-{from}.part", base.get());
        let target = durable::free_name(&*self.root.vfs, &dir, &name)?;
        let copy = self.root.vfs.create(&target).during("create", &target)?;
        let mut at = from;
        let mut chunk = vec![0; 1 << 20];
        while at < len {
            let read = durable::read_full_at(&*file, &mut chunk, at).during("read", &path)?;
            if read == 0 {
                break;
            }
            let whole = &chunk[..read];
            durable::write_all_at(&*copy, &[whole], at - from).during("write", &target)?;
            at += read as u64;
        }
        copy.sync_all().during("sync", &target)?;
        self.root.vfs.sync_dir(&dir).during("sync directory", &dir)
    }

    /// Takes all segments out of the way when the first was neither synced nor does it follow what was
    /// trimmed: the one before it did not last, for a file system may keep the later name alone. The
    /// journal has what all of them held. Gives their bytes.
    pub(super) fn set_aside_unled(
        &mut self,
        segments: &Segments,
        judge: &mut Judge<'_>,
        rest: &mut Peekable<impl Iterator<Item = Offset>>,
        synced_end: Offset,
    ) -> Result<u64, DiskError> {
        let folded = judge.folded;
        let reach = synced_end.max(folded.state.log_start);
        let Some(base) = rest.next_if(|base| *base > reach) else {
            return Ok(0);
        };
        judge.rot |= folded.lowest_cut.is_none() && base > folded.state.end;
        self.set_aside(segments, judge, base, rest)
    }

    /// Takes segments out of the way that were not synced and do not follow: into quarantine when
    /// nothing explains them. Gives their bytes.
    pub(super) fn set_aside(
        &mut self,
        segments: &Segments,
        judge: &Judge<'_>,
        first: Offset,
        rest: &mut impl Iterator<Item = Offset>,
    ) -> Result<u64, DiskError> {
        let mut bytes = 0;
        for base in std::iter::once(first).chain(rest) {
            let len = segments.file_len(base)?;
            bytes += len;
            if judge.rot {
                self.quarantine(base, 0, len)?;
                self.verdicts.not_intact(&judge.folded.state)?;
            }
            segments.remove(base, self.unsynced)?;
        }
        Ok(bytes)
    }
}
