//! Torn writes and rotten bits: told apart, never served, never cut away.

use std::path::PathBuf;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{
    append, create, files_named, inspecting, key, open, open_with, read_all, settle, small, submit,
};
use crate::limits::ROUND_ALIGN;
use crate::testing::MemVfs;
use crate::{Entry, Log, LogConfig, Replica};

/// A log with some batches, all in segments and in a checkpoint; then more, durable in the journal
/// alone.
fn written(vfs: &MemVfs, in_segments: usize, in_journal: usize) -> (Log, Vec<Batch>) {
    // All of the journal in its first file.
    let config = LogConfig {
        journal_file_bytes_first: 512 << 10,
        ..small()
    };
    let config = LogConfig {
        journal_bytes_max: 2 << 20,
        ..config
    };
    let log = open_with(vfs, config).unwrap().0.log;
    let replica = create(&log, 0);
    let mut batches = Vec::new();
    for number in 0..in_segments {
        batches.push(append(&log, &replica, 2, 300, number as i64));
    }
    settle(&log);
    log.checkpoint().unwrap();
    for number in 0..in_journal {
        batches.push(append(&log, &replica, 2, 300, number as i64));
        log.run_round().unwrap();
    }
    (log, batches)
}

fn journal_files(vfs: &MemVfs) -> Vec<PathBuf> {
    files_named(vfs, "/journal/")
}

/// Reads what can be read; every batch is one that was written, at its place.
fn read_what_is_good(replica: &Replica, written: &[Batch]) -> usize {
    let mut good = 0;
    for batch in written {
        let from = batch.placement.base_offset;
        if let Ok(read) = replica.read(from, batch.next_offset(), 1) {
            assert_eq!(read, std::slice::from_ref(batch));
            good += 1;
        }
    }
    good
}

#[test]
fn a_torn_tail_is_cut_and_reported() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs, 5, 3);
    drop(log);
    let vfs = vfs.killed();
    let segment = files_named(&vfs, ".log").pop().unwrap();
    vfs.damage(&segment, |bytes| bytes.extend_from_slice(&[7; 100]));
    let opened = open(&vfs);
    let facts = &opened.replicas[0];
    assert!(facts.intact);
    assert_eq!((facts.torn_bytes, facts.end), (100, Offset::new(16)));
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), batches);
}

#[test]
fn a_torn_round_ends_the_journal_without_a_word_of_rot() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs, 0, 6);
    drop(log);
    let vfs = vfs.killed();
    let journal = journal_files(&vfs).into_iter().next().unwrap();
    vfs.damage(&journal, |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[last] ^= 1;
    });
    let opened = open(&vfs);
    assert!(!opened.journal_rot && opened.replicas[0].intact);
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), batches[..5]);
}

#[test]
fn a_closed_last_round_that_rots_is_rot() {
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs, 0, 6);
    assert!(log.run_closing_round().unwrap());
    drop(log);
    let vfs = vfs.killed();
    let journal = journal_files(&vfs).into_iter().next().unwrap();
    vfs.damage(&journal, |bytes| {
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        // The last block is the closing round; the one before it holds the last batch.
        bytes[last - ROUND_ALIGN as usize] ^= 1;
    });
    let opened = open(&vfs);
    assert!(opened.journal_rot);
    assert!(!opened.replicas[0].intact);
}

#[test]
fn a_round_that_rots_in_the_middle_leaves_everything_in_quarantine_and_nothing_intact() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs, 2, 4);
    drop(log);
    let vfs = vfs.killed();
    let journal = journal_files(&vfs).into_iter().next().unwrap();
    let needle = batches[3].header_bytes();
    vfs.damage(&journal, |bytes| {
        let at = bytes
            .windows(needle.len())
            .position(|window| window == needle)
            .unwrap();
        bytes[at + 40] ^= 1;
    });
    let opened = open(&vfs);
    assert!(opened.journal_rot);
    assert!(!opened.replicas[0].intact);
    let replica = opened.log.replica(key(0)).unwrap();
    assert_eq!(read_all(&replica), batches[..3]);
    assert!(!files_named(&vfs, "/quarantine/").is_empty());
    opened.log.close().unwrap();
    assert!(!open(&vfs).replicas[0].intact, "rot is not forgotten");
}

#[test]
fn bytes_that_no_journal_explains_are_rot_and_stay() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs, 3, 3);
    let replica = log.replica(key(0)).unwrap();
    submit(
        &log,
        vec![Entry::HighWatermark {
            key: key(0),
            offset: Offset::new(2),
        }],
    );
    settle(&log);
    drop((log, replica));
    let vfs = vfs.killed();
    // The disk went back in time, but for the segments.
    for path in journal_files(&vfs) {
        vfs.damage(&path, |bytes| bytes.fill(0));
    }
    let segment = files_named(&vfs, ".log").pop().unwrap();
    let extra: Vec<u8> = {
        let mut bytes = Vec::new();
        batches[3].encode_into(&mut bytes);
        bytes
    };
    vfs.damage(&segment, |bytes| {
        bytes.truncate(3 * extra.len());
        bytes.extend_from_slice(&extra);
    });
    let opened = open(&vfs);
    assert!(!opened.replicas[0].intact);
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), batches[..4]);
}

#[test]
fn every_flipped_byte_of_a_segment_is_found_or_harmless() {
    let source = MemVfs::new();
    let (log, batches) = written(&source, 12, 0);
    log.close().unwrap();
    let segment = files_named(&source, ".log").pop().unwrap();
    let len = source.contents(&segment).unwrap().len();
    for (number, at) in (0..len).step_by(7).enumerate() {
        let vfs = source.killed();
        vfs.damage(&segment, |bytes| bytes[at] ^= 1 << (number % 8));
        inspecting::finds_one_rotten_batch(&vfs, &segment, at as u64, &batches);
        if number % 2 == 0 {
            // As after a crash: the marker is gone.
            drop(open(&vfs));
        }
        let opened = open(&vfs);
        let replica = opened.log.replica(key(0)).unwrap();
        assert_eq!(replica.end(), Offset::new(24), "byte {at}: nothing is cut");
        assert_eq!(read_what_is_good(&replica, &batches), 11, "byte {at}");
        // Whatever was found, the log goes on.
        let next = append(&opened.log, &replica, 1, 50, 99);
        settle(&opened.log);
        opened.log.checkpoint().unwrap();
        opened.log.close().unwrap();
        let opened = open(&vfs);
        let replica = opened.log.replica(key(0)).unwrap();
        assert_eq!(
            replica.read(Offset::new(24), Offset::new(25), 1).unwrap(),
            [next]
        );
        assert_eq!(
            read_what_is_good(&replica, &batches),
            11,
            "byte {at}, again"
        );
    }
}

#[test]
fn every_flipped_byte_of_the_journal_is_found_or_harmless() {
    let source = MemVfs::new();
    let (log, batches) = written(&source, 2, 4);
    log.run_closing_round().unwrap();
    drop(log);
    let source = source.killed();
    let journal = journal_files(&source).into_iter().next().unwrap();
    let used = source
        .contents(&journal)
        .unwrap()
        .iter()
        .rposition(|byte| *byte != 0)
        .unwrap();
    for at in (0..=used).step_by(13) {
        let vfs = source.killed();
        vfs.damage(&journal, |bytes| bytes[at] ^= 4);
        let findings = inspecting::problems(&vfs);
        let opened = open(&vfs);
        assert_eq!(
            findings.is_empty(),
            opened.replicas[0].intact && !opened.journal_rot,
            "byte {at}: {findings:?}"
        );
        let replica = opened.log.replica(key(0)).unwrap();
        let read = read_all(&replica);
        assert_eq!(read, batches[..read.len()], "byte {at}");
        assert!(
            read.len() == batches.len() || !opened.replicas[0].intact,
            "byte {at}: {} of {} batches and called intact",
            read.len(),
            batches.len()
        );
    }
}

#[test]
fn a_lost_segment_is_rot_and_its_neighbours_still_serve() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    let batches: Vec<Batch> = (0..10)
        .map(|number| append(&log, &replica, 1, 9_000, number))
        .collect();
    settle(&log);
    log.close().unwrap();
    for lost in 0..5 {
        let vfs = vfs.killed();
        let segment = files_named(&vfs, ".log").swap_remove(lost);
        crate::Vfs::remove_file(&vfs, &segment).unwrap();
        let opened = open(&vfs);
        assert!(!opened.replicas[0].intact, "segment {lost}");
        assert_eq!(opened.replicas[0].end, Offset::new(10), "segment {lost}");
        let replica = opened.log.replica(key(0)).unwrap();
        assert_eq!(read_what_is_good(&replica, &batches), 8, "segment {lost}");
    }
}

#[test]
fn segments_of_two_replicas_that_were_swapped_are_not_served() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let (first, second) = (create(&log, 0), create(&log, 1));
    append(&log, &first, 1, 100, 1);
    append(&log, &second, 1, 100, 1);
    log.close().unwrap();
    let paths = files_named(&vfs, ".log");
    let other = vfs.contents(&paths[1]).unwrap();
    vfs.damage(&paths[0], |bytes| *bytes = other);
    let opened = open(&vfs);
    assert!(!opened.replicas[0].intact && opened.replicas[1].intact);
    let replica = opened.log.replica(key(0)).unwrap();
    assert!(replica.read(Offset::ZERO, Offset::new(1), 1).is_err());
}
