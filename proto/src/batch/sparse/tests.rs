//! Sparse batches: what stays, where it is, and what damage to them is.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::batch::{BatchBuilder, ProducerStamp};
use crate::id::{PartitionId, ProducerId, TopicId};
use crate::position::{LeaderEpoch, ReplicaKey};
use crate::record::{Datum, RecordRef};

fn batch(codec: Codec, count: u32, value_len: usize) -> Batch {
    let mut builder = BatchBuilder::new(codec).producer(ProducerStamp {
        id: ProducerId(5),
        epoch: 1,
        seq: u32::MAX,
        unordered: false,
    });
    for number in 0..count {
        let key = format!("key {number}");
        let value = vec![b'v'; value_len];
        let record = RecordRef {
            timestamp_ms: 1_000 + i64::from(number),
            key: Datum::Utf8(&key),
            value: Datum::Bytes(&value),
            headers: &[("h", b"1")],
        };
        builder.push(&record).unwrap();
    }
    Batch {
        placement: Placement {
            key: ReplicaKey {
                topic_id: TopicId::from_bytes([7; 16]),
                partition: PartitionId(1),
            },
            base_offset: Offset::new(100),
            leader_epoch: LeaderEpoch(3),
            high_watermark: Offset::new(90),
            append_time_ms: 5,
            append_timestamps: false,
        },
        client: builder.finish().unwrap(),
    }
}

fn again(batch: &Batch) -> Batch {
    let mut stored = Vec::new();
    batch.encode_into(&mut stored);
    let mut rest = Bytes::from(stored);
    let read = Batch::decode(&mut rest).unwrap();
    assert!(rest.is_empty());
    read.verify().unwrap();
    assert_eq!(&read, batch);
    read
}

fn contents(batch: &Batch) -> Vec<(u64, String, i64)> {
    let records = batch.client.records().unwrap();
    let shown = records.iter().map(|record| {
        let record = record.unwrap();
        let key = String::from_utf8(record.key.as_bytes().unwrap().to_vec()).unwrap();
        (batch.offset_of(&record).get(), key, record.timestamp_ms)
    });
    shown.collect()
}

proptest! {
    #[test]
    fn records_that_stay_keep_their_offsets_through_any_number_of_compactions(
        codec in prop_oneof![Just(Codec::None), Just(Codec::Lz4), Just(Codec::Zstd)],
        rounds in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 24), 1..4),
    ) {
        let original = batch(codec, 24, 30);
        let mut wanted = contents(&original);
        let mut current = original.clone();
        for keep in rounds {
            let keeps = |offset: u64| keep[(offset - 100) as usize];
            let before = wanted.len();
            wanted.retain(|(offset, ..)| keeps(*offset));
            match current.keep_records(|offset, _| keeps(offset.get())).unwrap() {
                Kept::All => prop_assert_eq!(before, wanted.len()),
                Kept::Nothing => {
                    prop_assert!(wanted.is_empty());
                    break;
                }
                Kept::Some(made) => {
                    prop_assert_eq!(made.len(), 1);
                    current = again(&made[0]);
                    prop_assert_eq!(contents(&current), wanted.clone());
                    prop_assert!(current.client.is_sparse() && current.client.is_remade());
                    prop_assert_eq!(current.next_offset(), original.next_offset());
                    prop_assert_eq!(current.client.producer(), original.client.producer());
                    prop_assert_eq!(current.max_timestamp_ms(), wanted.iter().map(|w| w.2).max().unwrap());
                    prop_assert!(current.client.validate(1 << 20).is_err(), "clients do not send them");
                }
            }
        }
    }
}

#[test]
fn a_hole_takes_offsets_and_holds_nothing() {
    let placement = batch(Codec::None, 1, 1).placement;
    let hole = again(&Batch::hole(placement, 7).unwrap());
    assert_eq!(hole.next_offset(), Offset::new(107));
    assert_eq!(contents(&hole), []);
    assert_eq!(hole.keep_records(|_, _| true).unwrap(), Kept::Nothing);
    assert_eq!(hole.max_timestamp_ms(), i64::MIN);
    assert_eq!(Batch::hole(placement, 0), None);
}

#[test]
fn a_batch_that_decompresses_beyond_a_batch_is_split_and_loses_nothing() {
    // Seven records of 1 MiB do not fit into one batch without compression.
    let mut parts = Vec::new();
    let whole = batch(Codec::None, 3, 1 << 20);
    let body = whole.client.as_bytes().slice(CLIENT_HEADER_LEN..);
    for _ in 0..3 {
        parts.extend_from_slice(&body);
    }
    let mut header = *whole.client.header();
    header.record_count = 9;
    header.span = 9;
    header.records_len = u32::try_from(parts.len()).unwrap();
    // Noise, so that the ratio rule holds.
    header.codec = Codec::Zstd;
    let mut random = 1_u64;
    for byte in &mut parts {
        if *byte == b'v' {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = b'a' + u8::try_from(random >> 62).unwrap();
        }
    }
    let mut bytes = vec![0; CLIENT_HEADER_LEN];
    bytes.extend(compress(Codec::Zstd, &parts).unwrap());
    let big = Batch {
        client: client::from_parts(header, bytes),
        ..whole
    };
    let Kept::Some(made) = big.keep_records(|offset, _| offset.get() != 104).unwrap() else {
        panic!("one record goes")
    };
    assert!(made.len() > 1);
    let mut end = big.placement.base_offset;
    let mut offsets = Vec::new();
    for part in &made {
        let part = again(part);
        assert_eq!(part.placement.base_offset, end);
        let from = u32::try_from(end.get() - 100).unwrap();
        let seq = part.client.producer().unwrap().seq;
        assert_eq!(seq, u32::MAX.wrapping_add(from));
        offsets.extend(contents(&part).into_iter().map(|(offset, ..)| offset));
        end = part.next_offset();
    }
    assert_eq!(end, big.next_offset());
    assert_eq!(offsets, [100, 101, 102, 103, 105, 106, 107, 108]);
}

#[test]
fn a_gap_that_leaves_the_span_is_damage() {
    let Kept::Some(made) = batch(Codec::None, 4, 1)
        .keep_records(|offset, _| offset.get() == 103)
        .unwrap()
    else {
        panic!("three records go")
    };
    let client = &made[0].client;
    let lie = |at: usize, value: u8| {
        let mut bytes = client.as_bytes().to_vec();
        bytes[at] = value;
        ClientBatch::from_client_part(Bytes::from(bytes))
    };
    // The gap stands right behind the record's length.
    let damaged = lie(CLIENT_HEADER_LEN + 1, 4).unwrap();
    assert!(
        damaged
            .records()
            .unwrap()
            .iter()
            .any(|record| record.is_err())
    );
    assert!(matches!(lie(28, 0), Err(BatchError::Span { .. })));
    assert!(matches!(lie(2, 0b10_0010), Err(BatchError::NotZero { .. })));
    assert!(matches!(lie(2, 0b01_0010), Err(BatchError::NotZero { .. })));
}
