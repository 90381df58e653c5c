//! What of a disk lasts and what a crash may still take: the state between two operations.
//!
//! What was synced is there. Of everything since, per file and per name:
//! - **bytes**: any subset of the writes and truncations, in any order of arrival; a write may be torn
//!   at 512 bytes and at 4 KiB of the file, and any of its sectors may be missing;
//! - **length**: older than the bytes (what was written beyond it is gone), or newer (the tail reads
//!   as zeros);
//! - **names**: any subset of the changes, except that two changes of one name keep their order and a
//!   rename is whole or absent. That is weaker than ext4, XFS and btrfs, which keep more order: a log
//!   that survives this survives them. A file whose directory did not last is gone with it; a synced
//!   file does not bring its name along; a synced directory does not bring its own name along.
//!
//! Not in the model: a disk that lies about a sync (it is what the mutants do), bytes that rot (the
//! sweep does that), a sector torn within itself, a write that lands somewhere else.
//! Invariant: `durable` with all of `names` and `files` applied is the live disk.

use std::collections::{BTreeMap, BTreeSet};

use crate::testing::trace::{Name, Op, Tree};

/// A disk with changes that nobody synced.
#[derive(Debug, Clone, Default)]
pub struct Volatile {
    durable: Tree,
    /// Changes of names, oldest first.
    names: Vec<Op>,
    /// Changes of bytes by file, oldest first.
    files: BTreeMap<u32, Vec<Op>>,
}

impl Volatile {
    /// A disk on which everything lasts.
    #[must_use]
    pub fn new(durable: Tree) -> Self {
        Self {
            durable,
            ..Self::default()
        }
    }

    /// The next operation of the trace.
    pub fn apply(&mut self, op: &Op) {
        match op {
            Op::Link(..) | Op::Unlink(_) | Op::Rename(..) => self.names.push(op.clone()),
            Op::Write(node, ..) | Op::SetLen(node, _) => {
                self.files.entry(*node).or_default().push(op.clone());
            }
            Op::SyncFile(node) => {
                for change in self.files.remove(node).unwrap_or_default() {
                    self.durable.apply(&change);
                }
            }
            Op::SyncDir(dir) => self.sync_dir(*dir),
            Op::SyncAll => {
                self.durable = self.live();
                self.names.clear();
                self.files.clear();
            }
        }
    }

    /// Everything that was done.
    #[must_use]
    pub fn live(&self) -> Tree {
        let mut tree = self.durable.clone();
        let changes = self.names.iter().chain(self.files.values().flatten());
        changes.for_each(|change| tree.apply(change));
        tree
    }

    /// What lasts.
    #[must_use]
    pub fn durable(&self) -> &Tree {
        &self.durable
    }

    /// What lasts, with some changes of names: true in `kept` keeps one.
    #[must_use]
    pub fn with_names(&self, kept: &[bool]) -> Tree {
        let mut tree = self.durable.clone();
        for (change, kept) in self.names.iter().zip(kept) {
            if *kept {
                tree.apply(change);
            }
        }
        tree
    }

    /// Number of unsynced changes of names.
    #[must_use]
    pub fn name_changes(&self) -> usize {
        self.names.len()
    }

    /// Unsynced changes of bytes, by file.
    pub fn file_changes(&self) -> impl Iterator<Item = (u32, &[Op])> {
        self.files.iter().map(|(node, ops)| (*node, &ops[..]))
    }

    /// Adds what must come before anything kept: earlier changes of the same names.
    pub fn close_downwards(&self, kept: &mut [bool]) {
        let mut wanted: BTreeSet<&Name> = BTreeSet::new();
        for (change, kept) in self.names.iter().zip(kept).rev() {
            *kept |= names_of(change).any(|name| wanted.contains(name));
            if *kept {
                wanted.extend(names_of(change));
            }
        }
    }

    /// Takes away what cannot be without something left out: later changes of the same names.
    pub fn close_upwards(&self, kept: &mut [bool]) {
        let mut refused: BTreeSet<&Name> = BTreeSet::new();
        for (change, kept) in self.names.iter().zip(kept) {
            *kept &= !names_of(change).any(|name| refused.contains(name));
            if !*kept {
                refused.extend(names_of(change));
            }
        }
    }

    fn sync_dir(&mut self, dir: u32) {
        let in_dir = |change: &Op| names_of(change).any(|(parent, _)| *parent == dir);
        let mut synced: Vec<bool> = self.names.iter().map(in_dir).collect();
        self.close_downwards(&mut synced);
        self.durable = self.with_names(&synced);
        let mut synced = synced.iter();
        self.names.retain(|_| synced.next() == Some(&false));
    }
}

fn names_of(change: &Op) -> impl Iterator<Item = &Name> {
    let (first, second) = match change {
        Op::Link(name, _) | Op::Unlink(name) => (Some(name), None),
        Op::Rename(from, to, _) => (Some(from), Some(to)),
        _ => (None, None),
    };
    first.into_iter().chain(second)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::testing::trace::TraceVfs;
    use crate::vfs::Vfs;

    fn replay(vfs: &TraceVfs) -> Volatile {
        let mut volatile = Volatile::default();
        vfs.take_trace().iter().for_each(|op| volatile.apply(op));
        volatile
    }

    fn files(tree: &Tree) -> Vec<String> {
        tree.files().into_iter().map(|(path, _)| path).collect()
    }

    #[test]
    fn a_synced_file_has_no_name_and_a_synced_name_no_bytes() {
        let vfs = TraceVfs::new();
        vfs.create_dir(Path::new("/d")).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        let file = vfs.create(Path::new("/d/a")).unwrap();
        crate::durable::write_all_at(&*file, &[b"bytes"], 0).unwrap();
        file.sync_data().unwrap();
        let other = vfs.create(Path::new("/d/b")).unwrap();
        crate::durable::write_all_at(&*other, &[b"bytes"], 0).unwrap();
        let volatile = replay(&vfs);
        assert!(files(volatile.durable()).is_empty());
        assert_eq!(files(&volatile.live()), ["/d/a", "/d/b"]);
        assert_eq!(volatile.live().fingerprint(), vfs.tree().fingerprint());
        let both = volatile.with_names(&[true, true]);
        let lens: Vec<usize> = both
            .files()
            .iter()
            .map(|(_, node)| both.content(*node).len())
            .collect();
        assert_eq!(lens, [5, 0]);
    }

    #[test]
    fn changes_of_one_name_keep_their_order_and_a_rename_is_whole() {
        let vfs = TraceVfs::new();
        for name in ["/x", "/y"] {
            vfs.create(Path::new(name)).unwrap();
        }
        vfs.rename(Path::new("/x"), Path::new("/z")).unwrap();
        vfs.remove_file(Path::new("/z")).unwrap();
        let volatile = replay(&vfs);
        let mut kept = [false, false, false, true];
        volatile.close_downwards(&mut kept);
        assert_eq!(kept, [true, false, true, true]);
        let mut kept = [false, true, true, true];
        volatile.close_upwards(&mut kept);
        assert_eq!(kept, [false, true, false, false]);
        assert_eq!(
            files(&volatile.with_names(&[true, true, true, false])),
            ["/y", "/z"]
        );
    }
}
