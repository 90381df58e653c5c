//! Readers that go on where they stopped: what they read of the disk, and what they may not miss.

use std::sync::Arc;

use tidegate_proto::batch::Batch;
use tidegate_proto::position::Offset;

use super::{append, append_marker, create, generation, key, open_with, settle, small, submit};
use crate::testing::MemVfs;
use crate::{Entry, Log, LogConfig, Replica, SegmentConfig};

/// A log of batches that are larger than the tail keeps, all of it on disk.
fn large_on_disk(vfs: &MemVfs) -> (Log, Arc<Replica>, Vec<Batch>) {
    let segment = SegmentConfig {
        segment_bytes: 1 << 20,
        segment_ms: 1_000_000,
    };
    let config = LogConfig {
        tail_cache_bytes: 0,
        unflushed_bytes_soft: 1 << 20,
        unflushed_bytes_max: 4 << 20,
        journal_bytes_max: 16 << 20,
        ..small()
    };
    let log = open_with(vfs, config).unwrap().0.log;
    let replica = log.create_replica(key(1), generation(1), segment).unwrap();
    let mut batches = Vec::new();
    for number in 0..24 {
        batches.push(append(&log, &replica, 4, 31 << 10, number));
        settle(&log);
    }
    (log, replica, batches)
}

#[test]
fn a_reader_who_goes_on_reads_every_byte_of_large_batches_once() {
    let vfs = MemVfs::new();
    let (_log, replica, batches) = large_on_disk(&vfs);
    let bytes: usize = batches.iter().map(Batch::encoded_len).sum();
    let before = vfs.counts();
    let (mut from, mut read) = (Offset::ZERO, Vec::new());
    while from < replica.end() {
        // One and a half batches: the second has no room.
        let chunk = replica.read(from, replica.end(), 190 << 10).unwrap();
        assert_eq!(chunk.len(), 1);
        from = chunk[0].next_offset();
        read.extend(chunk);
    }
    assert_eq!(read, batches);
    let after = vfs.counts();
    let (reads, read_bytes) = (
        after.reads - before.reads,
        after.read_bytes - before.read_bytes,
    );
    // Half a batch behind each comes along, a look at the beginning of each of three segments beside.
    assert!(read_bytes < 7 * bytes as u64 / 4, "{read_bytes} of {bytes}");
    assert!(reads <= 24 + 3 * 8, "{reads} reads");
}

#[test]
fn a_reader_who_comes_anew_reads_no_large_batch_below_its_place() {
    let vfs = MemVfs::new();
    let (_log, replica, batches) = large_on_disk(&vfs);
    for batch in batches.iter().rev() {
        let before = vfs.counts().read_bytes;
        let from = batch.placement.base_offset;
        let chunk = replica.read(from, replica.end(), 1).unwrap();
        assert_eq!(chunk, std::slice::from_ref(batch));
        let read_bytes = vfs.counts().read_bytes - before;
        let least = batch.encoded_len() as u64;
        assert!(read_bytes < least + (32 << 10), "{read_bytes} for {least}");
    }
}

#[test]
fn where_a_reader_stopped_says_nothing_after_a_cut() {
    let vfs = MemVfs::new();
    let (log, replica, batches) = large_on_disk(&vfs);
    let chunk = replica
        .read(Offset::ZERO, replica.end(), 190 << 10)
        .unwrap();
    assert_eq!(chunk, batches[..1]);
    // The log is cut below the place and written anew, with a batch that ends elsewhere in the file
    // and one at the offset where the reader stopped.
    submit(
        &log,
        vec![Entry::Cut {
            key: key(1),
            to: Offset::ZERO,
        }],
    );
    let anew = [
        append(&log, &replica, 4, 10, 1),
        append(&log, &replica, 4, 20 << 10, 2),
    ];
    settle(&log);
    let from = anew[1].placement.base_offset;
    assert_eq!(from, chunk[0].next_offset());
    assert_eq!(replica.read(from, replica.end(), 1).unwrap(), anew[1..]);
}

#[test]
fn a_batch_without_offsets_is_read_by_all_who_begin_where_it_stands() {
    let vfs = MemVfs::new();
    let config = LogConfig {
        tail_cache_bytes: 0,
        ..small()
    };
    let log = open_with(&vfs, config).unwrap().0.log;
    let replica = create(&log, 1);
    let first = append(&log, &replica, 2, 10, 1);
    let marker = append_marker(&log, &replica, 2);
    let second = append(&log, &replica, 2, 10, 3);
    settle(&log);
    let end = replica.end();
    let enough = first.encoded_len() + marker.encoded_len();
    // One who took the marker with the first batch stops behind it.
    let chunk = replica.read(Offset::ZERO, end, enough).unwrap();
    assert_eq!(chunk, [first, marker.clone()]);
    let chunk = replica.read(Offset::new(2), end, 1 << 10).unwrap();
    assert_eq!(chunk, [marker, second]);
}
