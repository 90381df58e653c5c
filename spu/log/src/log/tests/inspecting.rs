//! What an inspection says of directories in order, torn and damaged.

mod mending;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{append, create, dir, files_named, key, open, settle};
use crate::inspect::{self, Finding, FindingKind, InspectError, Progress, Verified};
use crate::testing::{Dice, MemVfs};

pub(super) fn verify(vfs: &MemVfs) -> (Verified, Vec<Finding>) {
    let before = snapshot(vfs);
    let mut findings = Vec::new();
    let mut last = (0, 0);
    let verified = inspect::verify(Arc::new(vfs.clone()), &dir(), &mut |progress| {
        match progress {
            Progress::Found(finding) => findings.push(finding.clone()),
            Progress::Checked { bytes, of } => last = (bytes, of),
        }
        true
    });
    let verified = verified.unwrap();
    assert!(last.0 <= last.1, "{last:?}: more than there is");
    let problems = findings.iter().filter(|found| found.kind.is_problem());
    assert_eq!(verified.problems, problems.count() as u64);
    assert_eq!(before, snapshot(vfs), "looking changes nothing");
    (verified, findings)
}

pub(super) fn problems(vfs: &MemVfs) -> Vec<Finding> {
    let (_, mut findings) = verify(vfs);
    findings.retain(|finding| finding.kind.is_problem());
    findings
}

fn snapshot(vfs: &MemVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let contents = |path: PathBuf| {
        let bytes = vfs.contents(&path).unwrap_or_default();
        (path, bytes)
    };
    vfs.files().into_iter().map(contents).collect()
}

/// Exactly the batch at that byte is named.
pub(super) fn finds_one_rotten_batch(vfs: &MemVfs, segment: &Path, at: u64, batches: &[Batch]) {
    let findings = problems(vfs);
    assert_eq!(findings.len(), 1, "byte {at}: {findings:?}");
    let finding = &findings[0];
    let mut end = 0;
    let hit = batches.iter().find(|batch| {
        end += batch.encoded_len() as u64;
        end > at
    });
    let hit = hit.unwrap();
    let begin = end - hit.encoded_len() as u64;
    assert_eq!(finding.kind, FindingKind::Rot);
    assert_eq!(finding.path, segment);
    assert_eq!(finding.bytes, Some(begin..end), "byte {at}");
    let offsets = hit.placement.base_offset..hit.next_offset();
    assert_eq!(finding.offsets, Some(offsets), "byte {at}");
}

/// Two replicas with many segments, closed in order.
fn closed(vfs: &MemVfs) -> Vec<Batch> {
    let log = open(vfs).log;
    let replica = create(&log, 0);
    create(&log, 1);
    let mut batches = Vec::new();
    for number in 0..60 {
        batches.push(append(&log, &replica, 2, 900, number));
        settle(&log);
    }
    log.close().unwrap();
    batches
}

#[test]
fn a_directory_in_order_has_nothing_to_tell() {
    let vfs = MemVfs::new();
    let batches = closed(&vfs);
    let (verified, findings) = verify(&vfs);
    assert!(findings.is_empty(), "{findings:?}");
    assert!(verified.clean);
    assert_eq!((verified.replicas, verified.rounds), (2, 0));
    assert_eq!(verified.batches, batches.len() as u64);
    assert_eq!(verified.records, 2 * batches.len() as u64);
    assert!(verified.segments > 3);
}

#[test]
fn a_directory_that_is_served_is_not_looked_at() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let look = |vfs: &MemVfs| inspect::verify(Arc::new(vfs.clone()), &dir(), &mut |_| true);
    assert!(matches!(look(&vfs), Err(InspectError::InUse { .. })));
    log.close().unwrap();
    assert!(look(&vfs).is_ok());
    let empty = MemVfs::new();
    assert!(matches!(look(&empty), Err(InspectError::NotALog { .. })));
}

#[test]
fn after_a_kill_what_the_next_start_will_write_is_counted_and_not_called_damage() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..5 {
        append(&log, &replica, 1, 40, number);
        log.run_round().unwrap();
    }
    for image in [vfs.killed(), vfs.power_lost(&mut Dice::new(3))] {
        let (verified, findings) = verify(&image);
        assert_eq!(verified.problems, 0, "{findings:?}");
        assert!(!verified.clean);
        assert_eq!(verified.to_replay, 5);
    }
}

#[test]
fn every_flipped_byte_of_an_index_is_found_and_costs_no_record() {
    let source = MemVfs::new();
    let batches = closed(&source);
    let index = files_named(&source, ".index").remove(0);
    let len = source.contents(&index).unwrap().len();
    for at in 0..len {
        let vfs = source.killed();
        vfs.damage(&index, |bytes| bytes[at] ^= 0x10);
        let findings = problems(&vfs);
        assert_eq!(findings.len(), 1, "byte {at}: {findings:?}");
        assert_eq!(findings[0].kind, FindingKind::Index);
        assert_eq!(findings[0].path, index);
        let (verified, _) = verify(&vfs);
        assert_eq!(verified.batches, batches.len() as u64);
    }
    for cut in [1, 31, 32, len] {
        let vfs = source.killed();
        vfs.damage(&index, |bytes| bytes.truncate(len - cut));
        assert_eq!(problems(&vfs).len(), 1, "{cut} bytes gone");
    }
}

#[test]
fn what_is_gone_is_named() {
    let source = MemVfs::new();
    closed(&source);
    let segments = files_named(&source, ".log");
    for (number, gone) in segments.iter().enumerate() {
        let vfs = source.killed();
        vfs.damage(gone, Vec::clear);
        let findings = problems(&vfs);
        let lost =
            |finding: &&Finding| matches!(finding.kind, FindingKind::Missing | FindingKind::Rot);
        assert!(findings.iter().any(|f| lost(&f)), "{number}: {findings:?}");
    }
    for name in ["identity", "replicas.ckpt"] {
        for at in 0..24 {
            let vfs = source.killed();
            let path = dir().join(name);
            vfs.damage(&path, |bytes| bytes[at] ^= 1);
            let findings = problems(&vfs);
            assert_eq!(findings[0].kind, FindingKind::Rot, "{name} {at}");
            assert_eq!(findings[0].path, path);
            assert_eq!(findings.len(), 1, "the rest is checked all the same");
        }
    }
}

#[test]
fn damage_of_many_batches_is_one_finding_with_the_offsets_between_the_good_ones() {
    let vfs = MemVfs::new();
    let batches = closed(&vfs);
    let segment = files_named(&vfs, ".log").remove(0);
    let len = batches[0].encoded_len();
    vfs.damage(&segment, |bytes| bytes[len * 2 + 7..len * 4].fill(0));
    let findings = problems(&vfs);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].bytes, Some(2 * len as u64..4 * len as u64));
    assert_eq!(findings[0].offsets, Some(Offset::new(4)..Offset::new(8)));
    assert_eq!(findings[0].replica.map(|(key, _)| key), Some(key(0)));
    assert!(findings[0].to_string().contains("offsets 4..8"));
}
