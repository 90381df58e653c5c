//! Every call that differs between operating systems, and nothing else.
//!
//! Linux uses rustix; elsewhere `std` does the same with weaker or slower means, so that another
//! system is a matter of compiling. A function here may do less than asked only where its comment
//! says so.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::Path;

use uuid::Uuid;

use crate::space::Space;

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

/// The same into the room that a buffer has left, which need not be cleared for it.
#[cfg(target_os = "linux")]
pub(crate) fn read_onto(file: &File, buffer: &mut Vec<u8>, at: u64) -> io::Result<usize> {
    Ok(rustix::io::pread(
        file,
        rustix::buffer::spare_capacity(buffer),
        at,
    )?)
}

/// Opens a file for reads around the page cache; `None` where the system or its file system has none.
pub(crate) fn open_direct(path: &Path) -> io::Result<Option<File>> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECT;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Ok(None)
    }
}

/// Asks for a file's clean pages to leave the cache. May do nothing.
pub(crate) fn drop_cache(file: &File) {
    #[cfg(target_os = "linux")]
    {
        // Refused or not: what is read is checked either way.
        let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
    }
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

/// Reserves space without changing the file's length; false where the system cannot.
pub(crate) fn preallocate(file: &File, from: u64, bytes: u64) -> io::Result<bool> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{FallocateFlags, fallocate};
        match fallocate(file, FallocateFlags::KEEP_SIZE, from, bytes) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = (file, from, bytes);
        Ok(false)
    }
}

/// Space on the file system that holds `path`, for a user without privileges.
pub(crate) fn space(path: &Path) -> io::Result<Space> {
    #[cfg(unix)]
    {
        use rustix::fs::{StatVfsMountFlags, statvfs};
        let found = statvfs(path)?;
        Ok(Space {
            total: found.f_blocks.saturating_mul(found.f_frsize),
            available: found.f_bavail.saturating_mul(found.f_frsize),
            is_read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
        })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        Ok(Space::UNKNOWN)
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

/// Whether something was not opened for want of a file handle, of the process or of the system.
pub(crate) fn is_out_of_handles(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    let code = error.raw_os_error();
    cfg!(unix) && code.is_some_and(|code| [ENFILE, EMFILE].contains(&code))
}

/// How many files the process may have open; `None` where nobody says.
pub(crate) fn open_files_max() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit};
        getrlimit(Resource::Nofile)
            .current
            .and_then(|max| usize::try_from(max).ok())
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// Opens a directory to sync its file system through; `None` where the system cannot report errors
/// of such a sync, and the caller must sync file by file.
pub(crate) fn open_file_system(path: &Path) -> io::Result<Option<File>> {
    #[cfg(target_os = "linux")]
    {
        let system = rustix::system::uname();
        let release = system.release().to_string_lossy();
        is_linux_5_8(&release).then(|| File::open(path)).transpose()
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        Ok(None)
    }
}

/// Syncs the whole file system that holds the directory.
pub(crate) fn sync_file_system(root: &File) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        Ok(rustix::fs::syncfs(root)?)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = root;
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Names this run of the kernel; `None` where it has no name.
pub(crate) fn boot_id() -> Option<Uuid> {
    #[cfg(target_os = "linux")]
    {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        text.trim().parse().ok()
    }
    #[cfg(not(target_os = "linux"))]
    {
        None
    }
}

/// Before Linux 5.8 `syncfs` reported no failed write-back.
#[cfg(target_os = "linux")]
fn is_linux_5_8(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut next = || numbers.next().and_then(|number| number.parse::<u32>().ok());
    matches!((next(), next()), (Some(major), Some(minor)) if (major, minor) >= (5, 8))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::is_linux_5_8;

    #[test]
    fn systems_whose_whole_sync_hides_errors_are_told_by_their_release() {
        for release in ["5.8.0-generic", "5.10", "6.1.0-rpi7", "10.0"] {
            assert!(is_linux_5_8(release), "{release}");
        }
        for release in ["5.7.19", "4.19.0-1", "3.10", "", "unknown"] {
            assert!(!is_linux_5_8(release), "{release}");
        }
    }
}
