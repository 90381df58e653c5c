//! Topology as every process sees it, and what storage nodes and the controller tell each other.
//!
//! Plain data: the controller decides, everyone else looks up. A [`Topology`] is a snapshot at one
//! revision and never changes; a newer one replaces it.

mod fold;
mod join;
mod relay;
mod report;
mod session;
mod unit;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::compression::Codec;
pub use crate::damage::Damage;
use crate::id::{Incarnation, PartitionId, ReplicaGen, SpuId, StoreId, TopicId};
use crate::limits::{
    DELETE_RETENTION_MS_DEFAULT, RECORD_BYTES_MAX_DEFAULT, RETENTION_MS_DEFAULT,
    SEGMENT_BYTES_DEFAULT, SEGMENT_MS_DEFAULT,
};
use crate::name::TopicName;
use crate::position::{LeaderEpoch, Offset, ReplicaKey};
use crate::produce::Acks;
pub use fold::{FoldError, Folded, TopologyFold};
pub use join::{CertificateAnswer, CertificateRequest, JoinRequest, JoinTicket, NoJoinTicket};
pub use relay::{
    RelayRequest, RelayedHeartbeat, ReportedStatus, ReportedUnit, Reports, ReportsQuery,
};
pub use report::{
    Audience, CopyStatus, Endpoint, IsrCandidate, IsrOutcome, IsrProposal, IsrRefusal, NodeSite,
    PartitionStatus, Register, Registered, ReplicaReport, SealAnswer,
};
pub use session::{
    DeletedTopics, DeletedTopicsQuery, DiskSpace, FailedReplica, FailedRequest, Heartbeat,
    HeartbeatAnswer, IsrAnswer, IsrRequest, LeaveRequest, PartitionTraffic, ProducerIds,
    SealRequest, Seen, Standing, StatusReport, Traffic,
};
pub use unit::{SpuSpec, SpuStanding};
pub use watch::{TopologyChange, WatchLine, WatchQuery, WatchStart};

#[expect(clippy::cast_possible_truncation, reason = "a constant of 1 MiB")]
const MAX_RECORD_BYTES_DEFAULT: u32 = RECORD_BYTES_MAX_DEFAULT as u32;

/// All topics and storage units at one revision.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Topology {
    /// Grows with every change, as long as the store is the same.
    pub revision: u64,
    /// The metadata store that it comes from, if any: revisions of different ones say nothing about
    /// each other.
    #[serde(default)]
    pub store_id: Option<StoreId>,
    /// The topics by name.
    pub topics: BTreeMap<TopicName, Arc<TopicSpec>>,
    /// The storage units that are entered.
    #[serde(default)]
    pub spus: BTreeMap<SpuId, SpuSpec>,
}

impl Topology {
    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<TopicSpec>> {
        self.topics.get(name)
    }

    /// The storage unit of that number.
    #[must_use]
    pub fn spu(&self, spu: SpuId) -> Option<&SpuSpec> {
        self.spus.get(&spu)
    }

    /// The unit that a partition without a leader waits for: the first of those that may lead it, when all
    /// of them are shut out or gone. None for a partition that has a leader or may get one.
    #[must_use]
    pub fn missed_unit(&self, partition: &PartitionSpec) -> Option<SpuId> {
        let is_up = |spu| self.spu(spu).is_some_and(SpuSpec::is_up);
        // When nobody is in sync an operator may still choose one.
        let may_lead = |spu| partition.isr.is_empty() || partition.is_in_sync(spu);
        let replicas = partition.replicas.iter().map(|replica| replica.spu);
        let mut units = replicas.filter(|spu| may_lead(*spu));
        let waits = partition.leader.is_none() && !units.clone().any(is_up);
        units.next().filter(|_| waits)
    }

    /// Whether somebody could take over from the leader: another unit that is in sync and takes part.
    #[must_use]
    pub fn has_successor(&self, partition: &PartitionSpec) -> bool {
        let is_up = |spu| self.spu(spu).is_some_and(SpuSpec::is_up);
        let mut members = partition.isr.iter().map(|member| member.spu);
        members.any(|spu| Some(spu) != partition.leader && is_up(spu))
    }

    /// The topic of that id. Walks all topics: for rare use; hot paths hold the spec they resolved.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicSpec>> {
        self.topics.values().find(|topic| topic.id == id)
    }
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSpec {
    /// This life of the topic.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Grows with every change of the topic; its ETag.
    pub version: u64,
    /// Replicas wanted per partition.
    pub replication_factor: u16,
    /// In-sync replicas that a quorum append needs.
    pub min_in_sync: u16,
    /// Settings.
    pub config: TopicConfig,
    /// The partitions, in order of their number, without holes.
    pub partitions: Vec<PartitionSpec>,
}

impl TopicSpec {
    /// The partition of that number.
    #[must_use]
    pub fn partition(&self, partition: PartitionId) -> Option<&PartitionSpec> {
        let at = usize::try_from(partition.0).ok()?;
        self.partitions
            .get(at)
            .filter(|spec| spec.partition == partition)
    }

    /// The key of a partition of this topic.
    #[must_use]
    pub const fn key(&self, partition: PartitionId) -> ReplicaKey {
        ReplicaKey {
            topic_id: self.id,
            partition,
        }
    }
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSpec {
    /// Its number, counted from 0.
    pub partition: PartitionId,
    /// Who leads, if anybody.
    pub leader: Option<SpuId>,
    /// Term of that leader.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of the partition; changes are conditional on it.
    pub version: u64,
    /// Where copies are, preferred leader first.
    pub replicas: Vec<ReplicaSpec>,
    /// The in-sync set.
    pub isr: Vec<IsrMember>,
    /// In-sync replicas that a quorum append needs.
    pub min_isr: u16,
    /// Grows when an operator accepts loss.
    pub recovery_gen: u64,
    /// Records below it are given up, as far as they are committed; never goes down.
    #[serde(default)]
    pub truncate_before: Offset,
    /// Where the log of a new copy begins: the partition was empty and ended here when it changed its
    /// place. Never goes down.
    #[serde(default)]
    pub begins_at: Offset,
    /// Nobody leads in this epoch, and every copy is asked what it holds once it has accepted it (L3).
    #[serde(default)]
    pub is_sealed: bool,
    /// What operators gave up, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
}

/// Records that an operator gave up: those at and after `from` of epochs before `before`. What stands there now
/// was written later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Loss {
    /// The first epoch after it.
    pub before: LeaderEpoch,
    /// Where what was kept ends.
    pub from: Offset,
}

impl PartitionSpec {
    /// Whether that unit is in sync, under whichever registration.
    #[must_use]
    pub fn is_in_sync(&self, spu: SpuId) -> bool {
        self.isr.iter().any(|member| member.spu == spu)
    }

    /// Where somebody has to go on who read up to `offset` in that epoch, when some of it was given up since.
    #[must_use]
    pub fn kept_before(&self, offset: Offset, epoch: LeaderEpoch) -> Option<Offset> {
        let losses = self.losses.iter();
        let lost = losses.filter(|loss| epoch < loss.before && loss.from < offset);
        lost.map(|loss| loss.from).min()
    }
}

/// One copy of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ReplicaSpec {
    /// Where it is.
    pub spu: SpuId,
    /// New at every add.
    pub replica_gen: ReplicaGen,
}

/// One member of an in-sync set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IsrMember {
    /// The node.
    pub spu: SpuId,
    /// The registration under which it was admitted.
    pub incarnation: Incarnation,
}

/// Settings of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct TopicConfig {
    /// Age at which records are removed, in milliseconds; null keeps them for ever.
    pub retention_ms: Option<u64>,
    /// Size per partition above which the oldest records are removed; null sets no bound.
    pub retention_bytes: Option<u64>,
    /// Size at which a segment is closed, in bytes.
    pub segment_bytes: u64,
    /// Age at which a segment is closed, in milliseconds, so that retention by age works on quiet topics.
    pub segment_ms: u64,
    /// Whether an acknowledgement waits for the disk.
    pub durability: Durability,
    /// What an acknowledgement waits for unless the request says otherwise.
    pub acks: Acks,
    /// How records are kept.
    pub compression: TopicCompression,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// With `cleanup=compact`, how long a tombstone stays after compaction took out what it deletes, in
    /// milliseconds, so that consumers that read on meanwhile learn of it.
    pub delete_retention_ms: u64,
    /// Largest record: key, value and headers, in bytes.
    pub max_record_bytes: u32,
    /// Whose time a record carries.
    pub timestamp: TimestampType,
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self {
            retention_ms: Some(RETENTION_MS_DEFAULT),
            retention_bytes: None,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            segment_ms: SEGMENT_MS_DEFAULT,
            durability: Durability::Ack,
            acks: Acks::Quorum,
            compression: TopicCompression::Producer,
            cleanup: Cleanup::Delete,
            delete_retention_ms: DELETE_RETENTION_MS_DEFAULT,
            max_record_bytes: MAX_RECORD_BYTES_DEFAULT,
            timestamp: TimestampType::Create,
        }
    }
}

/// Whether an acknowledgement waits for the disk, or only until the records are with the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Yes: what is acknowledged survives power loss.
    #[default]
    Ack,
    /// No: what is acknowledged survives the end of the server, `kill -9` included. The disk is forced
    /// within 50 ms; a power loss or a crash of the system may take what was acknowledged since.
    Interval,
}

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Cleanup {
    /// Removed by age and size.
    #[default]
    Delete,
    /// The last record of each key is kept.
    Compact,
}

/// Whose time a record carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum TimestampType {
    /// The producer's.
    #[default]
    Create,
    /// The leader's, at append.
    Append,
}

/// How records are kept: as the producer sent them, or in one codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TopicCompression {
    /// As the producer sent them.
    #[default]
    Producer,
    /// In that codec.
    Codec(Codec),
}

impl TopicCompression {
    /// The word used in settings: `producer` or the codec's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Codec(codec) => codec.as_str(),
        }
    }
}

impl Serialize for TopicCompression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TopicCompression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "producer" {
            return Ok(Self::Producer);
        }
        let unknown = |_| de::Error::custom("expected producer, none, gzip, snappy, lz4 or zstd");
        text.parse().map(Self::Codec).map_err(unknown)
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for TopicCompression {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        let codecs = Codec::ALL.iter().map(|codec| codec.as_str());
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .description(Some(
                "How records are kept: as the producer sent them, or in one codec.",
            ))
            .enum_values(Some(std::iter::once("producer").chain(codecs)))
            .into()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for TopicCompression {}
