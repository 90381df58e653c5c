//! What a producer may ask for, and what it is told about durability.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What an acknowledgement waits for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Acks {
    /// Admitted to the queue: answered 202, nothing promised.
    None,
    /// Durable on the leader: survives its restart, not a failover.
    Leader,
    /// Durable on every in-sync replica: survives failover.
    #[default]
    Quorum,
}

impl Acks {
    /// The word used in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Leader => "leader",
            Self::Quorum => "quorum",
        }
    }

    /// How durable a record is once it has been acknowledged at this level.
    #[must_use]
    pub const fn durable(self) -> Durable {
        match self {
            Self::None => Durable::Memory,
            Self::Leader => Durable::Leader,
            Self::Quorum => Durable::Quorum,
        }
    }
}

/// The text is none of `none`, `leader`, `quorum`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("expected none, leader or quorum")]
pub struct AcksError;

impl FromStr for Acks {
    type Err = AcksError;
    fn from_str(text: &str) -> Result<Self, AcksError> {
        match text {
            "none" => Ok(Self::None),
            "leader" => Ok(Self::Leader),
            "quorum" => Ok(Self::Quorum),
            _ => Err(AcksError),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How durable an acknowledged record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Durable {
    /// In the memory of the leader's system, and on its disk a moment later: it survives the end of the
    /// server, and not that of the machine. Of a request that asked for no acknowledgement: nothing is
    /// promised.
    Memory,
    /// On the leader's disk.
    Leader,
    /// On the disk of every in-sync replica.
    Quorum,
}

impl Durable {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Leader => "leader",
            Self::Quorum => "quorum",
        }
    }
}

impl fmt::Display for Durable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
