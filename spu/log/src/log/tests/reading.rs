//! Reads by offset and by time, rolling, retention, indexes, the tail in memory.

use tidegate_proto::position::Offset;

use super::{append, append_marker, create, dir, files_named, key, open, read_all, settle, submit};
use crate::limits::TAIL_REST_MS;
use crate::testing::MemVfs;
use crate::{Entry, ReadError, Replica, SegmentConfig};

fn segments(vfs: &MemVfs) -> usize {
    let is_records = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "log");
    files_named(vfs, "/replicas/")
        .iter()
        .filter(is_records)
        .count()
}

#[test]
fn a_submitted_batch_is_readable_at_once_and_after_it_left_memory() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    let first = append(&log, &replica, 3, 500, 5);
    let (from, upto) = (Offset::new(1), Offset::new(3));
    assert_eq!(
        replica.read_cached(from, upto, 1).unwrap(),
        std::slice::from_ref(&first)
    );
    for number in 0..40 {
        append(&log, &replica, 1, 900, number);
    }
    settle(&log);
    log.checkpoint().unwrap();
    assert_eq!(
        replica.read_cached(from, upto, 1),
        None,
        "the budget is 6 KiB"
    );
    assert_eq!(replica.read(from, upto, 1).unwrap(), [first]);
    let end = replica.end();
    assert_eq!(replica.read_cached(end, end, 1).unwrap(), []);
    let newest = replica
        .read_cached(Offset::new(end.get() - 1), end, 1)
        .unwrap();
    assert_eq!(newest.len(), 1);
    assert!(log.stats().tail_bytes <= 6 << 10);
}

#[test]
fn a_replica_to_which_nothing_is_appended_keeps_nothing_in_memory() {
    let log = open(&MemVfs::new()).log;
    let (quiet, busy, waiting) = (create(&log, 0), create(&log, 1), create(&log, 2));
    let first = append(&log, &quiet, 1, 100, 1_000);
    append(&log, &busy, 1, 100, 1_000);
    settle(&log);
    log.checkpoint().unwrap();
    append(&log, &busy, 1, 100, 2_000);
    append(&log, &waiting, 1, 100, 1_000);
    let (from, upto) = (Offset::ZERO, Offset::new(1));
    let is_cached = |replica: &Replica| replica.read_cached(from, upto, 1).is_some();
    log.tick(999 + TAIL_REST_MS);
    assert!(is_cached(&quiet) && is_cached(&busy) && is_cached(&waiting));
    log.tick(1_000 + TAIL_REST_MS);
    assert!(!is_cached(&quiet));
    assert_eq!(quiet.read(from, upto, 1).unwrap(), [first]);
    assert!(is_cached(&busy), "somebody may be reading along");
    assert!(is_cached(&waiting), "no disk has it yet");
    settle(&log);
    log.checkpoint().unwrap();
    log.tick(2_000 + 2 * TAIL_REST_MS);
    assert!(!is_cached(&busy) && !is_cached(&waiting));
    assert_eq!(log.stats().tail_bytes, 0);
    assert_eq!(log.inner.writer.cached_flushes(), 0);
}

#[test]
fn reads_stop_at_the_watermark_and_move_past_batches_without_offsets() {
    let log = open(&MemVfs::new()).log;
    let replica = create(&log, 0);
    append(&log, &replica, 2, 10, 5);
    append_marker(&log, &replica, 6);
    let last = append(&log, &replica, 2, 10, 7);
    for on_disk in [false, true] {
        let read = replica.read(Offset::ZERO, Offset::new(3), 1 << 20).unwrap();
        assert_eq!(
            read.last().unwrap().next_offset(),
            Offset::new(2),
            "on disk: {on_disk}"
        );
        let read = replica.read(Offset::new(2), Offset::new(4), 1).unwrap();
        assert_eq!(read.last(), Some(&last), "on disk: {on_disk}");
        assert_eq!(read.len(), 2, "the marker comes along");
        settle(&log);
        log.checkpoint().unwrap();
        replica.evict(replica.end(), u64::MAX);
    }
}

#[test]
fn offsets_outside_the_log_are_told_apart() {
    let log = open(&MemVfs::new()).log;
    let replica = create(&log, 0);
    append(&log, &replica, 5, 10, 5);
    submit(
        &log,
        vec![Entry::Trim {
            key: key(0),
            to: Offset::new(2),
        }],
    );
    let read = |from| replica.read(Offset::new(from), Offset::new(9), 100);
    assert!(matches!(read(1), Err(ReadError::Trimmed { log_start, .. }) if log_start.get() == 2));
    assert!(matches!(read(6), Err(ReadError::BeyondEnd { end, .. }) if end.get() == 5));
    assert_eq!(read(5).unwrap(), []);
}

#[test]
fn segments_roll_by_size_and_by_time_even_when_idle() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..10 {
        append(&log, &replica, 1, 9_000, 1_000 + number);
        settle(&log);
    }
    log.checkpoint().unwrap();
    assert_eq!(segments(&vfs), 5, "two batches of 9 KB fit into 24 KiB");
    assert_eq!(
        replica.retention(900_000, Some(0), None, replica.end()),
        Some(Offset::new(8))
    );
    log.tick(900_000);
    settle(&log);
    assert_eq!(
        replica.retention(900_000, Some(0), None, replica.end()),
        Some(Offset::new(8))
    );
    log.tick(1_001_008);
    settle(&log);
    // The last one is closed too, so it can go as well.
    assert_eq!(
        replica.retention(1_001_009, Some(0), None, replica.end()),
        Some(Offset::new(10))
    );
    append(&log, &replica, 1, 10, 1_002_000);
    settle(&log);
    log.checkpoint().unwrap();
    assert_eq!(segments(&vfs), 6);
}

#[test]
fn a_segment_whose_time_is_up_rolls_at_a_checkpoint_too() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for round in 1..4 {
        append(&log, &replica, 1, 10, round * 2_000_000);
        log.run_round().unwrap();
        log.tick(round * 2_000_000 + 1_500_000);
        // Not a step of the writer: the checkpoint finds the replica waiting.
        log.checkpoint().unwrap();
        assert_eq!(segments(&vfs), usize::try_from(round).unwrap());
        let end = replica.end();
        assert_eq!(replica.retention(i64::MAX, Some(0), None, end), Some(end));
    }
}

#[test]
fn a_time_before_the_configured_one_rolls_on_append() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_config(SegmentConfig {
        segment_bytes: 1 << 20,
        segment_ms: 100,
    });
    for number in 0..5 {
        append(&log, &replica, 1, 10, number * 60);
    }
    settle(&log);
    log.checkpoint().unwrap();
    assert_eq!(segments(&vfs), 3);
    assert_eq!(read_all(&replica).len(), 5);
}

#[test]
fn retention_goes_by_bytes_and_never_above_the_watermark() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..10 {
        append(&log, &replica, 1, 9_000, 1_000 + number);
    }
    settle(&log);
    log.checkpoint().unwrap();
    let end = replica.end();
    assert_eq!(replica.retention(9_999, None, None, end), None);
    assert_eq!(replica.retention(9_999, None, Some(1 << 30), end), None);
    assert_eq!(
        replica.retention(9_999, None, Some(40_000), end),
        Some(Offset::new(4))
    );
    let watermark = Offset::new(3);
    assert_eq!(
        replica.retention(9_999, None, Some(40_000), watermark),
        Some(Offset::new(2))
    );
    submit(
        &log,
        vec![Entry::Trim {
            key: key(0),
            to: Offset::new(4),
        }],
    );
    assert_eq!(segments(&vfs), 5, "files stay until the trim is durable");
    settle(&log);
    log.checkpoint().unwrap();
    settle(&log);
    assert_eq!(segments(&vfs), 3);
    assert_eq!(replica.log_start(), Offset::new(4));
    assert_eq!(read_all(&replica).len(), 6);
    assert_eq!(replica.retention(9_999, None, Some(40_000), end), None);
}

#[test]
fn times_are_found_in_memory_in_segments_and_after_reopening() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    // Times go up by 10 a batch with records one apart, but for one that looks back.
    for number in 0..60 {
        let time_ms = if number == 30 { 5 } else { 1_000 + number * 10 };
        append(&log, &replica, 3, 700, time_ms);
    }
    let check = |replica: &crate::Replica| {
        for (time_ms, offset) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (1_003, 3),
            (1_290, 87),
            (1_299, 93),
            (1_590, 177),
        ] {
            let found = replica.offset_at(time_ms, replica.end()).unwrap();
            assert_eq!(found, Some(Offset::new(offset)), "time {time_ms}");
        }
        assert_eq!(replica.offset_at(1_593, replica.end()).unwrap(), None);
        assert_eq!(replica.offset_at(1_590, Offset::new(177)).unwrap(), None);
    };
    check(&replica);
    settle(&log);
    log.checkpoint().unwrap();
    check(&replica);
    drop(log);
    check(&open(&vfs.killed()).log.replica(key(0)).unwrap());
}

#[test]
fn a_lost_index_is_rebuilt_equal() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..60 {
        append(&log, &replica, 1, 2_000, number);
    }
    settle(&log);
    log.close().unwrap();
    let indexes = files_named(&vfs, ".index");
    assert!(indexes.len() > 3);
    let before: Vec<_> = indexes.iter().map(|path| vfs.contents(path)).collect();
    for damage in [0, 1] {
        for path in &indexes {
            vfs.damage(path, |bytes| match damage {
                0 => bytes.clear(),
                _ => bytes.iter_mut().for_each(|byte| *byte ^= 0x55),
            });
        }
        let opened = open(&vfs);
        assert!(opened.replicas[0].intact);
        assert_eq!(read_all(&opened.log.replica(key(0)).unwrap()).len(), 60);
        opened.log.close().unwrap();
        let after: Vec<_> = indexes.iter().map(|path| vfs.contents(path)).collect();
        assert_eq!(after, before);
    }
}

/// what a power loss left behind the last batch are batches that are there already, whole and in part.
#[test]
fn r17_batches_that_a_power_loss_left_twice_are_neither_indexed_nor_served_twice() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    let written: Vec<_> = (0..60)
        .map(|number| append(&log, &replica, 1, 2_000, number))
        .collect();
    settle(&log);
    log.checkpoint().unwrap();
    drop((log, replica));
    let segments = files_named(&vfs, ".log");
    let last = segments.last().unwrap();
    let batch = vfs.contents(last).unwrap();
    let batch = batch[..written[0].encoded_len()].to_vec();
    for (from, is_index_lost) in [(0, true), (0, false), (100, true), (100, false)] {
        let vfs = vfs.killed();
        for _ in 0..2 {
            vfs.damage(last, |bytes| bytes.extend_from_slice(&batch[from..]));
        }
        for path in files_named(&vfs, ".index") {
            vfs.damage(&path, |bytes| {
                bytes.truncate(if is_index_lost { 0 } else { bytes.len() })
            });
        }
        let opened = open(&vfs);
        let replica = opened.log.replica(key(0)).unwrap();
        let facts = &opened.replicas[0];
        // A whole batch that no journal explains is told as rot, for it may be of a journal that is lost.
        let told = (facts.intact, facts.end);
        assert_eq!(told, (from > 0, Offset::new(60)), "{from}");
        assert_eq!(read_all(&replica), written, "{from}");
        for time_ms in [0, 31, 59] {
            let found = replica.offset_at(time_ms, replica.end()).unwrap();
            assert_eq!(found, Some(Offset::new(time_ms.unsigned_abs())));
        }
        let next = append(&opened.log, &replica, 1, 50, 60);
        assert_eq!(next.placement.base_offset, Offset::new(60));
        settle(&opened.log);
        opened.log.close().unwrap();
        let replica = open(&vfs).log.replica(key(0)).unwrap();
        assert_eq!(read_all(&replica).len(), 61, "{from}, again");
    }
}

#[test]
fn an_index_that_lies_costs_time_only() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..60 {
        append(&log, &replica, 1, 2_000, number);
    }
    settle(&log);
    log.checkpoint().unwrap();
    replica.evict(replica.end(), u64::MAX);
    for path in files_named(&vfs, ".index") {
        vfs.damage(&path, |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        });
    }
    assert_eq!(read_all(&replica).len(), 60);
    assert_eq!(
        replica.offset_at(31, replica.end()).unwrap(),
        Some(Offset::new(31))
    );
}

#[test]
fn opening_after_a_clean_close_reads_little_of_a_large_log() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    for number in 0..200 {
        append(&log, &replica, 1, 2_000, number);
        settle(&log);
    }
    log.close().unwrap();
    let stored: usize = files_named(&vfs, ".log")
        .iter()
        .filter_map(|path| vfs.contents(path))
        .map(|b| b.len())
        .sum();
    let before = vfs.counts();
    let opened = open(&vfs);
    let after = vfs.counts();
    assert!(opened.clean && opened.replicas[0].intact);
    assert!(stored > 400_000);
    let read = after.read_bytes - before.read_bytes;
    assert!(read < 100_000, "{read} of {stored} bytes were read");
    assert!(
        after.bytes - before.bytes < 1_000,
        "only the marker is taken away"
    );
    assert!(!files_named(&vfs, &dir().join("journal").to_string_lossy()).is_empty());
}
