//! Copies of what is taken out of a segment and nothing explains, and segments that cannot be read at
//! all, in `quarantine/`.
//!
//! Invariant: a copy is durable before the original is cut. Nothing here is in the way of a disk that
//! reads badly: what cannot be read of a file is left out of its copy, where zeros stand for it.

use std::io;
use std::ops::Range;

use tidegate_proto::position::Offset;

use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::files::{FileKind, Unsynced};
use crate::layout;
use crate::limits::{QUARANTINE_CHUNK_BYTES, QUARANTINE_PIECE_BYTES};
use crate::segment::Home;
use crate::vfs::VfsFile;

/// Copies a part of a segment's records.
pub(crate) fn copy(home: &Home, base: Offset, bytes: Range<u64>) -> Result<(), DiskError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let path = home.path(base, FileKind::Records);
    let file = home.open(base, FileKind::Records).during("open", &path)?;
    let vfs = home.pool.vfs();
    let name = layout::replica_dir(home.key, home.replica_gen);
    let name = format!("{name}-{}-{}.part", base.get(), bytes.start);
    let dir = home.pool.root().join(layout::QUARANTINE);
    let target = durable::free_name(&**vfs, &dir, &name)?;
    let copy = vfs.create(&target).during("create", &target)?;
    let mut at = bytes.start;
    while at < bytes.end {
        let end = bytes.end.min(at + QUARANTINE_CHUNK_BYTES);
        let chunk = read(&*file, at..end);
        let written = durable::write_all_at(&*copy, &[&chunk], at - bytes.start);
        written.during("write", &target)?;
        at = end;
    }
    copy.sync_all().during("sync", &target)?;
    vfs.sync_dir(&dir).during("sync directory", &dir)
}

/// Takes a segment's files out of the replica's directory as they are. The names that they leave are
/// noted for the next sync.
pub(crate) fn take(home: &Home, base: Offset, unsynced: &mut Unsynced) -> Result<(), DiskError> {
    let vfs = home.pool.vfs();
    let dir = home.pool.root().join(layout::QUARANTINE);
    for kind in [FileKind::Records, FileKind::Index] {
        let path = home.path(base, kind);
        if kind == FileKind::Records
            && let Ok(file) = home.open(base, kind)
        {
            file.sync_all().during("sync", &path)?;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let replica = layout::replica_dir(home.key, home.replica_gen);
        match durable::move_aside(&**vfs, &path, &dir, &format!("{replica}-{name}")) {
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
        let id = home.id(base, kind);
        unsynced.forget(id);
        home.pool.forget(id);
    }
    unsynced.renamed(&home.dir())
}

/// A part of a file, with zeros where it cannot be read.
fn read(file: &dyn VfsFile, bytes: Range<u64>) -> Vec<u8> {
    let len = |bytes: &Range<u64>| usize::try_from(bytes.end - bytes.start).unwrap_or(0);
    let mut chunk = vec![0; len(&bytes)];
    if durable::read_full_at(file, &mut chunk, bytes.start).is_ok() {
        return chunk;
    }
    for (number, piece) in chunk.chunks_mut(QUARANTINE_PIECE_BYTES).enumerate() {
        let at = bytes.start + (number * QUARANTINE_PIECE_BYTES) as u64;
        if durable::read_full_at(file, piece, at).is_err() {
            piece.fill(0);
        }
    }
    chunk
}
