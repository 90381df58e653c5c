//! Round trips, refusals and damage of batches.

use super::*;
use crate::batch::client::{CONTROL, RECOMPRESSED};
use crate::compression::{Codec, compress};
use crate::error::{ErrorCode, Problem};
use crate::id::ProducerId;
use crate::limits::{DECOMPRESSED_BYTES_MAX, RECORD_BYTES_MAX_DEFAULT};
use crate::record::{Datum, RecordRef};
use proptest::prelude::*;

const CODECS: [Codec; 3] = [Codec::None, Codec::Lz4, Codec::Zstd];
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

fn validated(count: u32, records: &[u8]) -> Result<(), BatchError> {
    raw(count, records, |_| {})?.validate(RECORD_BYTES_MAX_DEFAULT)
}

/// The first `count` records of one header each, `name` with an empty value.
fn one_header(name: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 1, u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name);
    body.push(0);
    body.insert(0, u8::try_from(body.len()).unwrap());
    body
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
fn headers_that_lie_are_refused() {
    let set = |at: usize, value: u8| raw(1, &[3, 0, 0, 0], |part| part[at] = value).map(|_| ());
    assert_eq!(set(0, 2), Err(BatchError::UnknownVersion { found: 2 }));
    assert_eq!(set(1, 5), Err(BatchError::UnknownCodec { found: 5 }));
    assert_eq!(set(2, 0x20), Err(BatchError::Attributes { found: 0x20 }));
    assert_eq!(
        set(2, 0x04),
        Err(BatchError::NotZero {
            field: "attributes bit 2"
        })
    );
    assert_eq!(
        set(4, 2),
        Err(BatchError::RecordCount {
            stated: 2,
            found: 1
        })
    );
    assert_eq!(
        set(8, 5),
        Err(BatchError::RecordsLength {
            stated: 5,
            found: 4
        })
    );
    for (at, field) in [
        (12, "producer_epoch"),
        (14, "reserved (14)"),
        (16, "producer_id"),
        (24, "producer_seq"),
        (28, "reserved (28)"),
        (47, "request_key"),
    ] {
        assert_eq!(set(at, 1), Err(BatchError::NotZero { field }));
    }
    let huge = raw(1, &[3, 0, 0, 0], |part| {
        part[1] = Codec::Zstd.id();
        part[11] = 0x80;
    });
    assert_eq!(huge, Err(BatchError::RecordsTooLarge { len: 0x8000_0004 }));
    let by_server = raw(1, &[3, 0, 0, 0], |part| {
        part[2] = u8::try_from(RECOMPRESSED).unwrap()
    })
    .unwrap();
    assert_eq!(
        by_server.validate(10),
        Err(BatchError::Attributes {
            found: RECOMPRESSED
        })
    );
    assert_eq!(
        ClientBatch::from_client_part(Bytes::from_static(&[1; 63])),
        Err(BatchError::TooShort { len: 63 })
    );
}

#[test]
fn records_that_lie_are_refused_by_name() {
    use RecordFault::{
        HeaderNameCharacter, HeaderNameLength, Malformed, NotUtf8, TooManyHeaders, UnknownKind,
    };
    let fault = |records: &[u8]| match validated(1, records) {
        Err(BatchError::Record { index: 0, fault }) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(validated(1, &[3, 0, 0, 0]), Ok(()));
    assert_eq!(validated(0, &[]), Err(BatchError::Empty));
    assert_eq!(
        validated(1, &[3, 0, 0, 0, 9]),
        Err(BatchError::TrailingBytes { len: 1 })
    );
    assert_eq!(
        validated(2, &[7, 0, 1, 3, 1, 2, 3, 0]),
        Err(BatchError::RecordCount {
            stated: 2,
            found: 1
        })
    );
    assert_eq!(fault(&[9, 0, 0, 0]), Malformed);
    assert_eq!(fault(&[4, 0, 0, 0, 0]), RecordFault::TrailingBytes(1));
    assert_eq!(fault(&[3, 0, 4, 0]), UnknownKind(4));
    assert_eq!(fault(&[3, 0, 0x40, 0]), UnknownKind(0x40));
    assert_eq!(fault(&[5, 0, 2, 1, 0xff, 0]), NotUtf8(fault::Part::Value));
    assert_eq!(fault(&[5, 0, 0x20, 1, 0xff, 0]), NotUtf8(fault::Part::Key));
    assert_eq!(fault(&[5, 0, 1, 0xff, 1, 0]), Malformed);
    assert!(matches!(
        fault(&[5, 0, 3, 1, b'{', 0]),
        RecordFault::NotJson(fault::Part::Value, _)
    ));
    assert_eq!(fault(&[4, 0, 0, 0x80, 0x10]), TooManyHeaders(2048));
    assert_eq!(fault(&[3, 0, 0, 1]), Malformed);
    assert_eq!(validated(1, &one_header(b"a")), Ok(()));
    assert_eq!(fault(&one_header(b"")), HeaderNameLength(0));
    assert_eq!(fault(&one_header(b"Ab")), HeaderNameCharacter);
    assert_eq!(fault(&one_header(b"a\n")), HeaderNameCharacter);
    assert_eq!(
        fault(&one_header(b"\xff")),
        NotUtf8(fault::Part::HeaderName)
    );
    assert_eq!(fault(&[7, 0, 0, 2, 1, b'a', 0, 1, b'a', 0][..]), Malformed);
    assert_eq!(
        fault(&[9, 0, 0, 2, 1, b'a', 0, 1, b'a', 0][..]),
        RecordFault::DuplicateHeader
    );
    let stated = raw(1, &[3, 0, 0, 0], |part| part[56] = 1)
        .unwrap()
        .validate(10);
    assert_eq!(
        stated,
        Err(BatchError::MaxTimestamp {
            stated: 1,
            found: 0
        })
    );
    let wrapping = raw(1, &[3, 2, 0, 0], |part| {
        part[48..56].copy_from_slice(&i64::MAX.to_le_bytes())
    });
    let error = wrapping.unwrap().validate(10).unwrap_err();
    assert_eq!(
        error,
        BatchError::Record {
            index: 0,
            fault: RecordFault::Timestamp(i64::MIN)
        }
    );
}

#[test]
fn a_record_may_have_as_many_bytes_as_said_and_no_more() {
    let value = vec![7; 100];
    let batch = build(
        Codec::None,
        &[record(Datum::Bytes(&value), &[("ab", b"cd")])],
    );
    assert_eq!(batch.validate(105), Ok(()));
    let error = batch.validate(104).unwrap_err();
    let problem = Problem::from(error);
    assert_eq!(
        (problem.code(), problem.extra("limit")),
        (ErrorCode::TooLarge, Some(&104.into()))
    );
}

#[test]
fn duplicate_headers_are_found_among_few_and_among_many() {
    let names: Vec<String> = (0..64).map(|number| format!("h{number}")).collect();
    for count in [2, 8, 9, 10, 64] {
        let mut headers: Vec<(&str, &[u8])> = names[..count]
            .iter()
            .map(|n| (n.as_str(), &b""[..]))
            .collect();
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(&record(Datum::Absent, &headers)).unwrap();
        headers[count - 1].0 = "h0";
        let error = builder.push(&record(Datum::Absent, &headers)).unwrap_err();
        assert_eq!(
            error,
            BatchError::Record {
                index: 1,
                fault: RecordFault::DuplicateHeader
            },
            "{count}"
        );
        builder.finish().unwrap().validate(10_000).unwrap();
    }
}

#[test]
fn compressed_records_must_have_the_length_the_header_says() {
    let records = [3, 0, 0, 0].repeat(100);
    for codec in [Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec, &records).unwrap();
        let with_len = |len: u32| {
            let batch = raw(100, &packed, |part| {
                part[1] = codec.id();
                part[8..12].copy_from_slice(&len.to_le_bytes());
            });
            batch.unwrap().validate(100)
        };
        assert_eq!(with_len(400), Ok(()));
        assert_eq!(
            with_len(401),
            Err(BatchError::RecordsLength {
                stated: 401,
                found: 400
            }),
            "{codec}"
        );
        assert!(
            matches!(
                with_len(400 + (1 << 20)),
                Err(BatchError::RecordsLength { .. })
            ),
            "{codec}"
        );
        let bomb = compress(codec, &vec![0; DECOMPRESSED_BYTES_MAX]).unwrap();
        let error = raw(1, &bomb, |part| {
            part[1] = codec.id();
            part[8..12]
                .copy_from_slice(&u32::try_from(DECOMPRESSED_BYTES_MAX).unwrap().to_le_bytes());
        });
        let problem = Problem::from(error.unwrap().validate(100).unwrap_err());
        assert_eq!(problem.code(), ErrorCode::TooLarge, "{codec}");
    }
}

#[test]
fn what_compresses_too_well_is_sent_as_it_is() {
    let zeros = vec![0; 1 << 20];
    for codec in CODECS {
        let batch = build(
            codec,
            &[
                record(Datum::Bytes(&zeros), &[]),
                record(Datum::Bytes(&zeros), &[]),
            ],
        );
        assert_eq!(batch.validate(1 << 21), Ok(()), "{codec}");
    }
    let reserved = BatchBuilder::new(Codec::Snappy);
    assert_eq!(
        reserved.finish(),
        Err(BatchError::CodecNotSupported(Codec::Snappy))
    );
    let sent = raw(1, &[3, 0, 0, 0], |part| part[1] = Codec::Gzip.id())
        .unwrap()
        .validate(10)
        .unwrap_err();
    assert_eq!(Problem::from(sent).code(), ErrorCode::NotSupported);
}

#[test]
fn a_full_builder_refuses_and_stays_good() {
    let value = vec![1; 1 << 20];
    let mut builder = BatchBuilder::new(Codec::None);
    let mut count = 0;
    let error = loop {
        match builder.push(&record(Datum::Bytes(&value), &[])) {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(
        error,
        BatchError::TooLong {
            max: CLIENT_BYTES_MAX,
            ..
        }
    ));
    assert_eq!((count, builder.record_count()), (3, 3));
    assert_eq!(builder.finish().unwrap().validate(2 << 20), Ok(()));
    assert_eq!(
        BatchBuilder::new(Codec::None).finish(),
        Err(BatchError::Empty)
    );
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
