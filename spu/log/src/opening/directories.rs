//! Directories and journal files at opening: which are known, what becomes of the others.
//!
//! Nothing unknown is deleted: empty or retired directories go to the trash, the rest to quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::ReplicaKey;

use super::Opening;
use crate::checkpoint::{JournalPosition, ReplicaState};
use crate::durable;
use crate::error::{Context as _, DiskError};
use crate::fold::{Fold, Folded};
use crate::journal::FileSpan;
use crate::layout;
use crate::replay::Bodies;
use crate::writer::move_to_trash;

impl Opening<'_> {
    /// The directories of known replicas. Those given up go to the trash, those that nobody knows
    /// to the trash when empty and to quarantine when not.
    pub(super) fn directories(
        &self,
        fold: &Fold,
        bodies: &mut Bodies,
        is_changed: &mut bool,
    ) -> Result<BTreeMap<(ReplicaKey, ReplicaGen), ()>, DiskError> {
        let place = self.root.path(layout::REPLICAS);
        let mut known = BTreeMap::new();
        let mut moved: BTreeSet<&str> = BTreeSet::new();
        for item in self.root.vfs.list_dir(&place).during("list", &place)? {
            let Some((key, replica_gen)) = layout::parse_replica_dir(&item.name) else {
                continue;
            };
            let path = place.join(&item.name);
            let is_ours =
                |state: &ReplicaState| state.key == key && state.meta.replica_gen == replica_gen;
            if fold
                .replicas
                .get(&key)
                .is_some_and(|folded| is_ours(&folded.state))
            {
                known.insert((key, replica_gen), ());
                continue;
            }
            *is_changed = true;
            let inside = self.root.vfs.list_dir(&path).during("list", &path)?;
            let is_empty = !inside
                .iter()
                .any(|item| layout::parse_segment(&item.name).is_some());
            if is_empty || fold.retired.iter().any(|folded| is_ours(&folded.state)) {
                move_to_trash(&self.root, &path, None)?;
                moved.extend([layout::TRASH, layout::REPLICAS]);
            } else {
                let dir = self.root.path(layout::QUARANTINE);
                durable::move_aside(&*self.root.vfs, &path, &dir, &item.name)?;
                moved.insert(layout::REPLICAS);
            }
        }
        for name in moved {
            let dir = self.root.path(name);
            let synced = self.root.vfs.sync_dir(&dir);
            synced.during("sync directory", &dir)?;
        }
        self.complete_trash(fold, bodies)?;
        Ok(known)
    }

    /// Adds what the journal holds to directories that went to the trash before the crash: the move
    /// may last and the last bytes of their segments not.
    fn complete_trash(&self, fold: &Fold, bodies: &mut Bodies) -> Result<(), DiskError> {
        let is_wanted = |folded: &&Folded| !folded.batches.is_empty();
        let name = |folded: &Folded| (folded.state.key, folded.state.meta.replica_gen);
        let retired: BTreeMap<_, &Folded> = fold
            .retired
            .iter()
            .filter(is_wanted)
            .map(|folded| (name(folded), folded))
            .collect();
        if retired.is_empty() {
            return Ok(());
        }
        let trash = self.root.path(layout::TRASH);
        for item in self.root.vfs.list_dir(&trash).during("list", &trash)? {
            if let Some(folded) = parse_trashed(&item.name).and_then(|name| retired.get(&name)) {
                self.save_batches(folded, bodies, &trash.join(&item.name))?;
            }
        }
        Ok(())
    }

    /// Saves what the journal holds of a replica that will not be opened to a file in `dir`; gives the
    /// number of batches.
    pub(super) fn save_batches(
        &self,
        folded: &Folded,
        bodies: &mut Bodies,
        dir: &Path,
    ) -> Result<usize, DiskError> {
        if folded.batches.is_empty() {
            return Ok(0);
        }
        let mut bytes = Vec::new();
        let mut rest = &folded.batches[..];
        while !rest.is_empty() {
            let run = bodies.run(rest)?;
            rest = &rest[run.len()..];
            run.iter().for_each(|body| bytes.extend_from_slice(body));
        }
        let (key, replica_gen) = (folded.state.key, folded.state.meta.replica_gen);
        let first = folded.batches.first().map_or(0, |batch| batch.base.get());
        let name = format!("{}-{first}.batches", layout::replica_dir(key, replica_gen));
        durable::replace(&*self.root.vfs, dir, &name, &bytes)?;
        Ok(folded.batches.len())
    }

    /// Journal files that may be used again. A rotten journal's are kept in quarantine.
    pub(super) fn other_journal_files(
        &self,
        files: Vec<FileSpan>,
        covered: JournalPosition,
        position: JournalPosition,
        rot: bool,
    ) -> Result<Vec<FileSpan>, DiskError> {
        let mut others = Vec::new();
        for file in files {
            if file.file_seq == position.file_seq {
                continue;
            }
            if rot && file.file_seq >= covered.file_seq {
                let name = layout::journal(file.file_seq);
                let from = self.journal_place.path(&name);
                let quarantine = self.root.path(layout::QUARANTINE);
                durable::move_aside(&*self.root.vfs, &from, &quarantine, &name)?;
                continue;
            }
            others.push(file);
        }
        Ok(others)
    }
}

/// The replica whose directory is in the trash under that name: when, then its own name, then a number
/// when that was taken.
fn parse_trashed(name: &str) -> Option<(ReplicaKey, ReplicaGen)> {
    let (_when, name) = name.split_once('_')?;
    layout::parse_replica_dir(name.split('.').next()?)
}
