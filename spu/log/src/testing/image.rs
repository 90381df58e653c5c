//! What a disk in memory holds, and what of it a power loss may leave.
//!
//! Names and contents are apart, as on a real file system: a synced file whose name was not synced
//! may be gone, a name may lead to nothing but zeros.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::{Disk, MemVfs, lock};

/// Tears happen at multiples of this.
const SECTOR: u64 = 512;

impl MemVfs {
    /// The disk after kill -9: everything that was written, synced or not.
    #[must_use]
    pub fn killed(&self) -> Self {
        let disk = lock(&self.disk);
        let mut live = disk.live.deep_clone();
        for inode in live.files.values_mut() {
            let mut inode = lock(inode);
            inode.durable = inode.live.clone();
            inode.unsynced.clear();
        }
        Self::of(live, disk.boots)
    }

    /// A disk that a power loss may have left.
    #[must_use]
    pub fn power_lost(&self, dice: &mut Dice) -> Self {
        let disk = lock(&self.disk);
        let mut names = disk.durable.clone();
        let kept = dice.below(disk.unsynced.len() as u64 + 1) as usize;
        for change in &disk.unsynced[..kept] {
            names.apply(change);
        }
        let names = names.deep_clone();
        for inode in names.files.values() {
            lock(inode).lose(dice);
        }
        Self::of(names, disk.boots + 1)
    }

    fn of(names: Names, boots: u64) -> Self {
        let disk = Disk {
            live: names.clone(),
            durable: names,
            boots,
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<PathBuf, Arc<Mutex<Inode>>>,
    pub(super) dirs: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    MakeFile(PathBuf, Arc<Mutex<Inode>>),
    MakeDir(PathBuf),
    Remove(PathBuf),
    RemoveDir(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Debug, Default, Clone)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
    pub(super) is_locked: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

impl NameChange {
    pub(super) fn touches(&self, dir: &Path) -> bool {
        let within = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            Self::MakeFile(path, _)
            | Self::MakeDir(path)
            | Self::Remove(path)
            | Self::RemoveDir(path) => within(path),
            Self::Rename(from, to) => within(from) || within(to),
        }
    }
}

impl Names {
    pub(super) fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::MakeFile(path, inode) => {
                self.files.insert(path.clone(), Arc::clone(inode));
            }
            NameChange::MakeDir(path) => {
                self.dirs.insert(path.clone());
            }
            NameChange::Remove(path) => {
                self.files.remove(path);
            }
            NameChange::RemoveDir(path) => {
                self.files.retain(|file, _| !file.starts_with(path));
                self.dirs.retain(|dir| !dir.starts_with(path));
            }
            NameChange::Rename(from, to) => self.rename(from, to),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        let moved = |path: &Path| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_path_buf(),
            Ok(rest) => to.join(rest),
            Err(_) => path.to_path_buf(),
        };
        let (going, mut staying): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.files)
                .into_iter()
                .partition(|(path, _)| path.starts_with(from));
        staying.extend(going.into_iter().map(|(path, inode)| (moved(&path), inode)));
        self.files = staying;
        self.dirs = std::mem::take(&mut self.dirs)
            .iter()
            .map(|dir| moved(dir))
            .collect();
    }

    pub(super) fn deep_clone(&self) -> Self {
        let files = self.files.iter().filter(|(path, _)| {
            // A file whose directory did not last is gone with it.
            path.parent()
                .is_none_or(|parent| self.dirs.contains(parent))
        });
        let files = files.map(|(path, inode)| {
            let inode = Inode {
                is_locked: false,
                ..lock(inode).clone()
            };
            (path.clone(), Arc::new(Mutex::new(inode)))
        });
        Self {
            files: files.collect(),
            dirs: self.dirs.clone(),
        }
    }
}

impl Inode {
    /// Keeps a random part of what was not synced.
    pub(super) fn lose(&mut self, dice: &mut Dice) {
        let mut bytes = std::mem::take(&mut self.durable);
        // Half of the time nothing or everything: the cases that happen most.
        let mode = dice.below(4);
        for change in std::mem::take(&mut self.unsynced) {
            let keep = match mode {
                0 => false,
                1 => true,
                _ => dice.below(2) == 0,
            };
            match change {
                Change::SetLen(len) if keep => bytes.resize(len as usize, 0),
                Change::Write(at, data) if keep && mode != 1 && dice.below(3) == 0 => {
                    for sector in 0..(data.len() as u64).div_ceil(SECTOR) {
                        if dice.below(2) == 0 {
                            let from = (sector * SECTOR) as usize;
                            let to = (from + SECTOR as usize).min(data.len());
                            write_into(&mut bytes, at + from as u64, &data[from..to]);
                        }
                    }
                }
                Change::Write(at, data) if keep => write_into(&mut bytes, at, &data),
                Change::Write(..) | Change::SetLen(_) => {}
            }
        }
        self.live = bytes.clone();
        self.durable = bytes;
    }
}

pub(super) fn write_into(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let at = at as usize;
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl Inode {
    pub(super) fn sync(&mut self) {
        // By what changed: a journal is large, and synced at every turn.
        for change in self.unsynced.drain(..) {
            match change {
                Change::SetLen(len) => self.durable.resize(len as usize, 0),
                Change::Write(at, data) => write_into(&mut self.durable, at, &data),
            }
        }
    }
}

/// Numbers that look random and are the same for the same seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice of that seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}
