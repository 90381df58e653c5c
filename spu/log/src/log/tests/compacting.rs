//! Compaction as callers see it: the newest record of each key stays where it was, whatever else
//! happens to the disk or to readers.

mod crashes;

mod cuts;

mod damage;

mod full_disk;

mod histories;

mod troubles;

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch};
use tidegate_proto::compression::Codec;
use tidegate_proto::position::Offset;
use tidegate_proto::record::{Datum, RecordRef};

use super::{create, files_named, key, open, place, read_all, settle, submit};
use crate::limits::COMPACTION_LAG_MS;
use crate::testing::{Dice, MemVfs};
use crate::{CompactionConfig, Entry, Log, Replica};

/// Key and value; no value is a tombstone, no key a record that compaction leaves alone.
pub(super) type Pair = (Option<u8>, Option<u16>);

pub(super) const CONFIG: CompactionConfig = CompactionConfig {
    delete_retention_ms: 1_000,
};

pub(super) fn keyed(pairs: &[Pair], codec: Codec) -> ClientBatch {
    let mut builder = BatchBuilder::new(codec);
    for (key, value) in pairs {
        let key = key.map(|key| format!("key {key}"));
        // Long, so that a few fill a segment.
        let value = value.map(|value| format!("{value:0400}"));
        let record = RecordRef {
            timestamp_ms: 0,
            key: key.as_deref().map_or(Datum::Absent, Datum::Utf8),
            value: value.as_deref().map_or(Datum::Absent, Datum::Utf8),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn append_pairs(log: &Log, replica: &Replica, pairs: &[Pair], time_ms: i64) {
    let batch = place(replica, keyed(pairs, Codec::None), replica.end(), time_ms);
    submit(log, vec![Entry::Batch(batch)]);
}

fn shown(datum: Datum<'_>) -> Option<u64> {
    let text = String::from_utf8(datum.as_bytes()?.to_vec()).unwrap();
    Some(text.trim_start_matches("key ").parse().unwrap())
}

/// Every record that the disk gives: offset, key, value. What memory has of it is given up first.
pub(super) fn contents(replica: &Replica) -> Vec<(u64, Option<u64>, Option<u64>)> {
    let mut all = Vec::new();
    replica.evict(replica.end(), u64::MAX);
    for batch in read_all(replica) {
        for record in &batch.client.records().unwrap() {
            let record = record.unwrap();
            let offset = batch.offset_of(&record);
            if offset >= replica.log_start() {
                all.push((offset.get(), shown(record.key), shown(record.value)));
            }
        }
    }
    all
}

/// Commits all there is, as a leader does, and brings it into synced segments.
pub(super) fn commit(log: &Log, replica: &Replica) {
    let (key, offset) = (replica.key(), replica.end());
    let snapshot = Entry::Snapshot {
        key,
        as_of: offset,
        bytes: Bytes::from_static(b"producers"),
    };
    submit(log, vec![Entry::HighWatermark { key, offset }, snapshot]);
    settle(log);
    log.checkpoint().unwrap();
}

pub(super) fn compact(log: &Log, now_ms: i64) {
    while !log.run_compaction_step(now_ms).unwrap().is_idle {}
}

/// Closes the active segment, and begins another.
pub(super) fn roll(log: &Log, replica: &Replica, pairs: &[Pair], now_ms: i64) {
    settle(log);
    log.tick(now_ms + 2_000_000);
    settle(log);
    append_pairs(log, replica, pairs, now_ms);
    commit(log, replica);
}

pub(super) fn segment_count(vfs: &MemVfs) -> usize {
    let is_segment = |path: &std::path::PathBuf| path.to_string_lossy().ends_with(".log");
    files_named(vfs, "/replicas/")
        .iter()
        .filter(|path| is_segment(path))
        .count()
}

#[test]
fn the_newest_record_of_each_key_stays_at_its_offset_and_small_segments_become_one() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    for round in 0..200_u16 {
        let key = u8::try_from(round % 7).unwrap();
        append_pairs(
            &log,
            &replica,
            &[(Some(key), Some(round)), (Some(99), Some(round))],
            5,
        );
        if round == 100 {
            append_pairs(&log, &replica, &[(None, Some(7))], 5);
        }
    }
    roll(&log, &replica, &[(Some(50), Some(1))], 6);
    let (segments, size) = (segment_count(&vfs), replica.size_bytes());
    assert!(segments > 4);
    compact(&log, 10);
    let left = contents(&replica);
    let offsets: Vec<u64> = left.iter().map(|(offset, ..)| *offset).collect();
    let mut expected = vec![202];
    expected.extend((193..200).map(|round| round * 2 + 1));
    expected.extend([400, 401]);
    assert_eq!(offsets, expected);
    assert_eq!(
        left[0],
        (202, None, Some(7)),
        "nothing supersedes a record without a key"
    );
    assert_eq!(left[8], (400, Some(99), Some(199)));
    assert!(replica.size_bytes() < size / 10);
    // The last two may not fit together.
    assert!(segment_count(&vfs) <= 3);
    assert_eq!(replica.log_start(), Offset::ZERO);
    assert_eq!(replica.end(), Offset::new(402));
    let stats = log.stats().compaction;
    assert_eq!(
        (stats.passes, stats.abandoned, stats.removed_records),
        (1, 0, 401 - 9)
    );
    compact(&log, 11);
    assert_eq!(
        log.stats().compaction.passes,
        1,
        "a clean log is left alone"
    );
    for vfs in [vfs.killed(), vfs.power_lost(&mut Dice::new(3))] {
        let opened = open(&vfs);
        assert!(opened.replicas[0].intact);
        assert_eq!(contents(&opened.log.replica(key(0)).unwrap()), left);
    }
}

#[test]
fn a_tombstone_stays_for_its_time_after_the_pass_and_then_goes() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    append_pairs(&log, &replica, &[(Some(1), Some(1)), (Some(2), Some(2))], 5);
    roll(&log, &replica, &[(Some(1), None)], 6);
    roll(&log, &replica, &[(Some(9), Some(9))], 7);
    compact(&log, 10_000);
    let with = vec![
        (1, Some(2), Some(2)),
        (2, Some(1), None),
        (3, Some(9), Some(9)),
    ];
    assert_eq!(contents(&replica), with);
    compact(&log, 10_999);
    assert_eq!(contents(&replica), with, "a millisecond too early");
    // What a crash leaves knows it as well.
    let opened = open(&vfs.power_lost(&mut Dice::new(1)));
    let reopened = opened.log.replica(key(0)).unwrap();
    reopened.set_compaction(Some(CONFIG));
    for (log, replica) in [(&opened.log, &reopened), (&log, &replica)] {
        compact(log, 10_999);
        assert_eq!(contents(replica), with);
        compact(log, 11_000);
        assert_eq!(contents(replica), [with[0], with[2]]);
    }
}

#[test]
fn nothing_above_the_high_watermark_the_snapshot_or_the_checkpoint_is_touched() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    let now_ms = COMPACTION_LAG_MS * 2;
    for round in 0..300 {
        append_pairs(&log, &replica, &[(Some(1), Some(round))], 5);
    }
    settle(&log);
    log.checkpoint().unwrap();
    compact(&log, now_ms);
    assert_eq!(contents(&replica).len(), 300, "nothing is committed");
    let offset = Offset::new(150);
    submit(
        &log,
        vec![Entry::HighWatermark {
            key: key(0),
            offset,
        }],
    );
    settle(&log);
    compact(&log, now_ms);
    assert_eq!(
        contents(&replica).len(),
        300,
        "no snapshot holds the producers"
    );
    assert!(replica.take_snapshot_wanted());
    assert!(!replica.take_snapshot_wanted());
    let (as_of, bytes) = (Offset::new(290), Bytes::from_static(b"x"));
    submit(
        &log,
        vec![Entry::Snapshot {
            key: key(0),
            as_of,
            bytes,
        }],
    );
    settle(&log);
    log.checkpoint().unwrap();
    compact(&log, now_ms);
    let left = contents(&replica);
    assert!(left.len() < 300);
    let from = |offset: u64| left.iter().filter(|(at, ..)| *at >= offset).count() as u64;
    assert_eq!(
        from(150),
        150,
        "everything from the high watermark on is there"
    );
}

#[test]
fn many_keys_take_several_passes_that_end_with_one_record_each() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    // Forty-eight keys fit into the table of the test.
    for round in 0..3_u16 {
        for number in 0..150_u8 {
            append_pairs(&log, &replica, &[(Some(number), Some(round))], 5);
        }
    }
    roll(&log, &replica, &[(Some(200), Some(1))], 6);
    let mut now_ms = COMPACTION_LAG_MS * 2;
    for _ in 0..40 {
        now_ms += 10;
        compact(&log, now_ms);
    }
    let mut newest = BTreeMap::new();
    for (offset, key, value) in contents(&replica) {
        assert_eq!(
            newest.insert(key, value),
            None,
            "two records of a key, one at {offset}"
        );
    }
    assert_eq!(newest.len(), 151);
    assert!(
        newest
            .iter()
            .all(|(key, value)| *value == Some(2) || *key == Some(200))
    );
    assert!(log.stats().compaction.passes > 5);
}

#[test]
fn reads_by_offset_and_time_find_the_next_record_that_is_left() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    for round in 0..100_u16 {
        append_pairs(&log, &replica, &[(Some(1), Some(round))], 5);
    }
    roll(&log, &replica, &[(Some(2), Some(2))], 6);
    // What memory still has is as it was.
    replica.evict(replica.end(), u64::MAX);
    compact(&log, 10);
    for from in [0, 1, 50, 98] {
        let batches = replica
            .read(Offset::new(from), replica.end(), 1 << 20)
            .unwrap();
        let first = batches.iter().find(|batch| batch.client.record_count() > 0);
        assert_eq!(
            first.map(|batch| batch.placement.base_offset),
            Some(Offset::new(99))
        );
    }
    let mut headers = Vec::new();
    let take = |header: &crate::BatchHeader| headers.push((header.base_offset, header.next_offset));
    replica.batch_headers(Offset::ZERO, take).unwrap();
    let ends: Vec<(u64, u64)> = headers.iter().map(|(a, b)| (a.get(), b.get())).collect();
    assert_eq!(ends, [(0, 99), (99, 100), (100, 101)], "without a gap");
    let found = replica.offset_at(0, replica.end()).unwrap();
    assert_eq!(found, Some(Offset::new(99)));
}

#[test]
fn a_segment_that_cannot_be_read_ends_the_pass_and_not_the_log() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    for round in 0..100_u16 {
        append_pairs(&log, &replica, &[(Some(1), Some(round))], 5);
    }
    roll(&log, &replica, &[(Some(2), Some(2))], 6);
    let first = files_named(&vfs, "00000000000000000000.log").remove(0);
    vfs.damage(&first, |bytes| bytes[100] ^= 1);
    let size = replica.size_bytes();
    compact(&log, 10);
    assert_eq!(log.stats().compaction.abandoned, 1);
    assert_eq!(replica.size_bytes(), size);
    assert!(files_named(&vfs, ".compact").is_empty());
    append_pairs(&log, &replica, &[(Some(3), Some(3))], 7);
    settle(&log);
    assert!(log.dead().is_none());
}

#[test]
fn batches_keep_their_codec() {
    let vfs = MemVfs::new();
    let log = open(&vfs).log;
    let replica = create(&log, 0);
    replica.set_compaction(Some(CONFIG));
    for round in 0..40_u16 {
        let pairs: Vec<Pair> = (0..6)
            .map(|key| (Some(key + 6 * u8::from(round > 20)), Some(round)))
            .collect();
        let mut pairs = pairs;
        pairs.push((Some(u8::try_from(100 + round).unwrap()), Some(round)));
        let batch = place(&replica, keyed(&pairs, Codec::Zstd), replica.end(), 5);
        submit(&log, vec![Entry::Batch(batch)]);
    }
    roll(&log, &replica, &[(Some(2), Some(2))], 6);
    replica.evict(replica.end(), u64::MAX);
    compact(&log, COMPACTION_LAG_MS * 2);
    let sparse: Vec<Batch> = read_all(&replica)
        .into_iter()
        .filter(|batch| batch.client.is_sparse())
        .collect();
    assert!(sparse.len() > 20, "{}", sparse.len());
    assert!(
        sparse
            .iter()
            .all(|batch| batch.client.codec() == Codec::Zstd)
    );
}
