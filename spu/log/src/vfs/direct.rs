//! Reads that come from the disk and not from the page cache, and leave nothing in it.
//!
//! A page that is in memory says nothing of the bytes below it. Where the system takes `O_DIRECT`,
//! reads go around the cache: pages that readers need stay, and none are added. Where a file system
//! refuses that, the file's clean pages are dropped from the cache before it is read. Elsewhere the
//! cache answers, and a check sees rot only when the page was not there.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex, PoisonError};

use super::VfsFile;
use crate::platform;

/// Places, lengths and memory of direct reads are multiples of this: a page, which is enough for
/// every disk in use.
const ALIGN: usize = 4096;

/// A file read without the page cache.
#[derive(Debug)]
pub(super) struct DirectFile {
    file: File,
    /// Memory of the last read, kept for the next.
    buffer: Mutex<Vec<u8>>,
}

impl DirectFile {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            buffer: Mutex::default(),
        }
    }
}

impl VfsFile for DirectFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let skip = usize::try_from(at % ALIGN as u64).unwrap_or(0);
        let wanted = (skip + buffer.len()).next_multiple_of(ALIGN);
        let mut memory = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if memory.len() < wanted + ALIGN {
            memory.resize(wanted + ALIGN, 0);
        }
        let start = memory.as_ptr().align_offset(ALIGN);
        let Some(aligned) = memory.get_mut(start..start.saturating_add(wanted)) else {
            return Err(io::Error::other("memory cannot be aligned"));
        };
        let read = platform::read_at(&self.file, aligned, at - skip as u64)?;
        let found = aligned[..read].get(skip..).unwrap_or_default();
        let count = found.len().min(buffer.len());
        buffer[..count].copy_from_slice(&found[..count]);
        Ok(count)
    }

    fn write_vectored_at(&self, _buffers: &[IoSlice<'_>], _at: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_all(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn preallocate(&self, _from: u64, _bytes: u64) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        drop(self);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::vfs::{OsVfs, Vfs as _};

    fn check(path: &Path) {
        let file = OsVfs.open_direct(path).unwrap();
        assert_eq!(file.len().unwrap(), 10_000);
        for (at, len) in [
            (0, 1),
            (0, 4096),
            (4095, 2),
            (5000, 9000),
            (9999, 5),
            (10_000, 1),
        ] {
            let mut buffer = vec![0; len];
            let read = file.read_at(&mut buffer, at).unwrap();
            assert_eq!(read as u64, (10_000 - at).min(len as u64), "{at} {len}");
            let expected = (at..).map(|place| (place % 251) as u8);
            assert!(
                buffer[..read].iter().copied().eq(expected.take(read)),
                "{at} {len}"
            );
        }
        assert!(file.set_len(0).is_err(), "it is for reading only");
    }

    #[test]
    fn direct_reads_give_what_stands_at_any_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..10_000_u64).map(|place| (place % 251) as u8).collect();
        std::fs::write(&path, bytes).unwrap();
        check(&path);
        // Dropped from the cache or written back meanwhile: the same.
        std::fs::File::open(&path).unwrap().sync_all().unwrap();
        check(&path);
    }
}
