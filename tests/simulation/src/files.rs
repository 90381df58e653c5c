//! A disk in memory whose machine goes down at a given operation: the real log runs on it.
//!
//! From that operation on nothing is done any more; what the disk holds then is kept apart. Invariant: what
//! is kept is what the process, or the power, would have left at that very moment.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_log::testing::{Dice, MemVfs};
use tidegate_log::{DirItem, FileSystem, Space, Vfs, VfsFile};

/// When it goes down, and how.
#[derive(Debug)]
struct Fuse {
    /// Operations that are done before.
    left: u64,
    /// Whether what is not synced may be gone.
    is_power: bool,
    dice: Dice,
}

#[derive(Debug, Default)]
struct State {
    fuse: Option<Fuse>,
    kept: Option<MemVfs>,
}

/// See the module. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    disk: MemVfs,
    state: Arc<Mutex<State>>,
}

impl Files {
    pub(crate) fn new(disk: MemVfs) -> Self {
        Self {
            disk,
            state: Arc::default(),
        }
    }

    /// The disk itself.
    pub(crate) fn disk(&self) -> MemVfs {
        self.disk.clone()
    }

    /// It will go down after so many operations that change something.
    pub(crate) fn arm(&self, left: u64, is_power: bool, seed: u64) {
        let dice = Dice::new(seed);
        self.state().fuse = Some(Fuse {
            left,
            is_power,
            dice,
        });
    }

    /// What is left of it: as it went down, or as it is when it goes down now.
    pub(crate) fn left(&self) -> MemVfs {
        let mut state = self.state();
        if let Some(kept) = state.kept.take() {
            return kept;
        }
        match state.fuse.take() {
            Some(fuse) => self.image(fuse),
            None => self.disk.killed(),
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.state().kept.is_some()
    }

    /// It stays up.
    pub(crate) fn disarm(&self) {
        self.state().fuse = None;
    }

    fn image(&self, mut fuse: Fuse) -> MemVfs {
        if fuse.is_power {
            self.disk.power_lost(&mut fuse.dice)
        } else {
            self.disk.killed()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Before each operation that changes something.
    fn change(&self) -> io::Result<()> {
        let mut state = self.state();
        if state.kept.is_some() {
            return Err(ErrorKind::NotConnected.into());
        }
        if let Some(fuse) = &mut state.fuse {
            if fuse.left > 0 {
                fuse.left -= 1;
                return Ok(());
            }
            let fuse = state.fuse.take();
            state.kept = fuse.map(|fuse| self.image(fuse));
            return Err(ErrorKind::NotConnected.into());
        }
        Ok(())
    }

    fn file(&self, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        let files = self.clone();
        Arc::new(FileOf { files, file })
    }
}

impl Vfs for Files {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.file(self.disk.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        Ok(self.file(self.disk.open_read(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.change()?;
        Ok(self.file(self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync_dir(path)
    }

    fn file_system(&self, _path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        Ok(Some(Arc::new(self.clone())))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn boot_id(&self) -> Option<uuid::Uuid> {
        self.disk.boot_id()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

impl FileSystem for Files {
    fn sync(&self) -> io::Result<()> {
        self.change()?;
        FileSystem::sync(&self.disk)
    }
}

#[derive(Debug)]
struct FileOf {
    files: Files,
    file: Arc<dyn VfsFile>,
}

impl VfsFile for FileOf {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        self.file.read_at(buffer, at)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.files.change()?;
        self.file.write_vectored_at(buffers, at)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.files.change()?;
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.files.change()?;
        self.file.sync_all()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.files.change()?;
        self.file.set_len(len)
    }

    fn preallocate(&self, from: u64, bytes: u64) -> io::Result<bool> {
        self.files.change()?;
        self.file.preallocate(from, bytes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        Arc::clone(&self.file).close()
    }
}
