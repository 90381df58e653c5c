//! Records whose owner does not wait for the sync: told when they are written, synced together, and
//! lost by a power loss from the end only.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use std::collections::BTreeSet;

use crate::testing::{Dice, Operation};

/// A log with a replica that defers its syncs and one that does not, and how often its disk synced.
fn two(vfs: &MemVfs) -> (Log, [Arc<Replica>; 2], Arc<Ears>, u64) {
    let (opened, ears) = open_with(vfs, small()).unwrap();
    let log = opened.log;
    let replicas = [0, 1].map(|number| create(&log, number));
    replicas[0].set_sync_deferred(true);
    log.run_round().unwrap();
    let syncs = vfs.counts().syncs;
    (log, replicas, ears, syncs)
}

fn ends(told: &Mutex<Vec<Told>>) -> Vec<(ReplicaKey, u64)> {
    let told = told.lock().unwrap();
    let ends = told.iter().flat_map(|(_, _, ends)| ends);
    ends.map(|(key, end)| (*key, end.get())).collect()
}

#[test]
fn rounds_that_nobody_waits_for_are_told_as_written_and_synced_together() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ears, syncs) = two(&vfs);
    for _ in 0..3 {
        append(&log, &replica, 1, 100, 5);
        log.run_round().unwrap();
    }
    assert_eq!(ends(&ears.written), [(key(0), 1), (key(0), 2), (key(0), 3)]);
    assert_eq!(ends(&ears.durable), []);
    let ends_of = |replica: &Replica| [replica.written_end(), replica.durable_end()];
    assert_eq!(ends_of(&replica), [Offset::new(3), Offset::ZERO]);
    assert_eq!(vfs.counts().syncs, syncs);
    assert!(log.run_sync().unwrap());
    assert!(!log.run_sync().unwrap(), "once is enough");
    assert_eq!(vfs.counts().syncs, syncs + 1);
    assert_eq!(ends(&ears.durable), [(key(0), 3)]);
    assert_eq!(ends_of(&replica), [Offset::new(3); 2]);
}

#[test]
fn what_is_told_as_written_survives_a_kill_and_of_a_power_loss_a_first_part() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ..) = two(&vfs);
    let batches: Vec<Batch> = (0..6)
        .map(|_| {
            let batch = append(&log, &replica, 1, 300, 5);
            log.run_round().unwrap();
            batch
        })
        .collect();
    let killed = open(&vfs.killed());
    assert_eq!(read_all(&killed.log.replica(key(0)).unwrap()), batches);
    let mut lengths = BTreeSet::new();
    for seed in 0..60 {
        let opened = open(&vfs.power_lost(&mut Dice::new(seed)));
        assert!(!opened.journal_rot && opened.replicas.iter().all(|facts| facts.intact));
        let kept = read_all(&opened.log.replica(key(0)).unwrap());
        assert_eq!(kept, batches[..kept.len()]);
        lengths.insert(kept.len());
    }
    assert!(lengths.len() > 2, "{lengths:?}");
}

#[test]
fn one_who_waits_for_a_sync_does_not_wait_longer_and_takes_the_others_along() {
    let vfs = MemVfs::new();
    let (log, [patient, waiting], ears, syncs) = two(&vfs);
    append(&log, &patient, 1, 100, 5);
    log.run_round().unwrap();
    append(&log, &patient, 1, 100, 5);
    append(&log, &waiting, 1, 100, 5);
    log.run_round().unwrap();
    assert_eq!(vfs.counts().syncs, syncs + 1);
    assert_eq!(ends(&ears.written), [(key(0), 1), (key(0), 2)]);
    assert_eq!(ends(&ears.durable), [(key(0), 2), (key(1), 1)]);
    append(&log, &waiting, 1, 100, 5);
    log.run_round().unwrap();
    assert_eq!(
        ends(&ears.written).len(),
        2,
        "nobody asked to be told of it"
    );
}

#[test]
fn what_cannot_be_written_is_not_told() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ears, _) = two(&vfs);
    append(&log, &replica, 1, 100, 5);
    vfs.fail(Operation::Write, 0, ErrorKind::Other);
    assert!(log.run_round().is_err());
    assert_eq!(ends(&ears.written), []);
    assert_eq!(replica.written_end(), Offset::ZERO);
    assert_eq!(ears.failed.lock().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_synced_is_told_as_written_and_never_as_durable() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ears, _) = two(&vfs);
    append(&log, &replica, 1, 100, 5);
    log.run_round().unwrap();
    vfs.fail(Operation::Sync, 0, ErrorKind::Other);
    assert!(log.run_sync().is_err());
    vfs.heal();
    assert!(log.run_sync().is_err() && log.close().is_err());
    assert_eq!(ends(&ears.written), [(key(0), 1)]);
    assert_eq!(ends(&ears.durable), []);
}

#[test]
fn a_full_disk_takes_back_only_the_round_that_found_no_room() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ears, _) = two(&vfs);
    append(&log, &replica, 1, 100, 5);
    log.run_round().unwrap();
    // More than the first file has left.
    let batch = append(&log, &replica, 1, 14 << 10, 5);
    vfs.set_room(Some(0));
    assert!(!log.run_round().unwrap());
    assert_eq!(ends(&ears.written), [(key(0), 1)]);
    log.run_sync().unwrap();
    vfs.set_room(None);
    log.poll_space();
    log.run_round().unwrap();
    assert_eq!(ends(&ears.written), [(key(0), 1), (key(0), 2)]);
    drop(log);
    let kept = read_all(&open(&vfs.killed()).log.replica(key(0)).unwrap());
    assert_eq!((kept.len(), kept.last()), (2, Some(&batch)));
}

#[test]
fn a_journal_at_its_cap_syncs_what_is_in_its_way() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ..) = two(&vfs);
    let rounds = small().journal_bytes_max / (4 << 10);
    for _ in 0..2 * rounds {
        append(&log, &replica, 1, 3_000, 5);
        log.run_round().unwrap();
    }
    assert!(replica.durable_end() > Offset::ZERO);
    log.close().unwrap();
    let kept = read_all(&open(&vfs).log.replica(key(0)).unwrap());
    assert_eq!(kept.len() as u64, 2 * rounds);
}

#[test]
fn a_synced_round_that_rots_is_rot_whatever_was_not_synced_behind_it() {
    for (synced, is_rot) in [(true, true), (false, false)] {
        let vfs = MemVfs::new();
        let (log, [replica, _], ..) = two(&vfs);
        let batches: Vec<Batch> = (0..3)
            .map(|number| {
                let batch = append(&log, &replica, 1, 300, 5);
                log.run_round().unwrap();
                if number == 1 && synced {
                    log.run_sync().unwrap();
                }
                batch
            })
            .collect();
        drop(log);
        let vfs = vfs.killed();
        let needle = batches[1].header_bytes();
        for journal in files_named(&vfs, "/journal/") {
            vfs.damage(&journal, |bytes| {
                let mut windows = bytes.windows(needle.len());
                if let Some(at) = windows.position(|window| window == needle) {
                    bytes[at + 40] ^= 1;
                }
            });
        }
        let opened = open(&vfs);
        assert_eq!(opened.journal_rot, is_rot);
        assert_eq!(opened.replicas[0].intact, !is_rot);
        let kept = read_all(&opened.log.replica(key(0)).unwrap());
        assert_eq!(kept, batches[..1]);
    }
}

#[test]
fn no_round_stays_unsynced_for_long() {
    let vfs = MemVfs::new();
    let (log, [replica, _], ears, syncs) = two(&vfs);
    log.start_threads().unwrap();
    for number in 1..=3 {
        append(&log, &replica, 1, 100, 5);
        while replica.durable_end() < Offset::new(number) {
            assert!(log.dead().is_none(), "{:?}", log.dead());
            std::thread::park_timeout(Duration::from_micros(100));
        }
    }
    assert_eq!(ends(&ears.written).len(), 3);
    log.close().unwrap();
    assert!(vfs.counts().syncs >= syncs + 3);
}
