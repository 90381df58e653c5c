//! Which versions of the frames a side speaks: a header of the request, and the choice in the answer.
//!
//! A side offers all it can (`1-2`), the other answers the greatest that both can (`2`). So a node of
//! one release talks to one of the next.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The header with the range in a request and the choice in its answer.
pub const VERSION_HEADER: &str = "tidegate-frames";
/// What this build speaks.
pub const VERSIONS: VersionRange = VersionRange { least: 1, most: 1 };

/// Versions from `least` to `most`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VersionRange {
    least: u16,
    most: u16,
}

/// The text is no range of versions.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no range of versions such as 1-2")]
pub struct VersionRangeError(String);

impl VersionRange {
    /// Versions from `least` to `most`; none when there is none between them.
    #[must_use]
    pub const fn new(least: u16, most: u16) -> Option<Self> {
        if least <= most {
            Some(Self { least, most })
        } else {
            None
        }
    }

    /// The greatest version in both.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let most = self.most.min(other.most);
        (most >= self.least && most >= other.least).then_some(most)
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: u16) -> bool {
        self.least <= version && version <= self.most
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.least, self.most)
    }
}

impl FromStr for VersionRange {
    type Err = VersionRangeError;

    fn from_str(text: &str) -> Result<Self, VersionRangeError> {
        let range = text
            .split_once('-')
            .and_then(|(least, most)| Self::new(least.parse().ok()?, most.parse().ok()?));
        range.ok_or_else(|| VersionRangeError(text.chars().take(32).collect()))
    }
}
