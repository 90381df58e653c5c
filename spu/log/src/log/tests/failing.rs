//! Disks that fail: the log stops, for good, and says so once.

use std::io::ErrorKind;

use super::{
    append, create, generation, key, open, open_with, place, read_all, records, settle, small,
};
use crate::testing::{Dice, MemVfs, Operation};
use crate::{CreateError, DeadCause, Entry, Submission, SubmitError};

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
        drop(log);
        assert_eq!(
            open(&vfs.power_lost(&mut Dice::new(5))).replicas[0]
                .end
                .get()
                % 3,
            1
        );
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
fn a_full_disk_is_told_apart() {
    let vfs = MemVfs::new();
    let (opened, ears) = open_with(&vfs, small()).unwrap();
    let replica = create(&opened.log, 0);
    append(&opened.log, &replica, 1, 10, 5);
    vfs.fail(Operation::Write, 0, ErrorKind::StorageFull);
    assert_eq!(
        opened.log.run_round().unwrap_err().cause,
        DeadCause::NoSpace
    );
    assert_eq!(ears.failed.lock().unwrap()[0].cause, DeadCause::NoSpace);
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
