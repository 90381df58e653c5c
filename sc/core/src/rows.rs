//! The rows of the control state, as the metadata store keeps them and as events carry them.
//!
//! Plain data with the few questions that one row answers alone. Every row has a `version` that grows
//! by one with each change, which is conditional on the one before: 1 is the first, except of topics.

mod operation;
mod partition;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
pub use tidegate_proto::api::cluster::SpuKind;
use tidegate_proto::api::topic::PlacementPolicy;
use tidegate_proto::control::{Endpoint, SpuSpec, SpuStanding, TopicConfig, TopicSpec};
use tidegate_proto::id::{AttemptId, Incarnation, RunId, SpuId, StorageId, TopicId};
use tidegate_proto::name::{SpuGroupName, TopicName};

pub use operation::{OperationKind, OperationRow, OperationState, Progress, Throttle};
pub use partition::{Move, PartitionRow, Replica, Seal};

/// A storage unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpuRow {
    pub spu: SpuId,
    pub version: u64,
    /// Its data directory; `None` until it registers for the first time.
    pub storage_id: Option<StorageId>,
    /// The run of its process that registered last.
    pub run_id: Option<RunId>,
    /// Number of its last registration; 0 before the first.
    pub incarnation: Incarnation,
    /// The last incarnation that the unit is known to have on its disk; `None` before the first.
    pub persisted: Option<Incarnation>,
    /// The attempt that was granted last; `None` when its unit told of none.
    #[serde(default)]
    pub attempt: Option<AttemptId>,
    pub fenced: bool,
    /// It gets no replicas and leads only what nobody else can.
    pub draining: bool,
    pub rack: Option<String>,
    #[serde(default)]
    pub kind: SpuKind,
    /// The group of a managed unit.
    #[serde(default)]
    pub group: Option<SpuGroupName>,
    #[serde(default)]
    pub site: Option<String>,
    /// As its last registration said.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// For people and their tools; nothing here is decided by them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// It is gone; the row stays, so that its versions and incarnations go on if the id comes back.
    #[serde(default)]
    pub removed: bool,
}

impl SpuRow {
    /// A unit that never registered.
    #[must_use]
    pub const fn entered(spu: SpuId, kind: SpuKind) -> Self {
        Self {
            spu,
            version: 1,
            storage_id: None,
            run_id: None,
            incarnation: Incarnation(0),
            persisted: None,
            attempt: None,
            fenced: true,
            draining: false,
            rack: None,
            kind,
            group: None,
            site: None,
            endpoints: Vec::new(),
            labels: BTreeMap::new(),
            removed: false,
        }
    }

    /// True when new replicas may be placed on it and it may lead.
    #[must_use]
    pub const fn is_at_hand(&self) -> bool {
        !self.fenced && !self.draining && !self.removed
    }

    /// The form in which every process sees it; none once it is gone.
    #[must_use]
    pub fn spec(&self) -> Option<SpuSpec> {
        let standing = match (self.fenced, self.draining) {
            (true, _) => SpuStanding::Fenced,
            (false, true) => SpuStanding::Draining,
            (false, false) => SpuStanding::Active,
        };
        (!self.removed).then(|| SpuSpec {
            endpoints: self.endpoints.clone(),
            rack: self.rack.clone(),
            site: self.site.clone(),
            standing,
            incarnation: self.incarnation,
        })
    }

    /// True once it registered.
    #[must_use]
    pub const fn is_registered(&self) -> bool {
        self.incarnation.0 > 0
    }
}

/// A group of storage units that come and go as one: how many there should be, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpuGroupRow {
    pub name: SpuGroupName,
    pub version: u64,
    /// Units wanted; more are not taken in.
    pub replicas: u32,
    /// Ids of its units start here.
    pub first_id: SpuId,
    /// Racks of its units, dealt out in turn to those that name none; empty = any.
    #[serde(default)]
    pub racks: Vec<String>,
    #[serde(default)]
    pub site: Option<String>,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
    /// It is gone; the row stays, so that its versions go on if the name comes back.
    #[serde(default)]
    pub removed: bool,
}

/// A topic, without its partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRow {
    pub id: TopicId,
    pub name: TopicName,
    pub version: u64,
    /// The version that it was made with: above every version of every topic of this name before it, so
    /// that whoever read one of those never changes this one instead.
    #[serde(default = "first_of_old")]
    pub first_version: u64,
    pub partitions: u32,
    pub replication_factor: u16,
    /// As asked for; `None` follows the replication factor.
    pub min_in_sync: Option<u16>,
    pub placement: PlacementPolicy,
    pub config: TopicConfig,
    pub created_at_ms: i64,
    pub updated_at_ms: i64,
}

impl TopicRow {
    /// Copies that a quorum write needs: as asked for, else 2, or 1 below three copies.
    #[must_use]
    pub fn effective_min_in_sync(&self) -> u16 {
        self.min_in_sync
            .unwrap_or(if self.replication_factor < 3 { 1 } else { 2 })
    }

    pub(crate) fn spec(&self, partitions: &[Arc<PartitionRow>]) -> TopicSpec {
        TopicSpec {
            id: self.id,
            name: self.name.clone(),
            version: self.version,
            replication_factor: self.replication_factor,
            min_in_sync: self.effective_min_in_sync(),
            config: self.config.clone(),
            partitions: partitions.iter().map(|row| row.spec()).collect(),
        }
    }
}

/// Topics once began with this version, whatever was there before them.
const fn first_of_old() -> u64 {
    1
}
