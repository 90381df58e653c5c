//! Frames of real batches: cuts, sharing, the first frame of a late subscriber, the bound.

use std::sync::Barrier;

use tidegate_proto::api::socket::{RecordsFrame, ServerFrame};
use tidegate_proto::batch::{BatchBuilder, Placement};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::record::{Datum, RecordRef};
use uuid::Uuid;

use super::*;

fn batch(base: u64, values: &[String]) -> Batch {
    let mut builder = BatchBuilder::new(Codec::None);
    for value in values {
        let value = Datum::Utf8(value);
        let record = RecordRef {
            timestamp_ms: 1,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    let placement = Placement {
        key: ReplicaKey {
            topic_id: TopicId(Uuid::from_u128(1)),
            partition: PartitionId(3),
        },
        base_offset: Offset::new(base),
        leader_epoch: LeaderEpoch(2),
        high_watermark: Offset::new(base),
        append_time_ms: 5,
        append_timestamps: false,
    };
    Batch {
        placement,
        client: builder.finish().unwrap(),
    }
}

fn topic() -> TopicName {
    TopicName::parse("orders").unwrap()
}

fn read(frame: &Frame) -> RecordsFrame {
    match ServerFrame::parse(&frame.text).unwrap() {
        Some(ServerFrame::Records(records)) => records,
        other => panic!("no records frame: {other:?}"),
    }
}

#[test]
fn frames_are_cut_at_the_target_and_cover_the_batch() {
    let values: Vec<String> = (0..100).map(|n| format!("{n}").repeat(2_000)).collect();
    let batch = batch(40, &values);
    let cache = FrameCache::new(FRAME_CACHE_BYTES_MAX);
    let frames = cache
        .frames_from(&topic(), &batch, Offset::new(40))
        .unwrap();
    assert!(frames.len() > 1);
    let mut next = 40;
    for frame in &frames {
        assert!(frame.bytes() <= FRAME_BYTES_TARGET + 300);
        assert_eq!(frame.first_offset.get(), next);
        let shown = read(frame);
        assert_eq!((shown.topic.as_str(), shown.partition), ("orders", 3));
        assert_eq!(shown.records.len() as u64, frame.records);
        for record in &shown.records {
            assert_eq!(record.offset, next);
            next += 1;
        }
        let cursor = Cursor::parse(&shown.cursor).unwrap();
        let at = cursor.positions[&PartitionId(3)];
        assert_eq!(
            (at.offset, at.leader_epoch),
            (frame.next_offset, LeaderEpoch(2))
        );
        assert_eq!(cursor.positions.len(), 1);
    }
    assert_eq!(next, 140);
}

#[test]
fn a_record_above_the_target_gets_a_frame_of_its_own() {
    let large = "x".repeat(200_000);
    let batch = batch(0, &["a".to_owned(), large, "b".to_owned()]);
    let cache = FrameCache::new(FRAME_CACHE_BYTES_MAX);
    let frames = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    let counts: Vec<u64> = frames.iter().map(|frame| frame.records).collect();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn two_subscribers_share_the_text_and_a_late_one_gets_its_own_first_frame() {
    let values: Vec<String> = (0..100).map(|_| "y".repeat(3_000)).collect();
    let batch = batch(0, &values);
    let cache = FrameCache::new(FRAME_CACHE_BYTES_MAX);
    let first = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    let second = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(one.text.as_ptr(), other.text.as_ptr());
    }
    let late = cache.frames_from(&topic(), &batch, Offset::new(5)).unwrap();
    assert_eq!(late.len(), first.len());
    assert_eq!(late[0].first_offset, Offset::new(5));
    assert_eq!(late[0].next_offset, first[0].next_offset);
    assert_eq!(read(&late[0]).records[0].offset, 5);
    assert_eq!(late[1].text.as_ptr(), first[1].text.as_ptr());
    assert!(
        cache
            .frames_from(&topic(), &batch, Offset::new(100))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_cache_stays_within_its_bound() {
    let cache = FrameCache::new(100_000);
    for base in 0..50 {
        let batch = batch(base, &["z".repeat(10_000)]);
        cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
        assert!(cache.bytes() <= 100_000);
    }
    assert!(cache.bytes() > 50_000);
    let too_large = batch(99, &["z".repeat(200_000)]);
    assert_eq!(
        cache
            .frames_from(&topic(), &too_large, Offset::ZERO)
            .unwrap()
            .len(),
        1
    );
    assert!(cache.bytes() <= 100_000);
}

#[test]
fn a_batch_is_encoded_once_however_many_ask() {
    let batch = batch(0, &vec!["w".repeat(500); 500]);
    let cache = FrameCache::new(FRAME_CACHE_BYTES_MAX);
    let barrier = Barrier::new(8);
    let pointers: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let frames = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
                    frames[0].text.as_ptr() as usize
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(pointers.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_damaged_batch_is_an_error_and_not_a_frame() {
    let good = batch(0, &["intact".repeat(50)]);
    let mut bytes = Vec::new();
    good.encode_into(&mut bytes);
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let damaged = Batch::decode(&mut bytes::Bytes::from(bytes)).unwrap();
    let cache = FrameCache::new(FRAME_CACHE_BYTES_MAX);
    let problem = cache
        .frames_from(&topic(), &damaged, Offset::ZERO)
        .unwrap_err();
    assert_eq!(problem.code(), ErrorCode::Internal);
}
