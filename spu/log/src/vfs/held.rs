//! A disk whose file system is held open, so that names can be made durable when file handles ran out.
//!
//! A directory must be opened to be synced. When the process or the system has no handle for that, the
//! whole file system is synced through the one that is held, which takes longer and needs none. An error
//! of a sync itself is passed on: it is final, whoever asks again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::{DirItem, FileSystem, Vfs, VfsFile};
use crate::platform;
use crate::space::Space;

#[derive(Debug)]
pub(crate) struct HeldVfs {
    disk: Arc<dyn Vfs>,
    held: Arc<dyn FileSystem>,
}

impl HeldVfs {
    /// The disk itself where its file system cannot be held.
    pub(crate) fn around(disk: Arc<dyn Vfs>, held: Option<&Arc<dyn FileSystem>>) -> Arc<dyn Vfs> {
        match held {
            None => disk,
            Some(held) => Arc::new(Self {
                disk,
                held: Arc::clone(held),
            }),
        }
    }
}

impl Vfs for HeldVfs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.open_read(path)
    }

    fn open_direct(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.open_direct(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        match self.disk.sync_dir(path) {
            // No sync fails so: the directory was not opened.
            Err(error) if platform::is_out_of_handles(&error) => self.held.sync(),
            other => other,
        }
    }

    fn file_system(&self, path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        self.disk.file_system(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn open_files_max(&self) -> usize {
        self.disk.open_files_max()
    }

    fn boot_id(&self) -> Option<Uuid> {
        self.disk.boot_id()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}
