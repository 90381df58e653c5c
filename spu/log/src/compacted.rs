//! How far a replica is compacted, and the exchange of files that is under way: one small file,
//! replaced whole.
//!
//! An exchange is announced here, durably, before the first name changes, and struck out after the
//! last: whoever opens the directory in between carries it out to the end ([`Exchange::finish`]). So a
//! crash leaves the old segments or the new one, and both only while this file says which.
//! Invariant: the new segment is complete and synced, under its staged name, before it is announced.

use std::path::Path;

use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::{COMPACTION_MERGE_MAX, COMPACTION_PASSES_MAX};
use crate::scalar::{Put as _, Reader, seal, unseal};
use crate::vfs::Vfs;

const MAGIC: [u8; 4] = *b"TGCP";
/// The one before did not say how far records were taken out.
const FORMAT: u32 = 2;
const FORMAT_WITHOUT_THINNED: u32 = 1;

/// How a replica is compacted. Absent where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionConfig {
    /// How long a tombstone stays after the pass that took out what it deletes, so that who reads on
    /// meanwhile learns of it.
    pub delete_retention_ms: u64,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Compacted {
    /// Below it no record is left that another one below it supersedes.
    pub(crate) clean_end: Offset,
    /// Records may be missing below it: what stands there does not tell all that producers did, and a
    /// producer snapshot must reach this far (D3).
    pub(crate) thinned_end: Offset,
    /// Passes whose tombstones are still there, oldest first.
    pub(crate) passes: Vec<Pass>,
    pub(crate) exchange: Option<Exchange>,
}

/// A pass that met tombstones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    /// Tombstones below it, and not below the pass before, are this pass's.
    pub(crate) end: Offset,
    /// When it was finished.
    pub(crate) at_ms: i64,
}

/// Segments that are being replaced by one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exchange {
    /// Bases of the old ones, in order; the new one has the first.
    pub(crate) inputs: Vec<Offset>,
}

impl Compacted {
    /// Reads the file; `None` when there is none, an error's text when it is damaged.
    pub(crate) fn load(vfs: &dyn Vfs, dir: &Path) -> Result<Option<Self>, &'static str> {
        let file = durable::read_whole(vfs, &dir.join(layout::COMPACTION));
        let Some(file) = file.map_err(|_| "it cannot be read")? else {
            return Ok(None);
        };
        let body = unseal(MAGIC, &file)?;
        Self::decode(body)
            .map(Some)
            .ok_or("it is of another format version")
    }

    pub(crate) fn save(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        durable::replace(vfs, dir, layout::COMPACTION, &seal(MAGIC, &self.encode()))
    }

    /// Notes a finished pass that went up to `end`.
    pub(crate) fn pass(&mut self, end: Offset, at_ms: i64, has_tombstones: bool) {
        self.clean_end = end;
        if !has_tombstones {
            return;
        }
        self.passes.push(Pass { end, at_ms });
        if self.passes.len() > COMPACTION_PASSES_MAX {
            self.passes.remove(0);
        }
    }

    /// Tombstones below this may go: they have been there for the time asked for.
    pub(crate) fn expired(&self, now_ms: i64, config: CompactionConfig) -> Option<Offset> {
        let retention_ms = i64::try_from(config.delete_retention_ms).unwrap_or(i64::MAX);
        self.passes
            .iter()
            .take_while(|pass| pass.at_ms.saturating_add(retention_ms) <= now_ms)
            .last()
            .map(|pass| pass.end)
    }

    /// The log was cut: what comes after the cut is new.
    pub(crate) fn cut(&mut self, to: Offset) {
        self.exchange = None;
        self.clean_end = self.clean_end.min(to);
        self.thinned_end = self.thinned_end.min(to);
        for pass in &mut self.passes {
            pass.end = pass.end.min(to);
        }
        self.passes.dedup_by_key(|pass| pass.end);
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_u32(FORMAT);
        body.put_u64(self.clean_end.get());
        body.put_u64(self.thinned_end.get());
        body.put_u64(self.passes.len() as u64);
        for pass in &self.passes {
            body.put_u64(pass.end.get());
            body.put_i64(pass.at_ms);
        }
        let inputs = self
            .exchange
            .as_ref()
            .map_or(&[][..], |exchange| &exchange.inputs);
        body.put_u64(inputs.len() as u64);
        inputs.iter().for_each(|base| body.put_u64(base.get()));
        body
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let format = reader.u32()?;
        if ![FORMAT, FORMAT_WITHOUT_THINNED].contains(&format) {
            return None;
        }
        let clean_end = Offset::new(reader.u64()?);
        let thinned_end = match format {
            FORMAT => Offset::new(reader.u64()?),
            // An exchange above it may have been carried out; the snapshot then reaches further.
            _ => clean_end,
        };
        let count = usize::try_from(reader.u64()?).ok()?;
        if count > COMPACTION_PASSES_MAX {
            return None;
        }
        let mut passes = Vec::with_capacity(count);
        for _ in 0..count {
            let end = Offset::new(reader.u64()?);
            let at_ms = reader.i64()?;
            passes.push(Pass { end, at_ms });
        }
        let count = usize::try_from(reader.u64()?).ok()?;
        if count > COMPACTION_MERGE_MAX {
            return None;
        }
        let inputs: Option<Vec<Offset>> =
            (0..count).map(|_| reader.u64().map(Offset::new)).collect();
        let exchange = Some(inputs?).filter(|inputs| !inputs.is_empty());
        reader.is_empty().then_some(Self {
            clean_end,
            thinned_end,
            passes,
            exchange: exchange.map(|inputs| Exchange { inputs }),
        })
    }
}

impl Exchange {
    /// Does what is left to do; can be called again after a crash. A process that was killed may not have
    /// synced the announcement, and none of this may outlive it.
    pub(crate) fn finish(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        vfs.sync_dir(dir).during("sync directory", dir)?;
        self.place_records(vfs, dir)?;
        self.place_index(vfs, dir)?;
        self.clear(vfs, dir)
    }

    /// Whether the new segment has no name of its own yet.
    pub(crate) fn is_staged(&self, vfs: &dyn Vfs, dir: &Path) -> Result<bool, DiskError> {
        let Some(base) = self.inputs.first() else {
            return Ok(false);
        };
        let staged = dir.join(layout::staged(&layout::segment(*base)));
        vfs.exists(&staged).during("stat", &staged)
    }

    /// Gives the new segment's records their name: from then on the exchange has happened.
    pub(crate) fn place_records(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        self.inputs
            .first()
            .map_or(Ok(()), |base| place(vfs, dir, &layout::segment(*base)))
    }

    /// Gives its index its name, behind the records.
    pub(crate) fn place_index(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        let Some(base) = self.inputs.first() else {
            return Ok(());
        };
        let (records, index) = (layout::segment(*base), layout::index(*base));
        let path = dir.join(records);
        if vfs.exists(&path).during("stat", &path)? {
            place(vfs, dir, &index)
        } else {
            // The segment was trimmed meanwhile.
            durable::remove_if_there(vfs, &dir.join(layout::staged(&index)))
        }
    }

    /// Takes the new segment away that was not placed.
    pub(crate) fn discard(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        for base in self.inputs.iter().take(1) {
            for name in [layout::segment(*base), layout::index(*base)] {
                durable::remove_if_there(vfs, &dir.join(layout::staged(&name)))?;
            }
        }
        Ok(())
    }

    /// Takes the old segments away, none before the new one's name lasts; durable when it returns.
    pub(crate) fn clear(&self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        vfs.sync_dir(dir).during("sync directory", dir)?;
        for base in self.inputs.iter().skip(1) {
            for name in [layout::segment(*base), layout::index(*base)] {
                durable::remove_if_there(vfs, &dir.join(name))?;
            }
        }
        vfs.sync_dir(dir).during("sync directory", dir)
    }
}

/// Gives a staged file its name, unless that was done.
fn place(vfs: &dyn Vfs, dir: &Path, name: &str) -> Result<(), DiskError> {
    let staged = dir.join(layout::staged(name));
    if vfs.exists(&staged).during("stat", &staged)? {
        let target = dir.join(name);
        vfs.rename(&staged, &target).during("rename", &target)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(ends: &[(u64, i64)]) -> Compacted {
        let passes = ends.iter().map(|(end, at_ms)| Pass {
            end: Offset::new(*end),
            at_ms: *at_ms,
        });
        Compacted {
            clean_end: Offset::new(90),
            thinned_end: Offset::new(70),
            passes: passes.collect(),
            exchange: Some(Exchange {
                inputs: vec![Offset::new(1), Offset::new(7)],
            }),
        }
    }

    #[test]
    fn the_file_is_read_back_as_it_was_written() {
        let compacted = passes(&[(10, -1), (90, 5)]);
        let body = compacted.encode();
        assert_eq!(Compacted::decode(&body), Some(compacted));
        assert_eq!(Compacted::decode(&body[..body.len() - 1]), None);
    }

    #[test]
    fn of_a_file_of_the_format_before_all_that_is_clean_counts_as_thinned() {
        let mut body = Vec::new();
        body.put_u32(FORMAT_WITHOUT_THINNED);
        [50, 0, 0].iter().for_each(|number| body.put_u64(*number));
        let found = Compacted::decode(&body).unwrap();
        let ends = (found.clean_end.get(), found.thinned_end.get());
        assert_eq!(ends, (50, 50));
    }

    #[test]
    fn tombstones_expire_by_the_pass_that_made_them_clean_and_to_the_millisecond() {
        let config = CompactionConfig {
            delete_retention_ms: 100,
        };
        let compacted = passes(&[(10, 1_000), (20, 1_050), (30, 1_040)]);
        let expired = |now_ms| compacted.expired(now_ms, config).map(Offset::get);
        assert_eq!(expired(1_099), None);
        assert_eq!(expired(1_100), Some(10));
        assert_eq!(
            expired(1_149),
            Some(10),
            "a clock set back does not make the last one older"
        );
        assert_eq!(expired(1_150), Some(30));
    }

    #[test]
    fn too_many_passes_keep_tombstones_longer_never_shorter() {
        let mut compacted = Compacted::default();
        for number in 1..=COMPACTION_PASSES_MAX as u64 + 1 {
            compacted.pass(Offset::new(number), i64::try_from(number).unwrap(), true);
        }
        assert_eq!(compacted.passes.len(), COMPACTION_PASSES_MAX);
        assert_eq!(compacted.passes[0].end, Offset::new(2));
        let config = CompactionConfig {
            delete_retention_ms: 0,
        };
        assert_eq!(
            compacted.expired(1, config),
            None,
            "the first one's time is the second's"
        );
    }

    #[test]
    fn a_cut_makes_what_follows_it_dirty() {
        let mut compacted = passes(&[(10, 1), (50, 2), (90, 3)]);
        compacted.cut(Offset::new(40));
        assert_eq!(compacted.clean_end, Offset::new(40));
        assert_eq!(compacted.thinned_end, Offset::new(40));
        assert_eq!(compacted.passes.len(), 2);
    }
}
