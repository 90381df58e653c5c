//! Indexes made anew, and what a directory shows of itself.

use std::sync::Arc;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::{closed, problems, snapshot, verify};
use crate::inspect::{
    Contents, FindingKind, InspectError, Journaled, Repaired, Stored, repair_indexes,
};
use crate::log::tests::{
    append, create, dir, files_named, generation, key, open, read_all, settle,
};
use crate::testing::{MemVfs, Operation};

fn repair(vfs: &MemVfs, dry_run: bool) -> (Repaired, usize) {
    let mut told = 0;
    let repaired = repair_indexes(Arc::new(vfs.clone()), &dir(), dry_run, &mut |_| told += 1);
    (repaired.unwrap(), told)
}

#[test]
fn an_index_made_anew_is_the_one_that_was_written() {
    let source = MemVfs::new();
    closed(&source);
    let whole = snapshot(&source);
    for index in files_named(&source, ".index") {
        for damage in 0..4 {
            let vfs = source.killed();
            vfs.damage(&index, |bytes| match damage {
                0 => bytes[9] ^= 2,
                1 => bytes.clear(),
                2 => bytes.truncate(33),
                _ => bytes.extend([7; 40]),
            });
            let before = snapshot(&vfs);
            let (dry, _) = repair(&vfs, true);
            assert_eq!(snapshot(&vfs), before, "a dry run changes nothing");
            let (done, told) = repair(&vfs, false);
            // The last index may be shorter than its segment; it is mended at the next start.
            assert_eq!(done.faulty, dry.faulty);
            assert_eq!((done.skipped, told as u64), (0, done.faulty));
            if done.faulty > 0 {
                assert_eq!(snapshot(&vfs), whole, "{index:?} {damage}");
            }
            assert!(problems(&vfs).is_empty());
        }
    }
    let (none, _) = repair(&source, false);
    assert_eq!(none.faulty, 0);
    assert!(none.checked > 4);
}

#[test]
fn a_repair_that_cannot_write_leaves_the_old_index() {
    let vfs = MemVfs::new();
    closed(&vfs);
    let index = files_named(&vfs, ".index").remove(0);
    vfs.damage(&index, |bytes| bytes[0] ^= 1);
    let damaged = vfs.contents(&index);
    for after in 0..2 {
        vfs.fail(Operation::Write, after, std::io::ErrorKind::StorageFull);
        let (done, told) = repair(&vfs, false);
        assert_eq!((done.faulty, done.skipped, told), (0, 1, 1));
        assert_eq!(vfs.contents(&index), damaged);
        vfs.heal();
    }
    let log = open(&vfs).log;
    let busy = repair_indexes(Arc::new(vfs), &dir(), false, &mut |_| {});
    assert!(matches!(busy, Err(InspectError::InUse { .. })));
    log.close().unwrap();
}

#[test]
fn the_index_of_a_damaged_segment_leads_around_the_damage() {
    let vfs = MemVfs::new();
    let batches = closed(&vfs);
    let segment = files_named(&vfs, ".log").remove(0);
    let len = batches[0].encoded_len();
    vfs.damage(&segment, |bytes| bytes[len + 100] ^= 1);
    let index = files_named(&vfs, ".index").remove(0);
    vfs.damage(&index, |bytes| bytes[3] ^= 1);
    let (done, _) = repair(&vfs, false);
    assert_eq!((done.faulty, done.skipped), (1, 0));
    let left = problems(&vfs);
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0].kind, FindingKind::Rot);
    let opened = open(&vfs);
    let replica = opened.log.replica(key(0)).unwrap();
    let from = Offset::new(4);
    let read = replica.read(from, replica.end(), 1).unwrap();
    assert_eq!(read, batches[2..3]);
}

#[test]
fn a_directory_shows_what_stands_in_it() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    let mut batches = Vec::new();
    for number in 0..40 {
        batches.push(append(&log, &replica, 2, 900, number));
        settle(&log);
    }
    log.checkpoint().unwrap();
    batches.push(append(&log, &replica, 1, 5, 99));
    log.run_round().unwrap();
    drop(log);
    let contents = Contents::open(Arc::new(vfs.killed()), &dir()).unwrap();
    let overview = contents.overview();
    assert_eq!(overview.replicas, [(key(0), generation(1))]);
    let checkpoint = overview.checkpoint.unwrap().unwrap();
    assert_eq!(checkpoint.replicas[0].end, Offset::new(80));
    assert_eq!(overview.identity.unwrap().unwrap().clean_checkpoint, None);
    let bases = |from: u64, to: u64| {
        let range = Offset::new(from)..Offset::new(to);
        let mut bases = Vec::new();
        let mut take = |stored: Stored<'_>| match stored {
            Stored::Batch { batch, .. } => {
                bases.push(batch.placement.base_offset.get());
                true
            }
            Stored::Bad { .. } => false,
        };
        let replica: (ReplicaKey, ReplicaGen) = (key(0), generation(1));
        contents
            .batches(replica.0, replica.1, range, &mut take)
            .unwrap();
        bases
    };
    assert_eq!(bases(0, u64::MAX).len(), 40);
    assert_eq!(bases(31, 36), [30, 32, 34]);
    assert!(bases(80, 90).is_empty());
    let (mut last, mut fresh) = (0, 0);
    contents
        .journal(&mut |journaled| {
            match journaled {
                Journaled::Round {
                    round_seq,
                    is_covered,
                    ..
                } => {
                    assert!(round_seq > last, "rounds come in order");
                    last = round_seq;
                    fresh += u64::from(!is_covered);
                }
                Journaled::Bad { .. } => panic!("nothing is damaged"),
                _ => {}
            }
            true
        })
        .unwrap();
    assert_eq!(fresh, 1);
    drop(contents);
    let image = vfs.killed();
    assert_eq!(verify(&image).0.to_replay, 1);
    let opened = open(&image);
    assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), batches);
}
