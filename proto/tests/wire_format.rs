//! Holds docs/wire-format.md to the code: every vector, table and worked example in it is read from the
//! page and checked, so that the page cannot drift.
//!
//! A vector is a heading `### Vector: name`, a `json` block with what it holds, and a `hex` block with
//! its bytes. When one is missing or differs, the failure prints what it should be.

mod wire_page;

use bytes::Bytes;
use serde_json::{Value, json};
use tidegate_proto::batch::{
    Batch, BatchBuilder, ClientBatch, Kept, Placement, ProducerStamp, epoch_marker,
};
use tidegate_proto::compression::Codec;
use tidegate_proto::id::{PartitionId, ProducerId, TopicId};
use tidegate_proto::partitioner::{murmur2, partition_for_key};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::{Datum, RecordRef};
use wire_page::{PAGE, batch_json, block, hex_lines, table, unhex};

const RECORD_BYTES_MAX: usize = 1 << 20;

fn unplaced() -> Placement {
    Placement {
        key: ReplicaKey {
            topic_id: TopicId::from_bytes([0; 16]),
            partition: PartitionId(0),
        },
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch(0),
        high_watermark: Offset::ZERO,
        append_time_ms: 0,
        append_timestamps: false,
    }
}

fn placed() -> Placement {
    let topic_id = "01890a5d-ac96-774b-bcce-b302099a8057"
        .parse()
        .expect("a UUID");
    Placement {
        key: ReplicaKey {
            topic_id,
            partition: PartitionId(7),
        },
        base_offset: Offset::new(258),
        leader_epoch: LeaderEpoch(3),
        high_watermark: Offset::new(255),
        append_time_ms: 1_700_000_000_250,
        append_timestamps: true,
    }
}

fn built(builder: BatchBuilder, records: &[RecordRef<'_>]) -> ClientBatch {
    let mut builder = builder;
    for record in records {
        builder.push(record).expect("a vector's record fits");
    }
    builder.finish().expect("a vector has records")
}

fn hello() -> Batch {
    let record = RecordRef {
        timestamp_ms: 1_700_000_000_000,
        key: Datum::Utf8("k1"),
        value: Datum::Utf8("hello"),
        headers: &[("source", b"demo")],
    };
    let client = built(BatchBuilder::new(Codec::None), &[record]);
    Batch {
        placement: unplaced(),
        client,
    }
}

fn kinds() -> Batch {
    let record = |timestamp_ms, key, value| RecordRef {
        timestamp_ms,
        key,
        value,
        headers: &[],
    };
    let stamp = ProducerStamp {
        id: ProducerId(77),
        epoch: 2,
        seq: 4_294_967_295,
        unordered: false,
    };
    let builder = BatchBuilder::new(Codec::None)
        .producer(stamp)
        .request_key(*b"0123456789abcdef");
    let records = [
        record(
            1_700_000_000_000,
            Datum::Bytes(&[0x00, 0xff]),
            Datum::Json("{\"n\": 1}"),
        ),
        record(1_699_999_999_000, Datum::Utf8("gone"), Datum::Absent),
        record(1_700_000_000_300, Datum::Absent, Datum::Utf8("")),
        record(1_700_000_000_100, Datum::Json("[1,2]"), Datum::Bytes(&[])),
    ];
    Batch {
        placement: placed(),
        client: built(builder, &records),
    }
}

fn squeezed(codec: Codec) -> Batch {
    let values: Vec<String> = (0..12)
        .map(|number| format!("tick tock tick tock {number}"))
        .collect();
    let record = |(timestamp_ms, value)| RecordRef {
        timestamp_ms,
        key: Datum::Absent,
        value: Datum::Utf8(value),
        headers: &[],
    };
    let records: Vec<_> = (1_700_000_000_000_i64..)
        .zip(values.iter().map(String::as_str))
        .map(record)
        .collect();
    Batch {
        placement: unplaced(),
        client: built(BatchBuilder::new(codec), &records),
    }
}

fn marker() -> Batch {
    let placement = Placement {
        append_timestamps: false,
        ..placed()
    };
    Batch {
        placement,
        client: epoch_marker(1_700_000_000_250),
    }
}

/// The first and the last record of "kinds".
fn sparse() -> Batch {
    let kept = kinds().keep_records(|offset, _| matches!(offset.get(), 258 | 261));
    let Ok(Kept::Some(mut made)) = kept else {
        panic!("two of four records are kept")
    };
    made.remove(0)
}

fn decoded(bytes: &[u8]) -> Batch {
    let mut buf = Bytes::copy_from_slice(bytes);
    let batch = Batch::decode(&mut buf).expect("a vector decodes");
    assert!(buf.is_empty());
    batch.verify().expect("a vector's checksum is good");
    batch
}

/// Checks one vector of the page. Compressed ones need not be bit for bit what this build makes.
fn check(name: &str, expected: &Batch, is_exact: bool) {
    let mut bytes = Vec::new();
    expected.encode_into(&mut bytes);
    let mut described = batch_json(expected);
    let heading = format!("### Vector: {name}");
    let wanted = || {
        let pretty = serde_json::to_string_pretty(&described).expect("a value prints");
        format!(
            "{heading}\n\n```json\n{pretty}\n```\n\n```hex\n{}```\n",
            hex_lines(&bytes)
        )
    };
    assert!(PAGE.contains(&heading), "add to the page:\n{}", wanted());
    let found = unhex(block(&heading, "hex"));
    if is_exact {
        assert_eq!(found, bytes, "should be:\n{}", wanted());
    }
    let batch = decoded(&found);
    described["payload_crc"] = json!(format!("{:08x}", batch.client.crc()));
    assert_eq!(
        batch_json(&batch),
        described,
        "the bytes of {name} hold something else"
    );
    let json: Value = serde_json::from_str(block(&heading, "json")).expect("the block is JSON");
    assert_eq!(json, described, "the text of {name} says something else");
    // What only servers make would be refused from a producer.
    if !batch.client.is_control() && !batch.client.is_remade() {
        batch
            .client
            .validate(RECORD_BYTES_MAX)
            .expect("a vector is valid");
        let taken = ClientBatch::take_from(&mut Bytes::from(found)).expect("a vector can be sent");
        assert_eq!(taken, batch.client);
    }
}

#[test]
fn the_hello_vector_is_what_the_page_says() {
    check("hello", &hello(), true);
}

#[test]
fn the_kinds_vector_is_what_the_page_says() {
    check("kinds", &kinds(), true);
}

#[test]
fn the_gzip_vector_is_what_the_page_says() {
    check("gzip", &squeezed(Codec::Gzip), false);
}

#[test]
fn the_snappy_vector_is_what_the_page_says() {
    check("snappy", &squeezed(Codec::Snappy), false);
}

#[test]
fn the_lz4_vector_is_what_the_page_says() {
    check("lz4", &squeezed(Codec::Lz4), false);
}

#[test]
fn the_zstd_vector_is_what_the_page_says() {
    check("zstd", &squeezed(Codec::Zstd), false);
}

#[test]
fn the_epoch_marker_vector_is_what_the_page_says() {
    check("epoch-marker", &marker(), true);
}

#[test]
fn the_sparse_vector_is_what_the_page_says() {
    check("sparse", &sparse(), true);
}

#[test]
fn the_worked_example_is_the_hello_vector() {
    let dump = block("## Worked example", "dump");
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.trim().is_empty()) {
        // Position in the first four columns, then the bytes in 32 more.
        assert_eq!(line[..4].trim().parse(), Ok(bytes.len()), "{line}");
        bytes.extend(unhex(&line[6..38]));
    }
    assert_eq!(bytes, unhex(block("### Vector: hello", "hex")));
}

#[test]
fn the_partitioner_vectors_are_what_the_page_says() {
    let rows = table("## Partitioner");
    assert!(rows.len() >= 8);
    for row in rows {
        let [key, hash, of_3, of_10] = &row[..] else {
            panic!("four columns: {row:?}")
        };
        let key = unhex(key);
        assert_eq!(hash.parse(), Ok(murmur2(&key).cast_signed()), "{row:?}");
        assert_eq!(
            of_3.parse().map(PartitionId),
            Ok(partition_for_key(&key, 3)),
            "{row:?}"
        );
        assert_eq!(
            of_10.parse().map(PartitionId),
            Ok(partition_for_key(&key, 10)),
            "{row:?}"
        );
    }
}

#[test]
fn the_limits_are_what_the_page_says() {
    use tidegate_proto::limits;
    let rows = table("## Limits");
    let stated = |name: &str| -> usize {
        let row = rows
            .iter()
            .find(|row| row[0] == name)
            .unwrap_or_else(|| panic!("no row {name}"));
        row[1]
            .replace(' ', "")
            .parse()
            .unwrap_or_else(|_| panic!("{row:?}"))
    };
    for (name, value) in [
        ("batch bytes", limits::BATCH_BYTES_MAX),
        ("record bytes", limits::RECORD_BYTES_MAX_DEFAULT),
        (
            "records bytes before compression",
            limits::DECOMPRESSED_BYTES_MAX,
        ),
        ("ratio", limits::DECOMPRESSION_RATIO_MAX),
        ("ratio floor", limits::DECOMPRESSION_RATIO_FLOOR_BYTES),
        ("headers per record", limits::HEADERS_PER_RECORD_MAX),
        ("header name bytes", limits::HEADER_NAME_LEN_MAX),
        ("JSON depth", limits::JSON_DEPTH_MAX),
        ("produce body bytes", limits::BODY_BYTES_MAX),
        ("WebSocket message bytes", limits::WS_MESSAGE_BYTES_MAX),
        ("cursor characters", limits::CURSOR_BYTES_MAX),
        ("requests in flight", limits::PRODUCER_IN_FLIGHT_MAX),
    ] {
        assert_eq!(stated(name), value, "{name}");
    }
    assert_eq!(rows.len(), 12, "a row without a check");
}

#[test]
fn the_codec_and_kind_numbers_are_what_the_page_says() {
    for row in table("### Codecs") {
        let codec = Codec::from_id(row[0].parse().expect("a number")).expect("a codec");
        assert_eq!(codec.as_str(), row[1]);
    }
    for row in table("### Kinds") {
        let kind = tidegate_proto::record::DatumKind::from_id(row[0].parse().expect("a number"));
        assert_eq!(
            format!("{:?}", kind.expect("a kind")).to_lowercase(),
            row[1]
        );
    }
}

#[test]
fn the_crc_check_value_is_on_the_page() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    assert!(PAGE.contains("`0xe3069283`"));
}
