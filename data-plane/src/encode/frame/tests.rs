//! Frames of real batches: cuts, sharing, the first frame of a late subscriber, the bound.

use std::sync::Barrier;

use tidegate_proto::api::socket::{RecordsFrame, ServerFrame};
use tidegate_proto::batch::{BatchBuilder, Placement};
use tidegate_proto::cursor::Cursor;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::limits::FRAME_BYTES_TARGET;
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

fn cache_of(bytes_max: usize) -> FrameCache {
    FrameCache::new(ByteBudget::new(bytes_max))
}

fn topic() -> TopicName {
    TopicName::parse("orders").unwrap()
}

fn text(frame: &Frame) -> &str {
    match &frame.payload {
        Payload::Text(text) => text,
        Payload::Binary(_) => panic!("a frame of batches"),
    }
}

fn read(frame: &Frame) -> RecordsFrame {
    match ServerFrame::parse(text(frame)).unwrap() {
        Some(ServerFrame::Records(records)) => records,
        other => panic!("no records frame: {other:?}"),
    }
}

#[test]
fn frames_are_cut_at_the_target_and_cover_the_batch() {
    let values: Vec<String> = (0..100).map(|n| format!("{n}").repeat(2_000)).collect();
    let batch = batch(40, &values);
    let cache = cache_of(64 << 20);
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
    let cache = cache_of(64 << 20);
    let frames = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    let counts: Vec<u64> = frames.iter().map(|frame| frame.records).collect();
    assert_eq!(counts, [1, 1, 1]);
}

#[test]
fn two_subscribers_share_the_text_and_a_late_one_gets_its_own_first_frame() {
    let values: Vec<String> = (0..100).map(|_| "y".repeat(3_000)).collect();
    let batch = batch(0, &values);
    let cache = cache_of(64 << 20);
    let first = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    let second = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    for (one, other) in first.iter().zip(&second) {
        assert_eq!(text(one).as_ptr(), text(other).as_ptr());
    }
    let late = cache.frames_from(&topic(), &batch, Offset::new(5)).unwrap();
    assert_eq!(late.len(), first.len());
    assert_eq!(late[0].first_offset, Offset::new(5));
    assert_eq!(late[0].next_offset, first[0].next_offset);
    assert_eq!(read(&late[0]).records[0].offset, 5);
    assert_eq!(text(&late[1]).as_ptr(), text(&first[1]).as_ptr());
    assert!(
        cache
            .frames_from(&topic(), &batch, Offset::new(100))
            .unwrap()
            .is_empty()
    );
}

#[test]
fn the_cache_stays_within_its_bound() {
    let cache = cache_of(200_000);
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
fn frames_are_counted_once_and_until_the_last_handle_is_gone() {
    let cache = cache_of(1 << 20);
    let batch = batch(0, &vec!["v".repeat(500); 300]);
    let held = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
    let others: Vec<_> = (0..50)
        .map(|_| cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap())
        .collect();
    let bytes: usize = held.iter().map(Frame::bytes).sum();
    assert_eq!(cache.budget().held(), bytes);
    while cache.text.give_up_oldest() {}
    drop(others);
    assert_eq!(cache.budget().held(), bytes, "they are still on their way");
    drop(held);
    assert_eq!(cache.budget().held(), 0);
}

#[test]
fn without_room_recent_frames_go_then_some_are_made_and_then_none() {
    let cache = cache_of(400_000);
    let values = vec!["v".repeat(1_000); 300];
    let other = |base| batch(base, &vec!["o".repeat(500); 300]);
    for base in 1..9 {
        cache
            .frames_from(&topic(), &other(base), Offset::ZERO)
            .unwrap();
    }
    let whole = batch(0, &values);
    let frames = cache.frames_from(&topic(), &whole, Offset::ZERO).unwrap();
    assert_eq!(frames.iter().map(|frame| frame.records).sum::<u64>(), 300);
    let held = cache.budget().held();
    assert!((300_000..400_000).contains(&held), "{held}");

    // What is on its way is not taken from anybody.
    let next = batch(300, &values);
    let some = cache
        .frames_from(&topic(), &next, Offset::new(300))
        .unwrap();
    let made: u64 = some.iter().map(|frame| frame.records).sum();
    assert!((1..100).contains(&made), "{made}");
    assert_eq!(some[0].first_offset, Offset::new(300));
    let problem = cache.frames_from(&topic(), &next, Offset::new(300 + made));
    assert_eq!(problem.unwrap_err().code(), ErrorCode::Overloaded);
    assert!(cache.budget().held() <= 400_000);
    drop(frames);
    let rest = cache
        .frames_from(&topic(), &next, Offset::new(300 + made))
        .unwrap();
    assert_eq!(
        rest.iter().map(|frame| frame.records).sum::<u64>(),
        300 - made
    );
    assert_eq!(rest[0].first_offset, Offset::new(300 + made));
}

#[test]
fn a_batch_is_encoded_once_however_many_ask() {
    let batch = batch(0, &vec!["w".repeat(500); 500]);
    let cache = cache_of(64 << 20);
    let barrier = Barrier::new(8);
    let pointers: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    let frames = cache.frames_from(&topic(), &batch, Offset::ZERO).unwrap();
                    text(&frames[0]).as_ptr() as usize
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
    let cache = cache_of(64 << 20);
    let problem = cache
        .frames_from(&topic(), &damaged, Offset::ZERO)
        .unwrap_err();
    assert_eq!(problem.code(), ErrorCode::Internal);
}

mod packed {
    //! Frames of batches.

    use super::*;

    /// A log of small batches, one record each.
    fn log(count: u64) -> Vec<Batch> {
        (0..count)
            .map(|base| batch(base, &["b".repeat(300 + (base as usize * 37) % 900)]))
            .collect()
    }

    fn binary(frame: &Frame) -> &Bytes {
        match &frame.payload {
            Payload::Binary(bytes) => bytes,
            Payload::Text(_) => panic!("a frame of text"),
        }
    }

    fn ends(frames: &[Frame]) -> Vec<u64> {
        frames.iter().map(|frame| frame.next_offset.get()).collect()
    }

    #[test]
    fn readers_that_began_at_different_places_soon_want_the_same_frames() {
        let log = log(2_000);
        let cache = cache_of(64 << 20);
        let read = |from: usize| {
            let at = Offset::new(from as u64);
            cache
                .batches_from(1, &log[from..], at, Codecs::ANY)
                .unwrap()
        };
        let whole = read(0);
        let made = cache.made()[1];
        assert_eq!(made, whole.len() as u64);
        for from in [1, 77, 500] {
            let late = read(from);
            let common = ends(&whole)
                .into_iter()
                .rev()
                .zip(ends(&late).into_iter().rev())
                .take_while(|(one, other)| one == other)
                .count();
            assert!(
                common + 4 >= late.len(),
                "{common} of {} frames are shared from {from} on",
                late.len()
            );
        }
        let extra = cache.made()[1] - made;
        assert!(extra <= 12, "{extra} frames were made for one reader");
    }

    #[test]
    fn a_batch_is_made_anew_once_for_everybody_who_wants_that_codec() {
        let values = vec!["tick tock".repeat(20); 200];
        let mut log = Vec::new();
        for number in 0..5 {
            let made = batch(number * 200, &values)
                .recompress(Codec::Zstd)
                .unwrap();
            log.extend(made);
        }
        let cache = cache_of(64 << 20);
        let read = |from: u64, codecs: &[Codec]| {
            let codecs = Codecs::of(codecs).unwrap();
            cache
                .batches_from(1, &log, Offset::new(from), codecs)
                .unwrap()
        };
        let first = read(0, &[Codec::Lz4]);
        let second = read(0, &[Codec::Lz4]);
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(binary(one).as_ptr(), binary(other).as_ptr());
        }
        assert_eq!(cache.made()[2], 5);
        // Another set of codecs with the same favourite, and a reader inside of a batch.
        read(0, &[Codec::Lz4, Codec::Gzip]);
        let late = read(250, &[Codec::Lz4]);
        assert_eq!(cache.made()[2], 5);
        assert_eq!(late[0].first_offset, Offset::new(250));
        let records: u64 = late.iter().map(|frame| frame.records).sum();
        assert_eq!(records, 750);
        read(0, &[Codec::None]);
        assert_eq!(cache.made()[2], 10);
    }

    #[test]
    fn a_log_that_was_cut_and_written_anew_has_other_frames() {
        let cache = cache_of(64 << 20);
        let old = [batch(0, &["a".into()]), batch(1, &["b".into()])];
        let new = [batch(0, &["a".into()]), batch(1, &["c".into()])];
        let frame = |log: &[Batch]| {
            let frames = cache
                .batches_from(1, log, Offset::ZERO, Codecs::ANY)
                .unwrap();
            frames
                .iter()
                .map(|frame| binary(frame).clone())
                .collect::<Vec<_>>()
        };
        assert_ne!(frame(&old), frame(&new));
        assert_ne!(frame(&old), {
            let frames = cache
                .batches_from(2, &old, Offset::ZERO, Codecs::ANY)
                .unwrap();
            frames
                .iter()
                .map(|frame| binary(frame).clone())
                .collect::<Vec<_>>()
        });
    }
}
