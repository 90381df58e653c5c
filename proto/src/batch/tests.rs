//! Round trips, refusals and damage of batches.

use super::*;
use crate::batch::header::{CONTROL, REMADE};
use crate::compression::{Codec, compress};
use crate::error::{ErrorCode, Problem};
use crate::id::ProducerId;
use crate::limits::{DECOMPRESSED_BYTES_MAX, RECORD_BYTES_MAX_DEFAULT};
use crate::record::{Datum, RecordRef};
use proptest::prelude::*;

mod recompressed;
mod refusals;

const CODECS: [Codec; 5] = Codec::ALL;
const STAMP: ProducerStamp = ProducerStamp {
    id: ProducerId(9),
    epoch: 2,
    seq: 7,
    unordered: false,
};

fn placement() -> Placement {
    Placement {
        key: ReplicaKey {
            topic_id: TopicId::from_bytes([0xa5; 16]),
            partition: PartitionId(3),
        },
        base_offset: Offset::new(1_000),
        leader_epoch: LeaderEpoch(4),
        high_watermark: Offset::new(990),
        append_time_ms: 1_700_000_000_500,
        append_timestamps: false,
    }
}

fn record<'a>(value: Datum<'a>, headers: &'a [(&'a str, &'a [u8])]) -> RecordRef<'a> {
    RecordRef {
        timestamp_ms: 1_700_000_000_000,
        key: Datum::Utf8("k"),
        value,
        headers,
    }
}

fn build(codec: Codec, records: &[RecordRef<'_>]) -> ClientBatch {
    let mut builder = BatchBuilder::new(codec)
        .producer(STAMP)
        .request_key([0x11; 16]);
    for record in records {
        builder.push(record).unwrap();
    }
    builder.finish().unwrap()
}

fn stored(client: ClientBatch) -> Bytes {
    let mut out = Vec::new();
    Batch {
        placement: placement(),
        client,
    }
    .encode_into(&mut out);
    Bytes::from(out)
}

/// A client part whose records are given as they stand.
fn raw(
    count: u32,
    records: &[u8],
    change: impl FnOnce(&mut Vec<u8>),
) -> Result<ClientBatch, BatchError> {
    let mut part = vec![0; CLIENT_HEADER_LEN];
    part[0] = 1;
    part[4..8].copy_from_slice(&count.to_le_bytes());
    part[8..12].copy_from_slice(&u32::try_from(records.len()).unwrap().to_le_bytes());
    part.extend_from_slice(records);
    change(&mut part);
    ClientBatch::from_client_part(Bytes::from(part))
}

#[derive(Debug, Clone)]
enum Owned {
    Absent,
    Bytes(Vec<u8>),
    Utf8(String),
    Json(String),
}

impl Owned {
    fn datum(&self) -> Datum<'_> {
        match self {
            Self::Absent => Datum::Absent,
            Self::Bytes(bytes) => Datum::Bytes(bytes),
            Self::Utf8(text) => Datum::Utf8(text),
            Self::Json(text) => Datum::Json(text),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        Just(Owned::Absent),
        proptest::collection::vec(any::<u8>(), 0..200).prop_map(Owned::Bytes),
        any::<String>().prop_map(Owned::Utf8),
        prop_oneof![Just("null"), Just("[1, 2]"), Just("{\"a\":\"\\u00e9\"}")]
            .prop_map(|text| Owned::Json(text.to_owned())),
    ]
}

type OwnedRecord = (
    i64,
    Owned,
    Owned,
    std::collections::BTreeMap<String, Vec<u8>>,
);

fn owned_records() -> impl Strategy<Value = Vec<OwnedRecord>> {
    let headers = proptest::collection::btree_map("[a-z0-9äö -]{1,12}", any::<Vec<u8>>(), 0..4);
    let timestamp_ms = prop_oneof![-(1_i64 << 53) + 1..(1 << 53), 0_i64..2_000_000_000_000];
    proptest::collection::vec((timestamp_ms, owned(), owned(), headers), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_comes_back_identical(records in owned_records(), codec in 0_usize..3) {
        let mut builder = BatchBuilder::new(CODECS[codec]);
        for (timestamp_ms, key, value, headers) in &records {
            let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            let (key, value) = (key.datum(), value.datum());
            builder.push(&RecordRef { timestamp_ms: *timestamp_ms, key, value, headers: &headers }).unwrap();
        }
        let client = builder.finish().unwrap();
        let mut sent = stored(client.clone());
        prop_assert_eq!(ClientBatch::take_from(&mut sent.clone()).unwrap(), client);
        let batch = Batch::decode(&mut sent).unwrap();
        prop_assert!(sent.is_empty());
        batch.verify().unwrap();
        batch.client.validate(RECORD_BYTES_MAX_DEFAULT).unwrap();
        prop_assert_eq!(batch.placement, placement());
        prop_assert_eq!(batch.next_offset(), placement().base_offset.plus(records.len() as u64));
        let found = batch.client.records().unwrap();
        prop_assert_eq!(found.iter().count(), records.len());
        for (view, (timestamp_ms, key, value, headers)) in found.iter().zip(&records) {
            let view = view.unwrap();
            prop_assert_eq!((view.timestamp_ms, view.key, view.value), (*timestamp_ms, key.datum(), value.datum()));
            let read: Vec<_> = view.headers.iter().collect();
            let sent: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
            prop_assert_eq!(read, sent);
        }
    }

    #[test]
    fn no_bytes_make_a_client_part_panic(bytes: Vec<u8>, codec in 0_u8..6, count in 0_u32..50, len in 0_u32..2000) {
        let _ = raw(count, &bytes, |part| {
            part[1] = codec;
            if codec != 0 {
                part[8..12].copy_from_slice(&len.to_le_bytes());
            }
        }).and_then(|batch| batch.validate(100));
        let _ = Batch::decode(&mut Bytes::from(bytes));
    }
}

#[test]
fn every_single_bit_flip_of_a_stored_batch_is_noticed() {
    for codec in CODECS {
        let value = "abcdefgh".repeat(20);
        let whole = stored(build(codec, &[record(Datum::Utf8(&value), &[("h", b"v")])]));
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let found = Batch::decode(&mut Bytes::from(damaged)).and_then(|batch| batch.verify());
            assert!(found.is_err(), "{codec}: flip of bit {bit} went unnoticed");
        }
    }
}

#[test]
fn a_short_buffer_says_how_much_is_needed_and_is_left_alone() {
    let whole = stored(build(Codec::None, &[record(Datum::Bytes(b"v"), &[])]));
    for len in 0..whole.len() {
        let mut part = whole.slice(..len);
        let needed = if len < PLACEMENT_LEN {
            PLACEMENT_LEN
        } else {
            whole.len()
        };
        assert_eq!(
            Batch::decode(&mut part),
            Err(BatchError::Truncated { needed })
        );
        assert_eq!(part.len(), len);
    }
    let mut two = Bytes::from([&whole[..], &whole[..]].concat());
    Batch::decode(&mut two).unwrap();
    assert_eq!(two, whole);
    assert_eq!(
        Batch::decode(&mut Bytes::from_static(b"junk")),
        Err(BatchError::BadMagic { found: *b"junk" })
    );
}

#[test]
fn the_length_is_believed_only_under_a_good_checksum_and_within_bounds() {
    let mut header =
        stored(build(Codec::None, &[record(Datum::Absent, &[])]))[..PLACEMENT_LEN].to_vec();
    let mut with_len = |len: u32| {
        header[4..8].copy_from_slice(&len.to_le_bytes());
        let crc = crc32c::crc32c(&header[..HEADER_CRC_AT]);
        header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        Batch::decode(&mut Bytes::from(header.clone()))
    };
    assert_eq!(
        with_len(u32::MAX),
        Err(BatchError::TooLong {
            len: u32::MAX as usize,
            max: CLIENT_BYTES_MAX
        })
    );
    assert_eq!(with_len(63), Err(BatchError::TooShort { len: 63 }));
    let most = u32::try_from(CLIENT_BYTES_MAX).unwrap();
    assert_eq!(
        with_len(most),
        Err(BatchError::Truncated {
            needed: crate::limits::BATCH_BYTES_MAX
        })
    );
}

#[test]
fn offsets_that_would_wrap_are_refused() {
    let client = build(Codec::None, &[record(Datum::Absent, &[])]);
    let place = |base: u64| {
        let placement = Placement {
            base_offset: Offset::new(base),
            ..placement()
        };
        let mut out = Vec::new();
        Batch {
            placement,
            client: client.clone(),
        }
        .encode_into(&mut out);
        Batch::decode(&mut Bytes::from(out)).map(|batch| batch.next_offset().get())
    };
    assert_eq!(place(u64::MAX), Err(BatchError::OffsetOverflow));
    assert_eq!(place(u64::MAX - 1), Ok(u64::MAX));
}

#[test]
fn append_time_wins_where_the_topic_says_so() {
    let client = build(Codec::None, &[record(Datum::Absent, &[])]);
    let mut batch = Batch {
        placement: placement(),
        client,
    };
    let records = batch.client.records().unwrap();
    let view = records.iter().next().unwrap().unwrap();
    assert_eq!(
        (batch.timestamp_of(&view), batch.max_timestamp_ms()),
        (1_700_000_000_000, 1_700_000_000_000)
    );
    batch.placement.append_timestamps = true;
    assert_eq!(
        (batch.timestamp_of(&view), batch.max_timestamp_ms()),
        (1_700_000_000_500, 1_700_000_000_500)
    );
    let back = Batch::decode(&mut stored(batch.client)).unwrap();
    assert!(!back.placement.append_timestamps);
}

#[test]
fn the_producers_stamp_and_request_key_are_carried() {
    let batch = build(Codec::Zstd, &[record(Datum::Absent, &[])]);
    assert_eq!(
        (batch.producer(), batch.request_key()),
        (Some(STAMP), Some([0x11; 16]))
    );
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(&record(Datum::Absent, &[])).unwrap();
    let plain = builder.finish().unwrap();
    assert_eq!((plain.producer(), plain.request_key()), (None, None));
}

#[test]
fn under_another_stamp_the_records_and_what_was_summed_of_them_stay() {
    for codec in CODECS {
        let text = "some records ".repeat(40);
        let batch = build(codec, &[record(Datum::Utf8(&text), &[])]);
        let other = ProducerStamp {
            id: ProducerId(u64::MAX),
            epoch: 0,
            seq: u32::MAX,
            unordered: true,
        };
        let shared = batch.clone();
        let stamped = batch.restamped(Some(other));
        stamped.verify().unwrap();
        let read = ClientBatch::from_client_part(stamped.as_bytes().clone()).unwrap();
        assert_eq!((&read, read.producer()), (&stamped, Some(other)));
        assert_eq!(read.request_key(), shared.request_key());
        assert_eq!(stamped.as_bytes()[64..], shared.as_bytes()[64..]);
        let none = read.restamped(None);
        assert_eq!((none.producer(), none.verify()), (None, Ok(())));
        // Alone, it is not copied.
        drop(stamped);
        let place = none.as_bytes().as_ptr();
        let again = none.restamped(Some(STAMP));
        assert_eq!((again.as_bytes().as_ptr(), &again), (place, &shared));
        // Damage of the records is not summed anew.
        let mut bytes = shared.as_bytes().to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let damaged = ClientBatch::from_stored(Bytes::from(bytes), shared.crc()).unwrap();
        assert!(damaged.restamped(Some(other)).verify().is_err());
    }
}

#[test]
fn control_batches_take_no_offset_and_are_not_for_clients() {
    let batch = Batch {
        placement: placement(),
        client: epoch_marker(5),
    };
    assert!(batch.client.is_control());
    assert_eq!(batch.next_offset(), placement().base_offset);
    assert_eq!(batch.client.records().unwrap().iter().count(), 0);
    assert_eq!(
        batch.client.validate(10),
        Err(BatchError::ControlFromClient)
    );
    assert_eq!(
        Batch::decode(&mut stored(batch.client.clone())).unwrap(),
        batch
    );
    let with_records = raw(1, &[4, 0, 0, 0, 0], |part| {
        part[2] = u8::try_from(CONTROL).unwrap()
    });
    assert_eq!(with_records, Err(BatchError::ControlWithRecords));
}

#[test]
fn damage_of_the_client_part_can_be_stepped_over() {
    let mut whole = stored(build(Codec::None, &[record(Datum::Absent, &[])])).to_vec();
    whole[PLACEMENT_LEN] = 9;
    assert_eq!(
        Batch::decode(&mut Bytes::from(whole.clone())),
        Err(BatchError::UnknownVersion { found: 9 })
    );
    assert_eq!(
        PlacementHeader::parse(&whole).unwrap().encoded_len(),
        whole.len()
    );
}
