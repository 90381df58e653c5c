//! Batches that a server makes anew in another codec: the same records at the same offsets, within the
//! bounds of a batch, and known for what they are.

use super::*;
use crate::batch::header::HAS_PRODUCER;
use crate::limits::BATCH_BYTES_MAX;

fn placed(client: ClientBatch) -> Batch {
    Batch {
        placement: placement(),
        client,
    }
}

/// Offset, time and value of every record.
fn shown(batches: &[Batch]) -> Vec<(u64, i64, Vec<u8>)> {
    let mut shown = Vec::new();
    for batch in batches {
        let records = batch.client.records().unwrap();
        for record in &records {
            let record = record.unwrap();
            let offset = batch.offset_of(&record).get();
            let value = record.value.as_bytes().unwrap_or_default().to_vec();
            shown.push((offset, record.timestamp_ms, value));
        }
    }
    shown
}

fn values(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("tick tock tick tock {number}"))
        .collect()
}

#[test]
fn every_codec_becomes_every_other_and_the_records_stay() {
    let values = values(40);
    for from in CODECS {
        let records: Vec<_> = values
            .iter()
            .map(|value| record(Datum::Utf8(value), &[("h", b"v")]))
            .collect();
        let stored = placed(build(from, &records));
        for to in CODECS {
            let made = stored.recompress(to).unwrap();
            assert_eq!(made.len(), 1, "{from} to {to}");
            assert_eq!(made[0].client.codec(), to);
            assert_eq!(made[0].client.is_remade(), from != to);
            assert_eq!(made[0].client.producer(), Some(STAMP));
            assert_eq!(made[0].placement, stored.placement);
            assert_eq!(shown(&made), shown(std::slice::from_ref(&stored)));
            let mut bytes = Vec::new();
            made[0].encode_into(&mut bytes);
            let read = Batch::decode(&mut Bytes::from(bytes)).unwrap();
            assert_eq!(read.verify(), Ok(()));
            assert_eq!(read.max_timestamp_ms(), stored.max_timestamp_ms());
        }
    }
}

#[test]
fn what_packs_no_better_is_not_packed_and_a_marker_stays_as_it_is() {
    let small = placed(build(Codec::None, &[record(Datum::Utf8("x"), &[])]));
    let made = small.recompress(Codec::Zstd).unwrap();
    assert_eq!(made[0].client.codec(), Codec::None);
    let marker = placed(epoch_marker(5));
    assert_eq!(marker.recompress(Codec::Zstd).unwrap(), [marker]);
    let hole = Batch::hole(placement(), 9).unwrap();
    assert_eq!(hole.recompress(Codec::Zstd).unwrap(), [hole]);
}

#[test]
fn a_batch_that_unpacks_to_more_than_a_batch_becomes_several() {
    // Records of about 1 KiB that pack some tenfold, 12 MiB of them; times go up and down.
    let mut records = Vec::new();
    let count = 12 * 1024_u32;
    for number in 0..count {
        let mut body = vec![u8::try_from(number % 64).unwrap() * 2, 0x01, 0x80, 0x08];
        let noise =
            (0..16_u32).flat_map(|n| (number * 16 + n).wrapping_mul(2_654_435_761).to_le_bytes());
        body.extend_from_slice(&noise.collect::<Vec<u8>>().repeat(16));
        body.push(0);
        records.extend_from_slice(&[
            u8::try_from(body.len() & 0x7f | 0x80).unwrap(),
            u8::try_from(body.len() >> 7).unwrap(),
        ]);
        records.extend_from_slice(&body);
    }
    let packed = compress(Codec::Zstd, &records).unwrap();
    let client = raw(count, &packed, |part| {
        part[1] = Codec::Zstd.id();
        part[2..4].copy_from_slice(&HAS_PRODUCER.to_le_bytes());
        part[8..12].copy_from_slice(&u32::try_from(records.len()).unwrap().to_le_bytes());
        part[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
        part[56..64].copy_from_slice(&63_i64.to_le_bytes());
    })
    .unwrap();
    assert_eq!(client.validate(RECORD_BYTES_MAX_DEFAULT), Ok(()));
    let dense = placed(client);
    check_parts(&dense);
    // The same with every third record taken out: what is left stays where it is.
    let kept = dense.keep_records(|offset, _| offset.get() % 3 != 0);
    let Ok(Kept::Some(parts)) = kept else {
        panic!("{kept:?}");
    };
    for part in parts {
        check_parts(&part);
    }
}

/// Every codec, and the parts that come out when an unpacked batch cannot hold the records.
fn check_parts(stored: &Batch) {
    let base = stored.placement.base_offset;
    let first_seq = stored.client.producer().unwrap().seq;
    let expected = shown(std::slice::from_ref(stored));
    for codec in [Codec::None, Codec::Lz4] {
        let made = stored.recompress(codec).unwrap();
        let least = stored.client.records_len() / CLIENT_BYTES_MAX;
        assert!(made.len() > least, "{} parts", made.len());
        let mut next = base;
        for batch in &made {
            assert!(batch.encoded_len() <= BATCH_BYTES_MAX);
            assert_eq!(batch.placement.base_offset, next);
            next = batch.next_offset();
            let delta = batch.placement.base_offset.distance_from(base);
            let seq = first_seq.wrapping_add(u32::try_from(delta).unwrap());
            assert_eq!(batch.client.producer().unwrap().seq, seq);
            assert_eq!(batch.client.is_sparse(), stored.client.is_sparse());
            assert_eq!(batch.verify(), Ok(()));
        }
        assert_eq!(next, stored.next_offset());
        assert_eq!(shown(&made), expected);
    }
}

#[test]
fn a_damaged_batch_is_an_error() {
    let values = values(40);
    let records: Vec<_> = values
        .iter()
        .map(|value| record(Datum::Utf8(value), &[]))
        .collect();
    let bytes = build(Codec::Gzip, &records).as_bytes().to_vec();
    let mut cut = bytes.clone();
    cut.truncate(bytes.len() - 9);
    let damaged = placed(ClientBatch::from_client_part(Bytes::from(cut)).unwrap());
    assert!(damaged.recompress(Codec::None).is_err());
}
