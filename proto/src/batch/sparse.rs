//! Batches out of which compaction took records: those that stay keep their offsets.
//!
//! A sparse batch says how many offsets it takes, and before each record how many were left out; the
//! records themselves are copied as they stood. One that holds no record at all stands for offsets of
//! which nothing is left. Invariant: what is made here takes the very offsets that it was made from.

use bytes::Bytes;

use crate::batch::client::{self, ClientBatch};
use crate::batch::fault::BatchError;
use crate::batch::header::{Header, ProducerStamp, REMADE, SPARSE};
use crate::batch::{Batch, CLIENT_BYTES_MAX, CLIENT_HEADER_LEN, Placement};
use crate::bytes::{put_uvarint, uvarint_len};
use crate::compression::{Codec, compress, ratio_cap};
use crate::position::Offset;
use crate::record::RecordView;

/// What is left of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// All of it: the batch stays to the bit.
    All,
    /// These batches, which take the same offsets; one unless they would be too long together.
    Some(Vec<Batch>),
    /// No record.
    Nothing,
}

impl Batch {
    /// Takes out the records that `keep` does not want. Decompresses; the codec stays the same where it
    /// still helps. A control batch is kept, one without records is nothing.
    pub fn keep_records(
        &self,
        mut keep: impl FnMut(Offset, &RecordView<'_>) -> bool,
    ) -> Result<Kept, BatchError> {
        if self.client.is_control() {
            return Ok(Kept::All);
        }
        let records = self.client.records()?;
        let mut iter = records.iter();
        let (mut made, mut part) = (Vec::new(), Part::new(0));
        let (mut kept, mut all) = (0, 0);
        while let Some(record) = iter.next() {
            let record = record?;
            all += 1;
            if !keep(self.offset_of(&record), &record) {
                continue;
            }
            kept += 1;
            if !part.has_room(&record, iter.body()) {
                let from = part.next_delta;
                let full = std::mem::replace(&mut part, Part::new(from));
                made.push(full.finish(self, from)?);
            }
            part.push(&record, iter.body());
        }
        if kept == 0 {
            return Ok(Kept::Nothing);
        }
        if kept == all {
            return Ok(Kept::All);
        }
        made.push(part.finish(self, self.client.span())?);
        Ok(Kept::Some(made))
    }

    /// A batch without records that takes `span` offsets from the placement's base on. `None` when it
    /// would take none.
    #[must_use]
    pub fn hole(placement: Placement, span: u32) -> Option<Self> {
        let header = Header {
            codec: Codec::None,
            attributes: REMADE | SPARSE,
            record_count: 0,
            records_len: 0,
            span,
            producer: None,
            request_key: None,
            base_timestamp_ms: 0,
            // No record is as late as any time asked for.
            max_timestamp_ms: i64::MIN,
        };
        let placement = Placement {
            append_timestamps: false,
            ..placement
        };
        let client = ClientBatch::from_client_part(Bytes::copy_from_slice(&header.to_bytes()));
        (span > 0).then_some(Self {
            placement,
            client: client.ok()?,
        })
    }
}

/// A sparse batch being made.
struct Part {
    /// Where it begins, above the base of the batch it is made from.
    from: u32,
    next_delta: u32,
    record_count: u32,
    max_timestamp_ms: i64,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
}

impl Part {
    fn new(from: u32) -> Self {
        Self {
            from,
            next_delta: from,
            record_count: 0,
            max_timestamp_ms: i64::MIN,
            bytes: vec![0; CLIENT_HEADER_LEN],
        }
    }

    fn gap(&self, record: &RecordView<'_>) -> u64 {
        u64::from(record.offset_delta - self.next_delta)
    }

    /// Room before compression is room after it, as in a producer's batch.
    fn has_room(&self, record: &RecordView<'_>, body: &[u8]) -> bool {
        let len = uvarint_len(self.gap(record)) + body.len();
        self.record_count == 0
            || self.bytes.len() + uvarint_len(len as u64) + len <= CLIENT_BYTES_MAX
    }

    fn push(&mut self, record: &RecordView<'_>, body: &[u8]) {
        let gap = self.gap(record);
        put_uvarint(&mut self.bytes, (uvarint_len(gap) + body.len()) as u64);
        put_uvarint(&mut self.bytes, gap);
        self.bytes.extend_from_slice(body);
        self.record_count += 1;
        self.max_timestamp_ms = self.max_timestamp_ms.max(record.timestamp_ms);
        self.next_delta = record.offset_delta + 1;
    }

    /// The batch, which ends at `to`, above the base of `source`.
    fn finish(self, source: &Batch, to: u32) -> Result<Batch, BatchError> {
        let records_len = self.bytes.len() - CLIENT_HEADER_LEN;
        let before = source.client.header();
        let mut header = Header {
            codec: Codec::None,
            attributes: before.attributes | REMADE | SPARSE,
            record_count: self.record_count,
            records_len: u32::try_from(records_len)
                .map_err(|_| BatchError::RecordsTooLarge { len: records_len })?,
            span: to - self.from,
            // Sequence numbers count records, and so run with the offsets.
            producer: before.producer.map(|stamp| ProducerStamp {
                seq: stamp.seq.wrapping_add(self.from),
                ..stamp
            }),
            max_timestamp_ms: self.max_timestamp_ms,
            ..*before
        };
        let mut bytes = self.bytes;
        if before.codec != Codec::None {
            let packed = compress(before.codec, &bytes[CLIENT_HEADER_LEN..])?;
            if packed.len() < records_len && records_len <= ratio_cap(packed.len()) {
                header.codec = before.codec;
                bytes.truncate(CLIENT_HEADER_LEN);
                bytes.extend_from_slice(&packed);
            }
        }
        Ok(Batch {
            placement: Placement {
                base_offset: source.placement.base_offset.plus(u64::from(self.from)),
                ..source.placement
            },
            client: client::from_parts(header, bytes),
        })
    }
}

#[cfg(test)]
mod tests;
