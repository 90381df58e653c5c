//! A disk in memory that writes down every change made to it, in order, so that what a crash may
//! leave at each moment can be worked out afterwards ([`crate::images`] does).
//!
//! It fails nothing and loses nothing by itself: for failing disks see [`super::MemVfs`]. Names and
//! files are apart, as on a real disk: an [`Op`] speaks of nodes, not of paths.
//! Invariant: the trace, applied to the tree it began with, gives the live tree.

mod tree;

pub use tree::{FileBytes, Name, Node, Tree};

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::vfs::{DirItem, FileSystem, Vfs, VfsFile};

/// A change, or a promise that changes last.
#[derive(Debug, Clone)]
pub enum Op {
    /// A file or directory was made.
    Link(Name, Node),
    /// A name was removed.
    Unlink(Name),
    /// A node got another name, which may have been another's.
    Rename(Name, Name, Node),
    /// Bytes were written to a file, from a place on.
    Write(u32, u64, Arc<[u8]>),
    /// A file was cut or extended with zeros.
    SetLen(u32, u64),
    /// A file's bytes and length last.
    SyncFile(u32),
    /// A directory's names last.
    SyncDir(u32),
    /// Everything lasts.
    SyncAll,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct TraceVfs {
    disk: Arc<Mutex<Disk>>,
}

type Predicate = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

#[derive(Default)]
struct Disk {
    live: Tree,
    /// `None`: nothing is written down.
    trace: Option<Vec<Op>>,
    locked: BTreeSet<u32>,
    /// Paths whose syncs do nothing, and say they did.
    lies_about: Option<Predicate>,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

impl TraceVfs {
    /// An empty disk that writes down what happens.
    #[must_use]
    pub fn new() -> Self {
        Self::recording(Tree::default())
    }

    /// A disk that begins as that tree and writes down what happens.
    #[must_use]
    pub fn recording(tree: Tree) -> Self {
        let vfs = Self::of(tree);
        lock(&vfs.disk).trace = Some(Vec::new());
        vfs
    }

    /// A disk that begins as that tree and writes nothing down.
    #[must_use]
    pub fn of(tree: Tree) -> Self {
        let disk = Disk {
            live: tree,
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }

    /// From now on syncs of these files and directories are ignored: what a log would leave behind
    /// that forgot them.
    pub fn ignore_syncs_of(&self, paths: impl Fn(&Path) -> bool + Send + Sync + 'static) {
        lock(&self.disk).lies_about = Some(Arc::new(paths));
    }

    /// Operations so far.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.disk).trace.as_ref().map_or(0, Vec::len)
    }

    /// True when nothing was written down.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the trace; the disk goes on with an empty one.
    #[must_use]
    pub fn take_trace(&self) -> Vec<Op> {
        lock(&self.disk)
            .trace
            .replace(Vec::new())
            .unwrap_or_default()
    }

    /// What the disk holds now, synced or not.
    #[must_use]
    pub fn tree(&self) -> Tree {
        lock(&self.disk).live.clone()
    }

    fn file(&self, path: &Path, node: u32) -> Arc<dyn VfsFile> {
        Arc::new(TraceFile {
            disk: Arc::clone(&self.disk),
            node,
            path: path.to_path_buf(),
            holds_lock: AtomicBool::new(false),
        })
    }
}

impl Disk {
    fn note(&mut self, op: Op) {
        self.live.apply(&op);
        if let Some(trace) = &mut self.trace {
            trace.push(op);
        }
    }

    fn note_sync(&mut self, path: &Path, op: Op) {
        if self.lies_about.as_ref().is_none_or(|lies| !lies(path)) {
            self.note(op);
        }
    }

    /// The directory and the last part of a path.
    fn name(&self, path: &Path) -> io::Result<Name> {
        let parent = path.parent().unwrap_or(Path::new("/"));
        let dir = self.live.find(parent).filter(|node| node.is_dir);
        let name = path.file_name().and_then(|name| name.to_str());
        match (dir, name) {
            (Some(dir), Some(name)) => Ok((dir.id, name.into())),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn remove_below(&mut self, dir: u32) {
        for (name, node) in self.live.items(dir) {
            if node.is_dir {
                self.remove_below(node.id);
            }
            self.note(Op::Unlink(name));
        }
    }
}

impl Vfs for TraceVfs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let node = lock(&self.disk).live.find(path);
        match node {
            Some(node) if !node.is_dir => Ok(self.file(path, node.id)),
            _ => Err(ErrorKind::NotFound.into()),
        }
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.open(path)
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        if let Ok(file) = self.open(path) {
            return Ok(file);
        }
        let mut disk = lock(&self.disk);
        let name = disk.name(path)?;
        let node = disk.live.new_node(false);
        disk.note(Op::Link(name, node));
        Ok(self.file(path, node.id))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let node = disk.live.find(from).ok_or(ErrorKind::NotFound)?;
        if let Some(there) = disk.live.find(to)
            && there.is_dir
            && !disk.live.items(there.id).is_empty()
        {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (from, to) = (disk.name(from)?, disk.name(to)?);
        disk.note(Op::Rename(from, to, node));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        disk.live.find(path).ok_or(ErrorKind::NotFound)?;
        let name = disk.name(path)?;
        disk.note(Op::Unlink(name));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        for dir in above {
            if disk.live.find(dir).is_none() {
                let name = disk.name(dir)?;
                let node = disk.live.new_node(true);
                disk.note(Op::Link(name, node));
            }
        }
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let node = disk.live.find(path).ok_or(ErrorKind::NotFound)?;
        let name = disk.name(path)?;
        disk.remove_below(node.id);
        disk.note(Op::Unlink(name));
        Ok(())
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        let disk = lock(&self.disk);
        let dir = disk.live.find(path).filter(|node| node.is_dir);
        let items = disk.live.items(dir.ok_or(ErrorKind::NotFound)?.id);
        let item = |((_, name), node): (Name, Node)| DirItem {
            name: name.to_string(),
            is_dir: node.is_dir,
        };
        Ok(items.into_iter().map(item).collect())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = lock(&self.disk);
        let dir = disk.live.find(path).ok_or(ErrorKind::NotFound)?;
        disk.note_sync(path, Op::SyncDir(dir.id));
        Ok(())
    }

    fn file_system(&self, _path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        Ok(Some(Arc::new(self.clone())))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(lock(&self.disk).live.find(path).is_some())
    }
}

impl FileSystem for TraceVfs {
    fn sync(&self) -> io::Result<()> {
        lock(&self.disk).note(Op::SyncAll);
        Ok(())
    }
}

#[derive(Debug)]
struct TraceFile {
    disk: Arc<Mutex<Disk>>,
    node: u32,
    /// The name it was opened by.
    path: PathBuf,
    holds_lock: AtomicBool,
}

impl VfsFile for TraceFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.disk).live.content(self.node).len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let disk = lock(&self.disk);
        let bytes = disk.live.content(self.node);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let rest = bytes.get(at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        let mut data = Vec::new();
        buffers
            .iter()
            .for_each(|buffer| data.extend_from_slice(buffer));
        let count = data.len();
        lock(&self.disk).note(Op::Write(self.node, at, data.into()));
        Ok(count)
    }

    fn sync_data(&self) -> io::Result<()> {
        lock(&self.disk).note_sync(&self.path, Op::SyncFile(self.node));
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        lock(&self.disk).note(Op::SetLen(self.node, len));
        Ok(())
    }

    fn preallocate(&self, _from: u64, _bytes: u64) -> io::Result<bool> {
        Ok(false)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let is_free = lock(&self.disk).locked.insert(self.node);
        self.holds_lock.store(is_free, Ordering::Relaxed);
        Ok(is_free)
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for TraceFile {
    fn drop(&mut self) {
        if self.holds_lock.load(Ordering::Relaxed) {
            lock(&self.disk).locked.remove(&self.node);
        }
    }
}
