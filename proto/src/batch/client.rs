//! The client part of a batch: what the producer summed and sent, kept to the bit.
//!
//! A [`ClientBatch`] that exists has a readable header of a known version; whether its records are good
//! is said by `validate`, and whether its bytes are what the producer summed by `verify`.

use bytes::{Buf, Bytes};

use crate::batch::fault::BatchError;
use crate::batch::header::{
    CONTROL, HAS_PRODUCER, Header, ProducerStamp, REMADE, SPARSE, UNORDERED,
};
use crate::batch::records::{self, Records};
use crate::batch::{CLIENT_BYTES_MAX, CLIENT_HEADER_LEN, PlacementHeader};
use crate::compression::{Codec, CompressionError, decompress};

/// The producer's part of a batch. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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

    /// A client part with the checksum that its producer computed, which is checked.
    pub fn from_summed(bytes: Bytes, crc: u32) -> Result<Self, BatchError> {
        let batch = Self::from_stored(bytes, crc)?;
        batch.verify()?;
        Ok(batch)
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

    /// The same records under another stamp, or under none. Not for what a client made: that is kept as it
    /// is. The checksum is made out of the one before, so that it still says what was summed of the
    /// records. Copies the bytes when others share them.
    #[must_use]
    pub fn restamped(self, producer: Option<ProducerStamp>) -> Self {
        let mut header = self.header;
        header.producer = producer;
        header.attributes &= !(HAS_PRODUCER | UNORDERED);
        if let Some(stamp) = producer {
            header.attributes |= HAS_PRODUCER;
            if stamp.unordered {
                header.attributes |= UNORDERED;
            }
        }
        let front = header.to_bytes();
        let records_len = self.bytes.len() - CLIENT_HEADER_LEN;
        // CRCs are linear: what the two fronts differ by, seen through the records.
        let difference = crc32c::crc32c(&self.header.to_bytes()) ^ crc32c::crc32c(&front);
        let crc = self.crc ^ crc32c::crc32c_combine(difference, 0, records_len);
        let bytes = match self.bytes.try_into_mut() {
            Ok(mut own) => {
                own[..CLIENT_HEADER_LEN].copy_from_slice(&front);
                own.freeze()
            }
            Err(shared) => {
                let mut copy = Vec::with_capacity(shared.len());
                copy.extend_from_slice(&front);
                copy.extend_from_slice(&shared[CLIENT_HEADER_LEN..]);
                Bytes::from(copy)
            }
        };
        Self { bytes, crc, header }
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
