//! Cursors: where a reader stands in a topic, as one opaque token for every transport.
//!
//! base64url without padding over: version, topic id, and per partition (ascending, delta-coded varints)
//! offset and leader epoch, closed by a CRC32C. Version 2 adds the partitions of which nothing was read yet,
//! with the start that was asked for; without any, a cursor is one of version 1, which earlier builds read
//! too. Opaque to clients: the layout may change with its version byte. Reading one is total: any text gives
//! a cursor or an error, and a cursor has one text.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::bytes::{Reader, put_uvarint, unzigzag, zigzag};
use crate::error::{ErrorCode, Problem};
use crate::id::{PartitionId, TopicId};
use crate::limits::CURSOR_BYTES_MAX;
use crate::position::{LeaderEpoch, Offset};

/// Places only.
const VERSION: u8 = 1;
/// Places, and starts of those that were not read yet.
const VERSION_WITH_STARTS: u8 = 2;
const CRC_LEN: usize = 4;

/// Where a reader stands in each of some partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The topic's id: a cursor does not fit a later topic of the same name.
    pub topic_id: TopicId,
    /// The next record to read, by partition.
    pub positions: BTreeMap<PartitionId, CursorPosition>,
    /// Partitions that could not be reached yet, none of which has a position. One in neither map is
    /// read from its first record: it is younger than the cursor, or that was asked for.
    pub starts: BTreeMap<PartitionId, CursorStart>,
}

/// Where a reader stands in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorPosition {
    /// Offset of the next record to read.
    pub offset: Offset,
    /// Term of the leader it was read from, so that truncation behind the reader's back is noticed.
    pub leader_epoch: LeaderEpoch,
}

/// Where to begin in a partition that could not be reached when it was asked for: the end moves meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorStart {
    /// With the first record that is not older, in epoch milliseconds.
    pub time_ms: i64,
    /// So many records before that one.
    pub back: u64,
}

/// The positions do not fit into a cursor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a cursor over {partitions} partitions has more than {CURSOR_BYTES_MAX} characters")]
pub struct CursorTooLarge {
    /// How many partitions it is over.
    pub partitions: usize,
}

/// Why a text is not a cursor, or not one that fits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CursorError {
    /// Longer than any cursor.
    #[error("a cursor has at most {CURSOR_BYTES_MAX} characters, this text has {len}")]
    TooLong {
        /// Length found.
        len: usize,
    },
    /// Not base64url without padding.
    #[error("the cursor is not base64url")]
    NotBase64,
    /// Cut or changed.
    #[error("the cursor was cut or changed")]
    Checksum,
    /// Made by a version that this build does not know.
    #[error("the cursor has unknown version {found}")]
    UnknownVersion {
        /// Version found.
        found: u8,
    },
    /// Numbers that no cursor has.
    #[error("the cursor is malformed")]
    Malformed,
    /// Cursors of different topics cannot be merged.
    #[error("the cursors are of different topics")]
    OtherTopic,
}

impl Cursor {
    /// A cursor without positions.
    #[must_use]
    pub const fn new(topic_id: TopicId) -> Self {
        Self {
            topic_id,
            positions: BTreeMap::new(),
            starts: BTreeMap::new(),
        }
    }

    /// A cursor of one partition.
    #[must_use]
    pub fn single(
        topic_id: TopicId,
        partition: PartitionId,
        offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Self {
        let positions = BTreeMap::from([(
            partition,
            CursorPosition {
                offset,
                leader_epoch,
            },
        )]);
        Self {
            topic_id,
            positions,
            starts: BTreeMap::new(),
        }
    }

    /// The token.
    pub fn encode(&self) -> Result<String, CursorTooLarge> {
        let partitions = self.positions.len() + self.starts.len();
        let too_large = CursorTooLarge { partitions };
        // Each takes three bytes at least: no need to build what cannot fit.
        if partitions > CURSOR_BYTES_MAX / 3 {
            return Err(too_large);
        }
        let mut bytes = Vec::with_capacity(32 + partitions * 4);
        bytes.push(match self.starts.is_empty() {
            true => VERSION,
            false => VERSION_WITH_STARTS,
        });
        bytes.extend_from_slice(self.topic_id.as_bytes());
        self.put_positions(&mut bytes);
        if !self.starts.is_empty() {
            self.put_starts(&mut bytes);
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let text = URL_SAFE_NO_PAD.encode(&bytes);
        if text.len() > CURSOR_BYTES_MAX {
            Err(too_large)
        } else {
            Ok(text)
        }
    }

    fn put_positions(&self, bytes: &mut Vec<u8>) {
        put_uvarint(bytes, self.positions.len() as u64);
        let mut previous = Previous::default();
        for (partition, position) in &self.positions {
            put_uvarint(bytes, u64::from(partition.0) - previous.next_partition);
            let offset = position.offset.get();
            put_uvarint(
                bytes,
                zigzag(offset.wrapping_sub(previous.offset).cast_signed()),
            );
            let epoch = position.leader_epoch.0;
            put_uvarint(
                bytes,
                zigzag(epoch.wrapping_sub(previous.epoch).cast_signed()),
            );
            previous = Previous {
                next_partition: u64::from(partition.0) + 1,
                offset,
                epoch,
            };
        }
    }

    fn put_starts(&self, bytes: &mut Vec<u8>) {
        put_uvarint(bytes, self.starts.len() as u64);
        let (mut next_partition, mut time_ms) = (0, 0_i64);
        for (partition, start) in &self.starts {
            put_uvarint(bytes, u64::from(partition.0) - next_partition);
            put_uvarint(bytes, zigzag(start.time_ms.wrapping_sub(time_ms)));
            put_uvarint(bytes, start.back);
            (next_partition, time_ms) = (u64::from(partition.0) + 1, start.time_ms);
        }
    }

    /// Reads a token.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        if text.len() > CURSOR_BYTES_MAX {
            return Err(CursorError::TooLong { len: text.len() });
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| CursorError::NotBase64)?;
        let (body, crc) = bytes
            .split_last_chunk::<CRC_LEN>()
            .ok_or(CursorError::Checksum)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(CursorError::Checksum);
        }
        match body.first() {
            Some(&(VERSION | VERSION_WITH_STARTS)) => {
                Self::read(body).ok_or(CursorError::Malformed)
            }
            Some(&found) => Err(CursorError::UnknownVersion { found }),
            None => Err(CursorError::Malformed),
        }
    }

    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let version = reader.u8()?;
        let mut cursor = Self::new(TopicId::from_bytes(reader.array()?));
        cursor.take_positions(&mut reader)?;
        if version == VERSION_WITH_STARTS {
            cursor.take_starts(&mut reader)?;
        }
        reader.is_empty().then_some(cursor)
    }

    fn take_positions(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let count = reader.uvarint()?;
        let mut previous = Previous::default();
        for _ in 0..count {
            let partition = previous.next_partition.checked_add(reader.uvarint()?)?;
            let offset = previous
                .offset
                .wrapping_add(unzigzag(reader.uvarint()?).cast_unsigned());
            let epoch = previous
                .epoch
                .wrapping_add(unzigzag(reader.uvarint()?).cast_unsigned());
            let position = CursorPosition {
                offset: Offset::new(offset),
                leader_epoch: LeaderEpoch(epoch),
            };
            self.positions
                .insert(PartitionId(u32::try_from(partition).ok()?), position);
            previous = Previous {
                next_partition: partition + 1,
                offset,
                epoch,
            };
        }
        Some(())
    }

    /// One at least, or the cursor would have two texts; and none that has a position.
    fn take_starts(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let count = reader.uvarint()?;
        let (mut next_partition, mut time_ms) = (0_u64, 0_i64);
        for _ in 0..count {
            let number = next_partition.checked_add(reader.uvarint()?)?;
            let partition = PartitionId(u32::try_from(number).ok()?);
            if self.positions.contains_key(&partition) {
                return None;
            }
            time_ms = time_ms.wrapping_add(unzigzag(reader.uvarint()?));
            let back = reader.uvarint()?;
            self.starts.insert(partition, CursorStart { time_ms, back });
            next_partition = number + 1;
        }
        (count > 0).then_some(())
    }

    /// Takes over what `other` says; where both say something, `other`'s counts, being the later given.
    pub fn merge(&mut self, other: Self) -> Result<(), CursorError> {
        if self.topic_id != other.topic_id {
            return Err(CursorError::OtherTopic);
        }
        self.positions
            .retain(|partition, _| !other.starts.contains_key(partition));
        self.starts
            .retain(|partition, _| !other.positions.contains_key(partition));
        self.positions.extend(other.positions);
        self.starts.extend(other.starts);
        Ok(())
    }
}

/// What the next position is coded against.
#[derive(Default)]
struct Previous {
    next_partition: u64,
    offset: u64,
    epoch: u64,
}

impl From<CursorTooLarge> for Problem {
    fn from(error: CursorTooLarge) -> Self {
        let detail = format!("{error}; name fewer partitions with `partitions=`");
        Self::new(ErrorCode::CursorTooLarge, detail).with("limit", CURSOR_BYTES_MAX)
    }
}

impl From<CursorError> for Problem {
    fn from(error: CursorError) -> Self {
        let code = match error {
            CursorError::TooLong { .. } => ErrorCode::CursorTooLarge,
            _ => ErrorCode::InvalidParameter,
        };
        Self::new(code, error.to_string()).at("cursor", error.to_string())
    }
}

#[cfg(test)]
mod tests;
