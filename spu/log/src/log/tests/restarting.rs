//! Logs that begin anew below where they began: what an operator gave up is gone, wherever the power goes.

use proptest::prelude::*;
use tidegate_proto::position::{LeaderEpoch, Offset};

use super::{append, create, files_named, key, open, place, read_all, records, settle, submit};
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log, Replica};

/// Segments, a start above zero, a snapshot and a high watermark.
fn with_a_past(log: &Log, trimmed: bool, is_on_disk: bool) -> std::sync::Arc<Replica> {
    let replica = create(log, 0);
    replica.set_replicated(None);
    for time_ms in 0..40 {
        append(log, &replica, 5, 200, time_ms);
    }
    if is_on_disk {
        settle(log);
        log.checkpoint().unwrap();
    }
    let (key, as_of) = (key(0), Offset::new(150));
    let bytes = b"what producers did".as_slice().into();
    submit(log, vec![Entry::Snapshot { key, as_of, bytes }]);
    let offset = Offset::new(160);
    submit(log, vec![Entry::HighWatermark { key, offset }]);
    if trimmed {
        let to = Offset::new(120);
        submit(log, vec![Entry::Trim { key, to }]);
    }
    replica
}

fn begin_anew(log: &Log) {
    let (key, to) = (key(0), Offset::ZERO);
    submit(log, vec![Entry::Cut { key, to }]);
}

/// Two batches of a later epoch, from the beginning.
fn refill(log: &Log, replica: &Replica) {
    for time_ms in [900, 901] {
        let mut batch = place(replica, records(3, 50, time_ms), replica.end(), time_ms);
        batch.placement.leader_epoch = LeaderEpoch(9);
        submit(log, vec![Entry::Batch(batch)]);
    }
}

/// Nothing of the past is there; as many of the new batches as there can be.
fn check(log: &Log) {
    let replica = log.replica(key(0)).unwrap();
    assert_eq!(replica.log_start(), Offset::ZERO);
    let found = read_all(&replica);
    let of_past = |epoch: LeaderEpoch| epoch != LeaderEpoch(9);
    assert!(
        !found
            .iter()
            .any(|batch| of_past(batch.placement.leader_epoch))
    );
    assert_eq!(replica.end(), Offset::new(3 * found.len() as u64));
    assert!(replica.high_watermark() <= replica.end());
    assert_eq!(replica.snapshot().unwrap(), None);
    // It goes on as if it were new.
    let end = replica.end();
    let mut batch = place(&replica, records(1, 10, 990), end, 990);
    batch.placement.leader_epoch = LeaderEpoch(9);
    submit(log, vec![Entry::Batch(batch)]);
    settle(log);
    log.checkpoint().unwrap();
    assert_eq!(read_all(&replica).len(), found.len() + 1);
}

fn check_images(vfs: &MemVfs, seed: u64) {
    for image in [vfs.killed(), vfs.power_lost(&mut Dice::new(seed))] {
        let opened = open(&image);
        let report = opened.replicas.iter().find(|at| at.key == key(0)).unwrap();
        assert!(report.intact, "nothing of it is rot");
        check(&opened.log);
        drop(opened);
        let again = open(&image.killed());
        let replica = again.log.replica(key(0)).unwrap();
        assert_eq!(replica.log_start(), Offset::ZERO);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_log_that_begins_anew_has_nothing_of_before_wherever_the_power_goes(
        trimmed: bool, is_on_disk: bool, refills: bool, steps in 0..12_usize, seed: u64,
    ) {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = with_a_past(&log, trimmed, is_on_disk);
        while log.run_round().unwrap() {}
        begin_anew(&log);
        prop_assert_eq!((replica.log_start(), replica.end()), (Offset::ZERO, Offset::ZERO));
        if refills {
            refill(&log, &replica);
        }
        while log.run_round().unwrap() {}
        for _ in 0..steps {
            log.run_writer_step().unwrap();
        }
        check_images(&vfs, seed);
        settle(&log);
        check_images(&vfs, seed);
        check(&log);
        let count = files_named(&vfs, ".log").len();
        prop_assert!(count <= 2, "{} files are left", count);
    }
}
