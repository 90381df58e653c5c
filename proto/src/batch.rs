//! Record batches: the one form in which records are sent, stored, replicated and read.
//!
//! A stored batch is a 72-byte placement header, the server's, and the client part, the producer's,
//! which is never rewritten. Two checksums: `header_crc` binds the batch to topic id, partition and
//! offset; `payload_crc` is the producer's own over the client part. docs/wire-format.md has the tables.
//! Invariant: no input makes anything here panic, nor allocate more than limits.rs allows.

mod fault;

mod records;

mod header;

mod client;

mod builder;

mod sparse;

mod recompressed;

pub use builder::BatchBuilder;
pub use client::{ClientBatch, epoch_marker};
pub use fault::{BatchError, RecordFault};
pub use header::ProducerStamp;
pub use records::{Records, RecordsIter};
pub use sparse::Kept;

use bytes::{Buf, Bytes};

use crate::bytes::Reader;
use crate::id::{PartitionId, TopicId};
use crate::limits::BATCH_BYTES_MAX;
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::record::RecordView;

/// First four bytes of every batch.
pub const MAGIC: [u8; 4] = *b"TGB1";
/// Length of the placement header, in bytes.
pub const PLACEMENT_LEN: usize = 72;
/// Length of the client part's own header, in bytes.
pub const CLIENT_HEADER_LEN: usize = 64;
/// Largest client part, in bytes.
pub const CLIENT_BYTES_MAX: usize = BATCH_BYTES_MAX - PLACEMENT_LEN;

/// Bytes of the placement header that `header_crc` covers.
const HEADER_CRC_AT: usize = 68;
const FLAG_APPEND_TIMESTAMPS: u32 = 1;

/// Where a batch is in a log: the server's part of a stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Which partition of which topic.
    pub key: ReplicaKey,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Term of the leader that placed it.
    pub leader_epoch: LeaderEpoch,
    /// High watermark that leader knew then.
    pub high_watermark: Offset,
    /// When it was placed, in milliseconds since the epoch.
    pub append_time_ms: i64,
    /// True when records carry `append_time_ms` instead of the producer's time.
    pub append_timestamps: bool,
}

/// A placement header with what it says of the client part; its own checksum is good.
///
/// Lets a scan step over a batch whose client part is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacementHeader {
    /// The placement.
    pub placement: Placement,
    /// Length of the client part, in bytes.
    pub client_len: usize,
    /// CRC32C that the client part must have.
    pub payload_crc: u32,
}

impl PlacementHeader {
    /// Reads the header at the start of `bytes`: magic, checksum, then length, in that order.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some((header, _)) = bytes.split_first_chunk::<PLACEMENT_LEN>() else {
            // A wrong start is worth more to a caller than "feed me more".
            return match bytes.first_chunk::<4>() {
                Some(found) if *found != MAGIC => Err(BatchError::BadMagic { found: *found }),
                _ => Err(BatchError::Truncated {
                    needed: PLACEMENT_LEN,
                }),
            };
        };
        Self::parse_whole(header).unwrap_or(Err(BatchError::Truncated {
            needed: PLACEMENT_LEN,
        }))
    }

    /// `None` cannot come: the fields add up to the array's length.
    fn parse_whole(header: &[u8; PLACEMENT_LEN]) -> Option<Result<Self, BatchError>> {
        let mut reader = Reader::new(header);
        let found = reader.array::<4>()?;
        if found != MAGIC {
            return Some(Err(BatchError::BadMagic { found }));
        }
        let client_len = reader.u32()? as usize;
        let key = ReplicaKey {
            topic_id: TopicId::from_bytes(reader.array()?),
            partition: PartitionId(reader.u32()?),
        };
        let flags = reader.u32()?;
        let placement = Placement {
            key,
            base_offset: Offset::new(reader.u64()?),
            leader_epoch: LeaderEpoch(reader.u64()?),
            high_watermark: Offset::new(reader.u64()?),
            append_time_ms: reader.i64()?,
            append_timestamps: flags & FLAG_APPEND_TIMESTAMPS != 0,
        };
        let payload_crc = reader.u32()?;
        let stated = reader.u32()?;
        let found = crc32c::crc32c(header.get(..HEADER_CRC_AT)?);
        if stated != found {
            return Some(Err(BatchError::HeaderCrc { stated, found }));
        }
        if flags & !FLAG_APPEND_TIMESTAMPS != 0 {
            return Some(Err(BatchError::UnknownFlags { found: flags }));
        }
        if client_len < CLIENT_HEADER_LEN {
            return Some(Err(BatchError::TooShort { len: client_len }));
        }
        if client_len > CLIENT_BYTES_MAX {
            return Some(Err(BatchError::TooLong {
                len: client_len,
                max: CLIENT_BYTES_MAX,
            }));
        }
        Some(Ok(Self {
            placement,
            client_len,
            payload_crc,
        }))
    }

    /// Length of the whole batch, in bytes.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        PLACEMENT_LEN + self.client_len
    }

    /// Takes a whole batch off the front of `buf`; `buf` is unchanged on error.
    fn split(buf: &mut Bytes) -> Result<(Self, Bytes), BatchError> {
        let header = Self::parse(buf)?;
        let needed = header.encoded_len();
        if buf.len() < needed {
            return Err(BatchError::Truncated { needed });
        }
        let mut whole = buf.slice(..needed);
        whole.advance(PLACEMENT_LEN);
        Ok((header, whole))
    }
}

/// A stored batch: the producer's part, placed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// Where it is.
    pub placement: Placement,
    /// What the producer sent.
    pub client: ClientBatch,
}

impl Batch {
    /// Length of the stored form, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        PLACEMENT_LEN + self.client.len()
    }

    /// The placement header in its stored form; the client part's bytes follow it.
    #[must_use]
    pub fn header_bytes(&self) -> [u8; PLACEMENT_LEN] {
        let placement = &self.placement;
        let mut flags = 0;
        if placement.append_timestamps {
            flags |= FLAG_APPEND_TIMESTAMPS;
        }
        let mut header = [0; PLACEMENT_LEN];
        let mut rest = header.as_mut_slice();
        let mut put = |bytes: &[u8]| {
            let (head, tail) = std::mem::take(&mut rest).split_at_mut(bytes.len());
            head.copy_from_slice(bytes);
            rest = tail;
        };
        put(&MAGIC);
        put(&self.client.len_u32().to_le_bytes());
        put(placement.key.topic_id.as_bytes());
        put(&placement.key.partition.0.to_le_bytes());
        put(&flags.to_le_bytes());
        put(&placement.base_offset.get().to_le_bytes());
        put(&placement.leader_epoch.0.to_le_bytes());
        put(&placement.high_watermark.get().to_le_bytes());
        put(&placement.append_time_ms.to_le_bytes());
        put(&self.client.crc().to_le_bytes());
        let crc = crc32c::crc32c(&header[..HEADER_CRC_AT]);
        header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        header
    }

    /// Offset after the last one that the batch takes; the base offset itself for a control batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.placement
            .base_offset
            .plus(u64::from(self.client.span()))
    }

    /// The offset of a record of this batch.
    #[must_use]
    pub fn offset_of(&self, record: &RecordView<'_>) -> Offset {
        self.placement
            .base_offset
            .plus(u64::from(record.offset_delta))
    }

    /// Appends the stored form to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.encoded_len());
        out.extend_from_slice(&self.header_bytes());
        out.extend_from_slice(self.client.as_bytes());
    }

    /// Takes one stored batch off the front of `buf`, without copying; `buf` is unchanged on error.
    ///
    /// Checks the placement header's checksum before it trusts the length, and the client part's
    /// header; the client part's checksum is left to [`Batch::verify`]. Too few bytes give
    /// [`BatchError::Truncated`] with how many are needed from the start of `buf`.
    pub fn decode(buf: &mut Bytes) -> Result<Self, BatchError> {
        let (header, client_bytes) = PlacementHeader::split(buf)?;
        let client = ClientBatch::from_stored(client_bytes, header.payload_crc)?;
        let span = u64::from(client.span());
        if header.placement.base_offset.checked_add(span).is_none() {
            return Err(BatchError::OffsetOverflow);
        }
        buf.advance(header.encoded_len());
        Ok(Self {
            placement: header.placement,
            client,
        })
    }

    /// Checks the producer's checksum over the client part.
    pub fn verify(&self) -> Result<(), BatchError> {
        self.client.verify()
    }

    /// The time a record of this batch carries, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamp_of(&self, record: &RecordView<'_>) -> i64 {
        if self.placement.append_timestamps {
            self.placement.append_time_ms
        } else {
            record.timestamp_ms
        }
    }

    /// The latest time any record of this batch carries, in milliseconds since the epoch.
    #[must_use]
    pub fn max_timestamp_ms(&self) -> i64 {
        if self.placement.append_timestamps {
            self.placement.append_time_ms
        } else {
            self.client.max_timestamp_ms()
        }
    }
}

#[cfg(test)]
mod tests;
