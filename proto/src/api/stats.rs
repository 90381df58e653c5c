//! Control plane: what went in and out in the last quarter of an hour, and how much there is.
//!
//! Shapes only, written by a streaming controller and read by consoles and the command line. Times are
//! milliseconds since 1970.

use serde::{Deserialize, Serialize};

use crate::id::{SpuId, TopicId};
use crate::name::TopicName;

/// What the cluster, its storage units and its topics did, as the controller that answers counted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stats {
    /// When this was so.
    pub as_of: i64,
    /// Since when this controller has counted: what happened before is not in here.
    pub since: i64,
    /// Length of a bucket of `series`, in milliseconds.
    pub bucket_ms: u64,
    /// Where the first bucket of every `series` begins.
    pub series_start: i64,
    pub cluster: ClusterStats,
    /// Storage units, by id.
    pub spus: Vec<SpuStats>,
    /// Topics by name: those that did anything, 200 at most.
    pub topics: Vec<TopicStats>,
    /// What more topics than are told apart did, together.
    pub other_topics: Flow,
}

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterStats {
    pub topics: u64,
    pub partitions: u64,
    /// Partitions of which somebody knows where they stand; the sizes are those of them.
    pub known_partitions: u64,
    /// Partitions that have copies and nobody who leads them.
    #[serde(default)]
    pub offline_partitions: u64,
    /// Partitions of which fewer copies are in sync than are wanted.
    #[serde(default)]
    pub under_replicated_partitions: u64,
    /// Partitions of which fewer copies are in sync and at hand than `acks=quorum` needs.
    #[serde(default)]
    pub below_min_in_sync_partitions: u64,
    /// Bytes that leaders keep.
    pub size_bytes: u64,
    pub flow: Flow,
}

/// A storage unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpuStats {
    pub id: SpuId,
    /// When it was last heard; `null` when it was not since this controller began.
    pub heard_at: Option<i64>,
    /// Size of the file system that its data is on; `null` when nobody knows.
    pub disk_capacity_bytes: Option<u64>,
    /// Free on it; `null` when nobody knows.
    pub disk_free_bytes: Option<u64>,
    /// Free space is below the mark at which somebody should look.
    pub disk_is_low: bool,
    /// It takes no records for want of space.
    pub disk_is_full: bool,
    pub flow: Flow,
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicStats {
    pub name: TopicName,
    pub id: TopicId,
    /// Bytes that the leaders of its partitions keep, as far as they are known.
    pub size_bytes: u64,
    pub flow: Flow,
}

/// What went in and out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Flow {
    /// A second, over the last minute or since the controller has counted.
    pub per_second: Moved,
    /// In all buckets together.
    pub total: Moved,
    /// A bucket each, the oldest first, with `series=true`. The newest is not over yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<Vec<Moved>>,
}

/// Records and bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Moved {
    /// Records appended.
    pub appended_records: u64,
    /// Bytes of the batches they came in.
    pub appended_bytes: u64,
    /// Bytes of batches that consumers and gateways read from storage units; what a gateway sends to many
    /// consumers counts once.
    pub read_bytes: u64,
}
