//! What the fuzz targets do with one input: shared by `fuzz/fuzz_targets` (coverage-guided, run by hand
//! or at night) and by `fuzz_smoke.rs` (some thousand inputs, run with the other tests).
//!
//! A body must hold for any bytes; it fails by panicking.

mod frames;

use bytes::Bytes;
use tidegate_proto::batch::{
    Batch, BatchBuilder, ClientBatch, MAGIC, PLACEMENT_LEN, Placement, PlacementHeader,
};
use tidegate_proto::compression::Codec;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::Problem;
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::json::{JsonFault, check_json};
use tidegate_proto::limits::{CURSOR_BYTES_MAX, JSON_DEPTH_MAX};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::record::RecordRef;

pub(crate) use frames::replication_frames;

/// A target: its name, which is also that of its seed folder, and what it does.
pub(crate) type Body = fn(&[u8]);

/// Decoding and validating batches.
pub(crate) fn batch_decode(input: &[u8]) {
    decode_all(Bytes::copy_from_slice(input));
    // With the checksums made good, so that what is behind them is reached too.
    let mut sealed = input.to_vec();
    if seal(&mut sealed) {
        decode_all(Bytes::from(sealed));
    }
    if let Ok(client) = ClientBatch::from_client_part(Bytes::copy_from_slice(input)) {
        client_part(&client);
    }
}

fn decode_all(mut rest: Bytes) {
    let mut sent = rest.clone();
    while let Ok(client) = ClientBatch::take_from(&mut sent) {
        client_part(&client);
    }
    loop {
        let before = rest.clone();
        match Batch::decode(&mut rest) {
            Ok(batch) => {
                let taken = before.slice(..batch.encoded_len());
                let mut again = Vec::new();
                batch.encode_into(&mut again);
                assert_eq!(again, taken, "a decoded batch encodes to what it was");
                assert!(batch.next_offset() >= batch.placement.base_offset);
                let _ = batch.verify();
                client_part(&batch.client);
            }
            Err(error) => {
                assert_eq!(rest, before, "an error leaves the buffer alone");
                let _ = PlacementHeader::parse(&before);
                let _ = Problem::from(error);
                return;
            }
        }
    }
}

/// Writes magic, length and checksums over the first 72 bytes, as if the rest were one client part.
fn seal(bytes: &mut [u8]) -> bool {
    let Some((header, client)) = bytes.split_first_chunk_mut::<PLACEMENT_LEN>() else {
        return false;
    };
    let Ok(len) = u32::try_from(client.len()) else {
        return false;
    };
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&len.to_le_bytes());
    // Unknown flags would end it at once.
    header[29..32].fill(0);
    header[28] &= 1;
    header[64..68].copy_from_slice(&crc32c::crc32c(client).to_le_bytes());
    let crc = crc32c::crc32c(&header[..68]);
    header[68..].copy_from_slice(&crc.to_le_bytes());
    true
}

/// A valid client part can be rebuilt record by record into one with the same records.
fn client_part(client: &ClientBatch) {
    let validated = client.validate(1 << 20);
    let Ok(records) = client.records() else {
        assert!(validated.is_err());
        return;
    };
    let read = records.iter().try_for_each(|record| record.map(|_| ()));
    if let Err(error) = validated {
        let _ = Problem::from(error);
        return;
    }
    assert_eq!(read, Ok(()), "what is valid can be read");
    let mut builder = BatchBuilder::new(Codec::None);
    for record in records.iter().flatten() {
        let headers: Vec<_> = record.headers.iter().collect();
        let (timestamp_ms, key, value) = (record.timestamp_ms, record.key, record.value);
        let pushed = builder.push(&RecordRef {
            timestamp_ms,
            key,
            value,
            headers: &headers,
        });
        if pushed.is_err() {
            // Only because the records were compressed and do not fit without.
            assert!(records.iter().count() > 1 || client.codec() != Codec::None);
            return;
        }
    }
    let rebuilt = builder.finish().expect("a valid batch has records");
    assert_eq!(rebuilt.validate(1 << 20), Ok(()));
    let again = rebuilt.records().expect("it is not compressed");
    assert!(again.iter().eq(records.iter()), "the same records");
    place(rebuilt);
}

fn place(client: ClientBatch) {
    let key = ReplicaKey {
        topic_id: TopicId::from_bytes([7; 16]),
        partition: PartitionId(1),
    };
    let placement = Placement {
        key,
        base_offset: Offset::new(5),
        leader_epoch: LeaderEpoch(1),
        high_watermark: Offset::new(5),
        append_time_ms: 9,
        append_timestamps: false,
    };
    let batch = Batch { placement, client };
    let mut stored = Vec::new();
    batch.encode_into(&mut stored);
    assert_eq!(Batch::decode(&mut Bytes::from(stored)), Ok(batch));
}

/// Reading cursors: a text that is one is the only text of that cursor.
pub(crate) fn cursor(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input) {
        one_cursor(text);
    }
    // With a good version and checksum, so that what is behind them is reached too.
    use base64::Engine;
    for version in [1, 2] {
        let mut body = vec![version];
        body.extend_from_slice(input);
        body.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        one_cursor(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&body));
    }
}

fn one_cursor(text: &str) {
    match Cursor::parse(text) {
        Ok(cursor) => {
            assert_eq!(cursor.encode().as_deref(), Ok(text));
            let mut merged = Cursor::new(cursor.topic_id);
            assert_eq!(merged.merge(cursor.clone()), Ok(()));
            assert_eq!(merged, cursor);
            assert!(text.len() <= CURSOR_BYTES_MAX);
        }
        Err(error) => drop(Problem::from(error)),
    }
}

/// Checking JSON: agrees with a full parser, save for depth.
pub(crate) fn json_check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let full = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
    match check_json(text, JSON_DEPTH_MAX) {
        Ok(()) => assert!(full, "{text:?} is no JSON"),
        Err(error) if error.fault == JsonFault::TooDeep => {}
        Err(error) => {
            assert!(!full, "{text:?} is JSON, not {error}");
            assert!(error.at <= text.len());
        }
    }
}
