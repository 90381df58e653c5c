//! What is refused: headers, records and lengths that lie, and what is too much.

use super::*;

fn validated(count: u32, records: &[u8]) -> Result<(), BatchError> {
    raw(count, records, |_| {})?.validate(RECORD_BYTES_MAX_DEFAULT)
}

/// One record with one header `name` of an empty value.
fn one_header(name: &[u8]) -> Vec<u8> {
    let mut body = vec![0, 0, 1, u8::try_from(name.len()).unwrap()];
    body.extend_from_slice(name);
    body.push(0);
    body.insert(0, u8::try_from(body.len()).unwrap());
    body
}

#[test]
fn headers_that_lie_are_refused() {
    let set = |at: usize, value: u8| raw(1, &[3, 0, 0, 0], |part| part[at] = value).map(|_| ());
    assert_eq!(set(0, 2), Err(BatchError::UnknownVersion { found: 2 }));
    assert_eq!(set(1, 5), Err(BatchError::UnknownCodec { found: 5 }));
    assert_eq!(set(2, 0x40), Err(BatchError::Attributes { found: 0x40 }));
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
        (28, "span"),
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
        part[2] = u8::try_from(REMADE).unwrap()
    })
    .unwrap();
    assert_eq!(
        by_server.validate(10),
        Err(BatchError::Attributes { found: REMADE })
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
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
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
