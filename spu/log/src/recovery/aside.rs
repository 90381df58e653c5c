//! Keeps what recovery takes out of a segment and nothing explains: copies in `quarantine/`.
//!
//! Invariant: a copy, and the verdict, are durable before the original is cut.

use std::io;
use std::iter::Peekable;

use tidegate_proto::position::Offset;

use super::Recovery;
use super::judge::Judge;
use crate::error::DiskError;
use crate::quarantine;
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
            let len = match segments.file_len(base) {
                Err(error) if error.is_of_reading() => {
                    quarantine::take(&self.home, base, self.unsynced)?;
                    continue;
                }
                other => other?,
            };
            bytes += len;
            if judge.rot {
                quarantine::copy(&self.home, base, 0..len)?;
                self.verdicts.not_intact(&judge.folded.state)?;
            }
            segments.remove(base, self.unsynced)?;
        }
        Ok(bytes)
    }
}
