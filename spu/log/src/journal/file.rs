//! Journal files as they come into being: zeros that last, or an old file under its next number.
//!
//! Every name lasts before a round is written to the file.

use std::path::Path;
use std::sync::Arc;

use super::FileSpan;
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::vfs::{Place, VfsFile};

/// Gives a file that is needed no more its next number. Its old rounds carry the old number, so
/// replay never takes them for rounds of the new one.
pub(super) fn reuse(
    place: &Place,
    old: FileSpan,
    file_seq: u64,
) -> Result<Arc<dyn VfsFile>, DiskError> {
    let from = place.path(layout::journal(old.file_seq));
    let to = place.path(layout::journal(file_seq));
    // Opened first: once the name is another, nothing may fail that passes.
    let file = place.vfs.open(&from).during("open", &from)?;
    place.vfs.rename(&from, &to).during("rename", &to)?;
    place
        .vfs
        .sync_dir(&place.root)
        .during("sync directory", &place.root)?;
    Ok(file)
}

/// Makes a file of zeros that lasts: unwritten extents would make every sync commit metadata.
pub(super) fn make_zeroed(
    place: &Place,
    file_seq: u64,
    len: u64,
) -> Result<Arc<dyn VfsFile>, DiskError> {
    let path = place.path(layout::journal(file_seq));
    let made = fill_new(place, &path, len);
    if made.is_err() {
        // What there is of it only takes room; a failure to remove it is told by the next attempt.
        let _ = place.vfs.remove_file(&path);
    }
    made
}

fn fill_new(place: &Place, path: &Path, len: u64) -> Result<Arc<dyn VfsFile>, DiskError> {
    let file = place.vfs.create(path).during("create", path)?;
    file.set_len(0).during("truncate", path)?;
    file.preallocate(0, len).during("preallocate", path)?;
    zero_fill(&*file, 0, len).during("write", path)?;
    file.sync_all().during("sync", path)?;
    place
        .vfs
        .sync_dir(&place.root)
        .during("sync directory", &place.root)?;
    Ok(file)
}

pub(super) fn zero_fill(file: &dyn VfsFile, from: u64, len: u64) -> std::io::Result<()> {
    const PIECE: usize = 1 << 20;
    let zeros = vec![0; PIECE.min(usize::try_from(len).unwrap_or(PIECE))];
    let mut at = from;
    let end = from + len;
    while at < end {
        let piece = usize::try_from(end - at).unwrap_or(PIECE).min(zeros.len());
        durable::write_all_at(file, &[&zeros[..piece]], at)?;
        at += piece as u64;
    }
    Ok(())
}
