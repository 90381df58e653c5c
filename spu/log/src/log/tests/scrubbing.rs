//! The scrubber over logs in order, damaged, and changing under it.

mod mending;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{append, create, files_named, key, open, read_all, settle, submit};
use crate::inspect::{Finding, FindingKind};
use crate::testing::{MemVfs, Operation};
use crate::{Entry, Log, ReadError, Scrubber};

/// Two replicas of some segments each, the last one open.
fn written(vfs: &MemVfs) -> (Log, Vec<Batch>) {
    let log = open(vfs).log;
    let replicas = [create(&log, 0), create(&log, 1)];
    let mut batches = Vec::new();
    for number in 0..60 {
        batches.push(append(&log, &replicas[0], 2, 900, number));
        append(&log, &replicas[1], 1, 400, number);
        settle(&log);
    }
    log.checkpoint().unwrap();
    (log, batches)
}

/// One pass; bytes and findings.
fn pass(scrubber: &mut Scrubber) -> (u64, Vec<Finding>) {
    let (mut bytes, mut findings) = (0, Vec::new());
    loop {
        let scrubbed = scrubber.step(3_000);
        bytes += scrubbed.bytes;
        findings.extend(scrubbed.findings);
        if scrubbed.is_pass_done {
            return (bytes, findings);
        }
    }
}

#[test]
fn a_pass_looks_at_every_byte_once_wherever_it_begins() {
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs);
    let on_disk: u64 = files_named(&vfs, ".log")
        .iter()
        .map(|path| vfs.contents(path).unwrap().len() as u64)
        .sum();
    for share in [0.0, 0.2, 0.5, 0.77, 1.0] {
        let mut scrubber = Scrubber::new(log.clone(), share);
        assert_eq!(pass(&mut scrubber), (on_disk, Vec::new()), "from {share}");
        assert_eq!(pass(&mut scrubber), (on_disk, Vec::new()), "and again");
        assert_eq!(scrubber.bytes_in_all(), on_disk);
    }
    // A piece at a time, whatever the segments' sizes.
    let mut scrubber = Scrubber::new(log, 0.0);
    let step = scrubber.step(1);
    assert!(step.bytes > 0 && step.bytes < 3_000, "{}", step.bytes);
}

#[test]
fn rot_is_named_marks_the_replica_and_is_never_skipped_by_readers() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs);
    let segment = files_named(&vfs, "-0-0").into_iter();
    let segment = segment.filter(|path| path.to_string_lossy().ends_with(".log"));
    let segment = segment.into_iter().next().unwrap();
    let len = batches[0].encoded_len() as u64;
    vfs.damage(&segment, |bytes| bytes[len as usize * 3 + 80] ^= 1);
    let (_, findings) = pass(&mut Scrubber::new(log.clone(), 0.0));
    assert_eq!(findings.len(), 1, "{findings:?}");
    let found = &findings[0];
    assert_eq!((found.kind, &found.path), (FindingKind::Rot, &segment));
    assert_eq!(found.bytes, Some(3 * len..4 * len));
    assert_eq!(found.offsets, Some(Offset::new(6)..Offset::new(8)));
    let replica = log.replica(key(0)).unwrap();
    let upto = replica.end();
    assert_eq!(
        replica.read(Offset::new(0), upto, 1 << 20).unwrap(),
        batches[..3]
    );
    match replica.read(Offset::new(6), upto, 1 << 20) {
        Err(ReadError::Corrupt { at, until, .. }) => {
            assert_eq!((at, until), (Offset::new(6), Some(Offset::new(8))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        replica.read(Offset::new(8), upto, 1).unwrap(),
        batches[4..5]
    );
    // The verdict is durable: another opening knows it though it does not read so far back.
    let again = open(&vfs.killed());
    let intact: Vec<bool> = again.replicas.iter().map(|facts| facts.intact).collect();
    assert_eq!(intact, [false, true]);
    // The log goes on.
    append(&log, &replica, 1, 10, 999);
    settle(&log);
}

#[test]
fn a_damaged_index_is_told_and_marks_nothing() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs);
    let index = files_named(&vfs, ".index").remove(0);
    vfs.damage(&index, |bytes| bytes[5] ^= 1);
    let (_, findings) = pass(&mut Scrubber::new(log.clone(), 0.4));
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(
        (findings[0].kind, &findings[0].path),
        (FindingKind::Index, &index)
    );
    assert_eq!(read_all(&log.replica(key(0)).unwrap()), batches);
    drop(log);
    assert!(
        open(&vfs.killed())
            .replicas
            .iter()
            .all(|facts| facts.intact)
    );
}

#[test]
fn segments_that_are_cut_trimmed_or_grow_meanwhile_are_no_damage() {
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs);
    let replica = log.replica(key(0)).unwrap();
    let mut scrubber = Scrubber::new(log.clone(), 0.0);
    for round in 0..6_u32 {
        let findings = scrubber.step(9_000).findings;
        assert!(findings.is_empty(), "{round}: {findings:?}");
        match round % 3 {
            0 => {
                let to = replica.end().minus_or_zero(6);
                submit(&log, vec![Entry::Cut { key: key(0), to }]);
            }
            1 => {
                let to = replica.log_start().plus(30);
                submit(&log, vec![Entry::Trim { key: key(0), to }]);
            }
            _ => {}
        }
        for number in 0..4 {
            append(&log, &replica, 2, 900, number);
        }
        settle(&log);
    }
    log.retire_replica(key(0)).unwrap();
    settle(&log);
    let (_, findings) = pass(&mut scrubber);
    assert!(findings.is_empty(), "{findings:?}");
    let (_, findings) = pass(&mut scrubber);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn what_the_disk_cannot_read_is_told_and_the_rest_is_looked_at() {
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs);
    vfs.fail(Operation::Read, 4, std::io::ErrorKind::Other);
    let mut scrubber = Scrubber::new(log, 0.0);
    let (_, findings) = pass(&mut scrubber);
    assert!(!findings.is_empty());
    assert!(
        findings
            .iter()
            .all(|found| found.kind == FindingKind::Unreadable)
    );
    vfs.heal();
    let (_, findings) = pass(&mut scrubber);
    assert!(findings.is_empty(), "{findings:?}");
}
