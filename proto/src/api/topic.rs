//! Control plane: topics and their partitions, as requests and answers.
//!
//! Shapes only. What a request means, and which values are allowed, is decided by the streaming
//! controller; clients build these to ask and parse these to read.
//! Invariant: in a request, a field that is absent is not touched. [`Setting`] keeps absent, `null`
//! and a value apart, both ways.

use serde::de::IntoDeserializer as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use super::partition::{
    AcceptedLoss, CopyState, Partition, PartitionCopy, PartitionList, PartitionState,
    PartitionSurvey, SurveyAnswer,
};
use crate::control::{Cleanup, Durability, TimestampType, TopicCompression, TopicConfig};
use crate::id::{SpuId, TopicId};
use crate::name::TopicName;
use crate::produce::Acks;

/// A field of a request: absent, `null`, or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting<T> {
    /// Not in the request: the topic keeps what it has; a new topic gets the default.
    #[default]
    Absent,
    /// `null`: back to the default; for the two retention bounds, no bound.
    Null,
    /// This value.
    Value(T),
}

impl<T> Setting<T> {
    /// True when the field is not in the request; for `skip_serializing_if`.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The same with another value, where there is one.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Null => Setting::Null,
            Self::Value(value) => Setting::Value(change(value)),
        }
    }

    /// The value, when there is one.
    pub const fn value(&self) -> Option<&T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Null => None,
        }
    }
}

impl<T> From<T> for Setting<T> {
    fn from(value: T) -> Self {
        Self::Value(value)
    }
}

impl<T: Serialize> Serialize for Setting<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value().serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Setting<T> {
    // Runs only when the field is there; `#[serde(default)]` makes the absent case.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Null, Self::Value))
    }
}

/// A setting that is one of several words. Anything else than text is told as such, where serde's own
/// reading of an enum would take `{}` for a fault of the JSON.
fn word<'de, D, T>(deserializer: D) -> Result<Setting<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(Setting::Null);
    };
    T::deserialize(text.into_deserializer()).map(Setting::Value)
}

/// How replicas are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlacementPolicy {
    /// Least-loaded units first, replicas of one partition on different racks as far as possible.
    #[default]
    Computed,
    /// Least-loaded units first, racks not looked at.
    IgnoreRack,
    /// Chosen by the operator.
    Manual,
}

impl PlacementPolicy {
    /// The word used in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Computed => "computed",
            Self::IgnoreRack => "ignore_rack",
            Self::Manual => "manual",
        }
    }
}

/// What a topic should be: the body of `POST /v1/topics` and `PUT /v1/topics/{topic}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TopicRequest {
    /// Name of the topic: `[a-z0-9._-]`, 1 to 200, no leading dot or dash, no leading `__`. Required by
    /// POST; with PUT the path names the topic, and a name here must be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<TopicName>,
    /// Number of partitions, 1 to 10,000; default 1. It only grows.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<u32>, minimum = 1, maximum = 10000)
    )]
    pub partitions: Setting<u32>,
    /// Copies of each partition, 1 to 15; default 3, or as many as there are storage units when fewer.
    /// More than there are units is accepted: the topic waits for them.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u16>, minimum = 1, maximum = 15))]
    pub replication_factor: Setting<u16>,
    /// Copies that must have a record before `acks=quorum` is answered; default 2, or 1 below three
    /// copies. At most `replication_factor`.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u16>, minimum = 1, maximum = 15))]
    pub min_in_sync: Setting<u16>,
    /// How replicas are spread; default `computed`.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<PlacementPolicy>))]
    pub placement: Setting<PlacementPolicy>,
    /// With `placement` manual, the units of every partition, the preferred leader first; as many lists as
    /// partitions. Partitions that are placed already are named where they are.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<Vec<Vec<SpuId>>>, example = json!([[0, 1], [1, 2]]))
    )]
    pub assignment: Setting<Vec<Vec<SpuId>>>,
    /// Settings of the topic; `null` puts all of them back to their defaults.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<TopicConfigRequest>))]
    pub config: Setting<TopicConfigRequest>,
}

/// Settings to change. An absent field stays as it is; `null` is the default again, except for
/// `retention_ms` and `retention_bytes`, where `null` means "for ever", as it does in answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TopicConfigRequest {
    /// How long records are kept, in milliseconds; `null` = for ever. Default 604800000 (7 days).
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<u64>, minimum = 1, maximum = 9007199254740991u64)
    )]
    pub retention_ms: Setting<u64>,
    /// How many bytes each partition keeps; `null` = no bound, the default.
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(
        feature = "openapi",
        schema(value_type = Option<u64>, minimum = 1, maximum = 9007199254740991u64)
    )]
    pub retention_bytes: Setting<u64>,
    /// Size at which a segment is closed, in bytes. Default 67108864 (64 MiB).
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>, minimum = 8388608, maximum = 1073741824))]
    pub segment_bytes: Setting<u64>,
    /// Age at which the active segment is closed, in milliseconds. Default 86400000 (1 day).
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>, minimum = 100, maximum = 9007199254740991u64))]
    pub segment_ms: Setting<u64>,
    /// Whether an acknowledgement waits for the disk. Default `ack`.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Durability>))]
    pub durability: Setting<Durability>,
    /// What an acknowledgement waits for when the producer does not say. Default `quorum`.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Acks>))]
    pub acks: Setting<Acks>,
    /// How batches are stored. Default `producer`: as they came.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<TopicCompression>))]
    pub compression: Setting<TopicCompression>,
    /// What happens to old records. Default `delete`: they go by age and size. With `compact` the newest
    /// record of each key stays and nothing goes by age or size; every record needs a key.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Cleanup>))]
    pub cleanup: Setting<Cleanup>,
    /// With `cleanup=compact`, how long a tombstone stays after compaction took out what it deletes, in
    /// milliseconds. Default 86400000 (1 day).
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u64>, minimum = 0, maximum = 9007199254740991u64))]
    pub delete_retention_ms: Setting<u64>,
    /// Largest record, in bytes of key, value and headers. Default 1048576 (1 MiB).
    #[serde(default, skip_serializing_if = "Setting::is_absent")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<u32>, minimum = 1, maximum = 3145728))]
    pub max_record_bytes: Setting<u32>,
    /// Whose clock a record's timestamp is. Default `create`: the producer's.
    #[serde(
        default,
        deserialize_with = "word",
        skip_serializing_if = "Setting::is_absent"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<TimestampType>))]
    pub timestamp: Setting<TimestampType>,
}

/// Where a topic is on its way to what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TopicState {
    /// Just created; nothing looked at yet.
    Init,
    /// Being worked on: replicas to be placed, or partitions without a leader.
    Pending,
    /// There are fewer storage units at hand than copies wanted.
    InsufficientResources,
    /// Cannot be provisioned as it was asked for.
    Invalid,
    /// Every partition has its replicas and a leader.
    Provisioned,
    /// Being deleted.
    Deleting,
}

/// State of a topic and, unless it is provisioned, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicStatus {
    pub state: TopicState,
    /// What is missing, in a sentence; absent when nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A topic as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Topic {
    /// One life of this name; a topic deleted and made again has another.
    pub id: TopicId,
    pub name: TopicName,
    pub partitions: u32,
    pub replication_factor: u16,
    /// Copies that must have a record before `acks=quorum` is answered.
    pub min_in_sync: u16,
    pub placement: PlacementPolicy,
    pub config: TopicConfig,
    /// Grows with every change, also over a deletion: no topic of this name had it before. The `ETag` of
    /// this answer, and what `If-Match` takes.
    pub version: u64,
    pub status: TopicStatus,
    /// When it was created, in milliseconds since 1970.
    pub created_at: i64,
    /// When it was last changed, in milliseconds since 1970.
    pub updated_at: i64,
}

/// A page of topics, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicList {
    pub items: Vec<Topic>,
    /// Pass as `next` to get the following page; `null` on the last one.
    pub next: Option<String>,
}

/// What a write did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum WriteResult {
    Created,
    Updated,
    /// Everything was as asked already.
    Unchanged,
    Deleted,
}

impl WriteResult {
    /// The word in the `Tidegate-Result` header.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        }
    }
}

/// One difference between what is and what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldChange {
    /// JSON pointer into what is written, empty for the whole of it; where copies of a topic's partitions
    /// would be is at `/assignment/<partition>`. Of moves, a pointer into the cluster:
    /// `/topics/orders/partitions/3/replicas`.
    #[cfg_attr(feature = "openapi", schema(example = "/config/retention_ms"))]
    pub path: String,
    /// What it is now; `null` when there is nothing.
    pub from: serde_json::Value,
    /// What it becomes; `null` when nothing is left.
    pub to: serde_json::Value,
}

/// Answer to a write with `dry_run=true`: what it would do. Nothing was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DryRun {
    pub result: WriteResult,
    pub changes: Vec<FieldChange>,
    /// What would go wrong, and what to do about it, a sentence each; absent when nothing is foreseen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_null_and_value_stay_apart_both_ways() {
        let text = r#"{"partitions":3,"replication_factor":null,"config":{"retention_ms":null}}"#;
        let request: TopicRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.partitions, Setting::Value(3));
        assert_eq!(request.replication_factor, Setting::Null);
        assert_eq!(request.min_in_sync, Setting::Absent);
        let config = request.config.value().unwrap();
        assert_eq!(config.retention_ms, Setting::Null);
        assert_eq!(config.segment_ms, Setting::Absent);
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
    }

    #[test]
    fn unknown_fields_are_refused_at_both_levels() {
        assert!(serde_json::from_str::<TopicRequest>(r#"{"partition":3}"#).is_err());
        assert!(serde_json::from_str::<TopicRequest>(r#"{"config":{"retention":3}}"#).is_err());
    }
}
