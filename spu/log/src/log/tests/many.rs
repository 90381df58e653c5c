//! Thousands of replicas in one directory: what they cost is counted, not timed.

use std::collections::BTreeSet;

use tidegate_proto::position::Offset;

use super::{append, generation, key, open_with, read_all, small};
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log, LogConfig, NewReplica, Submission};

/// Sizes that hold off the writer, but for what a test asks for.
fn roomy() -> LogConfig {
    LogConfig {
        storage_id_if_new: small().storage_id_if_new,
        open_files_max: 64,
        ..LogConfig::default()
    }
}

fn new(number: u32) -> NewReplica {
    NewReplica {
        key: key(number),
        replica_gen: generation(u128::from(number) + 1),
        config: small().segment,
    }
}

fn create_many(log: &Log, count: u32) {
    let wanted: Vec<NewReplica> = (0..count).map(new).collect();
    for made in log.create_replicas(&wanted).unwrap() {
        made.unwrap();
    }
}

#[test]
fn many_replicas_are_made_with_one_sync_of_names_and_one_round() {
    let vfs = MemVfs::new();
    let log = open_with(&vfs, roomy()).unwrap().0.log;
    let before = vfs.counts();
    create_many(&log, 500);
    assert!(log.run_round().unwrap());
    assert!(!log.run_round().unwrap(), "one round holds them all");
    let after = vfs.counts();
    assert_eq!(after.dir_syncs - before.dir_syncs, 1);
    assert_eq!(after.syncs - before.syncs, 1);
    let opened = open_with(&vfs.power_lost(&mut Dice::new(7)), roomy())
        .unwrap()
        .0;
    assert_eq!(opened.replicas.len(), 500);
    assert!(opened.replicas.iter().all(|facts| facts.intact));
}

#[test]
fn of_many_wanted_replicas_those_that_are_there_are_refused_alone() {
    let log = open_with(&MemVfs::new(), roomy()).unwrap().0.log;
    create_many(&log, 2);
    let made = log.create_replicas(&[new(1), new(2), new(2)]).unwrap();
    let made: Vec<bool> = made.iter().map(Result::is_ok).collect();
    assert_eq!(made, [false, true, false]);
}

#[test]
fn a_round_of_many_replicas_is_one_sync_and_a_checkpoint_of_them_another() {
    let vfs = MemVfs::new();
    let log = open_with(&vfs, roomy()).unwrap().0.log;
    create_many(&log, 300);
    while log.run_round().unwrap() {}
    log.checkpoint().unwrap();
    let entries = |number: u32| {
        let replica = log.replica(key(number)).unwrap();
        let client = super::records(1, 100, 5);
        Entry::Batch(super::place(&replica, client, replica.end(), 5))
    };
    let before = vfs.counts();
    let entries: Vec<Entry> = (0..300).map(entries).collect();
    log.submit(Submission { shard: 0, entries }).unwrap();
    assert!(log.run_round().unwrap());
    assert_eq!(vfs.counts().syncs - before.syncs, 1, "a round is one sync");
    let before = vfs.counts();
    log.checkpoint().unwrap();
    let after = vfs.counts();
    assert_eq!(after.whole_syncs - before.whole_syncs, 1);
    assert!(after.syncs - before.syncs <= 1, "only the checkpoint's own");
    assert!(
        after.dir_syncs - before.dir_syncs <= 1,
        "only the checkpoint's own"
    );
    let opened = open_with(&vfs.power_lost(&mut Dice::new(3)), roomy())
        .unwrap()
        .0;
    assert!(opened.replicas.iter().all(|facts| facts.intact));
    let last = opened.log.replica(key(299)).unwrap();
    assert_eq!(read_all(&last).len(), 1);
}

#[test]
fn giving_up_many_replicas_syncs_names_a_few_times() {
    let vfs = MemVfs::new();
    let log = open_with(&vfs, roomy()).unwrap().0.log;
    create_many(&log, 300);
    let kept = log
        .create_replicas(&[new(5_000)])
        .unwrap()
        .remove(0)
        .unwrap();
    append(&log, &kept, 3, 10, 5);
    while log.run_round().unwrap() {}
    log.checkpoint().unwrap();
    let before = vfs.counts();
    for number in 0..300 {
        log.retire_replica(key(number)).unwrap();
    }
    while log.run_round().unwrap() {}
    log.checkpoint().unwrap();
    let after = vfs.counts();
    assert!(after.dir_syncs - before.dir_syncs <= 4, "{after:?}");
    for dice in 0..4 {
        let image = vfs.power_lost(&mut Dice::new(dice));
        let opened = open_with(&image, roomy()).unwrap().0;
        assert_eq!(opened.replicas.len(), 1);
        assert_eq!(opened.missing, []);
    }
}

#[test]
fn replicas_given_up_before_a_power_loss_stay_gone_wherever_their_directories_are() {
    for dice in 0..20 {
        let vfs = MemVfs::new();
        let log = open_with(&vfs, roomy()).unwrap().0.log;
        create_many(&log, 20);
        while log.run_round().unwrap() {}
        log.checkpoint().unwrap();
        for number in 0..20 {
            log.retire_replica(key(number)).unwrap();
        }
        while log.run_round().unwrap() {}
        // Moved to the trash, the names not synced yet.
        for _ in 0..7 {
            log.inner.writer.relieve().unwrap();
        }
        let opened = open_with(&vfs.power_lost(&mut Dice::new(dice)), roomy())
            .unwrap()
            .0;
        assert_eq!((opened.replicas.len(), opened.missing.len()), (0, 0));
    }
}

#[test]
fn a_tick_looks_at_the_replicas_whose_time_has_come_and_at_no_others() {
    let vfs = MemVfs::new();
    let log = open_with(&vfs, roomy()).unwrap().0.log;
    create_many(&log, 500);
    for number in 0..100_u32 {
        let replica = log.replica(key(number)).unwrap();
        append(&log, &replica, 1, 10, i64::from(number) * 1_000);
    }
    while log.run_round().unwrap() {}
    log.checkpoint().unwrap();
    let writer = &log.inner.writer;
    assert_eq!(writer.tick(500_000), 0, "all are young");
    // Their segments close at an age of 1,000 s.
    assert_eq!(writer.tick(1_009_500), 10);
    while log.run_writer_step().unwrap() {}
    assert_eq!(writer.tick(1_009_600), 0, "what is closed is not looked at");
    let closed = |number: u32| log.replica(key(number)).unwrap().segments().len();
    assert_eq!((closed(0), closed(50)), (1, 1));
    let replica = log.replica(key(0)).unwrap();
    append(&log, &replica, 1, 10, 1_009_700);
    while log.run_round().unwrap() {}
    log.checkpoint().unwrap();
    assert_eq!(replica.segments().len(), 2, "the old one was closed");
    // The younger segment of one, and those of 10 to 19.
    assert_eq!(writer.tick(1_019_500), 10);
    while log.run_writer_step().unwrap() {}
    assert_eq!(writer.tick(2_100_000), 81);
}

#[test]
fn a_time_noted_before_a_restart_is_noted_after_it() {
    let vfs = MemVfs::new();
    let log = open_with(&vfs, roomy()).unwrap().0.log;
    create_many(&log, 3);
    let replica = log.replica(key(1)).unwrap();
    append(&log, &replica, 1, 10, 5);
    log.close().unwrap();
    let log = open_with(
        &vfs.killed(),
        LogConfig {
            segment: small().segment,
            ..roomy()
        },
    )
    .unwrap()
    .0
    .log;
    assert_eq!(log.inner.writer.tick(2_000_000), 1);
    let ends: BTreeSet<Offset> = log.replicas().iter().map(|replica| replica.end()).collect();
    assert_eq!(ends.len(), 2);
}
