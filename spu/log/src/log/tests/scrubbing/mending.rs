//! Indexes that do not fit their segments, made anew by the scrubber while the log works.

use std::path::{Path, PathBuf};

use tidegate_proto::position::Offset;

use super::{pass, written};
use crate::index::{ENTRY_LEN, IndexEntry};
use crate::inspect::FindingKind;
use crate::log::tests::{append, files_named, key, read_all, settle, submit};
use crate::testing::MemVfs;
use crate::{Entry, Scrubber};

fn first_index(vfs: &MemVfs) -> (PathBuf, Vec<u8>) {
    let path = files_named(vfs, ".index").remove(0);
    let bytes = vfs.contents(&path).unwrap();
    assert!(bytes.len() as u64 >= 3 * ENTRY_LEN, "{}", bytes.len());
    (path, bytes)
}

/// A pass that must mend that index, and one that finds nothing any more.
fn is_mended(vfs: &MemVfs, log: &crate::Log, path: &Path, wanted: &[u8]) {
    let mut scrubber = Scrubber::new(log.clone(), 0.0);
    let (mut mended, mut findings) = (0, Vec::new());
    loop {
        let scrubbed = scrubber.step(3_000);
        mended += scrubbed.mended_indexes;
        findings.extend(scrubbed.findings);
        if scrubbed.is_pass_done {
            break;
        }
    }
    assert_eq!((mended, findings.len()), (1, 1), "{findings:?}");
    assert_eq!(findings[0].kind, FindingKind::Index);
    assert_eq!(vfs.contents(path).unwrap(), wanted, "as it was written");
    assert_eq!(pass(&mut scrubber).1, []);
    assert!(files_named(vfs, ".new").is_empty());
}

#[test]
fn an_index_that_is_damaged_points_elsewhere_or_is_gone_is_made_anew() {
    let lie: fn(&mut Vec<u8>) = |bytes| {
        let lying = IndexEntry {
            offset: Offset::new(7),
            position: 9_000,
            timestamp_before_ms: i64::MAX,
            last_append_s: 0,
        };
        let entry = ENTRY_LEN as usize;
        bytes[entry..2 * entry].copy_from_slice(&lying.encode());
    };
    for damage in [
        lie,
        |bytes| bytes[40] ^= 1,
        |bytes| bytes.truncate(50),
        Vec::clear,
    ] {
        let vfs = MemVfs::new();
        let (log, batches) = written(&vfs);
        let (path, wanted) = first_index(&vfs);
        vfs.damage(&path, damage);
        is_mended(&vfs, &log, &path, &wanted);
        let replica = log.replica(key(0)).unwrap();
        assert_eq!(read_all(&replica), batches);
    }
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs);
    let (path, wanted) = first_index(&vfs);
    crate::vfs::Vfs::remove_file(&vfs, &path).unwrap();
    is_mended(&vfs, &log, &path, &wanted);
}

#[test]
fn readers_find_by_time_again_what_a_lying_index_hid() {
    let vfs = MemVfs::new();
    let (log, _) = written(&vfs);
    let replica = log.replica(key(0)).unwrap();
    let (path, _) = first_index(&vfs);
    let second = ENTRY_LEN as usize;
    let right = crate::index::read_entry(&*crate::vfs::Vfs::open_read(&vfs, &path).unwrap(), 1);
    let right = right.unwrap().unwrap();
    let lying = IndexEntry {
        timestamp_before_ms: i64::MIN,
        ..right
    };
    let wanted = replica.offset_at(1, replica.end()).unwrap();
    vfs.damage(&path, |bytes| {
        bytes[second..2 * second].copy_from_slice(&lying.encode())
    });
    let hidden = replica.offset_at(1, replica.end()).unwrap();
    assert!(hidden > wanted, "{hidden:?}");
    pass(&mut Scrubber::new(log, 0.0));
    assert_eq!(replica.offset_at(1, replica.end()).unwrap(), wanted);
}

#[test]
fn no_index_is_made_of_a_segment_that_is_damaged_changes_or_has_no_room() {
    let vfs = MemVfs::new();
    let (log, batches) = written(&vfs);
    let (path, _) = first_index(&vfs);
    vfs.damage(&path, |bytes| bytes[40] ^= 1);
    let damaged = vfs.contents(&path).unwrap();
    // No room: it is told, and mended when there is.
    vfs.set_room(Some(10));
    let mut scrubber = Scrubber::new(log.clone(), 0.0);
    assert_eq!(pass(&mut scrubber).1.len(), 1);
    assert_eq!(vfs.contents(&path).unwrap(), damaged);
    assert!(log.dead().is_none());
    vfs.set_room(None);
    // Cut after it was read for the first time: what is there then is another segment's.
    let mut told = 0;
    while told == 0 {
        told = scrubber.step(1).findings.len();
    }
    let replica = log.replica(key(0)).unwrap();
    let (key, to) = (key(0), batches[3].placement.base_offset);
    submit(&log, vec![Entry::Cut { key, to }]);
    for number in 0..40 {
        append(&log, &replica, 2, 900, number);
        settle(&log);
    }
    log.checkpoint().unwrap();
    let after = vfs.contents(&path).unwrap();
    assert_eq!(scrubber.step(100_000).mended_indexes, 0);
    assert_eq!(vfs.contents(&path).unwrap(), after);
    // Rot in the segment as well: the index stays as it is, and the replica is marked for the rot.
    let records = path.with_extension("log");
    vfs.damage(&records, |bytes| bytes[100] ^= 1);
    vfs.damage(&path, |bytes| bytes[40] ^= 1);
    let damaged = vfs.contents(&path).unwrap();
    let mut kinds: Vec<_> = pass(&mut Scrubber::new(log, 0.0)).1;
    kinds.retain(|found| found.kind == FindingKind::Rot);
    assert_eq!(kinds.len(), 1);
    assert_eq!(vfs.contents(&path).unwrap(), damaged);
}
