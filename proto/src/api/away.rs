//! What readers of several partitions are told of those that cannot be reached.
//!
//! Reading goes on with the others. Shapes only.

use serde::{Deserialize, Serialize};

use crate::error::Problem;

/// Partitions that cannot be reached now; reading goes on with the others, and with these when they are back.
/// Also the data of an SSE `away` event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AwayPartitions {
    pub partitions: Vec<u32>,
    /// Why, for the first of them.
    pub error: Problem,
}

/// Data of an SSE `back` event: partitions that can be read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BackEvent {
    pub partitions: Vec<u32>,
}

/// Partitions of a subscription that cannot be reached now. It goes on with the others, and with these when
/// they are back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Away {
    pub topic: String,
    pub partitions: Vec<u32>,
    /// Why, for the first of them.
    pub error: Problem,
}

/// Partitions that were away can be read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Back {
    pub topic: String,
    pub partitions: Vec<u32>,
}
