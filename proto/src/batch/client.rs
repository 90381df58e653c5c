//! The client part of a batch: what the producer summed and sent, kept to the bit.
//!
//! A [`ClientBatch`] that exists has a readable header of a known version; whether its records are good
//! is said by `validate`, and whether its bytes are what the producer summed by `verify`.

use bytes::{Buf, Bytes};

use crate::batch::fault::BatchError;
use crate::batch::records::{self, RECORD_LEN_MIN, Records};
use crate::batch::{CLIENT_BYTES_MAX, CLIENT_HEADER_LEN, PlacementHeader};
use crate::bytes::Reader;
use crate::compression::{Codec, CompressionError, decompress};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
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

/// The producer's part of a batch. Cheap to clone; never rewritten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientBatch {
    bytes: Bytes,
    crc: u32,
    header: Header,
}

impl ClientBatch {
    /// Takes one whole wire batch off the front of a produce body, without copying; `body` is unchanged
    /// on error. The placement header's server fields are ignored, its lengths and both checksums are
    /// checked. [`ClientBatch::validate`] is still to be called.
    pub fn take_from(body: &mut Bytes) -> Result<Self, BatchError> {
        let (header, bytes) = PlacementHeader::split(body)?;
        let batch = Self::from_stored(bytes, header.payload_crc)?;
        batch.verify()?;
        body.advance(header.encoded_len());
        Ok(batch)
    }

    /// A client part without its placement header; computes the checksum.
    pub fn from_client_part(bytes: Bytes) -> Result<Self, BatchError> {
        let header = Header::parse(&bytes)?;
        let crc = crc32c::crc32c(&bytes);
        Ok(Self { bytes, crc, header })
    }

    /// A client part with the checksum it is said to have, unchecked.
    pub(super) fn from_stored(bytes: Bytes, crc: u32) -> Result<Self, BatchError> {
        let header = Header::parse(&bytes)?;
        Ok(Self { bytes, crc, header })
    }

    /// Checks the checksum.
    pub fn verify(&self) -> Result<(), BatchError> {
        let found = crc32c::crc32c(&self.bytes);
        if found == self.crc {
            Ok(())
        } else {
            Err(BatchError::PayloadCrc {
                stated: self.crc,
                found,
            })
        }
    }

    /// Checks all that a server must know before it takes a client's batch: not a control batch, at
    /// least one record, and every record whole, of its kind (UTF-8 is, JSON is one JSON text of depth
    /// at most 32), within its limits; the count, lengths and greatest timestamp as the header says.
    ///
    /// `record_bytes_max` bounds key, value, header names and header values of one record together.
    /// Does not read the checksum.
    pub fn validate(&self, record_bytes_max: usize) -> Result<(), BatchError> {
        if self.is_control() {
            return Err(BatchError::ControlFromClient);
        }
        if self.header.attributes & REMADE != 0 {
            return Err(BatchError::Attributes {
                found: self.header.attributes,
            });
        }
        if self.record_count() == 0 {
            return Err(BatchError::Empty);
        }
        let records = self.records()?;
        let mut max_timestamp_ms = i64::MIN;
        for (index, record) in (0_u32..).zip(records.iter()) {
            let record = record?;
            records::check(&record, record_bytes_max)
                .map_err(|fault| BatchError::Record { index, fault })?;
            max_timestamp_ms = max_timestamp_ms.max(record.timestamp_ms);
        }
        if max_timestamp_ms != self.header.max_timestamp_ms {
            let stated = self.header.max_timestamp_ms;
            return Err(BatchError::MaxTimestamp {
                stated,
                found: max_timestamp_ms,
            });
        }
        Ok(())
    }

    /// The records, decompressed if need be. Without compression nothing is copied.
    pub fn records(&self) -> Result<Records, BatchError> {
        let stated = self.header.records_len as usize;
        let packed = self.bytes.slice(CLIENT_HEADER_LEN..);
        let bytes = match self.header.codec {
            Codec::None => packed,
            _ if self.header.record_count == 0 && packed.is_empty() => packed,
            codec => {
                let out = decompress(codec, &packed, stated).map_err(|error| match error {
                    CompressionError::TooLarge { .. } => BatchError::RecordsLength {
                        stated,
                        found: stated.saturating_add(1),
                    },
                    other => other.into(),
                })?;
                if out.len() != stated {
                    return Err(BatchError::RecordsLength {
                        stated,
                        found: out.len(),
                    });
                }
                Bytes::from(out)
            }
        };
        Ok(Records::new(
            bytes,
            self.header.record_count,
            self.header.base_timestamp_ms,
            self.is_sparse().then_some(self.header.span),
        ))
    }

    /// CRC32C of the bytes, as the producer computed it.
    #[must_use]
    pub const fn crc(&self) -> u32 {
        self.crc
    }

    /// The bytes: 64-byte header and records.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Length in bytes; at least that of the header.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a header is always there")]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounded when the header was parsed"
    )]
    pub(super) const fn len_u32(&self) -> u32 {
        const { assert!(CLIENT_BYTES_MAX <= u32::MAX as usize) };
        self.bytes.len() as u32
    }

    /// How the records are compressed.
    #[must_use]
    pub const fn codec(&self) -> Codec {
        self.header.codec
    }

    /// Offsets that the batch takes: as many as it has records, unless it is sparse.
    #[must_use]
    pub const fn span(&self) -> u32 {
        self.header.span
    }

    /// True when compaction took records out: those that are left say at which offset they are.
    #[must_use]
    pub const fn is_sparse(&self) -> bool {
        self.header.attributes & SPARSE != 0
    }

    /// Number of records.
    #[must_use]
    pub const fn record_count(&self) -> u32 {
        self.header.record_count
    }

    /// Length of the records before compression, in bytes, as the header says.
    #[must_use]
    pub const fn records_len(&self) -> usize {
        self.header.records_len as usize
    }

    /// True for the log's own batches, which hold no records and take no offset.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.header.attributes & CONTROL != 0
    }

    /// True when a server made this client part anew: in another codec, or without some records.
    #[must_use]
    pub const fn is_remade(&self) -> bool {
        self.header.attributes & REMADE != 0
    }

    /// The producer's stamp, if there is one.
    #[must_use]
    pub const fn producer(&self) -> Option<ProducerStamp> {
        self.header.producer
    }

    /// The request key, if there is one.
    #[must_use]
    pub const fn request_key(&self) -> Option<[u8; 16]> {
        self.header.request_key
    }

    /// What timestamps in the batch are relative to, in milliseconds since the epoch.
    #[must_use]
    pub const fn base_timestamp_ms(&self) -> i64 {
        self.header.base_timestamp_ms
    }

    /// The greatest timestamp in the batch, in milliseconds since the epoch.
    #[must_use]
    pub const fn max_timestamp_ms(&self) -> i64 {
        self.header.max_timestamp_ms
    }

    pub(super) const fn header(&self) -> &Header {
        &self.header
    }
}

/// The control batch that opens an epoch: no records, no offset (rule E4).
#[must_use]
pub fn epoch_marker(timestamp_ms: i64) -> ClientBatch {
    let header = Header {
        codec: Codec::None,
        attributes: CONTROL,
        record_count: 0,
        records_len: 0,
        span: 0,
        producer: None,
        request_key: None,
        base_timestamp_ms: timestamp_ms,
        max_timestamp_ms: timestamp_ms,
    };
    let bytes = Bytes::copy_from_slice(&header.to_bytes());
    ClientBatch {
        crc: crc32c::crc32c(&bytes),
        bytes,
        header,
    }
}

pub(super) fn from_parts(header: Header, mut bytes: Vec<u8>) -> ClientBatch {
    // The builder keeps room for the header in front of the records.
    bytes[..CLIENT_HEADER_LEN].copy_from_slice(&header.to_bytes());
    let bytes = Bytes::from(bytes);
    ClientBatch {
        crc: crc32c::crc32c(&bytes),
        bytes,
        header,
    }
}
