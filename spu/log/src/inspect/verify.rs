//! Checks every stored byte of a data directory at rest: identity, checkpoint, journal, segments,
//! indexes, snapshots. Reads only; whatever the bytes, it ends with a report.
//!
//! Memory: the journal is folded as a start does it, a reference per batch; segments pass through
//! one read at a time.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use tidegate_proto::id::{ReplicaGen, StorageId};
use tidegate_proto::position::{Offset, ReplicaKey};

use super::finding::{Finding, FindingKind, Listener};
use super::lock::{self, InspectError};
use super::replica::ReplicaCheck;
use crate::checkpoint::{Checkpoint, ReplicaState};
use crate::fold::{Fold, Folded};
use crate::identity::Identity;
use crate::layout;
use crate::replay::{self, ReplayEnd};
use crate::round::RoundHeader;
use crate::vfs::{Place, Vfs};
use crate::{durable, round};

/// What is told while a directory is looked at.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Something is not as it should be, or was cut short by a crash.
    Found(&'a Finding),
    /// So many bytes of segments are checked, of so many.
    Checked {
        /// Bytes done.
        bytes: u64,
        /// Bytes in all.
        of: u64,
    },
}

/// What was looked at, and how much was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Verified {
    /// Whose directory it is, when that can be read.
    pub storage_id: Option<StorageId>,
    /// It was closed in order.
    pub clean: bool,
    /// Generation of the checkpoint.
    pub checkpoint: Option<u64>,
    /// Rounds that a start would fold.
    pub rounds: u64,
    /// Batches that a start would write from the journal to segments.
    pub to_replay: u64,
    /// Replicas with a directory.
    pub replicas: u64,
    /// Segment files.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Good batches in them.
    pub batches: u64,
    /// Records in those.
    pub records: u64,
    /// Findings that are problems.
    pub problems: u64,
    /// Findings that are none.
    pub harmless: u64,
}

/// Where findings go.
struct Sink<'a> {
    hear: &'a mut dyn FnMut(Progress<'_>) -> bool,
    done: u64,
    total: u64,
    problems: u64,
    harmless: u64,
    is_stopped: bool,
}

impl Listener for Sink<'_> {
    fn tell(&mut self, finding: Finding) {
        if finding.kind.is_problem() {
            self.problems += 1;
        } else {
            self.harmless += 1;
        }
        self.is_stopped |= !(self.hear)(Progress::Found(&finding));
    }

    fn progress(&mut self, bytes: u64) {
        self.done += bytes;
        let (bytes, of) = (self.done, self.total);
        self.is_stopped |= !(self.hear)(Progress::Checked { bytes, of });
    }

    fn is_stopped(&self) -> bool {
        self.is_stopped
    }
}

/// Checks the directory. `hear` is told of each finding and of progress, and may answer false to
/// end it early. Fails only when there is nothing to look at, or a server runs on it.
pub fn verify(
    vfs: Arc<dyn Vfs>,
    dir: &Path,
    hear: &mut dyn FnMut(Progress<'_>) -> bool,
) -> Result<Verified, InspectError> {
    let root = Place::new(vfs, dir);
    let _lock = lock::shared(&root)?;
    let mut sink = Sink {
        hear,
        done: 0,
        total: segment_bytes(&root),
        problems: 0,
        harmless: 0,
        is_stopped: false,
    };
    let mut verified = Verified::default();
    let identity = identity(&root, &mut sink);
    let checkpoint = checkpoint(&root, identity.as_ref(), &mut sink);
    verified.storage_id = identity.map(|identity| identity.storage_id);
    verified.checkpoint = checkpoint.as_ref().map(|checkpoint| checkpoint.generation);
    let clean = identity.and_then(|identity| identity.clean);
    verified.clean = clean.is_some_and(|clean| Some(clean.checkpoint) == verified.checkpoint);
    let states = checkpoint
        .iter()
        .flat_map(|checkpoint| &checkpoint.replicas);
    let mut fold = Fold::new(states.copied());
    if let Some(checkpoint) = &checkpoint {
        let end = journal(&root, checkpoint, &mut fold, &mut sink);
        verified.rounds = end.map_or(0, |end| end.rounds);
        if verified.clean && verified.rounds > 0 {
            let what = "the directory says that it was closed in order, and the journal goes on \
                        behind that: files of two times are mixed";
            sink.tell(Finding::new(
                FindingKind::Stray,
                root.path(layout::IDENTITY),
                what,
            ));
        }
    }
    replicas(&root, &fold, checkpoint.is_some(), &mut verified, &mut sink);
    verified.problems = sink.problems;
    verified.harmless = sink.harmless;
    Ok(verified)
}

fn identity(root: &Place, sink: &mut Sink<'_>) -> Option<Identity> {
    let path = root.path(layout::IDENTITY);
    match Identity::load(root) {
        Ok(Some(identity)) => return Some(identity),
        Ok(None) => sink.tell(Finding::new(FindingKind::Missing, path, "there is none")),
        Err(error) => sink.tell(Finding::new(FindingKind::Rot, path, error.to_string())),
    }
    None
}

fn checkpoint(
    root: &Place,
    identity: Option<&Identity>,
    sink: &mut Sink<'_>,
) -> Option<Checkpoint> {
    let path = root.path(layout::CHECKPOINT);
    let checkpoint = match Checkpoint::load(root) {
        Ok(Some(checkpoint)) => checkpoint,
        Ok(None) => {
            sink.tell(Finding::new(FindingKind::Missing, path, "there is none"));
            return None;
        }
        Err(error) => {
            sink.tell(Finding::new(FindingKind::Rot, path, error.to_string()));
            return None;
        }
    };
    if identity.is_some_and(|identity| identity.storage_id != checkpoint.storage_id) {
        sink.tell(Finding::new(
            FindingKind::Stray,
            path,
            "it is another directory's",
        ));
    }
    for state in checkpoint.replicas.iter().filter(|state| !state.intact) {
        let what = "the log knows already that this replica is not intact";
        let path = root.path(layout::replica_path(state.key, state.meta.replica_gen));
        let finding = Finding::new(FindingKind::Rot, path, what);
        sink.tell(finding.of(state.key, state.meta.replica_gen));
    }
    Some(checkpoint)
}

fn journal(
    root: &Place,
    checkpoint: &Checkpoint,
    fold: &mut Fold,
    sink: &mut Sink<'_>,
) -> Option<ReplayEnd> {
    let place = Place::new(Arc::clone(&root.vfs), &root.path(layout::JOURNAL));
    let files = match replay::list_files(&place) {
        Ok(files) => files,
        Err(error) => {
            let path = place.root.to_path_buf();
            sink.tell(Finding::new(
                FindingKind::Unreadable,
                path,
                error.to_string(),
            ));
            return None;
        }
    };
    let (storage_id, position) = (checkpoint.storage_id, checkpoint.position);
    let end = replay::replay(&place, storage_id, &files, position, |round| {
        fold.round(round)
    });
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            let path = place.root.to_path_buf();
            sink.tell(Finding::new(
                FindingKind::Unreadable,
                path,
                error.to_string(),
            ));
            return None;
        }
    };
    if let Some((gap, after)) = end.gap {
        let until = if after.file_seq == gap.file_seq {
            after.at
        } else {
            gap.at
        };
        let what = format!(
            "round {} was synced and is gone; a later one begins in file {} at byte {}",
            gap.round_seq, after.file_seq, after.at
        );
        let path = place.path(layout::journal(gap.file_seq));
        sink.tell(Finding::new(FindingKind::Rot, path, what).bytes(gap.at..until));
    } else if let Some(len) = torn_round(&place, storage_id, &end) {
        let what = "a round that a crash cut short";
        let path = place.path(layout::journal(end.next.file_seq));
        let bytes = end.next.at..end.next.at.saturating_add(len);
        sink.tell(Finding::new(FindingKind::Torn, path, what).bytes(bytes));
    }
    Some(end)
}

/// Length of a round that was begun where the journal ends.
fn torn_round(place: &Place, storage_id: StorageId, end: &ReplayEnd) -> Option<u64> {
    let path = place.path(layout::journal(end.next.file_seq));
    let file = place.vfs.open_read(&path).ok()?;
    let mut head = [0; round::HEADER_LEN];
    let read = durable::read_full_at(&*file, &mut head, end.next.at).ok()?;
    let header = RoundHeader::decode(&head[..read])?;
    let name = header.name;
    let is_next = name.storage_id == storage_id
        && name.file_seq == end.next.file_seq
        && name.round_seq == end.next.round_seq;
    is_next.then(|| header.padded_len())
}

fn replicas(
    root: &Place,
    fold: &Fold,
    has_checkpoint: bool,
    verified: &mut Verified,
    sink: &mut Sink<'_>,
) {
    let home = root.path(layout::REPLICAS);
    let names = match root.vfs.list_dir(&home) {
        Ok(items) => items.into_iter().map(|item| item.name).collect(),
        Err(error) => {
            sink.tell(Finding::new(
                FindingKind::Unreadable,
                home.clone(),
                error.to_string(),
            ));
            BTreeSet::new()
        }
    };
    for (key, folded) in &fold.replicas {
        let name = layout::replica_dir(*key, folded.state.meta.replica_gen);
        if !names.contains(&name) {
            let finding = Finding::new(FindingKind::Missing, home.join(&name), "a replica is gone");
            let offsets = folded.state.log_start..folded.state.end.max(folded.state.log_start);
            sink.tell(
                finding
                    .of(*key, folded.state.meta.replica_gen)
                    .offsets(offsets),
            );
        }
    }
    for name in &names {
        if sink.is_stopped() {
            return;
        }
        let path = home.join(name);
        let Some((key, replica_gen)) = layout::parse_replica_dir(name) else {
            sink.tell(Finding::new(
                FindingKind::Stray,
                path,
                "the log did not make this",
            ));
            continue;
        };
        let is_this = |state: &ReplicaState| state.meta.replica_gen == replica_gen;
        let known = fold
            .replicas
            .get(&key)
            .filter(|folded| is_this(&folded.state));
        let made;
        let folded = match known {
            Some(folded) => folded,
            None if has_checkpoint => {
                stray(root, fold, (key, replica_gen), sink);
                continue;
            }
            // Without a checkpoint every byte is taken to have been synced.
            None => {
                made = Folded::new(ReplicaState {
                    tail_base: Offset::new(u64::MAX),
                    log_start: bases(root, &path).min().unwrap_or(Offset::ZERO),
                    ..ReplicaState::new(key, replica_gen)
                });
                &made
            }
        };
        verified.replicas += 1;
        let place = Place::new(Arc::clone(&root.vfs), &path);
        let held = ReplicaCheck::new(place, folded, sink).run();
        verified.segments += held.segments;
        verified.bytes += held.bytes;
        verified.batches += held.batches;
        verified.records += held.records;
        verified.to_replay += held.to_replay;
    }
}

/// A directory that neither checkpoint nor journal knows in this generation.
fn stray(
    root: &Place,
    fold: &Fold,
    (key, replica_gen): (ReplicaKey, ReplicaGen),
    sink: &mut Sink<'_>,
) {
    let path = root.path(layout::replica_path(key, replica_gen));
    let is_retired = fold
        .retired
        .iter()
        .map(|folded| &folded.state)
        .any(|state| state.key == key && state.meta.replica_gen == replica_gen);
    let (kind, what) = if is_retired {
        (
            FindingKind::Leftover,
            "a replica that was given up: the next start moves it to the trash",
        )
    } else if bases(root, &path).next().is_none() {
        (FindingKind::Leftover, "an empty replica that nothing knows")
    } else {
        let what = "a replica with records that neither checkpoint nor journal knows: the next \
                    start moves it to quarantine";
        (FindingKind::Stray, what)
    };
    sink.tell(Finding::new(kind, path, what).of(key, replica_gen));
}

fn bases(root: &Place, dir: &Path) -> impl Iterator<Item = Offset> + use<> {
    let items = root.vfs.list_dir(dir).unwrap_or_default();
    items
        .into_iter()
        .filter_map(|item| layout::parse_segment(&item.name))
}

/// Bytes of all segments, for progress; what cannot be read counts for nothing.
fn segment_bytes(root: &Place) -> u64 {
    let home = root.path(layout::REPLICAS);
    let dirs = root.vfs.list_dir(&home).unwrap_or_default();
    let mut sum = 0;
    for dir in dirs.iter().map(|item| home.join(&item.name)) {
        for base in bases(root, &dir) {
            let file = root.vfs.open_read(&dir.join(layout::segment(base)));
            sum += file.and_then(|file| file.len()).unwrap_or(0);
        }
    }
    sum
}
