//! Writing on beside what of a segment cannot be read: a read that fails whenever it is tried, or a batch
//! that is not what was written.
//!
//! What stands below a cut, in front of the damage and behind it, stays where it is; the rest is copied to
//! `quarantine/`, as far as it can be read, and the log goes on in a new segment. Between the two, where
//! there is anything, reads fail. Invariant: nothing that was cut stands behind what is kept, not even
//! where it could not be read today.

use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{CutSegment, Segments};
use crate::damage::FileDamage;
use crate::error::{Context as _, DiskError};
use crate::files::{FileKind, Unsynced};
use crate::index::ENTRY_LEN;
use crate::quarantine;
use crate::segment::{Active, Home};
use crate::stored::Scanned;
use crate::walk::scanner;

/// What can be read of a segment below an offset.
#[derive(Debug)]
pub(crate) struct Below {
    /// The segment up to the end of the last good batch that is below.
    active: Active,
    entries: Vec<Vec<u8>>,
    /// Where that batch ends.
    end: Offset,
    /// What was met first.
    damage: Option<FileDamage>,
}

impl Below {
    /// Reads a segment from its beginning; damage is stepped over.
    pub(crate) fn look(home: &Home, base: Offset, to: Offset) -> Self {
        let mut below = Self {
            active: Active::new(base, i64::MIN),
            entries: Vec::new(),
            end: base,
            damage: None,
        };
        let opened = home
            .open(base, FileKind::Records)
            .and_then(|file| scanner(home, base, 0, file.len()?));
        let mut scanner = match opened {
            Ok(scanner) => scanner,
            Err(error) => {
                below.damaged(home, to, 0, error.to_string());
                return below;
            }
        };
        loop {
            match scanner.step() {
                Ok(Scanned::Batch { batch, at }) => {
                    if batch.placement.base_offset >= to || batch.next_offset() > to {
                        break;
                    }
                    below.batch(home, &batch, at);
                }
                Ok(Scanned::Bad { at, what }) => {
                    below.damaged(home, to, at, what.to_owned());
                    if !scanner.resync().unwrap_or(false) {
                        break;
                    }
                }
                Ok(Scanned::End) => break,
                Err(error) => {
                    let at = scanner.position();
                    below.damaged(home, to, at, error.to_string());
                    break;
                }
            }
        }
        if below.end < to {
            let what = "no batch of the log ends at the cut".to_owned();
            below.damaged(home, to, below.active.info.len, what);
        }
        below
    }

    /// What was met first; none when all of it is good.
    pub(crate) fn damage(&self) -> Option<&FileDamage> {
        self.damage.as_ref()
    }

    fn batch(&mut self, home: &Home, batch: &Batch, at: u64) {
        let base = batch.placement.base_offset;
        if base != self.end {
            let what = "the batch does not follow the one before it".to_owned();
            self.damaged(home, base.max(self.end), at, what);
        }
        if base < self.end {
            return;
        }
        if let Some(damage) = &mut self.damage
            && damage.from == self.end
        {
            damage.until = base;
        }
        self.active.info.len = at;
        self.entries
            .extend(self.active.note(batch).map(|entry| entry.encode()));
        self.end = batch.next_offset();
    }

    fn damaged(&mut self, home: &Home, until: Offset, position: u64, what: String) {
        let (base, from) = (self.active.info.base, self.end);
        self.damage.get_or_insert_with(|| FileDamage {
            path: home.path(base, FileKind::Records),
            position,
            from,
            until,
            what,
        });
    }
}

impl Segments {
    /// The segment that holds what is right below an offset.
    pub(crate) fn base_below(&self, to: Offset) -> Option<Offset> {
        let closed = self.closed.iter().map(|segment| segment.base);
        let active = self.active.as_ref().map(|active| active.info.base);
        closed.chain(active).take_while(|base| *base < to).last()
    }

    /// Cuts the log at `to`, and its last segment behind what is good of it below that. The damage has
    /// been noted. After an error that passes it may be done again.
    pub(crate) fn cut_around(
        &mut self,
        to: Offset,
        below: &Below,
        unsynced: &mut Unsynced,
    ) -> Result<(), DiskError> {
        self.cut_by(to, unsynced, |segments, _, _, unsynced| {
            segments.cut_one_around(below, unsynced)
        })
    }

    /// The same of that segment alone.
    pub(crate) fn cut_one_around(
        &self,
        below: &Below,
        unsynced: &mut Unsynced,
    ) -> Result<CutSegment, DiskError> {
        let info = below.active.info;
        let kept = match info.len {
            0 => None,
            _ => match self.keep_below(below, unsynced) {
                // It could be read a moment ago.
                Err(error) if error.is_of_reading() => None,
                other => other.map(|()| Some(info))?,
            },
        };
        if kept.is_none() {
            quarantine::take(&self.home, info.base, unsynced)?;
        }
        Ok(CutSegment {
            before: kept,
            active: None,
        })
    }

    fn keep_below(&self, below: &Below, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        let info = below.active.info;
        let len = self.file_len(info.base)?;
        quarantine::copy(&self.home, info.base, info.len..len)?;
        self.shorten(info.base, info.len, unsynced)?;
        let path = self.home.path(info.base, FileKind::Index);
        let index = self.home.open_or_create(info.base, FileKind::Index);
        let index = index.during("create", &path)?;
        index.set_len(0).during("truncate", &path)?;
        let mut active = below.active.clone();
        active.index_len = below.entries.len() as u64 * ENTRY_LEN;
        self.write_index(info.base, 0, &below.entries)?;
        let closing = active.closing(below.end).encode();
        match self.write_index(info.base, active.index_len, &[closing]) {
            // It is a hint: who misses it walks the segment.
            Err(error) if !error.is_passing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes no more to the active segment, which cannot be opened. It stays where it is, unless what
    /// comes next has its name.
    pub(crate) fn leave_active(&mut self, unsynced: &mut Unsynced) -> Result<(), DiskError> {
        let Some(active) = &self.active else {
            return Ok(());
        };
        if active.info.len > 0 && active.may_end_before(self.end) {
            Arc::make_mut(&mut self.closed).push(active.info);
        } else {
            quarantine::take(&self.home, active.info.base, unsynced)?;
        }
        self.active = None;
        Ok(())
    }
}
