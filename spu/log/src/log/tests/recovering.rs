//! What opening after a crash costs, and what it leaves when it is itself cut short.

use std::sync::{Arc, Mutex};

use tidegate_proto::position::Offset;

use super::hooked::{Change, HookedVfs, name};
use super::{
    append, create, dir, files_named, generation, key, open, open_with, read_all, settle, small,
    submit,
};
use crate::testing::MemVfs;
use crate::{Entry, LogConfig, Vfs};

#[test]
fn batches_that_stand_together_in_the_journal_are_read_back_together() {
    let vfs = MemVfs::new();
    let config = LogConfig {
        journal_file_bytes_first: 1 << 20,
        unflushed_bytes_max: 8 << 20,
        ..small()
    };
    let log = open_with(&vfs, config.clone()).unwrap().0.log;
    let (replicas, rounds, run) = (10, 5, 40);
    let all: Vec<_> = (0..replicas).map(|number| create(&log, number)).collect();
    for _ in 0..rounds {
        for replica in &all {
            (0..run).for_each(|number| drop(append(&log, replica, 1, 50, number)));
        }
        log.run_round().unwrap();
    }
    let image = vfs.killed();
    let opened = open_with(&image, config).unwrap().0;
    let counts = image.counts();
    let batches = u64::from(replicas) * rounds * run as u64;
    assert!(counts.reads < batches / 4, "{counts:?}");
    assert!(counts.opens < 100, "{counts:?}");
    for number in 0..replicas {
        let replica = opened.log.replica(key(number)).unwrap();
        assert_eq!(read_all(&replica).len() as u64, rounds * run as u64);
    }
}

/// Bytes that nothing explains are cut in the end. Until the verdict is durable they must be there
/// to be found again.
#[test]
fn an_opening_cut_short_does_not_lose_the_verdict() {
    for is_in_checkpoint in [true, false] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = create(&log, 0);
        for number in 0..4 {
            append(&log, &replica, 2, 700, number);
        }
        settle(&log);
        if is_in_checkpoint {
            log.checkpoint().unwrap();
        }
        let image = vfs.killed();
        let segment = files_named(&image, ".log").pop().unwrap();
        image.damage(&segment, |bytes| {
            let batch = bytes.clone();
            bytes.extend_from_slice(&[7; 100]);
            bytes.extend_from_slice(&batch);
        });
        let images = Arc::new(Mutex::new(Vec::new()));
        let (taken, disk) = (Arc::clone(&images), image.clone());
        let hooked = HookedVfs::new(&image);
        hooked.before(move |change, path| {
            if change == Change::Rename && name(path) == crate::layout::CHECKPOINT {
                taken.lock().unwrap().push(disk.killed());
            }
        });
        let opened = hooked.open();
        assert!(!opened.replicas[0].intact);
        let mut images = images.lock().unwrap();
        images.push(image.killed());
        assert!(images.len() >= 2, "at least one before a checkpoint");
        for image in &*images {
            let opened = open(image);
            assert_eq!(opened.replicas[0].end, replica.end());
            assert!(
                !opened.replicas[0].intact,
                "in checkpoint: {is_in_checkpoint}"
            );
            let replica = opened.log.replica(key(0)).unwrap();
            assert_eq!(read_all(&replica).len(), 4);
        }
    }
}

#[test]
fn what_goes_aside_twice_under_one_name_is_kept_twice() {
    let vfs = MemVfs::new();
    let unknown = dir()
        .join("replicas")
        .join(crate::layout::replica_dir(key(5), generation(1)));
    drop(open(&vfs));
    for _ in 0..2 {
        vfs.create_dir(&unknown).unwrap();
        vfs.create(&unknown.join(crate::layout::segment(Offset::ZERO)))
            .unwrap();
        drop(open(&vfs));
    }
    assert_eq!(files_named(&vfs, "/quarantine/").len(), 2);
    let log = open(&vfs).log;
    for _ in 0..2 {
        let replica = create(&log, 0);
        append(&log, &replica, 1, 10, 5);
        settle(&log);
        log.checkpoint().unwrap();
        log.retire_replica(key(0)).unwrap();
        settle(&log);
        log.checkpoint().unwrap();
    }
    assert_eq!(files_named(&vfs, "/trash/undated").len(), 4);
    log.tick(1_000);
    log.purge_trash(0).unwrap();
    assert!(files_named(&vfs, "/trash/undated").is_empty());
    assert_eq!(log.purge_trash(2_000).unwrap(), 2);
}

/// A cut takes segments away that the reset after it does not reach: they begin above the new start.
#[test]
fn a_reset_after_a_cut_leaves_nothing_of_what_was_cut() {
    for appended in [0, 3] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = create(&log, 0);
        for number in 0..60 {
            append(&log, &replica, 1, 1_000, number);
        }
        settle(&log);
        log.checkpoint().unwrap();
        let (cut, start) = (Offset::new(10), Offset::new(12));
        submit(
            &log,
            vec![Entry::Cut {
                key: key(0),
                to: cut,
            }],
        );
        submit(
            &log,
            vec![Entry::Trim {
                key: key(0),
                to: start,
            }],
        );
        let batches: Vec<_> = (0..appended)
            .map(|number| append(&log, &replica, 2, 10, number))
            .collect();
        log.run_round().unwrap();
        let opened = open(&vfs.killed());
        let facts = &opened.replicas[0];
        assert!(facts.intact);
        assert_eq!((facts.log_start, facts.end), (start, replica.end()));
        assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()), batches);
    }
}
