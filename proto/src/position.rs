//! Places in a partition: offsets, epochs, and where a reader wants to start.
//!
//! Arithmetic on offsets is done here and is checked: an offset that would pass `u64::MAX` is a
//! broken invariant, not a wrap-around.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::id::{PartitionId, TopicId};
use crate::limits::INTEGER_MAX;
use crate::time::parse_time_ms;

/// Place of a record in its partition. The first record is at 0, the next at 1: dense, no holes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Self = Self(0);

    /// The offset of that number.
    #[must_use]
    pub const fn new(offset: u64) -> Self {
        Self(offset)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The offset `count` further on; `None` past the largest number.
    #[must_use]
    pub const fn checked_add(self, count: u64) -> Option<Self> {
        match self.0.checked_add(count) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The offset `count` further on.
    ///
    /// # Panics
    /// Past `u64::MAX`: no partition holds that many records, so a caller has lost count. Use
    /// [`Offset::checked_add`] on numbers from outside.
    #[must_use]
    pub const fn plus(self, count: u64) -> Self {
        self.checked_add(count)
            .expect("no partition holds 2^64 records")
    }

    /// The offset `count` back, or zero.
    #[must_use]
    pub const fn minus_or_zero(self, count: u64) -> Self {
        Self(self.0.saturating_sub(count))
    }

    /// Number of offsets from `lower` up to this one; 0 when `lower` is not below it.
    #[must_use]
    pub const fn distance_from(self, lower: Self) -> u64 {
        self.0.saturating_sub(lower.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Offset {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, std::num::ParseIntError> {
        text.parse().map(Self)
    }
}

/// Term of a partition's leader; each new leader, and each restart of one, has a greater one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct LeaderEpoch(pub u64);

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How far a log goes. The epoch tells a log from another one that ends at the same offset, and one that
/// has the marker of an epoch from one that lacks it: markers take no offset. Of two logs that agree, the one
/// at the greater position is the longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition {
    /// The offset behind the last record.
    pub end: Offset,
    /// The epoch of the last batch, markers among them; none when nothing was ever in it.
    pub last_epoch: Option<LeaderEpoch>,
}

/// A partition of one life of a topic: what a log, a replica and a placement header are named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaKey {
    /// The topic's id, not its name: names are used again.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionId,
}

impl fmt::Display for ReplicaKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id, self.partition)
    }
}

/// Where a reader wants to start. As text: `earliest`, `latest`, `N`, `-N`, `@time`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartPosition {
    /// The first record still kept.
    Earliest,
    /// The high watermark: only what comes from now on.
    Latest,
    /// That offset; outside the log is an error, never a jump.
    Offset(Offset),
    /// So many records before the high watermark, or the first one kept.
    FromEnd(u64),
    /// The first record at or after that time, in milliseconds since the epoch.
    Time(i64),
}

/// The text is none of the forms of [`StartPosition`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "expected earliest, latest, an offset, -N for N records before the end, or @time in epoch milliseconds or RFC 3339"
)]
pub struct StartPositionError;

impl FromStr for StartPosition {
    type Err = StartPositionError;

    fn from_str(text: &str) -> Result<Self, StartPositionError> {
        let number = |digits: &str| -> Result<u64, StartPositionError> {
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(StartPositionError);
            }
            let number = digits.parse().map_err(|_| StartPositionError)?;
            if number > INTEGER_MAX {
                Err(StartPositionError)
            } else {
                Ok(number)
            }
        };
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return parse_time_ms(time)
                .map(Self::Time)
                .ok_or(StartPositionError);
        }
        if let Some(count) = text.strip_prefix('-') {
            return number(count).map(Self::FromEnd);
        }
        number(text).map(|offset| Self::Offset(Offset::new(offset)))
    }
}

impl fmt::Display for StartPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Offset(offset) => write!(f, "{offset}"),
            Self::FromEnd(count) => write!(f, "-{count}"),
            Self::Time(time_ms) => write!(f, "@{time_ms}"),
        }
    }
}

impl Serialize for StartPosition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// A bare JSON number is taken as well: `"from": 0` is what people write.
impl<'de> Deserialize<'de> for StartPosition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = StartPosition;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("earliest, latest, an offset, -N or @time")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<StartPosition, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<StartPosition, E> {
                self.visit_str(&number.to_string())
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<StartPosition, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for StartPosition {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        <String as utoipa::PartialSchema>::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for StartPosition {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_positions_are_read_and_written_the_same() {
        for (text, position) in [
            ("earliest", StartPosition::Earliest),
            ("latest", StartPosition::Latest),
            ("0", StartPosition::Offset(Offset::ZERO)),
            (
                "9007199254740991",
                StartPosition::Offset(Offset::new(INTEGER_MAX)),
            ),
            ("-10", StartPosition::FromEnd(10)),
            ("@1700000000000", StartPosition::Time(1_700_000_000_000)),
            ("@-1", StartPosition::Time(-1)),
        ] {
            assert_eq!(text.parse(), Ok(position));
            assert_eq!(position.to_string(), text);
        }
        assert_eq!(
            "@1970-01-01T00:00:01Z".parse(),
            Ok(StartPosition::Time(1000))
        );
    }

    #[test]
    fn other_texts_are_no_start_position() {
        for text in [
            "",
            "-",
            "@",
            "+1",
            "1.0",
            "Earliest",
            " 1",
            "--1",
            "9007199254740992",
            "@x",
            "１",
        ] {
            assert_eq!(
                text.parse::<StartPosition>(),
                Err(StartPositionError),
                "{text}"
            );
        }
    }

    #[test]
    fn json_takes_numbers_and_texts() {
        let read = |text: &str| serde_json::from_str::<StartPosition>(text).unwrap();
        assert_eq!(read("5"), StartPosition::Offset(Offset::new(5)));
        assert_eq!(read("-5"), StartPosition::FromEnd(5));
        assert_eq!(read("\"latest\""), StartPosition::Latest);
        assert!(serde_json::from_str::<StartPosition>("1.5").is_err());
    }

    #[test]
    fn offsets_never_wrap() {
        let last = Offset::new(u64::MAX);
        assert_eq!(last.checked_add(1), None);
        assert_eq!(Offset::ZERO.distance_from(last), 0);
        assert_eq!(last.distance_from(Offset::ZERO), u64::MAX);
        assert_eq!(Offset::new(3).minus_or_zero(5), Offset::ZERO);
    }
}
