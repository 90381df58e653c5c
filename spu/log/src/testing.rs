//! A file system in memory that loses what was not synced: for tests and simulations only.
//!
//! [`MemVfs::killed`] is the disk after kill -9 (everything written is there);
//! [`MemVfs::power_lost`] is one after a power loss: of each file any of the unsynced writes, torn
//! at 512 bytes; of the names a prefix of the unsynced changes. Both leave the original as it is.
//! Faults are set with [`MemVfs::fail`]. Invariant: what was synced is in every image.

mod file;

mod image;
pub mod trace;

mod faulty;

pub use faulty::{FaultyVfs, Step, Trouble};
pub use image::Dice;

use file::MemFile;

use image::{Inode, NameChange, Names};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use crate::space::Space;
use crate::vfs::{DirItem, FileSystem, Vfs, VfsFile};

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemVfs {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    live: Names,
    durable: Names,
    /// Changes of names that no directory sync has covered, in order.
    unsynced: Vec<NameChange>,
    faults: Vec<Fault>,
    read_only: bool,
    /// Bytes of all files together.
    capacity: Option<u64>,
    counts: Counts,
    /// Power losses before.
    boots: u64,
}

/// Operations so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Writes.
    pub writes: u64,
    /// Syncs of files.
    pub syncs: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Files opened.
    pub opens: u64,
    /// Syncs of directories.
    pub dir_syncs: u64,
    /// Syncs of everything.
    pub whole_syncs: u64,
    /// Directories listed.
    pub lists: u64,
}

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Writing to a file.
    Write,
    /// Syncing a file.
    Sync,
    /// Reading from a file.
    Read,
    /// Closing a written file.
    Close,
    /// Making a file.
    Create,
}

#[derive(Debug, Clone, Copy)]
struct Fault {
    operation: Operation,
    /// So many pass first.
    after: u64,
    kind: ErrorKind,
}

impl MemVfs {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an operation fail after so many of its kind have passed, from then on every time.
    pub fn fail(&self, operation: Operation, after: u64, kind: ErrorKind) {
        lock(&self.disk).faults.push(Fault {
            operation,
            after,
            kind,
        });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.disk).faults.clear();
    }

    /// Refuses every change from now on.
    pub fn set_read_only(&self) {
        lock(&self.disk).read_only = true;
    }

    /// Leaves room for so many bytes more than there are now; `None` for any number.
    pub fn set_room(&self, room: Option<u64>) {
        let mut disk = lock(&self.disk);
        disk.capacity = room.map(|room| room + disk.bytes());
    }

    /// Operations so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        lock(&self.disk).counts
    }

    /// Paths of all files.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        lock(&self.disk).live.files.keys().cloned().collect()
    }

    /// A file's bytes.
    #[must_use]
    pub fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        lock(&self.disk)
            .live
            .files
            .get(path)
            .map(|inode| lock(inode).live.clone())
    }

    /// Changes a file's bytes behind everybody's back, durably.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let disk = lock(&self.disk);
        if let Some(inode) = disk.live.files.get(path) {
            let mut inode = lock(inode);
            change(&mut inode.live);
            inode.durable = inode.live.clone();
        }
    }

    fn make(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = lock(&self.disk);
        disk.check(Operation::Create)?;
        if path
            .parent()
            .is_none_or(|parent| !disk.live.dirs.contains(parent))
        {
            return Err(ErrorKind::NotFound.into());
        }
        let inode = Arc::default();
        disk.change(NameChange::MakeFile(path.to_path_buf(), Arc::clone(&inode)))?;
        Ok(self.file(&inode))
    }

    fn file(&self, inode: &Arc<Mutex<Inode>>) -> Arc<dyn VfsFile> {
        Arc::new(MemFile {
            disk: Arc::clone(&self.disk),
            inode: Arc::clone(inode),
            holds_lock: AtomicBool::new(false),
        })
    }
}

impl Disk {
    fn check(&mut self, operation: Operation) -> io::Result<()> {
        if self.read_only && operation != Operation::Read {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        for fault in self
            .faults
            .iter_mut()
            .filter(|fault| fault.operation == operation)
        {
            if fault.after == 0 {
                return Err(fault.kind.into());
            }
            fault.after -= 1;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let files = self.live.files.values();
        files.map(|inode| lock(inode).live.len() as u64).sum()
    }

    fn check_room(&self, inode: &Mutex<Inode>, end: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else {
            return Ok(());
        };
        let growth = end.saturating_sub(lock(inode).live.len() as u64);
        if growth > 0 && self.bytes() + growth > capacity {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn change(&mut self, change: NameChange) -> io::Result<()> {
        if self.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        self.live.apply(&change);
        self.unsynced.push(change);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Vfs for MemVfs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = lock(&self.disk);
        if disk.read_only {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        disk.counts.opens += 1;
        let inode = disk.live.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut disk = lock(&self.disk);
        disk.counts.opens += 1;
        let inode = disk.live.files.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(self.file(inode))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        match self.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.make(path),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if !disk.live.files.contains_key(from) && !disk.live.dirs.contains(from) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = |path: &PathBuf| path != to && path.starts_with(to);
        if disk.live.dirs.contains(to) && disk.live.files.keys().chain(&disk.live.dirs).any(inside)
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change(NameChange::Rename(from.to_path_buf(), to.to_path_buf()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        if !disk.live.files.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.change(NameChange::Remove(path.to_path_buf()))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let mut above: Vec<PathBuf> = path.ancestors().map(Path::to_path_buf).collect();
        above.reverse();
        for dir in above {
            if !disk.live.dirs.contains(&dir) {
                disk.change(NameChange::MakeDir(dir))?;
            }
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        lock(&self.disk).change(NameChange::RemoveDir(path.to_path_buf()))
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        let mut disk = lock(&self.disk);
        disk.counts.lists += 1;
        if !disk.live.dirs.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let name = |child: &Path| {
            let name = child
                .file_name()
                .and_then(|name| name.to_str())
                .map(str::to_owned);
            name.filter(|_| child.parent() == Some(path))
        };
        // Paths are ordered by their parts: what is below a directory stands together.
        let from = path.to_path_buf();
        let files = disk.live.files.range(from.clone()..).map(|(file, _)| file);
        let files = files.take_while(|file| file.starts_with(path));
        let dirs = disk.live.dirs.range(from..);
        let dirs = dirs.take_while(|dir| dir.starts_with(path));
        let (files, dirs) = (
            files.filter_map(|file| name(file)),
            dirs.filter_map(|dir| name(dir)),
        );
        Ok(files
            .map(|name| DirItem {
                name,
                is_dir: false,
            })
            .chain(dirs.map(|name| DirItem { name, is_dir: true }))
            .collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.check(Operation::Sync)?;
        disk.counts.dir_syncs += 1;
        let Disk {
            durable, unsynced, ..
        } = &mut *disk;
        unsynced.retain(|change| {
            // A directory's own name counts as synced with what is in it, as its root must exist.
            let synced = change.touches(path)
                || matches!(change, NameChange::MakeDir(dir) if path.starts_with(dir));
            if synced {
                durable.apply(change);
            }
            !synced
        });
        Ok(())
    }

    fn file_system(&self, _path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        Ok(Some(Arc::new(self.clone())))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let disk = lock(&self.disk);
        Ok(disk.live.files.contains_key(path) || disk.live.dirs.contains(path))
    }

    fn boot_id(&self) -> Option<Uuid> {
        Some(Uuid::from_u128(lock(&self.disk).boots.into()))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let disk = lock(&self.disk);
        let total = disk.capacity.unwrap_or(u64::MAX);
        Ok(Space {
            total,
            available: total - disk.bytes().min(total),
            is_read_only: disk.read_only,
        })
    }
}
