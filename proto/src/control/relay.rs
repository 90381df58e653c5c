//! What controllers tell each other of the storage units: what they hear goes to the holder of the lease,
//! and from him to all.
//!
//! Plain data, JSON on the private plane. Ages travel, not times: controllers' clocks differ.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::session::check_numbers;
use super::{DiskSpace, Heartbeat, StatusReport, Traffic};
use crate::error::Problem;
use crate::id::{Incarnation, SpuId};

/// What one controller heard, for the one that holds the lease.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RelayRequest {
    /// The newest of each unit.
    pub heartbeats: Vec<RelayedHeartbeat>,
}

impl RelayRequest {
    /// Whether its epochs, offsets and counts of signs are such as there are.
    ///
    /// # Errors
    /// 400 with the first that is above [`INTEGER_MAX`](crate::limits::INTEGER_MAX).
    pub fn check(&self) -> Result<(), Problem> {
        for relayed in &self.heartbeats {
            check_numbers([("first_beat", relayed.first_beat)])?;
            relayed.heartbeat.check()?;
        }
        Ok(())
    }
}

/// A heartbeat that came to another controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayedHeartbeat {
    /// As it came, with what those since `first_beat` said and it did not repeat.
    pub heartbeat: Heartbeat,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
    /// The first of those that it stands for; 0 of controllers that do not say.
    #[serde(default)]
    pub first_beat: u64,
}

/// `GET /internal/v1/reports`: what the holder of the lease knows of the units, from a place on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReportsQuery {
    /// Who told the last part; absent at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Uuid>,
    /// `upto` of the last part; 0 at the beginning.
    #[serde(default)]
    pub after: u64,
}

/// A part of it: what changed after the place that was asked for, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reports {
    /// Who tells: places mean nothing to others.
    pub source: Uuid,
    /// The place to go on from.
    pub upto: u64,
    /// More is there already; `units` come with the last part.
    pub has_more: bool,
    /// Units of which something was heard.
    pub units: Vec<ReportedUnit>,
    /// Partitions whose leaders said something.
    pub statuses: Vec<ReportedStatus>,
}

/// What one unit said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedUnit {
    /// The unit.
    pub spu_id: SpuId,
    /// Its registration.
    pub incarnation: Incarnation,
    /// See [`Heartbeat::beat`].
    pub beat: u64,
    /// How long ago that came, in milliseconds.
    pub age_ms: u64,
    /// The sign of life since which nothing that it said was missed.
    pub whole_from: u64,
    /// How long ago it had told of all that had changed, in milliseconds; none when it never had.
    pub complete_ms: Option<u64>,
    /// See [`Heartbeat::draining`].
    pub draining: bool,
    /// See [`Heartbeat::disk`].
    pub disk: DiskSpace,
    /// See [`Heartbeat::traffic`].
    pub traffic: Traffic,
}

/// What a leader said of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedStatus {
    /// The leader.
    pub spu_id: SpuId,
    /// Its registration.
    pub incarnation: Incarnation,
    /// The sign of life that it came with.
    pub beat: u64,
    /// How long ago, in milliseconds.
    pub age_ms: u64,
    /// What it said.
    pub report: StatusReport,
}
