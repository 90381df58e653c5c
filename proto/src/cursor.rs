//! Cursors: where a reader stands in a topic, as one opaque token for every transport.
//!
//! base64url without padding over: version, topic id, and per partition (ascending, delta-coded varints)
//! offset and leader epoch, closed by a CRC32C. Opaque to clients: the layout may change with its version
//! byte. Reading one is total: any text gives a cursor or an error, and a cursor has one text.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

use crate::bytes::{Reader, put_uvarint, unzigzag, zigzag};
use crate::error::{ErrorCode, Problem};
use crate::id::{PartitionId, TopicId};
use crate::limits::CURSOR_BYTES_MAX;
use crate::position::{LeaderEpoch, Offset};

const VERSION: u8 = 1;
const CRC_LEN: usize = 4;

/// Where a reader stands in each of some partitions of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The topic's id: a cursor does not fit a later topic of the same name.
    pub topic_id: TopicId,
    /// The next record to read, by partition.
    pub positions: BTreeMap<PartitionId, CursorPosition>,
}

/// Where a reader stands in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CursorPosition {
    /// Offset of the next record to read.
    pub offset: Offset,
    /// Term of the leader it was read from, so that truncation behind the reader's back is noticed.
    pub leader_epoch: LeaderEpoch,
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
        }
    }

    /// The token.
    pub fn encode(&self) -> Result<String, CursorTooLarge> {
        let too_large = CursorTooLarge {
            partitions: self.positions.len(),
        };
        // Each position takes three bytes at least: no need to build what cannot fit.
        if self.positions.len() > CURSOR_BYTES_MAX / 3 {
            return Err(too_large);
        }
        let mut bytes = Vec::with_capacity(32 + self.positions.len() * 4);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.topic_id.as_bytes());
        put_uvarint(&mut bytes, self.positions.len() as u64);
        let mut previous = Previous::default();
        for (partition, position) in &self.positions {
            put_uvarint(&mut bytes, u64::from(partition.0) - previous.next_partition);
            let offset = position.offset.get();
            put_uvarint(
                &mut bytes,
                zigzag(offset.wrapping_sub(previous.offset).cast_signed()),
            );
            let epoch = position.leader_epoch.0;
            put_uvarint(
                &mut bytes,
                zigzag(epoch.wrapping_sub(previous.epoch).cast_signed()),
            );
            previous = Previous {
                next_partition: u64::from(partition.0) + 1,
                offset,
                epoch,
            };
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
            Some(&VERSION) => Self::read(body).ok_or(CursorError::Malformed),
            Some(&found) => Err(CursorError::UnknownVersion { found }),
            None => Err(CursorError::Malformed),
        }
    }

    fn read(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        reader.u8()?;
        let mut cursor = Self::new(TopicId::from_bytes(reader.array()?));
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
            cursor
                .positions
                .insert(PartitionId(u32::try_from(partition).ok()?), position);
            previous = Previous {
                next_partition: partition + 1,
                offset,
                epoch,
            };
        }
        reader.is_empty().then_some(cursor)
    }

    /// Takes over the positions of `other`; where both have one, `other`'s counts, being the later given.
    pub fn merge(&mut self, other: Self) -> Result<(), CursorError> {
        if self.topic_id != other.topic_id {
            return Err(CursorError::OtherTopic);
        }
        self.positions.extend(other.positions);
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn position(offset: u64, epoch: u64) -> CursorPosition {
        CursorPosition {
            offset: Offset::new(offset),
            leader_epoch: LeaderEpoch(epoch),
        }
    }

    fn cursor(positions: BTreeMap<u32, (u64, u64)>, topic: [u8; 16]) -> Cursor {
        let positions = positions
            .into_iter()
            .map(|(p, (o, e))| (PartitionId(p), position(o, e)));
        Cursor {
            topic_id: TopicId::from_bytes(topic),
            positions: positions.collect(),
        }
    }

    proptest! {
        #[test]
        fn cursors_read_back(positions: BTreeMap<u32, (u64, u64)>, topic: [u8; 16]) {
            let cursor = cursor(positions, topic);
            prop_assert_eq!(Cursor::parse(&cursor.encode().unwrap()), Ok(cursor));
        }

        #[test]
        fn any_text_gives_a_cursor_or_an_error(text in "\\PC{0,64}|[A-Za-z0-9_-]{0,64}") {
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.encode().unwrap(), text);
            }
        }

        #[test]
        fn bodies_with_a_good_checksum_never_panic(body: Vec<u8>) {
            let mut bytes = vec![VERSION];
            bytes.extend_from_slice(&[7; 16]);
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            if let Ok(cursor) = Cursor::parse(&text) {
                prop_assert_eq!(cursor.encode().unwrap(), text);
            }
        }
    }

    #[test]
    fn thousands_of_partitions_may_not_fit() {
        let many = |count: u32| {
            cursor(
                (0..count).map(|p| (p, (u64::from(p), 1))).collect(),
                [1; 16],
            )
        };
        assert!(many(1000).encode().unwrap().len() <= CURSOR_BYTES_MAX);
        assert_eq!(
            many(10_000).encode(),
            Err(CursorTooLarge { partitions: 10_000 })
        );
    }

    #[test]
    fn broken_cursors_are_told_apart() {
        let good = cursor(BTreeMap::from([(3, (9, 1))]), [1; 16])
            .encode()
            .unwrap();
        assert_eq!(Cursor::parse(&good[1..]), Err(CursorError::NotBase64));
        assert_eq!(
            Cursor::parse(&good.replacen('A', "B", 1)),
            Err(CursorError::Checksum)
        );
        assert_eq!(Cursor::parse(""), Err(CursorError::Checksum));
        assert_eq!(
            Cursor::parse(&"A".repeat(8193)),
            Err(CursorError::TooLong { len: 8193 })
        );
    }

    #[test]
    fn merging_lets_the_later_given_count() {
        let mut first = cursor(BTreeMap::from([(0, (1, 1)), (1, (1, 1))]), [1; 16]);
        first
            .merge(cursor(BTreeMap::from([(1, (5, 2)), (2, (7, 2))]), [1; 16]))
            .unwrap();
        assert_eq!(
            first,
            cursor(
                BTreeMap::from([(0, (1, 1)), (1, (5, 2)), (2, (7, 2))]),
                [1; 16]
            )
        );
        assert_eq!(
            first.merge(Cursor::new(TopicId::from_bytes([2; 16]))),
            Err(CursorError::OtherTopic)
        );
    }
}
