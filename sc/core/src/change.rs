//! One conditional change of the control state, and its form as an event.
//!
//! Invariant: a change carries the whole row and is conditional on the row's version before it, so
//! that two deciders cannot both win. Applying a change needs no further decision.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tidegate_proto::control::TopologyChange;
use tidegate_proto::id::{OperationId, TopicId};
use tidegate_proto::name::TopicName;

use crate::rows::{OperationRow, PartitionRow, SpuGroupRow, SpuRow, TopicRow};

/// One conditional change. Within a commit, a topic comes before its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Insert (version 1) or replace a storage unit.
    PutSpu(SpuRow),
    /// Insert (version 1) or replace a topic; its name must be free or its own.
    PutTopic(TopicRow),
    /// Insert (version 1) or replace a partition.
    PutPartition(PartitionRow),
    /// Insert (version 1) or replace a group of storage units.
    PutSpuGroup(SpuGroupRow),
    /// Insert (version 1) or replace an operation.
    PutOperation(OperationRow),
    /// Delete a topic and all its partitions; the name is free at once.
    DeleteTopic(DeletedTopic),
    /// Forget an operation that ended.
    DeleteOperation(DeletedOperation),
}

/// The topic that goes, at the version that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    pub id: TopicId,
    pub name: TopicName,
    pub version: u64,
}

/// The operation that is forgotten, at the version that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedOperation {
    pub id: OperationId,
    pub version: u64,
}

/// A row that a decision was made on and does not change: it must be at that version still.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guard {
    pub kind: Kind,
    /// As [`Change::row_key`].
    pub row_key: String,
    pub version: u64,
}

/// What kind of thing an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Spu,
    Topic,
    Partition,
    SpuGroup,
    Operation,
}

impl Kind {
    /// Every kind; one that others belong to comes before them.
    pub const ALL: [Self; 5] = [
        Self::SpuGroup,
        Self::Spu,
        Self::Topic,
        Self::Operation,
        Self::Partition,
    ];

    /// The word in events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spu => "spu",
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::SpuGroup => "spu_group",
            Self::Operation => "operation",
        }
    }

    /// The kind that `as_str` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event that this version cannot read back.
#[derive(Debug, Error)]
pub enum EventError {
    /// Partitions go with their topic; units and groups stay as removed ones.
    #[error("events of kind {0} have no delete")]
    NoDelete(Kind),
    /// The row is not of that kind's shape.
    #[error("the row of an event of kind {kind} cannot be read")]
    Row {
        kind: Kind,
        #[source]
        source: serde_json::Error,
    },
}

impl Change {
    /// What it is about.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::PutSpu(_) => Kind::Spu,
            Self::PutTopic(_) | Self::DeleteTopic(_) => Kind::Topic,
            Self::PutPartition(_) => Kind::Partition,
            Self::PutSpuGroup(_) => Kind::SpuGroup,
            Self::PutOperation(_) | Self::DeleteOperation(_) => Kind::Operation,
        }
    }

    /// Which one of its kind: the unit's or operation's id, the topic's or group's name, or
    /// `<topic id>/<partition>`.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::PutSpu(row) => row.spu.to_string(),
            Self::PutTopic(row) => row.name.to_string(),
            Self::PutPartition(row) => format!("{}/{}", row.topic_id, row.partition),
            Self::PutSpuGroup(row) => row.name.to_string(),
            Self::PutOperation(row) => row.id.to_string(),
            Self::DeleteTopic(gone) => gone.name.to_string(),
            Self::DeleteOperation(gone) => gone.id.to_string(),
        }
    }

    /// Which row of its kind, in the metadata store: as `key`, but a topic goes by its id, since a name
    /// may come back for another one. A row key never comes back for something else.
    #[must_use]
    pub fn row_key(&self) -> String {
        match self {
            Self::PutTopic(row) => row.id.to_string(),
            Self::DeleteTopic(gone) => gone.id.to_string(),
            Self::PutSpu(_)
            | Self::PutPartition(_)
            | Self::PutSpuGroup(_)
            | Self::PutOperation(_)
            | Self::DeleteOperation(_) => self.key(),
        }
    }

    /// What it changes of what every process sees; none for what only controllers keep.
    #[must_use]
    pub fn topology(&self) -> Option<TopologyChange> {
        match self {
            Self::PutSpu(row) => Some(match row.spec() {
                Some(spec) => TopologyChange::PutSpu { spu: row.spu, spec },
                None => TopologyChange::RemoveSpu { spu: row.spu },
            }),
            Self::PutTopic(row) => Some(TopologyChange::PutTopic {
                spec: row.spec(&[]),
            }),
            Self::PutPartition(row) => Some(TopologyChange::PutPartition {
                topic_id: row.topic_id,
                spec: row.spec(),
            }),
            Self::DeleteTopic(gone) => Some(TopologyChange::RemoveTopic {
                topic_id: gone.id,
                name: gone.name.clone(),
            }),
            Self::PutSpuGroup(_) | Self::PutOperation(_) | Self::DeleteOperation(_) => None,
        }
    }

    /// Rows that go with the one that this deletes: their kind, and what their row keys begin with.
    #[must_use]
    pub fn takes_along(&self) -> Option<(Kind, String)> {
        if let Self::DeleteTopic(gone) = self {
            Some((Kind::Partition, format!("{}/", gone.id)))
        } else {
            None
        }
    }

    /// True when the key is gone afterwards.
    #[must_use]
    pub const fn is_delete(&self) -> bool {
        match self {
            Self::PutSpu(_)
            | Self::PutTopic(_)
            | Self::PutPartition(_)
            | Self::PutSpuGroup(_)
            | Self::PutOperation(_) => false,
            Self::DeleteTopic(_) | Self::DeleteOperation(_) => true,
        }
    }

    /// Version that the store must hold for this change to be made; 0 = no such row.
    #[must_use]
    pub const fn expected_version(&self) -> u64 {
        match self {
            Self::PutSpu(row) => row.version - 1,
            Self::PutTopic(row) if row.version == row.first_version => 0,
            Self::PutTopic(row) => row.version - 1,
            Self::PutPartition(row) => row.version - 1,
            Self::PutSpuGroup(row) => row.version - 1,
            Self::PutOperation(row) => row.version - 1,
            Self::DeleteTopic(gone) => gone.version,
            Self::DeleteOperation(gone) => gone.version,
        }
    }

    /// Version of the row afterwards; of what is deleted, the one after its last.
    #[must_use]
    pub const fn version_after(&self) -> u64 {
        match self {
            Self::PutSpu(row) => row.version,
            Self::PutTopic(row) => row.version,
            Self::PutPartition(row) => row.version,
            Self::PutSpuGroup(row) => row.version,
            Self::PutOperation(row) => row.version,
            Self::DeleteTopic(gone) => gone.version + 1,
            Self::DeleteOperation(gone) => gone.version + 1,
        }
    }

    /// The revision after which nothing of the same kind and name may have been deleted, where that
    /// matters: one that was made and deleted meanwhile may have had the version that this begins with.
    #[must_use]
    pub const fn name_unused_since(&self) -> Option<u64> {
        match self {
            Self::PutTopic(row) if row.version == row.first_version => Some(row.version - 1),
            Self::PutTopic(_)
            | Self::PutSpu(_)
            | Self::PutPartition(_)
            | Self::PutSpuGroup(_)
            | Self::PutOperation(_)
            | Self::DeleteTopic(_)
            | Self::DeleteOperation(_) => None,
        }
    }

    /// The row (or, for a delete, what went) as JSON text.
    pub fn payload(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::PutSpu(row) => serde_json::to_string(row),
            Self::PutTopic(row) => serde_json::to_string(row),
            Self::PutPartition(row) => serde_json::to_string(row),
            Self::PutSpuGroup(row) => serde_json::to_string(row),
            Self::PutOperation(row) => serde_json::to_string(row),
            Self::DeleteTopic(gone) => serde_json::to_string(gone),
            Self::DeleteOperation(gone) => serde_json::to_string(gone),
        }
    }

    /// The change that an event recorded; the other way round of `kind`, `is_delete` and `payload`.
    pub fn from_event(kind: Kind, is_delete: bool, payload: &str) -> Result<Self, EventError> {
        let read = match (kind, is_delete) {
            (Kind::Topic, true) => serde_json::from_str(payload).map(Self::DeleteTopic),
            (Kind::Topic, false) => serde_json::from_str(payload).map(Self::PutTopic),
            (Kind::Spu, false) => serde_json::from_str(payload).map(Self::PutSpu),
            (Kind::SpuGroup, false) => serde_json::from_str(payload).map(Self::PutSpuGroup),
            (Kind::Operation, true) => serde_json::from_str(payload).map(Self::DeleteOperation),
            (Kind::Operation, false) => serde_json::from_str(payload).map(Self::PutOperation),
            (Kind::Partition, false) => serde_json::from_str(payload).map(Self::PutPartition),
            (Kind::Spu | Kind::SpuGroup | Kind::Partition, true) => {
                return Err(EventError::NoDelete(kind));
            }
        };
        read.map_err(|source| EventError::Row { kind, source })
    }
}
