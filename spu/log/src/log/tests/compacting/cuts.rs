//! Compacted logs that are cut: within a hole, under a pass, below the snapshot.

use std::sync::{Arc, Mutex};

use tidegate_proto::position::Offset;

use super::super::hooked::HookedVfs;
use super::super::{append_marker, create, files_named, key, open, settle, submit};
use super::{CONFIG, Pair, append_pairs, commit, compact, contents, roll};
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log, Replica};

/// Key 1 at offsets 0 to 8, others at 9 and 10, key 1 again from 11 to 79, and at 80 in a segment of its
/// own: two holes.
fn with_holes(log: &Log, replica: &Replica) {
    replica.set_compaction(Some(CONFIG));
    append_marker(log, replica, 5);
    for round in 0..80_u16 {
        let key = if round == 9 || round == 10 { round } else { 1 };
        append_pairs(log, replica, &[(Some(key as u8), Some(round))], 5);
    }
    roll(log, replica, &[(Some(1), Some(80))], 6);
    compact(log, 10);
    let left: Vec<u64> = contents(replica).iter().map(|(at, ..)| *at).collect();
    assert_eq!(left, [9, 10, 79, 80]);
}

fn cut(log: &Log, to: u64) {
    let (key, to) = (key(0), Offset::new(to));
    submit(log, vec![Entry::Cut { key, to }]);
}

#[test]
fn a_cut_within_a_hole_leaves_a_shorter_hole_and_the_log_goes_on_there() {
    for to in [1, 5, 8, 9, 10, 11, 12, 40, 78, 79, 80] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = create(&log, 0);
        with_holes(&log, &replica);
        let before = contents(&replica);
        cut(&log, to);
        append_pairs(&log, &replica, &[(Some(2), Some(2))], 7);
        settle(&log);
        let mut wanted: Vec<_> = before.into_iter().filter(|(at, ..)| *at < to).collect();
        wanted.push((to, Some(2), Some(2)));
        for is_applied in [false, true] {
            if is_applied {
                log.checkpoint().unwrap();
            }
            assert_eq!(contents(&replica), wanted, "cut at {to}");
            assert_eq!(reach(&replica), to + 1);
            for image in [vfs.killed(), vfs.power_lost(&mut Dice::new(to))] {
                let opened = open(&image);
                assert_eq!(opened.replicas[0].end, Offset::new(to + 1), "cut at {to}");
                assert!(files_named(&image, "/quarantine/").is_empty());
                assert_eq!(contents(&opened.log.replica(key(0)).unwrap()), wanted);
            }
        }
        assert!(log.dead().is_none(), "cut at {to}");
    }
}

/// Where headers end that follow each other without a gap.
fn reach(replica: &Replica) -> u64 {
    let mut reached = Offset::ZERO;
    let follow = |header: &crate::BatchHeader| {
        assert_eq!(header.base_offset, reached, "without a gap");
        reached = header.next_offset;
    };
    replica.batch_headers(Offset::ZERO, follow).unwrap();
    reached.get()
}

#[test]
fn whatever_a_crash_leaves_of_a_cut_within_a_hole_is_cut_again() {
    for to in [5, 40] {
        let disk = MemVfs::new();
        let vfs = HookedVfs::new(&disk);
        let log = vfs.open().log;
        let replica = create(&log, 0);
        with_holes(&log, &replica);
        let images = Arc::new(Mutex::new(Vec::new()));
        let (taken, source) = (Arc::clone(&images), disk.clone());
        let mut seed = 0;
        cut(&log, to);
        append_pairs(&log, &replica, &[(Some(2), Some(2))], 7);
        while log.run_round().unwrap() {}
        vfs.before(move |_, _| {
            for _ in 0..30 {
                seed += 1;
                let image = source.power_lost(&mut Dice::new(seed));
                taken.lock().unwrap().push(image);
            }
            taken.lock().unwrap().push(source.killed());
        });
        log.checkpoint().unwrap();
        let wanted = contents(&replica);
        let images = std::mem::take(&mut *images.lock().unwrap());
        assert!(images.len() > 100);
        for image in images {
            let opened = open(&image);
            assert_eq!(opened.replicas[0].end, Offset::new(to + 1));
            assert!(files_named(&image, "/quarantine/").is_empty());
            let replica = opened.log.replica(key(0)).unwrap();
            assert_eq!(contents(&replica), wanted);
            // What is missing is the snapshot alone, which knew more than there is.
            assert!(replica.snapshot().is_err() && !opened.replicas[0].intact);
        }
    }
}

#[test]
fn a_pass_that_a_cut_overtakes_takes_nothing_out_for_what_is_gone() {
    overtake(false);
    overtake(true);
}

fn overtake(is_applied: bool) {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    let pairs = |keys: std::ops::Range<u8>, value| -> Vec<Pair> {
        keys.map(|key| (Some(key), Some(value))).collect()
    };
    // More than a step of compaction; then keys whose second version is what will be cut.
    for round in 0..150 {
        append_pairs(&log, &replica, &pairs(0..30, round), 5);
        settle(&log);
    }
    append_pairs(&log, &replica, &pairs(30..40, 1), 5);
    roll(&log, &replica, &[(Some(200), Some(1))], 6);
    let first = replica.end().get();
    append_pairs(&log, &replica, &pairs(30..40, 2), 7);
    roll(&log, &replica, &[(Some(201), Some(1))], 8);
    let newest = |replica: &Replica| {
        let records = contents(replica).into_iter();
        let below = records.filter(|(at, ..)| *at < first);
        below
            .map(|(_, key, value)| (key, value))
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = newest(&replica);
    assert_eq!(before.len(), 41);
    // All keys are noted, and the first segments exchanged.
    while log.stats().compaction.removed_records == 0 {
        assert!(!log.run_compaction_step(10).unwrap().is_idle);
    }
    // Whether the segments are cut already, or are to be.
    cut(&log, first);
    if is_applied {
        settle(&log);
        log.checkpoint().unwrap();
    }
    compact(&log, 10);
    assert_eq!(newest(&replica), before);
    let stats = log.stats().compaction;
    assert_eq!((stats.passes, stats.abandoned), (0, 1));
    // The next one knows what there is.
    append_pairs(&log, &replica, &pairs(30..40, 3), 9);
    roll(&log, &replica, &[(Some(201), Some(1))], 10);
    compact(&log, 100_000_000);
    assert_eq!(log.stats().compaction.passes, 1);
    assert_eq!(contents(&replica).len(), 42);
}

#[test]
fn a_cut_below_the_snapshot_that_compaction_relied_on_leaves_a_replica_that_may_not_lead() {
    for (to, is_lost) in [(81, false), (80, true), (40, true), (0, false)] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = create(&log, 0);
        with_holes(&log, &replica);
        assert!(!replica.is_whole());
        cut(&log, to);
        settle(&log);
        assert_eq!(open(&vfs.killed()).replicas[0].intact, !is_lost);
        log.checkpoint().unwrap();
        assert_eq!(replica.snapshot().is_err(), is_lost, "cut at {to}");
        assert_eq!(open(&vfs.killed()).replicas[0].intact, !is_lost);
        // One that a leader sends makes up for it.
        commit(&log, &replica);
        assert!(replica.snapshot().unwrap().is_some());
        assert!(open(&vfs.killed()).replicas[0].intact);
    }
}
