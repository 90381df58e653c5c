//! Disks that fail: the log stops, for good, and says so once.

use std::io::ErrorKind;

use std::path::Path;
use std::sync::Arc;

use super::{
    Ears, append, create, dir, files_named, generation, key, open, open_with, place, read_all,
    records, settle, small,
};
use crate::testing::{Dice, FaultyVfs, MemVfs, Operation, Step, Trouble};
use crate::{
    CreateError, DeadCause, Entry, Log, LogConfig, OpenError, SpaceConfig, SpaceLevel, Submission,
    SubmitError, accept_failure,
};

#[test]
fn a_failed_sync_stops_the_log_for_good_and_is_told_once() {
    for operation in [Operation::Sync, Operation::Write] {
        let vfs = MemVfs::new();
        let (opened, ears) = open_with(&vfs, small()).unwrap();
        let log = opened.log;
        let replica = create(&log, 0);
        append(&log, &replica, 1, 10, 5);
        log.run_round().unwrap();
        append(&log, &replica, 1, 10, 5);
        vfs.fail(operation, 0, ErrorKind::Other);
        assert!(log.run_round().is_err());
        vfs.heal();
        assert!(
            log.run_round().is_err(),
            "the disk working again changes nothing"
        );
        assert!(log.run_writer_step().is_err());
        let batch = place(&replica, records(1, 1, 0), replica.end(), 0);
        let refused = log.submit(Submission {
            shard: 0,
            entries: vec![Entry::Batch(batch)],
        });
        assert!(matches!(refused, Err(SubmitError::Dead(_))));
        assert!(matches!(
            log.create_replica(key(1), generation(1), small().segment),
            Err(CreateError::Dead(_))
        ));
        assert_eq!(ears.failed.lock().unwrap().len(), 1);
        assert_eq!(ears.durable.lock().unwrap().len(), 1);
        assert_eq!(read_all(&replica).len(), 2, "reads go on");
        log.poll_space();
        drop(log);
        let image = vfs.power_lost(&mut Dice::new(5));
        assert!(matches!(
            open_with(&image, small()),
            Err(OpenError::Failed { .. })
        ));
    }
}

#[test]
fn reads_go_on_when_the_disk_turns_read_only() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..60 {
        append(&log, &replica, 1, 2_000, number);
    }
    settle(&log);
    log.checkpoint().unwrap();
    vfs.set_read_only();
    append(&log, &replica, 1, 10, 61);
    assert_eq!(log.run_round().unwrap_err().cause, DeadCause::ReadOnly);
    assert_eq!(read_all(&replica).len(), 61);
}

#[test]
fn a_full_disk_is_waited_out_and_what_waits_is_written_then() {
    let vfs = MemVfs::new();
    let (opened, ears) = open_with(&vfs, small()).unwrap();
    let log = opened.log;
    let replica = create(&log, 0);
    vfs.set_room(Some(0));
    for number in 0..40 {
        append(&log, &replica, 1, 2_000, number);
        log.run_round().unwrap();
        log.run_writer_step().unwrap();
    }
    assert_eq!(log.space_level(), SpaceLevel::Full);
    assert!(log.dead().is_none());
    let acknowledged = ears.durable.lock().unwrap().len();
    assert!(acknowledged < 40);
    assert_eq!(
        read_all(&replica).len(),
        40,
        "what waits is seen by its leader"
    );
    log.poll_space();
    assert!(!log.run_round().unwrap(), "there is still no room");
    vfs.set_room(None);
    for _ in 0..3 {
        log.poll_space();
        while log.run_round().unwrap() {}
    }
    assert_eq!(log.space_level(), SpaceLevel::Plenty);
    settle(&log);
    drop(log);
    let opened = open(&vfs.power_lost(&mut Dice::new(2)));
    assert_eq!(opened.replicas[0].end.get(), 40);
    assert!(opened.replicas[0].intact);
}

#[test]
fn a_log_that_is_closed_while_something_waits_for_room_is_not_in_order() {
    let vfs = MemVfs::new();
    let (opened, ears) = open_with(&vfs, small()).unwrap();
    let log = opened.log;
    let replica = create(&log, 0);
    vfs.set_room(Some(0));
    for number in 0..40 {
        append(&log, &replica, 1, 2_000, number);
        log.run_round().unwrap();
    }
    let told = ears.durable.lock().unwrap().len();
    assert!(told < 40, "something waits");
    // By now there is room for a marker, and for nothing else.
    vfs.set_room(Some(8 << 10));
    assert_eq!(log.close().unwrap_err().cause, DeadCause::NoSpace);
    drop(log);
    vfs.set_room(None);
    let opened = open(&vfs);
    assert!(!opened.clean);
    assert_eq!(opened.replicas[0].end.get(), told as u64);
}

#[test]
fn the_ballast_is_given_up_for_what_waits_and_made_again() {
    let vfs = MemVfs::new();
    let config = LogConfig {
        space: SpaceConfig {
            soft_bytes: Some(0),
            hard_bytes: Some(0),
            ballast_bytes: Some(300_000),
        },
        ..small()
    };
    let (opened, ears) = open_with(&vfs, config).unwrap();
    let log = opened.log;
    assert_eq!(log.poll_space(), SpaceLevel::Plenty);
    assert_eq!(log.stats().ballast_bytes, 300_000);
    let replica = create(&log, 0);
    vfs.set_room(Some(0));
    for number in 0..40 {
        append(&log, &replica, 1, 2_000, number);
        log.run_round().unwrap();
        log.run_writer_step().unwrap();
    }
    assert_eq!(log.stats().ballast_bytes, 0);
    assert_eq!(log.space_level(), SpaceLevel::Full);
    for _ in 0..4 {
        assert_eq!(
            log.poll_space(),
            SpaceLevel::Full,
            "it is not space that came back"
        );
    }
    let told = ears
        .durable
        .lock()
        .unwrap()
        .iter()
        .map(|told| told.2[0].1.get())
        .max();
    assert_eq!(told, Some(40), "all that was submitted is durable");
    vfs.set_room(Some(1 << 20));
    assert_eq!(log.poll_space(), SpaceLevel::Plenty);
    assert_eq!(log.stats().ballast_bytes, 300_000);
}

#[test]
fn a_round_that_the_ballast_made_room_for_is_there_after_a_power_loss() {
    let disk = MemVfs::new();
    let vfs = FaultyVfs::new(Arc::new(disk.clone()));
    let config = LogConfig {
        space: SpaceConfig {
            ballast_bytes: Some(4096),
            ..SpaceConfig::OFF
        },
        ..small()
    };
    let ears = Arc::new(Ears::default());
    let log = Log::open(Arc::new(vfs.clone()), &dir(), config, ears.clone())
        .unwrap()
        .log;
    log.poll_space();
    let replica = create(&log, 0);
    for number in 0..3 {
        append(&log, &replica, 1, 10, number);
        if number == 1 {
            vfs.fail(Step::Write, 0, Trouble::NoSpace, false);
        }
        assert!(log.run_round().unwrap());
    }
    assert!(vfs.struck() && log.stats().ballast_bytes == 0);
    assert_eq!(ears.durable.lock().unwrap().len(), 3, "all of it is told");
    drop((log, replica));
    let opened = open(&disk.power_lost(&mut Dice::new(1)));
    assert!(opened.replicas[0].intact);
    assert_eq!(opened.replicas[0].end.get(), 3);
}

#[test]
fn a_disk_that_turned_read_only_is_noticed_without_a_write() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    vfs.set_read_only();
    log.poll_space();
    assert_eq!(log.dead().unwrap().cause, DeadCause::ReadOnly);
}

#[test]
fn a_failure_is_kept_as_soon_as_the_disk_takes_it() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 10, 5);
    for operation in [Operation::Sync, Operation::Write, Operation::Create] {
        vfs.fail(operation, 0, ErrorKind::Other);
    }
    assert!(log.run_round().is_err());
    log.poll_space();
    assert!(files_named(&vfs, "/failed").is_empty());
    vfs.heal();
    log.poll_space();
    let text = vfs.contents(&dir().join("failed")).unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("operation: write")
    );
}

#[test]
fn an_accepted_disk_serves_and_calls_nothing_of_before_intact() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let shared = || Arc::new(vfs.clone());
    assert_eq!(
        accept_failure(shared(), Path::new("/nowhere")).unwrap(),
        None
    );
    assert!(matches!(
        accept_failure(shared(), &dir()),
        Err(OpenError::InUse { .. })
    ));
    let replica = create(&log, 0);
    append(&log, &replica, 1, 10, 5);
    settle(&log);
    append(&log, &replica, 1, 10, 5);
    log.tick(1_234);
    vfs.fail(Operation::Sync, 0, ErrorKind::Other);
    assert!(log.run_round().is_err());
    vfs.heal();
    log.poll_space();
    drop((log, replica));
    let accepted = accept_failure(shared(), &dir()).unwrap().unwrap();
    let failure = accepted.failure;
    assert_eq!(failure.when_ms, 1_234);
    assert!(
        failure.operation.starts_with("sync /data/journal/"),
        "{failure}"
    );
    assert_eq!(
        accept_failure(shared(), &dir()).unwrap(),
        None,
        "once is enough"
    );
    let opened = open(&vfs);
    assert!(!opened.replicas[0].intact && opened.replicas[0].end.get() >= 1);
    let made = create(&opened.log, 1);
    append(&opened.log, &made, 1, 10, 5);
    opened.log.close().unwrap();
    let opened = open(&vfs);
    let intact: Vec<bool> = opened.replicas.iter().map(|facts| facts.intact).collect();
    assert_eq!(
        intact,
        [false, true],
        "what is made since is as good as any"
    );
    assert_eq!(files_named(&vfs, "quarantine/failed").len(), 1);
}

#[test]
fn a_failed_close_stops_the_log() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 1, 10, 5);
    log.run_round().unwrap();
    vfs.fail(Operation::Close, 0, ErrorKind::Other);
    assert!(log.checkpoint().is_err());
    assert!(log.dead().is_some());
}
