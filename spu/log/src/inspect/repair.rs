//! Makes indexes anew that do not fit their segments. The one inspection that writes.
//!
//! Invariant: no byte of a record is written. A new index is written beside the old one, synced, read
//! back and compared with the segment, and only then renamed over it: a crash leaves one of the two.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::index::{Extent, IndexCheck};
use super::lock::{self, InspectError};
use super::segment::{Checked, SegmentCheck};
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::index::{ENTRY_LEN, IndexEntry, IndexRule};
use crate::layout;
use crate::vfs::{Place, Vfs, VfsFile};

/// Entries are written in pieces of this size.
const PIECE_BYTES: usize = 64 << 10;

/// An index that was looked at and found wanting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRepair {
    /// The index.
    pub path: PathBuf,
    /// Its replica.
    pub replica: (ReplicaKey, ReplicaGen),
    /// What is wrong with it.
    pub what: String,
    /// Entries of the new one.
    pub entries: u64,
    /// False in a dry run.
    pub is_done: bool,
}

/// What a repair did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Indexes that were compared with their segments.
    pub checked: u64,
    /// Those that did not fit; made anew unless it was a dry run.
    pub faulty: u64,
    /// Segments that could not be read, or whose new index could not be verified. Left as they are.
    pub skipped: u64,
}

/// Compares every index with its segment, and makes those anew that do not fit. `hear` is told of
/// each, and of segments that had to be left as they are. With `dry_run` nothing is written.
pub fn repair_indexes(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    dry_run: bool,
    hear: &mut dyn FnMut(Result<IndexRepair, String>),
) -> Result<Repaired, InspectError> {
    let root = Place::new(vfs, dir);
    let _lock = if dry_run {
        lock::shared(&root)?
    } else {
        lock::alone(&root)?
    };
    let home = root.path(layout::REPLICAS);
    let mut items = root.vfs.list_dir(&home).during("list", &home)?;
    items.sort_by(|one, other| one.name.cmp(&other.name));
    let mut repaired = Repaired::default();
    for item in items {
        let Some((key, replica_gen)) = layout::parse_replica_dir(&item.name) else {
            continue;
        };
        let place = Place::new(Arc::clone(&root.vfs), &home.join(&item.name));
        let bases = match bases(&place) {
            Ok(bases) => bases,
            Err(error) => {
                repaired.skipped += 1;
                hear(Err(error.to_string()));
                continue;
            }
        };
        let mut is_changed = false;
        for (number, base) in bases.iter().copied().enumerate() {
            repaired.checked += 1;
            let next = bases.get(number + 1).copied();
            let segment = Segment {
                place: &place,
                key,
                base,
                next,
            };
            match segment.repair(dry_run) {
                Ok(None) => {}
                Ok(Some((what, entries))) => {
                    repaired.faulty += 1;
                    is_changed |= !dry_run;
                    hear(Ok(IndexRepair {
                        path: place.path(layout::index(base)),
                        replica: (key, replica_gen),
                        what,
                        entries,
                        is_done: !dry_run,
                    }));
                }
                Err(error) => {
                    repaired.skipped += 1;
                    hear(Err(error.to_string()));
                }
            }
        }
        if is_changed {
            let dir = &place.root;
            place.vfs.sync_dir(dir).during("sync directory", dir)?;
        }
    }
    Ok(repaired)
}

fn bases(place: &Place) -> Result<Vec<Offset>, DiskError> {
    let items = place
        .vfs
        .list_dir(&place.root)
        .during("list", &place.root)?;
    let mut bases: Vec<Offset> = items
        .iter()
        .filter_map(|item| layout::parse_segment(&item.name))
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

struct Segment<'a> {
    place: &'a Place,
    key: ReplicaKey,
    base: Offset,
    /// Base of the segment behind it. One that has none may still be written to.
    next: Option<Offset>,
}

impl Segment<'_> {
    /// What was wrong, and the entries of the new index; `None` when nothing was.
    fn repair(&self, dry_run: bool) -> Result<Option<(String, u64)>, DiskError> {
        let path = self.place.path(layout::index(self.base));
        let old = match self.place.vfs.open_read(&path) {
            Ok(file) => self.compare(file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Some("it is not there".to_owned())
            }
            Err(error) => return Err(error).during("open", &path),
        };
        let Some(what) = old else { return Ok(None) };
        if dry_run {
            return Ok(Some((what, 0)));
        }
        let name = format!("{}.new", layout::index(self.base));
        let staged = self.place.path(name);
        let entries = self.write(&staged)?;
        let file = self.place.vfs.open_read(&staged).during("open", &staged)?;
        if let Some(fault) = self.compare(file)? {
            let fault = io::Error::other(format!("the new index does not fit: {fault}"));
            return Err(fault).during("verify", &staged);
        }
        self.place
            .vfs
            .rename(&staged, &path)
            .during("rename", &path)?;
        Ok(Some((what, entries)))
    }

    /// What is wrong with an index.
    fn compare(&self, file: Arc<dyn VfsFile>) -> Result<Option<String>, DiskError> {
        let path = self.place.path(layout::index(self.base));
        let mut index = IndexCheck::new(file).during("stat", &path)?;
        let mut found = Ok(());
        let (end, len) = self.each(|checked, at| {
            let noted = match checked {
                Checked::Batch { batch, .. } => index.batch(batch, at),
                Checked::Bad(_) | Checked::End => {
                    index.damage();
                    Ok(())
                }
            };
            found = noted;
            found.is_ok()
        })?;
        found.during("read", &path)?;
        let fault = index
            .finish(len, end, self.extent())
            .during("read", &path)?;
        Ok(fault.map(|fault| fault.what.to_owned()))
    }

    fn write(&self, staged: &Path) -> Result<u64, DiskError> {
        let file = self.place.vfs.create(staged).during("create", staged)?;
        file.set_len(0).during("truncate", staged)?;
        let mut rule = IndexRule::new();
        let mut piece = Vec::with_capacity(PIECE_BYTES + ENTRY_LEN as usize);
        let (mut at, mut entries) = (0, 0);
        let mut last_append_ms = i64::MIN;
        let mut written = Ok(());
        let (end, len) = self.each(|checked, position| {
            let Checked::Batch { batch, .. } = checked else {
                return true;
            };
            let base = batch.placement.base_offset;
            last_append_ms = last_append_ms.max(batch.placement.append_time_ms);
            if let Some(entry) = rule.batch(base, position, batch.max_timestamp_ms()) {
                piece.extend(entry.encode());
                entries += 1;
            }
            if piece.len() >= PIECE_BYTES {
                written = durable::write_all_at(&*file, &[&piece], at);
                at += piece.len() as u64;
                piece.clear();
            }
            written.is_ok()
        })?;
        written.during("write", staged)?;
        if self.extent() == Extent::Closed {
            let closing = IndexEntry::closing(end, len, rule.max_timestamp_ms, last_append_ms);
            piece.extend(closing.encode());
            entries += 1;
        }
        durable::write_all_at(&*file, &[&piece], at).during("write", staged)?;
        file.sync_all().during("sync", staged)?;
        durable::close(file, staged)?;
        Ok(entries)
    }

    /// Hands every batch and every damage to `take`, until it says no; gives the end's offset and
    /// place. Of a segment that may still be written to, what a crash tore is left out.
    fn each(
        &self,
        mut take: impl FnMut(&Checked, u64) -> bool,
    ) -> Result<(Offset, u64), DiskError> {
        let path = self.place.path(layout::segment(self.base));
        let file = self.place.vfs.open_read(&path).during("open", &path)?;
        let len = file.len().during("stat", &path)?;
        let epoch = LeaderEpoch(0);
        let mut check = SegmentCheck::new(file, self.key, 0..len, self.base, epoch);
        loop {
            let checked = check.step().during("read", &path)?;
            let place = match &checked {
                Checked::End => break,
                Checked::Batch { at, .. } => *at,
                Checked::Bad(bad) => bad.bytes.start,
            };
            let is_torn = self.next.is_none() && matches!(checked, Checked::Bad(_));
            if !take(&checked, place) || is_torn {
                break;
            }
        }
        Ok((self.next.unwrap_or(check.expected), len))
    }

    fn extent(&self) -> Extent {
        if self.next.is_some() {
            Extent::Closed
        } else {
            Extent::Active
        }
    }
}
