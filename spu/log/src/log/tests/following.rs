//! What followers are sent: every batch behind a position, markers at the end among them, from memory and
//! from disk, byte for byte.

use tidegate_proto::batch::{Batch, epoch_marker};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

use super::{append, create, key, open, place, settle, submit};
use crate::testing::MemVfs;
use crate::{Entry, Log, Replica};

fn marker(log: &Log, replica: &Replica, epoch: u64) {
    let mut batch = place(replica, epoch_marker(7), replica.end(), 7);
    batch.placement.leader_epoch = LeaderEpoch(epoch);
    submit(log, vec![Entry::Batch(batch)]);
}

fn position(end: u64, epoch: u64) -> LogPosition {
    LogPosition {
        end: Offset::new(end),
        last_epoch: (epoch > 0).then_some(LeaderEpoch(epoch)),
    }
}

/// Base offset and epoch of what stands behind, read in pieces.
fn behind(replica: &Replica, mut at: LogPosition) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    loop {
        let batches = replica.read_after(at, 300).unwrap();
        for batch in &batches {
            at = LogPosition {
                end: batch.next_offset(),
                last_epoch: Some(batch.placement.leader_epoch),
            };
            found.push((
                batch.placement.base_offset.get(),
                batch.placement.leader_epoch.0,
            ));
        }
        if batches.is_empty() {
            return found;
        }
    }
}

/// Records of epoch 1 up to 6, then markers of 3 and 5 at 6.
fn with_idle_epochs(log: &Log) -> std::sync::Arc<Replica> {
    let replica = create(log, 0);
    append(log, &replica, 4, 10, 5);
    append(log, &replica, 2, 10, 5);
    marker(log, &replica, 3);
    marker(log, &replica, 5);
    replica
}

#[test]
fn markers_at_the_end_are_read_from_memory_from_disk_and_after_a_restart() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = with_idle_epochs(&log);
    let check = |replica: &Replica| {
        let first = behind(replica, position(0, 0));
        let epoch = first[0].1;
        assert_eq!(first, [(0, epoch), (4, epoch), (6, 3), (6, 5)]);
        assert_eq!(behind(replica, position(4, epoch)), first[1..]);
        assert_eq!(behind(replica, position(6, epoch)), first[2..]);
        assert_eq!(behind(replica, position(6, 3)), first[3..]);
        assert_eq!(behind(replica, position(6, 5)), []);
    };
    check(&replica);
    settle(&log);
    log.checkpoint().unwrap();
    assert_eq!(replica.durable_position(), position(6, 5));
    replica.evict(replica.end(), u64::MAX);
    assert_eq!(replica.read_after_cached(position(4, 1), 300), None);
    // Markers at the end stay in memory.
    let only = replica.read_after_cached(position(6, 3), 300).unwrap();
    assert_eq!(only[0].placement.leader_epoch, LeaderEpoch(5));
    check(&replica);
    marker(&log, &replica, 6);
    let only = replica.read_after_cached(position(6, 5), 300).unwrap();
    assert_eq!(only[0].placement.leader_epoch, LeaderEpoch(6));
    assert_eq!(behind(&replica, position(6, 3)), [(6, 5), (6, 6)]);
    log.close().unwrap();

    let log = open(&vfs).log;
    let replica = log.replica(key(0)).unwrap();
    assert_eq!(replica.durable_position(), position(6, 0));
    assert_eq!(behind(&replica, position(6, 3)), [(6, 5), (6, 6)]);
    // Who has the last batch that memory lacks misses nothing.
    assert_eq!(replica.read_after_cached(position(6, 6), 300), None);
    replica.found_last_epoch(LeaderEpoch(6));
    assert_eq!(replica.durable_position(), position(6, 6));
    assert_eq!(replica.read_after_cached(position(6, 6), 300), Some(vec![]));
    assert_eq!(replica.read_after_cached(position(6, 5), 300), None);
}

/// Found by the simulation over the log: an idle partition forgot its epoch with the process.
#[test]
fn markers_of_a_log_without_records_are_read_after_a_restart() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    marker(&log, &replica, 3);
    settle(&log);
    assert_eq!(behind(&replica, position(0, 0)), [(0, 3)]);
    log.close().unwrap();
    let log = open(&vfs).log;
    let replica = log.replica(key(0)).unwrap();
    assert_eq!(behind(&replica, position(0, 0)), [(0, 3)]);
    assert_eq!(behind(&replica, position(0, 3)), []);
}

#[test]
fn a_cut_takes_the_markers_at_its_place_and_is_known_to_be_durable() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = with_idle_epochs(&log);
    settle(&log);
    assert!(replica.is_shortened());
    submit(
        &log,
        vec![Entry::Cut {
            key: key(0),
            to: Offset::new(6),
        }],
    );
    assert!(!replica.is_shortened());
    assert_eq!(behind(&replica, position(6, 0)), []);
    while log.run_round().unwrap() {}
    assert!(replica.is_shortened());
    assert_eq!(replica.durable_position(), position(6, 0));
    settle(&log);
    assert_eq!(behind(&replica, position(4, 1)).len(), 1);
    let log = open(&vfs.killed()).log;
    let replica = log.replica(key(0)).unwrap();
    assert_eq!(behind(&replica, position(6, 0)), []);
}

#[test]
fn a_reset_leaves_nothing_and_goes_on_at_the_new_start() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = with_idle_epochs(&log);
    settle(&log);
    let to = Offset::new(90);
    submit(&log, vec![Entry::Trim { key: key(0), to }]);
    assert!(!replica.is_shortened());
    settle(&log);
    assert_eq!(replica.durable_position(), position(90, 0));
    assert_eq!(
        (replica.log_start(), replica.readable_from().unwrap()),
        (to, to)
    );
    append(&log, &replica, 3, 10, 5);
    assert_eq!(behind(&replica, position(90, 0)).len(), 1);
}

#[test]
fn a_reset_gives_up_the_snapshot_and_a_later_one_stays() {
    for applied in [true, false] {
        let vfs = MemVfs::new();
        let log = open(&vfs).log;
        let replica = with_idle_epochs(&log);
        let snapshot = |as_of| Entry::Snapshot {
            key: key(0),
            as_of: Offset::new(as_of),
            bytes: vec![1; 9].into(),
        };
        let as_of = |replica: &Replica| replica.snapshot().unwrap().map(|(as_of, _)| as_of);
        submit(&log, vec![snapshot(4)]);
        settle(&log);
        log.checkpoint().unwrap();
        assert_eq!(as_of(&replica), Some(Offset::new(4)));
        let to = Offset::new(90);
        submit(&log, vec![Entry::Trim { key: key(0), to }]);
        while log.run_round().unwrap() {}
        if applied {
            log.checkpoint().unwrap();
            assert_eq!(as_of(&replica), None);
        }
        let log = open(&vfs.killed()).log;
        let replica = log.replica(key(0)).unwrap();
        assert_eq!(as_of(&replica), None);
        submit(&log, vec![snapshot(90)]);
        while log.run_round().unwrap() {}
        log.checkpoint().unwrap();
        assert_eq!(as_of(&replica), Some(to));
    }
}

#[test]
fn what_a_start_within_a_batch_leaves_of_it_is_sent_whole() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = with_idle_epochs(&log);
    let to = Offset::new(2);
    submit(&log, vec![Entry::Trim { key: key(0), to }]);
    for _ in 0..2 {
        assert_eq!(replica.readable_from().unwrap(), Offset::ZERO);
        assert_eq!(behind(&replica, position(0, 0)).len(), 4);
        settle(&log);
        log.checkpoint().unwrap();
        replica.evict(replica.end(), u64::MAX);
    }
}

#[test]
fn copies_made_of_what_was_read_are_equal_byte_for_byte() {
    let (from, to) = (MemVfs::new(), MemVfs::new());
    let (leader, follower) = (open(&from).log, open(&to).log);
    let replica = with_idle_epochs(&leader);
    for number in 0..200 {
        append(&leader, &replica, 1 + number % 3, 10, 90);
        settle(&leader);
    }
    replica.evict(replica.end(), u64::MAX);
    let copy = create(&follower, 0);
    loop {
        let batches = replica.read_after(copy.durable_position(), 1_000).unwrap();
        if batches.is_empty() {
            break;
        }
        submit(&follower, batches.into_iter().map(Entry::Batch).collect());
        settle(&follower);
    }
    let bytes = |replica: &Replica| {
        let mut out = Vec::new();
        for batch in replica.read_after(position(0, 0), usize::MAX).unwrap() {
            Batch::encode_into(&batch, &mut out);
        }
        out
    };
    assert_eq!(replica.durable_position(), copy.durable_position());
    assert_eq!(bytes(&replica), bytes(&copy));
}

#[test]
fn the_durable_snapshot_is_known_of_what_is_replicated() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = with_idle_epochs(&log);
    replica.set_replicated(None);
    let snapshot = |as_of| Entry::Snapshot {
        key: key(0),
        as_of: Offset::new(as_of),
        bytes: vec![1; 9].into(),
    };
    submit(&log, vec![snapshot(4)]);
    assert_eq!(replica.durable_snapshot(), None);
    settle(&log);
    assert_eq!(replica.durable_snapshot(), Some(Offset::new(4)));
    let to = Offset::new(3);
    submit(&log, vec![Entry::Cut { key: key(0), to }]);
    settle(&log);
    assert_eq!(replica.durable_snapshot(), None);
}

#[test]
fn a_snapshot_that_is_in_the_journal_alone_counts_from_the_moment_on_that_there_are_copies() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    append(&log, &replica, 4, 10, 5);
    let entry = Entry::Snapshot {
        key: key(0),
        as_of: Offset::new(4),
        bytes: bytes::Bytes::from_static(b"what producers did"),
    };
    submit(&log, vec![entry]);
    log.run_round().unwrap();
    // The segment writer did not come by.
    assert_eq!(replica.snapshot().unwrap(), None);
    replica.set_replicated(None);
    assert_eq!(replica.durable_snapshot(), Some(Offset::new(4)));
    settle(&log);
    assert_eq!(replica.durable_snapshot(), Some(Offset::new(4)));
}
