//! Control plane: what a client needs to talk to storage units by itself, and changes as they happen.
//!
//! Shapes only, written by the streaming controller and read by clients.

use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::id::{ClusterId, SpuId, TopicId};
use crate::name::TopicName;

/// Where the partitions of some topics are led, at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Metadata {
    pub cluster_id: ClusterId,
    /// Revision of the control state that this was read at.
    pub revision: u64,
    /// Storage units that lead or hold any of these partitions, by id.
    pub spus: Vec<MetadataSpu>,
    /// The topics that were asked for, by name.
    pub topics: Vec<MetadataTopic>,
    /// Names of those asked for that do not exist, or that the credential may not describe.
    pub missing: Vec<TopicName>,
}

/// How a storage unit is reached by clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetadataSpu {
    pub id: SpuId,
    /// Failure domain, when one was given.
    pub rack: Option<String>,
    /// Addresses of its data plane; empty when clients have to go through a gateway.
    pub urls: Vec<String>,
    /// Whether it takes part.
    pub online: bool,
}

/// The partitions of one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetadataTopic {
    pub name: TopicName,
    /// This life of the topic.
    pub id: TopicId,
    /// By number, from 0.
    pub partitions: Vec<MetadataPartition>,
}

/// Where one partition is led.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MetadataPartition {
    pub partition: u32,
    /// The storage unit that leads it; none while it is offline.
    pub leader: Option<SpuId>,
    /// Grows with every change of leader.
    pub leader_epoch: u64,
    /// Storage units with a copy, the preferred leader first.
    pub replicas: Vec<SpuId>,
}

/// One line or event of a watch: a change of the control state, or a sign of life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum WatchEntry {
    /// A storage unit; the key is its id.
    Spu(Change),
    /// A group of storage units; the key is its name.
    SpuGroup(Change),
    /// A topic; the key is its name.
    Topic(Change),
    /// A partition; the key is `<topic>/<number>`.
    Partition(Change),
    /// An operation; the key is its id.
    Operation(Change),
    /// Everything up to this revision was told that there is to tell.
    Bookmark { revision: u64 },
    /// The last entry: why the stream ends.
    Error { error: Problem },
}

/// What became of the thing of that key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The revision that changed it; a revision may change several things.
    pub revision: u64,
    pub key: String,
    pub op: ChangeOp,
    /// The row as it became, as the controllers keep it; absent when it is gone. Its states are told by
    /// reading the thing itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
    pub value: Option<serde_json::Value>,
    /// Further changes of the same revision follow. Go on only from the revision of an entry without it,
    /// or the rest of this one is never told.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

/// Whether a thing is there after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChangeOp {
    Put,
    Delete,
}
