//! Steps that must come in one order to survive a power loss, each in one place.
//!
//! A new file lasts when its contents are synced *and* its directory is. A replacement is written
//! beside the old file, synced, renamed over it, and the directory synced: a reader finds the old
//! one or the new one, whole.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{CLOSE_NEW, Context as _, DiskError, SYNC_NEW};
use crate::limits::IO_SLICES_MAX;
use crate::vfs::{Vfs, VfsFile};

/// Removes a file; nothing when there is none. Lasts when the directory is synced.
pub(crate) fn remove_if_there(vfs: &dyn Vfs, path: &Path) -> Result<(), DiskError> {
    match vfs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).during("remove", path),
        _ => Ok(()),
    }
}

/// Writes all buffers at a place, however many calls that takes.
pub(crate) fn write_all_at(file: &dyn VfsFile, buffers: &[&[u8]], at: u64) -> io::Result<()> {
    let mut at = at;
    let mut next = 0;
    let mut skip = 0;
    while next < buffers.len() {
        let mut slices = Vec::with_capacity((buffers.len() - next).min(IO_SLICES_MAX));
        slices.push(IoSlice::new(&buffers[next][skip..]));
        slices.extend(
            buffers[next + 1..]
                .iter()
                .take(IO_SLICES_MAX - 1)
                .map(|buffer| IoSlice::new(buffer)),
        );
        if slices.iter().all(|slice| slice.is_empty()) {
            next += slices.len();
            skip = 0;
            continue;
        }
        let mut written = match file.write_vectored_at(&slices, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        at += written as u64;
        while next < buffers.len() && written >= buffers[next].len() - skip {
            written -= buffers[next].len() - skip;
            next += 1;
            skip = 0;
        }
        skip += written;
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends; says how much was read.
pub(crate) fn read_full_at(file: &dyn VfsFile, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Reads until the buffer has no more room or the file ends.
pub(crate) fn read_onto(file: &dyn VfsFile, buffer: &mut Vec<u8>, at: u64) -> io::Result<()> {
    let start = buffer.len();
    while buffer.len() < buffer.capacity() {
        match file.read_onto(buffer, at + (buffer.len() - start) as u64) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole file; `None` when there is none.
pub(crate) fn read_whole(vfs: &dyn Vfs, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    let file = match vfs.open_read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).during("open", path),
    };
    let len = file.len().during("stat", path)?;
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = read_full_at(&*file, &mut bytes, 0).during("read", path)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a file so that a crash leaves the old or the new one, never a mixture or none.
pub(crate) fn replace(
    vfs: &dyn Vfs,
    dir: &Path,
    name: &str,
    contents: &[u8],
) -> Result<(), DiskError> {
    let staged = dir.join(format!("{name}.new"));
    if let Err(error) = stage(vfs, &staged, contents, &dir.join(name)) {
        // It only takes room, and the next attempt begins anew.
        let _ = vfs.remove_file(&staged);
        return Err(error);
    }
    vfs.sync_dir(dir).during("sync directory", dir)
}

fn stage(vfs: &dyn Vfs, staged: &Path, contents: &[u8], target: &Path) -> Result<(), DiskError> {
    let file = vfs.create(staged).during("create", staged)?;
    file.set_len(0).during("truncate", staged)?;
    write_all_at(&*file, &[contents], 0).during("write", staged)?;
    complete(file, staged)?;
    vfs.rename(staged, target).during("rename", target)
}

/// Makes a directory whose name lasts.
pub(crate) fn create_dir(vfs: &dyn Vfs, parent: &Path, name: &str) -> Result<(), DiskError> {
    let path = parent.join(name);
    vfs.create_dir(&path).during("create directory", &path)?;
    vfs.sync_dir(parent).during("sync directory", parent)
}

/// A path in a directory under a name that nothing has: the one given, or that with a number.
pub(crate) fn free_name(vfs: &dyn Vfs, dir: &Path, name: &str) -> Result<PathBuf, DiskError> {
    let mut path = dir.join(name);
    let mut number = 0_u32;
    while vfs.exists(&path).during("stat", &path)? {
        number += 1;
        path = dir.join(format!("{name}.{number}"));
    }
    Ok(path)
}

/// Moves a file or directory out of the way into another directory, never over what is there.
/// The name it leaves is the caller's to sync.
pub(crate) fn move_aside(
    vfs: &dyn Vfs,
    from: &Path,
    dir: &Path,
    name: &str,
) -> Result<(), DiskError> {
    let target = free_name(vfs, dir, name)?;
    vfs.rename(from, &target).during("rename", &target)?;
    vfs.sync_dir(dir).during("sync directory", dir)
}

/// Syncs and closes a file that nothing relies on before this went well.
pub(crate) fn complete(file: Arc<dyn VfsFile>, path: &Path) -> Result<(), DiskError> {
    file.sync_all().during(SYNC_NEW, path)?;
    file.close().during(CLOSE_NEW, path)
}

/// Closes a written file that was synced just now; what closing reports counts as a failed write.
pub(crate) fn close(file: Arc<dyn VfsFile>, path: &Path) -> Result<(), DiskError> {
    file.close().during("close", path)
}
