//! Control plane: the request that gives up the oldest records of a topic's partitions.
//!
//! Shape only; what may be given up is decided by the streaming controller.

use serde::{Deserialize, Serialize};

use crate::id::PartitionId;
use crate::position::Offset;

/// The body of `POST /v1/topics/{topic}/truncate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TruncateRequest {
    /// The partitions to be shortened, each once; 1 to 10,000.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 10000))]
    pub partitions: Vec<TruncatePartition>,
}

/// One partition and where it begins afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TruncatePartition {
    /// Its number, from 0.
    #[cfg_attr(feature = "openapi", schema(value_type = u32))]
    pub partition: PartitionId,
    /// Records below this offset go, the one at it stays; at most the high watermark.
    #[cfg_attr(feature = "openapi", schema(value_type = u64, maximum = 9007199254740991u64))]
    pub before_offset: Offset,
}
