//! The seam between the log and the disk: every operation that reaches a file goes through these
//! two traits, one call per operation, so that a test can record, fail, tear or reorder it.
//!
//! Nothing here retries, buffers or caches. Durability is the caller's: a write lasts after
//! `sync_data` of its file, a name after `sync_dir` of its directory.

mod direct;

mod held;

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use crate::platform;
use crate::space::Space;
use direct::DirectFile;
pub(crate) use held::HeldVfs;

/// A file system, or a part of one. Paths are as the caller made them; no call follows a name that
/// the log did not choose.
pub trait Vfs: Debug + Send + Sync {
    /// Opens an existing file for reading and writing. `NotFound` when there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;
    /// Opens an existing file for reading only.
    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;
    /// The same, for one who wants the bytes of the disk and not of a cache, and leaves none of them
    /// in one. Where that cannot be had, like `open_read`.
    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open_read(path)
    }
    /// Opens a file, or makes an empty one.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>>;
    /// Gives a file or directory another name, replacing a file that has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and those above it; no error when it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory with all in it. Used on `trash/` only.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in a directory, unordered. `NotFound` when there is none.
    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// A hold on the whole file system under `path`, to sync all of it at once; `None` where that
    /// cannot be done with errors reported, and files must be synced one by one.
    fn file_system(&self, path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>>;
    /// Whether the name is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Files that the log may keep open for later use; others of the process need some as well.
    fn open_files_max(&self) -> usize {
        usize::MAX
    }
    /// Names the run of the system whose memory holds what was written and not synced; `None` where
    /// nobody knows.
    fn boot_id(&self) -> Option<Uuid> {
        None
    }
    /// Space on the file system under `path`, which exists.
    fn space(&self, path: &Path) -> io::Result<Space> {
        let _ = path;
        Ok(Space::UNKNOWN)
    }
}

/// An open file. Shared by threads; positions are given, never kept.
pub trait VfsFile: Debug + Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True when the length is 0.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Reads at a place; may read less than asked; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;
    /// Reads at a place behind what the buffer holds, at most as much as it has room for without
    /// growing; 0 at the end of the file. Spares what the room would cost to clear first.
    fn read_onto(&self, buffer: &mut Vec<u8>, at: u64) -> io::Result<usize> {
        let len = buffer.len();
        buffer.resize(buffer.capacity(), 0);
        let read = self.read_at(&mut buffer[len..], at);
        buffer.truncate(len + read.as_ref().unwrap_or(&0));
        read
    }
    /// Writes the buffers one after the other at a place; may write less.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize>;
    /// Makes the contents durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the contents and all metadata durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Cuts or extends (with zeros) to a length.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves space from `from` on; the length stays. False where the file system cannot.
    fn preallocate(&self, from: u64, bytes: u64) -> io::Result<bool>;
    /// Takes the exclusive lock that lasts until the file is closed; false when somebody has it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Takes the lock together with others who only read; false when a writer has it.
    fn try_lock_shared(&self) -> io::Result<bool> {
        self.try_lock()
    }
    /// Closes the file, just synced, for this user, and reports an error that closing brings to
    /// light. Other users of the same handle keep it.
    fn close(self: Arc<Self>) -> io::Result<()>;
}

/// A hold on a file system.
pub trait FileSystem: Debug + Send + Sync {
    /// Makes everything in it durable, names included. An error of any file that came up since the
    /// hold was taken is reported here, also when the file was closed before.
    fn sync(&self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirItem {
    /// The name, without the directory. Names that are not UTF-8 are not the log's and are left out.
    pub name: String,
    /// True for a directory.
    pub is_dir: bool,
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsVfs;

#[derive(Debug)]
struct OsFile {
    file: File,
}

/// The system reports errors to whoever held the directory open when they came up.
#[derive(Debug)]
struct OsFileSystem {
    root: File,
}

impl FileSystem for OsFileSystem {
    fn sync(&self) -> io::Result<()> {
        platform::sync_file_system(&self.root)
    }
}

impl OsVfs {
    fn wrap(file: io::Result<File>) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(OsFile { file: file? }))
    }
}

impl Vfs for OsVfs {
    fn open_files_max(&self) -> usize {
        // Half is for sockets and all else.
        platform::open_files_max().map_or(usize::MAX, |max| max / 2)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Self::wrap(OpenOptions::new().read(true).write(true).open(path))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Self::wrap(OpenOptions::new().read(true).open(path))
    }

    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        if let Some(file) = platform::open_direct(path)? {
            return Ok(Arc::new(DirectFile::new(file)));
        }
        let file = File::open(path)?;
        platform::drop_cache(&file);
        Self::wrap(Ok(file))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Self::wrap(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path),
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        let mut items = Vec::new();
        for item in std::fs::read_dir(path)? {
            let item = item?;
            let is_dir = item.file_type()?.is_dir();
            if let Ok(name) = item.file_name().into_string() {
                items.push(DirItem { name, is_dir });
            }
        }
        Ok(items)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        platform::sync_dir(path)
    }

    fn file_system(&self, path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        let root = platform::open_file_system(path)?;
        Ok(root.map(|root| Arc::new(OsFileSystem { root }) as Arc<dyn FileSystem>))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn boot_id(&self) -> Option<Uuid> {
        platform::boot_id()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        platform::space(path)
    }
}

impl VfsFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        platform::read_at(&self.file, buffer, at)
    }

    #[cfg(target_os = "linux")]
    fn read_onto(&self, buffer: &mut Vec<u8>, at: u64) -> io::Result<usize> {
        platform::read_onto(&self.file, buffer, at)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        platform::write_vectored_at(&self.file, buffers, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        platform::sync_data(&self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn preallocate(&self, from: u64, bytes: u64) -> io::Result<bool> {
        platform::preallocate(&self.file, from, bytes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn try_lock_shared(&self) -> io::Result<bool> {
        match self.file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        // What close(2) may still report, a failed write, the sync before it has reported.
        drop(self);
        Ok(())
    }
}

/// A directory of the log on its file system: what most modules are handed.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) root: Arc<Path>,
}

impl Place {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, root: &Path) -> Self {
        Self {
            vfs,
            root: root.into(),
        }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join(name)
    }
}
