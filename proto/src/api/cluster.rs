//! Control plane: the cluster and its storage units, as answers.
//!
//! Shapes only, written by the streaming controller and read by clients. Times are milliseconds since
//! 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control::Endpoint;
use crate::id::{ClusterId, SpuId, StoreId};
use crate::name::SpuGroupName;

/// The cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Cluster {
    pub cluster_id: ClusterId,
    /// Grows by one with every change of the control plane.
    pub revision: u64,
    /// Version of the server that answers.
    pub version: String,
    pub controller: Controller,
    /// Number of storage units.
    pub spus: u64,
    /// Number of topics.
    pub topics: u64,
    /// Number of partitions, over all topics.
    pub partitions: u64,
}

/// The controller that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Controller {
    /// Where the metadata is kept: `sqlite`.
    pub store: String,
    /// Identity of what it is kept in: another one after an operator adopted it. Then revisions go on far
    /// ahead of all that were told before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<StoreId>,
    /// When this controller started, in milliseconds since 1970.
    pub started_at: i64,
}

/// Whether a storage unit takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpuState {
    /// Registered, and takes part.
    Online,
    /// Shut out until it registers again.
    Offline,
    /// Being emptied, or empty.
    Draining,
    /// It gets nothing new and is not being emptied either: its drain failed or was cancelled.
    Cordoned,
}

/// State of a storage unit and, unless it is online, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpuStatus {
    pub state: SpuState,
    /// Why it is not online, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Who brought a storage unit into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SpuKind {
    /// It joined as part of a group.
    #[default]
    Managed,
    /// An operator registered it, with its id, before it ran.
    Custom,
}

/// A storage unit (SPU) as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Spu {
    pub id: SpuId,
    pub kind: SpuKind,
    /// The group of a managed unit; `null` for a custom one.
    pub group: Option<SpuGroupName>,
    /// Failure domain, when one was given.
    pub rack: Option<String>,
    /// Data centre or place, when one was given.
    pub site: Option<String>,
    /// For people and their tools; nothing is decided by them.
    pub labels: BTreeMap<String, String>,
    /// Where it serves, as its last registration said.
    pub endpoints: Vec<Endpoint>,
    /// Number of its current registration; a later one shuts out the earlier.
    pub incarnation: u64,
    pub status: SpuStatus,
    /// Partitions it holds a replica of.
    pub replicas: u64,
    /// Partitions it leads.
    pub leaders: u64,
    /// Grows with every change of its row; the `ETag` of this answer, and what `If-Match` takes.
    pub version: u64,
}

/// A page of storage units, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SpuList {
    pub items: Vec<Spu>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}
