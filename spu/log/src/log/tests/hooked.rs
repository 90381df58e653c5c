//! The disk in memory with something that happens just before names are changed: what another
//! thread may do at the worst moment.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Ears, dir, small};
use crate::testing::MemVfs;
use crate::{DirItem, FileSystem, Log, Opened, RoundListener, Vfs, VfsFile};

/// A change of a name, or the length of a file, about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Remove,
    RemoveDir,
    Rename,
    SyncDir,
}

type Hook = Box<dyn FnMut(Change, &Path, Option<&Path>) + Send>;

#[derive(Clone)]
pub(super) struct HookedVfs {
    pub(super) disk: MemVfs,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl std::fmt::Debug for HookedVfs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl HookedVfs {
    pub(super) fn new(disk: &MemVfs) -> Self {
        Self {
            disk: disk.clone(),
            hook: Arc::default(),
        }
    }

    pub(super) fn open(&self) -> Opened {
        let listener: Arc<dyn RoundListener> = Arc::new(Ears::default());
        Log::open(Arc::new(self.clone()), &dir(), small(), listener).unwrap()
    }

    /// Calls it with the name that changes; of a rename, the new one.
    pub(super) fn before(&self, mut hook: impl FnMut(Change, &Path) + Send + 'static) {
        self.watch(move |change, from, to| hook(change, to.unwrap_or(from)));
    }

    /// Calls it with the name that changes and, of a rename, the new one as well.
    pub(super) fn watch(&self, hook: impl FnMut(Change, &Path, Option<&Path>) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    fn tell(&self, change: Change, path: &Path, to: Option<&Path>) {
        // Taken out meanwhile: what the hook does may come here again.
        let hook = self.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(change, path, to);
            self.hook.lock().unwrap().get_or_insert(hook);
        }
    }
}

impl Vfs for HookedVfs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.open(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.open_read(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.disk.create(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.tell(Change::Rename, from, Some(to));
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.tell(Change::Remove, path, None);
        self.disk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.tell(Change::RemoveDir, path, None);
        self.disk.remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.tell(Change::SyncDir, path, None);
        self.disk.sync_dir(path)
    }

    fn file_system(&self, path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        self.disk.file_system(path)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
}

/// The name of a path's last part.
pub(super) fn name(path: &Path) -> String {
    PathBuf::from(path.file_name().unwrap())
        .to_string_lossy()
        .into_owned()
}
