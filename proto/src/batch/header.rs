//! The 64 bytes at the front of a client part, read and written.
//!
//! What is read here is checked against itself and against the length that follows; of the records it
//! knows no more than their count. Invariant: a header that was read writes the same bytes again.

use crate::batch::fault::BatchError;
use crate::batch::records::RECORD_LEN_MIN;
use crate::batch::{CLIENT_BYTES_MAX, CLIENT_HEADER_LEN};
use crate::bytes::Reader;
use crate::compression::Codec;
use crate::id::ProducerId;
use crate::limits::DECOMPRESSED_BYTES_MAX;

pub(super) const VERSION: u8 = 1;
pub(super) const CONTROL: u16 = 1;
pub(super) const HAS_PRODUCER: u16 = 1 << 1;
pub(super) const UNORDERED: u16 = 1 << 2;
pub(super) const HAS_REQUEST_KEY: u16 = 1 << 3;
pub(super) const REMADE: u16 = 1 << 4;
pub(super) const SPARSE: u16 = 1 << 5;
const KNOWN: u16 = CONTROL | HAS_PRODUCER | UNORDERED | HAS_REQUEST_KEY | REMADE | SPARSE;

/// Which producer sent a batch, and where it stands in that producer's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// Its epoch; a newer one fences older ones.
    pub epoch: u16,
    /// Sequence number of the first record; the next batch has this plus the count, modulo 2^32.
    pub seq: u32,
    /// True when batches of this producer may come in any order.
    pub unordered: bool,
}

/// The header of a client part, as it stands in the first 64 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Header {
    pub(super) codec: Codec,
    pub(super) attributes: u16,
    pub(super) record_count: u32,
    pub(super) records_len: u32,
    /// Offsets that the batch takes: as many as there are records, unless it is sparse.
    pub(super) span: u32,
    pub(super) producer: Option<ProducerStamp>,
    pub(super) request_key: Option<[u8; 16]>,
    pub(super) base_timestamp_ms: i64,
    pub(super) max_timestamp_ms: i64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > CLIENT_BYTES_MAX {
            return Err(BatchError::TooLong {
                len: bytes.len(),
                max: CLIENT_BYTES_MAX,
            });
        }
        let mut reader = Reader::new(bytes);
        let too_short = BatchError::TooShort { len: bytes.len() };
        let header = Self::read(&mut reader).ok_or(too_short)??;
        header.check(reader.rest().len())?;
        Ok(header)
    }

    /// `None` when the bytes end too early.
    fn read(reader: &mut Reader<'_>) -> Option<Result<Self, BatchError>> {
        let version = reader.u8()?;
        if version != VERSION {
            return Some(Err(BatchError::UnknownVersion { found: version }));
        }
        let codec_id = reader.u8()?;
        let attributes = reader.u16()?;
        let record_count = reader.u32()?;
        let records_len = reader.u32()?;
        let epoch = reader.u16()?;
        let reserved_epoch = reader.u16()?;
        let id = reader.u64()?;
        let seq = reader.u32()?;
        let stated_span = reader.u32()?;
        let request_key = reader.array::<16>()?;
        let base_timestamp_ms = reader.i64()?;
        let max_timestamp_ms = reader.i64()?;

        let Some(codec) = Codec::from_id(codec_id) else {
            return Some(Err(BatchError::UnknownCodec { found: codec_id }));
        };
        if attributes & !KNOWN != 0 {
            return Some(Err(BatchError::Attributes { found: attributes }));
        }
        let has = |bit: u16| attributes & bit != 0;
        let not_zero = [
            ("reserved (14)", reserved_epoch != 0),
            ("span", stated_span != 0 && !has(SPARSE)),
            ("attributes bit 5", has(SPARSE) && !has(REMADE)),
            ("producer_epoch", epoch != 0 && !has(HAS_PRODUCER)),
            ("producer_id", id != 0 && !has(HAS_PRODUCER)),
            ("producer_seq", seq != 0 && !has(HAS_PRODUCER)),
            ("attributes bit 2", has(UNORDERED) && !has(HAS_PRODUCER)),
            (
                "request_key",
                request_key != [0; 16] && !has(HAS_REQUEST_KEY),
            ),
        ];
        if let Some((field, _)) = not_zero.into_iter().find(|(_, is_wrong)| *is_wrong) {
            return Some(Err(BatchError::NotZero { field }));
        }
        let stamp = ProducerStamp {
            id: ProducerId(id),
            epoch,
            seq,
            unordered: has(UNORDERED),
        };
        Some(Ok(Self {
            codec,
            attributes,
            record_count,
            records_len,
            span: if has(SPARSE) {
                stated_span
            } else {
                record_count
            },
            producer: has(HAS_PRODUCER).then_some(stamp),
            request_key: has(HAS_REQUEST_KEY).then_some(request_key),
            base_timestamp_ms,
            max_timestamp_ms,
        }))
    }

    /// Counts and lengths against each other and against the `len` bytes that follow the header.
    fn check(&self, len: usize) -> Result<(), BatchError> {
        let records_len = self.records_len as usize;
        if records_len > DECOMPRESSED_BYTES_MAX {
            return Err(BatchError::RecordsTooLarge { len: records_len });
        }
        if self.codec == Codec::None && records_len != len {
            return Err(BatchError::RecordsLength {
                stated: records_len,
                found: len,
            });
        }
        if self.attributes & CONTROL != 0 && (self.span != 0 || self.record_count != 0 || len != 0)
        {
            return Err(BatchError::ControlWithRecords);
        }
        if self.attributes & SPARSE != 0 && self.span < self.record_count.max(1) {
            let (span, records) = (self.span, self.record_count);
            return Err(BatchError::Span { span, records });
        }
        let most = self.records_len / RECORD_LEN_MIN;
        if self.record_count > most {
            return Err(BatchError::RecordCount {
                stated: self.record_count,
                found: most,
            });
        }
        Ok(())
    }

    pub(super) fn to_bytes(self) -> [u8; CLIENT_HEADER_LEN] {
        let stamp = self.producer;
        let mut bytes = [0; CLIENT_HEADER_LEN];
        bytes[0] = VERSION;
        bytes[1] = self.codec.id();
        bytes[2..4].copy_from_slice(&self.attributes.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.records_len.to_le_bytes());
        if let Some(stamp) = stamp {
            bytes[12..14].copy_from_slice(&stamp.epoch.to_le_bytes());
            bytes[16..24].copy_from_slice(&stamp.id.0.to_le_bytes());
            bytes[24..28].copy_from_slice(&stamp.seq.to_le_bytes());
        }
        if self.attributes & SPARSE != 0 {
            bytes[28..32].copy_from_slice(&self.span.to_le_bytes());
        }
        bytes[32..48].copy_from_slice(&self.request_key.unwrap_or_default());
        bytes[48..56].copy_from_slice(&self.base_timestamp_ms.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.max_timestamp_ms.to_le_bytes());
        bytes
    }
}
