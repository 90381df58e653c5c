//! Open segment files, shared by readers and the writer under one cap, and the list of those with
//! bytes not yet synced.
//!
//! Invariant: a file with unsynced bytes stays open until it is synced, or the file system is held
//! open and synced whole, so that the error of a failed write-back cannot be lost with the handle.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_proto::position::Offset;

use crate::damage::Damages;
use crate::error::{Context as _, DiskError};
use crate::layout;
use crate::limits::{SYNC_BEHIND_BYTES, SYNC_FILES_MAX};
use crate::places::Places;
use crate::vfs::{FileSystem, Place, Vfs, VfsFile};

/// A file of a replica. `replica` numbers the open replica, not its key: a replica made anew does
/// not meet its predecessor's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileId {
    pub(crate) replica: u64,
    pub(crate) base: Offset,
    pub(crate) kind: FileKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileKind {
    Records,
    Index,
}

impl FileId {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        dir.join(match self.kind {
            FileKind::Records => layout::segment(self.base),
            FileKind::Index => layout::index(self.base),
        })
    }
}

/// Open files, least recently used ones closed first.
#[derive(Debug)]
pub(crate) struct FilePool {
    place: Place,
    max: usize,
    open: Mutex<OpenFiles>,
    places: Places,
    damages: Damages,
}

#[derive(Debug, Default)]
struct OpenFiles {
    uses: u64,
    /// Counts files forgotten, so that one opened meanwhile is not kept: it may be the one that is
    /// gone, and its name may come again.
    forgets: u64,
    by_id: HashMap<FileId, OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: Arc<dyn VfsFile>,
    last_use: u64,
}

impl FilePool {
    pub(crate) fn new(place: Place, max: usize) -> Self {
        Self {
            place,
            max: max.max(4),
            open: Mutex::default(),
            places: Places::default(),
            damages: Damages::default(),
        }
    }

    pub(crate) fn vfs(&self) -> &Arc<dyn Vfs> {
        &self.place.vfs
    }

    /// The data directory that they are in.
    pub(crate) fn root(&self) -> &Path {
        &self.place.root
    }

    /// What of these files is damaged.
    pub(crate) fn damages(&self) -> &Damages {
        &self.damages
    }

    /// Where readers of these files stopped.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// An existing file; `dir` is asked for when it is not open yet.
    pub(crate) fn get(
        &self,
        id: FileId,
        dir: impl FnOnce() -> Arc<Path>,
    ) -> io::Result<Arc<dyn VfsFile>> {
        let forgets = match self.cached(id) {
            Ok(file) => return Ok(file),
            Err(forgets) => forgets,
        };
        let path = id.path(&dir());
        let file = match self.place.vfs.open(&path) {
            // Reads go on when the file system has gone read-only.
            Err(error) if is_read_only(error.kind()) => self.place.vfs.open_read(&path),
            other => other,
        }?;
        self.keep(id, &file, forgets);
        Ok(file)
    }

    /// A file that is made, empty, when it is not there.
    pub(crate) fn get_or_create(
        &self,
        id: FileId,
        dir: impl FnOnce() -> Arc<Path>,
    ) -> io::Result<Arc<dyn VfsFile>> {
        let forgets = match self.cached(id) {
            Ok(file) => return Ok(file),
            Err(forgets) => forgets,
        };
        let file = self.place.vfs.create(&id.path(&dir()))?;
        self.keep(id, &file, forgets);
        Ok(file)
    }

    /// Closes a file whose name is gone. Not before it is: a reader would open it again.
    pub(crate) fn forget(&self, id: FileId) {
        let mut open = self.lock();
        open.forgets += 1;
        open.by_id.remove(&id);
    }

    /// The file, or how many were forgotten when it was not there.
    fn cached(&self, id: FileId) -> Result<Arc<dyn VfsFile>, u64> {
        let mut open = self.lock();
        open.uses += 1;
        let now = open.uses;
        let Some(entry) = open.by_id.get_mut(&id) else {
            return Err(open.forgets);
        };
        entry.last_use = now;
        Ok(Arc::clone(&entry.file))
    }

    fn keep(&self, id: FileId, file: &Arc<dyn VfsFile>, forgets: u64) {
        let mut open = self.lock();
        if open.forgets != forgets {
            return;
        }
        open.uses += 1;
        let last_use = open.uses;
        open.by_id.insert(
            id,
            OpenFile {
                file: Arc::clone(file),
                last_use,
            },
        );
        if open.by_id.len() > self.max {
            // An eighth at a time: finding the oldest looks at all of them.
            let mut uses: Vec<u64> = open.by_id.values().map(|entry| entry.last_use).collect();
            uses.sort_unstable();
            let oldest_kept = uses[self.max.div_ceil(8).min(uses.len() - 1)];
            open.by_id.retain(|_, entry| entry.last_use >= oldest_kept);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_read_only(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// What must be synced before a checkpoint may say that it is on disk.
///
/// A few files are kept open and synced one by one. When they become many, they are let go and
/// everything is synced at once: through the hold on the file system errors of closed files are
/// reported too, so that ten thousand dirty segments need no ten thousand descriptors.
#[derive(Debug)]
pub(crate) struct Unsynced {
    file_system: Option<Arc<dyn FileSystem>>,
    files: BTreeMap<FileId, UnsyncedFile>,
    dirs: BTreeSet<Arc<Path>>,
    /// Files or directories beyond those named need a sync.
    is_many: bool,
}

#[derive(Debug)]
struct UnsyncedFile {
    file: Arc<dyn VfsFile>,
    dir: Arc<Path>,
    bytes: u64,
}

impl Unsynced {
    /// Of a directory on this file system.
    pub(crate) fn new(file_system: Option<Arc<dyn FileSystem>>) -> Self {
        Self {
            file_system,
            files: BTreeMap::new(),
            dirs: BTreeSet::new(),
            is_many: false,
        }
    }

    /// Takes note of bytes written; syncs the file at once when they have become many.
    pub(crate) fn wrote(
        &mut self,
        id: FileId,
        dir: &Arc<Path>,
        file: &Arc<dyn VfsFile>,
        bytes: u64,
    ) -> Result<(), DiskError> {
        if self.is_many {
            return Ok(());
        }
        let entry = self.files.entry(id).or_insert_with(|| UnsyncedFile {
            file: Arc::clone(file),
            dir: Arc::clone(dir),
            bytes: 0,
        });
        entry.bytes += bytes;
        if entry.bytes >= SYNC_BEHIND_BYTES {
            entry.file.sync_data().during("sync", &id.path(dir))?;
            self.files.remove(&id);
        }
        self.bound()
    }

    /// Takes note of a name made or removed in a directory.
    pub(crate) fn renamed(&mut self, dir: &Arc<Path>) -> Result<(), DiskError> {
        if !self.is_many {
            self.dirs.insert(Arc::clone(dir));
        }
        self.bound()
    }

    /// A file that is gone needs no sync.
    pub(crate) fn forget(&mut self, id: FileId) {
        self.files.remove(&id);
    }

    /// Makes the names in a directory durable before it gets another path.
    pub(crate) fn sync_names(&mut self, vfs: &dyn Vfs, dir: &Path) -> Result<(), DiskError> {
        if self.dirs.remove(dir) {
            vfs.sync_dir(dir).during("sync directory", dir)?;
        }
        Ok(())
    }

    /// Makes all of it durable.
    pub(crate) fn sync(&mut self, vfs: &dyn Vfs, root: &Path) -> Result<(), DiskError> {
        if let (Some(file_system), true) = (&self.file_system, self.is_many) {
            file_system.sync().during("sync file system", root)?;
            self.is_many = false;
        }
        for (id, entry) in std::mem::take(&mut self.files) {
            entry
                .file
                .sync_data()
                .during("sync", &id.path(&entry.dir))?;
        }
        for dir in std::mem::take(&mut self.dirs) {
            vfs.sync_dir(&dir).during("sync directory", &dir)?;
        }
        Ok(())
    }

    /// Lets the files go when they are many; where everything cannot be synced at once, syncs them.
    fn bound(&mut self) -> Result<(), DiskError> {
        if self.files.len() + self.dirs.len() <= SYNC_FILES_MAX {
            return Ok(());
        }
        if self.file_system.is_some() {
            self.is_many = true;
            self.files.clear();
            self.dirs.clear();
        }
        // Directories cost no descriptor: only files must go.
        while self.files.len() > SYNC_FILES_MAX {
            if let Some((id, entry)) = self.files.pop_first() {
                let synced = entry.file.sync_data();
                synced.during("sync", &id.path(&entry.dir))?;
            }
        }
        Ok(())
    }
}
