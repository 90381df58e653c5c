//! A replica's producer snapshot: one small file, replaced whole.
//!
//! What is in it belongs to the caller; here only that it is whole, as of which offset, and whether the
//! batches that are stored could tell the same. Invariant: a snapshot that is needed and cannot be had is
//! never taken for one that was not made.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::scalar::{Put as _, Reader, seal, unseal};
use crate::vfs::Vfs;

const MAGIC: [u8; 4] = *b"TGSN";

/// What stored batches do not tell of producers, so that a snapshot must.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Untold {
    /// Batches below it were given up. A replica that had no producers has no snapshot all the same.
    pub(crate) log_start: Offset,
    /// Below it compaction took batches out, which it does only below a snapshot.
    pub(crate) thinned_end: Offset,
}

/// Reads it; `None` when there is none, or it is damaged and so not to be used.
pub(crate) fn load(vfs: &Arc<dyn Vfs>, dir: &Path) -> Option<(Offset, Bytes)> {
    read(vfs, dir).ok().flatten()
}

/// The same; what is wrong when it is needed and there is none that can be used. A damaged one is no
/// loss where every batch is still there.
pub(crate) fn recover(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    untold: Untold,
) -> Result<Option<(Offset, Bytes)>, &'static str> {
    let needed = untold.thinned_end;
    match read(vfs, dir) {
        Err(_) if untold.is_nothing() => Ok(None),
        Ok(None) if needed > Offset::ZERO => Err("it is gone, and compaction relied on it"),
        Ok(Some((as_of, _))) if as_of < needed => Err("it ends below what compaction took out"),
        other => other,
    }
}

impl Untold {
    /// True when the stored batches tell everything.
    pub(crate) fn is_nothing(self) -> bool {
        self.log_start == Offset::ZERO && self.thinned_end == Offset::ZERO
    }
}

fn read(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<Option<(Offset, Bytes)>, &'static str> {
    let file = durable::read_whole(&**vfs, &dir.join(layout::SNAPSHOT));
    let Some(file) = file.map_err(|_| "it cannot be read")? else {
        return Ok(None);
    };
    let mut reader = Reader::new(unseal(MAGIC, &file)?);
    let as_of = reader.u64().ok_or("it is too short")?;
    let bytes = reader.bytes(reader.len()).unwrap_or_default();
    Ok(Some((Offset::new(as_of), Bytes::copy_from_slice(bytes))))
}

pub(crate) fn save(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    as_of: Offset,
    bytes: &[u8],
) -> Result<(), DiskError> {
    let mut body = Vec::with_capacity(8 + bytes.len());
    body.put_u64(as_of.get());
    body.put(bytes);
    durable::replace(&**vfs, dir, layout::SNAPSHOT, &seal(MAGIC, &body))
}

/// Removes a snapshot that speaks of batches which a cut took away. One that cannot be read may do so, and
/// is emptied: it must not be believed on a better day, nor taken for one that was never made.
pub(crate) fn cut(vfs: &Arc<dyn Vfs>, dir: &Path, to: Offset) -> Result<(), DiskError> {
    match durable::read_whole(&**vfs, &dir.join(layout::SNAPSHOT)) {
        Err(error) if error.is_of_reading() => durable::replace(&**vfs, dir, layout::SNAPSHOT, &[]),
        Err(error) => Err(error),
        Ok(_) => match load(vfs, dir) {
            Some((as_of, _)) if as_of > to => remove(vfs, dir),
            _ => Ok(()),
        },
    }
}

/// Removes the snapshot, if there is one.
pub(crate) fn remove(vfs: &Arc<dyn Vfs>, dir: &Path) -> Result<(), DiskError> {
    let path = dir.join(layout::SNAPSHOT);
    durable::remove_if_there(&**vfs, &path)?;
    vfs.sync_dir(dir).during("sync directory", dir)
}
