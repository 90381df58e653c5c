//! Every call that differs between operating systems, and nothing else.
//!
//! Linux uses rustix; elsewhere `std` does the same with weaker or slower means, so that another
//! system is a matter of compiling. A function here may do less than asked only where its comment
//! says so.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

/// Writes buffers at a place; may write less than all of them.
#[cfg(unix)]
pub(crate) fn write_vectored_at(
    file: &File,
    buffers: &[IoSlice<'_>],
    at: u64,
) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::io::retry_on_intr(|| {
            rustix::io::pwritev(file, buffers, at)
        })?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        use std::os::unix::fs::FileExt as _;
        let Some(first) = buffers.iter().find(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        file.write_at(first, at)
    }
}

/// Reads at a place; may read less than asked, 0 at the end of the file.
#[cfg(unix)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::unix::fs::FileExt as _;
    file.read_at(buffer, at)
}

#[cfg(windows)]
pub(crate) fn write_vectored_at(
    file: &File,
    buffers: &[IoSlice<'_>],
    at: u64,
) -> io::Result<usize> {
    use std::os::windows::fs::FileExt as _;
    let Some(first) = buffers.iter().find(|buffer| !buffer.is_empty()) else {
        return Ok(0);
    };
    file.seek_write(first, at)
}

#[cfg(windows)]
pub(crate) fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    use std::os::windows::fs::FileExt as _;
    file.seek_read(buffer, at)
}

/// Makes the contents durable, and of the metadata only what reading them needs.
pub(crate) fn sync_data(file: &File) -> io::Result<()> {
    // On macOS std issues F_FULLFSYNC: fsync there does not reach the medium.
    file.sync_data()
}

/// Reserves space without changing the file's length. Where the system cannot, does nothing.
pub(crate) fn preallocate(file: &File, from: u64, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, from, bytes);
        Ok(())
    }
}

/// Makes the names in a directory durable. Windows has no such call and needs none: NTFS journals
/// names.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        File::open(path)?.sync_all()
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(())
    }
}

/// Syncs the whole file system that holds `path`; false where the system cannot report errors of
/// it, and the caller must sync file by file.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        rustix::fs::syncfs(File::open(path)?)?;
        Ok(true)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Ok(false)
    }
}
