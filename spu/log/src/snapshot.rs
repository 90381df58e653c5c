//! A replica's producer snapshot: one small file, replaced whole.
//!
//! What is in it belongs to the caller; here only that it is whole and as of which offset.

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

/// Reads it; `None` when there is none, or it is damaged and so not to be used.
pub(crate) fn load(vfs: &Arc<dyn Vfs>, dir: &Path) -> Option<(Offset, Bytes)> {
    let file = durable::read_whole(&**vfs, &dir.join(layout::SNAPSHOT)).ok()??;
    let body = unseal(MAGIC, &file).ok()?;
    let mut reader = Reader::new(body);
    let as_of = Offset::new(reader.u64()?);
    let bytes = reader.bytes(reader.len())?;
    Some((as_of, Bytes::copy_from_slice(bytes)))
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

/// Removes a snapshot that speaks of batches which a cut took away.
pub(crate) fn cut(vfs: &Arc<dyn Vfs>, dir: &Path, to: Offset) -> Result<(), DiskError> {
    if load(vfs, dir).is_some_and(|(as_of, _)| as_of > to) {
        let path = dir.join(layout::SNAPSHOT);
        vfs.remove_file(&path).during("remove", &path)?;
        vfs.sync_dir(dir).during("sync directory", dir)?;
    }
    Ok(())
}
