//! A disk that fails at one operation, over another disk: the n-th write, sync, rename and so on
//! returns an error, once or from then on, or is done by halves.
//!
//! Operations are numbered by kind, so that a test can fail each of a script's in turn. A file whose
//! sync failed is like on a real system: its next sync goes well and keeps nothing, until it is made
//! anew or emptied.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use uuid::Uuid;

use super::lock;
use crate::space::Space;
use crate::vfs::{DirItem, FileSystem, Vfs, VfsFile};

/// Kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Writing to a file.
    Write,
    /// Changing a file's length.
    SetLen,
    /// Syncing a file, a directory or all.
    Sync,
    /// Opening a directory to sync it.
    OpenDir,
    /// Closing a written file.
    Close,
    /// Opening a file to make it when it is not there.
    Create,
    /// Opening a file that is there.
    Open,
    /// Changing a name.
    Rename,
    /// Removing a name.
    Remove,
    /// Making a directory.
    MakeDir,
    /// Reading from a file.
    Read,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Write,
        Self::SetLen,
        Self::Sync,
        Self::OpenDir,
        Self::Close,
        Self::Create,
        Self::Open,
        Self::Rename,
        Self::Remove,
        Self::MakeDir,
        Self::Read,
    ];
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// EIO.
    Broken,
    /// ENOSPC. A write puts the first half of its bytes down before.
    NoSpace,
    /// EROFS.
    ReadOnly,
    /// EMFILE.
    NoHandles,
    /// A write or read of the first half only: no error.
    Short,
    /// A write of nothing: no error.
    Nothing,
}

impl Trouble {
    fn error(self) -> io::Error {
        let code = match self {
            Self::Broken | Self::Short | Self::Nothing => 5,
            Self::NoSpace => 28,
            Self::ReadOnly => 30,
            Self::NoHandles => 24,
        };
        io::Error::from_raw_os_error(code)
    }

    fn is_partial(self) -> bool {
        matches!(self, Self::Short | Self::Nothing)
    }
}

#[derive(Debug, Clone)]
struct Plan {
    step: Step,
    /// Of paths that hold this.
    within: String,
    /// So many go well first.
    after: u64,
    trouble: Trouble,
    lasts: bool,
}

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<Step, u64>,
    plan: Option<Plan>,
    /// The plan holds from the write of these bytes on.
    awaited: Option<Vec<u8>>,
    struck: bool,
    /// Files whose dirty pages the system has forgotten.
    forgotten: BTreeSet<PathBuf>,
}

/// The disk. Clones are the same.
#[derive(Debug, Clone)]
pub struct FaultyVfs {
    disk: Arc<dyn Vfs>,
    state: Arc<Mutex<State>>,
}

impl FaultyVfs {
    /// A disk without faults so far.
    pub fn new(disk: Arc<dyn Vfs>) -> Self {
        Self {
            disk,
            state: Arc::default(),
        }
    }

    /// Lets an operation fail after so many more of its kind: once, or from then on.
    pub fn fail(&self, step: Step, after: u64, trouble: Trouble, lasts: bool) {
        self.fail_within("", step, after, trouble, lasts);
    }

    /// The same of files and directories whose path holds a text.
    pub fn fail_within(&self, part: &str, step: Step, after: u64, trouble: Trouble, lasts: bool) {
        let mut state = lock(&self.state);
        state.struck = false;
        state.awaited = None;
        state.plan = Some(Plan {
            step,
            within: part.to_owned(),
            after,
            trouble,
            lasts,
        });
    }

    /// The same of the first such operation from the write of these bytes on, be it that write itself.
    /// What others do by the clock until then goes well.
    pub fn fail_at(&self, bytes: &[u8], step: Step, trouble: Trouble, lasts: bool) {
        self.fail(step, 0, trouble, lasts);
        lock(&self.state).awaited = Some(bytes.to_vec());
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.plan = None;
        state.awaited = None;
    }

    /// Whether the fault has been met.
    #[must_use]
    pub fn struck(&self) -> bool {
        lock(&self.state).struck
    }

    /// Operations of a kind so far.
    #[must_use]
    pub fn count(&self, step: Step) -> u64 {
        let state = lock(&self.state);
        state.counts.get(&step).copied().unwrap_or(0)
    }

    fn meet(&self, step: Step, path: &Path) -> Option<Trouble> {
        let mut state = lock(&self.state);
        *state.counts.entry(step).or_default() += 1;
        if state.awaited.is_some() {
            return None;
        }
        let is_meant =
            |plan: &&mut Plan| plan.step == step && path.to_string_lossy().contains(&plan.within);
        let plan = state.plan.as_mut().filter(is_meant)?;
        if plan.after > 0 {
            plan.after -= 1;
            return None;
        }
        let trouble = plan.trouble;
        if !plan.lasts {
            state.plan = None;
        }
        state.struck = true;
        Some(trouble)
    }

    fn see(&self, buffers: &[IoSlice<'_>]) {
        let mut state = lock(&self.state);
        state.awaited.take_if(|awaited| {
            let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
            all.windows(awaited.len()).any(|part| part == awaited)
        });
    }

    fn check(&self, step: Step, path: &Path) -> io::Result<()> {
        let trouble = self
            .meet(step, path)
            .filter(|trouble| !trouble.is_partial());
        trouble.map_or(Ok(()), |trouble| Err(trouble.error()))
    }

    fn file(&self, path: &Path, file: Arc<dyn VfsFile>) -> Arc<dyn VfsFile> {
        Arc::new(FaultyFile {
            disk: self.clone(),
            path: path.to_path_buf(),
            file,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Vfs for FaultyVfs {
    fn open(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.check(Step::Open, path)?;
        Ok(self.file(path, self.disk.open(path)?))
    }

    fn open_read(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.check(Step::Open, path)?;
        Ok(self.file(path, self.disk.open_read(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.check(Step::Create, path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Step::Rename, from)?;
        let mut state = self.state();
        if state.forgotten.remove(from) {
            state.forgotten.insert(to.to_path_buf());
        }
        drop(state);
        self.disk.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(Step::Remove, path)?;
        self.state().forgotten.remove(path);
        self.disk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Step::MakeDir, path)?;
        self.disk.create_dir(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.check(Step::Remove, path)?;
        self.disk.remove_dir_all(path)
    }

    fn list_dir(&self, path: &Path) -> io::Result<Vec<DirItem>> {
        self.disk.list_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Step::OpenDir, path)?;
        self.check(Step::Sync, path)?;
        self.disk.sync_dir(path)
    }

    fn file_system(&self, path: &Path) -> io::Result<Option<Arc<dyn FileSystem>>> {
        let Some(held) = self.disk.file_system(path)? else {
            return Ok(None);
        };
        let disk = self.clone();
        Ok(Some(Arc::new(FaultyFileSystem { disk, held })))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn boot_id(&self) -> Option<Uuid> {
        self.disk.boot_id()
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

#[derive(Debug)]
struct FaultyFileSystem {
    disk: FaultyVfs,
    held: Arc<dyn FileSystem>,
}

impl FileSystem for FaultyFileSystem {
    fn sync(&self) -> io::Result<()> {
        self.disk.check(Step::Sync, Path::new(""))?;
        self.held.sync()
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyVfs,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
}

impl FaultyFile {
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if let Err(error) = self.disk.check(Step::Sync, &self.path) {
            self.disk.state().forgotten.insert(self.path.clone());
            return Err(error);
        }
        if self.disk.state().forgotten.contains(&self.path) {
            return Ok(());
        }
        sync()
    }
}

impl VfsFile for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        match self.disk.meet(Step::Read, &self.path) {
            None => self.file.read_at(buffer, at),
            Some(trouble) if trouble.is_partial() => {
                let half = buffer.len().div_ceil(2);
                self.file.read_at(&mut buffer[..half], at)
            }
            Some(trouble) => Err(trouble.error()),
        }
    }

    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], at: u64) -> io::Result<usize> {
        self.disk.see(buffers);
        let Some(trouble) = self.disk.meet(Step::Write, &self.path) else {
            return self.file.write_vectored_at(buffers, at);
        };
        let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
        let half = IoSlice::new(&all[..all.len().div_ceil(2)]);
        match trouble {
            Trouble::Nothing => Ok(0),
            Trouble::Short => self.file.write_vectored_at(&[half], at),
            Trouble::NoSpace => {
                self.file.write_vectored_at(&[half], at)?;
                Err(trouble.error())
            }
            Trouble::Broken | Trouble::ReadOnly | Trouble::NoHandles => Err(trouble.error()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(|| self.file.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(|| self.file.sync_all())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check(Step::SetLen, &self.path)?;
        if len == 0 {
            self.disk.state().forgotten.remove(&self.path);
        }
        self.file.set_len(len)
    }

    fn preallocate(&self, from: u64, bytes: u64) -> io::Result<bool> {
        self.file.preallocate(from, bytes)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn close(self: Arc<Self>) -> io::Result<()> {
        self.disk.check(Step::Close, &self.path)?;
        Arc::clone(&self.file).close()
    }
}
