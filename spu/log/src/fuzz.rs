//! What the fuzz targets do with one input: run by `fuzz/` with guidance by coverage, and here on some
//! thousand changed seeds with the other tests.
//!
//! Each puts bytes of the input into a directory in memory that a real log wrote, opens it, reads all
//! of it, writes to it and opens it again. Invariant: no panic; what is served passes its checks and
//! stands where it belongs; an inspection of the same bytes ends, and changes nothing.

mod bytes;

mod directory;

pub use directory::seeds;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::inspect::{self, InspectError};
use crate::testing::MemVfs;
use crate::vfs::Vfs;
use crate::{Log, OpenError, Opened, ReadError, Replica, Scrubber};

use bytes::{reseal_batches, reseal_entries, reseal_file, rounds};
use directory::{Base, CLEAN, CRASHED, config, dir, listener};

/// Reads in one walk over a replica. Where damage does not say how far it reaches, ever longer steps
/// are tried.
const READS_MAX: usize = 100;

/// What a target does with an input.
pub type Body = fn(&[u8]);

/// Every target: its name, which is that of its seed folder, and its body.
pub const TARGETS: [(&str, Body); 4] = [
    ("segment_recovery", segment_recovery),
    ("journal_replay", journal_replay),
    ("index_file", index_file),
    ("state_files", state_files),
];

/// Any bytes as a segment. The first byte says how: bit 0 a directory that was closed in order, or
/// one that was killed; bit 1 the checksums are made good first; bit 2 the newest segment, or the
/// oldest; bit 3 without its index.
pub fn segment_recovery(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let base = if mode & 1 == 0 { &CLEAN } else { &CRASHED };
    let mut bytes = rest.to_vec();
    if mode & 2 != 0 {
        reseal_batches(&mut bytes);
    }
    let segment = base.segment(mode & 4 != 0);
    let vfs = base.with(&segment, &bytes);
    if mode & 8 != 0 {
        let _ = vfs.remove_file(&segment.with_extension("index"));
    }
    exercise(&vfs, None);
}

/// Rounds, each a `u16` length and its bytes, as the journal behind a checkpoint. The first byte: bit 0
/// their checksums are made good; bit 1 so are their names; bit 2 a part of the last is left out.
pub fn journal_replay(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let journal = CRASHED.journal();
    let bytes = rounds(rest, *mode, &CRASHED.round_name(), journal.len);
    exercise(&CRASHED.with(&journal.path, &bytes), None);
}

/// Any bytes as an index. An index is a hint: whatever it says, every record is read. The first byte:
/// bit 0 the entries' checksums are made good; bit 1 the newest, or the oldest; bit 2 the directory
/// was killed.
pub fn index_file(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let base = if mode & 4 == 0 { &CLEAN } else { &CRASHED };
    let mut bytes = rest.to_vec();
    if mode & 1 != 0 {
        reseal_entries(&mut bytes);
    }
    let index = base.segment(mode & 2 != 0).with_extension("index");
    exercise(&base.with(&index, &bytes), Some(base));
}

/// Any bytes as identity or checkpoint. The first byte: bit 0 the identity, or the checkpoint; bit 1
/// the checksum is made good; bit 2 the directory was killed.
pub fn state_files(input: &[u8]) {
    let Some((mode, rest)) = input.split_first() else {
        return;
    };
    let base = if mode & 4 == 0 { &CLEAN } else { &CRASHED };
    let name = if mode & 1 == 0 {
        "identity"
    } else {
        "replicas.ckpt"
    };
    let mut bytes = rest.to_vec();
    if mode & 2 != 0 {
        reseal_file(&mut bytes);
    }
    exercise(&base.with(&dir().join(name), &bytes), None);
}

/// All that may be done with a directory. With `whole`, nothing of that log may be missing.
fn exercise(vfs: &MemVfs, whole: Option<&Base>) {
    inspect_it(vfs);
    let Some(opened) = open(vfs) else { return };
    let before = read_all(&opened.log);
    if let Some(base) = whole {
        assert!(
            before == base.batches,
            "an index costs no record: {}",
            words(&before)
        );
        assert!(opened.replicas.iter().all(|facts| facts.intact));
    }
    let mut scrubber = Scrubber::new(opened.log.clone(), 0.3);
    while !scrubber.step(1 << 20).is_pass_done {}
    drop(scrubber);
    for replica in opened.log.replicas() {
        look_around(&replica);
        directory::append(&opened.log, &replica, 1);
    }
    while opened.log.run_round().is_ok_and(|ran| ran) {}
    let grown = read_all(&opened.log);
    if opened.log.close().is_err() {
        return;
    }
    drop(opened);
    let again = open(vfs).expect("a directory that was closed opens");
    assert!(again.clean);
    let kept = read_all(&again.log);
    for facts in &again.replicas {
        let (before, now) = (&grown[&facts.key], &kept[&facts.key]);
        // How far damage reaches is known better after a restart, and so what stands behind it.
        let stays = if facts.intact {
            before == now
        } else {
            before.iter().all(|batch| now.contains(batch))
        };
        assert!(
            stays,
            "what was served stays: {} and now {}",
            words(&grown),
            words(&kept)
        );
    }
}

fn open(vfs: &MemVfs) -> Option<Opened> {
    match Log::open(Arc::new(vfs.clone()), &dir(), config(), listener()) {
        Ok(opened) => Some(opened),
        Err(OpenError::InUse { .. }) => panic!("nobody has it"),
        Err(_) => None,
    }
}

/// Everything that can be read of every replica. Damage is passed over.
fn read_all(log: &Log) -> BTreeMap<ReplicaKey, Vec<Batch>> {
    let replicas = log.replicas();
    replicas
        .iter()
        .map(|replica| (replica.key(), read(replica)))
        .collect()
}

/// Offsets alone: the batches themselves say nothing to people.
fn words(all: &BTreeMap<ReplicaKey, Vec<Batch>>) -> String {
    let mut words = String::new();
    for (key, batches) in all {
        let offsets = batches
            .iter()
            .map(|batch| batch.placement.base_offset.get());
        let _ = write!(
            words,
            "{}: {:?} ",
            key.partition,
            offsets.collect::<Vec<_>>()
        );
    }
    words
}

fn read(replica: &Replica) -> Vec<Batch> {
    let mut all: Vec<Batch> = Vec::new();
    let (mut from, end, mut step) = (replica.log_start(), replica.end(), 1);
    for _ in 0..READS_MAX {
        if from >= end {
            break;
        }
        match replica.read(from, end, 1 << 16) {
            Ok(batches) => {
                for batch in &batches {
                    assert!(batch.verify().is_ok(), "only what is right is served");
                    assert_eq!(batch.placement.key, replica.key());
                    assert!(batch.next_offset() <= end);
                }
                let next = batches.last().map_or(from, Batch::next_offset);
                assert!(next > from, "a read moves on");
                let is_new = |batch: &&Batch| batch.next_offset() > batch.placement.base_offset;
                all.extend(batches.iter().filter(is_new).cloned());
                (from, step) = (next, 1);
            }
            Err(ReadError::Corrupt { at, until, .. }) => {
                assert!(at <= from, "damage above what was asked for");
                assert!(until.is_none_or(|until| until > at));
                from = until.unwrap_or(from).max(from.plus(step)).min(end);
                step *= 2;
            }
            Err(ReadError::Io { .. }) => from = end,
            Err(error) => panic!("{from} is within the log: {error}"),
        }
    }
    all
}

fn look_around(replica: &Replica) {
    let (from, end) = (replica.log_start(), replica.end());
    for time_ms in [i64::MIN, 0, 5, i64::MAX] {
        if let Ok(Some(offset)) = replica.offset_at(time_ms, end) {
            assert!(from <= offset && offset < end);
        }
    }
    let _ = replica.batch_headers(from, |_| {});
    let _ = replica.snapshot();
    let _ = replica.retention(i64::MAX, Some(0), Some(0), end);
}

/// Looks with everything that operators have, at a copy.
fn inspect_it(vfs: &MemVfs) {
    let copy = vfs.killed();
    let disk: Arc<dyn Vfs> = Arc::new(copy.clone());
    let _ = inspect::verify(Arc::clone(&disk), &dir(), &mut |_| true);
    show(&disk, &dir());
    for path in vfs.files() {
        assert_eq!(
            vfs.contents(&path),
            copy.contents(&path),
            "looking changes nothing"
        );
    }
    let repaired = inspect::repair_indexes(Arc::clone(&disk), &dir(), false, &mut |_| {});
    if let Ok(repaired) = repaired {
        let again = inspect::repair_indexes(disk, &dir(), true, &mut |_| {}).ok();
        let left = again.map_or(0, |again| again.faulty);
        assert!(left <= repaired.skipped, "an index made anew fits");
    }
}

fn show(disk: &Arc<dyn Vfs>, dir: &Path) {
    let contents = match inspect::Contents::open(Arc::clone(disk), dir) {
        Ok(contents) => contents,
        Err(InspectError::InUse { .. }) => panic!("nobody has it"),
        Err(_) => return,
    };
    let all = Offset::ZERO..Offset::new(u64::MAX);
    for (key, replica_gen) in contents.overview().replicas {
        let _ = contents.batches(key, replica_gen, all.clone(), &mut |_| true);
    }
    let _ = contents.journal(&mut |_| true);
}

#[cfg(test)]
mod tests;
