//! What storage nodes tell the controller, and what it answers: registration, in-sync sets, seals.
//!
//! Plain data. Every report names the registration or the row that it was made under, so that a late one
//! is told from a current one.

use serde::{Deserialize, Serialize};

use super::IsrMember;
use super::session::check_numbers;
use crate::damage::Damage;
use crate::error::Problem;
use crate::id::{AttemptId, ClusterId, Incarnation, ReplicaGen, RunId, SpuId, StorageId};
use crate::name::SpuGroupName;
use crate::position::{LeaderEpoch, Offset, ReplicaKey};

/// A storage node's report at start: who it is and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// The node.
    pub spu_id: SpuId,
    /// Its data directory.
    pub storage_id: StorageId,
    /// This run of the process.
    pub run_id: RunId,
    /// The registration that the data directory remembers, if any.
    pub last_incarnation: Option<Incarnation>,
    /// This attempt to be registered, which the data directory remembers until one is granted; and the one
    /// that was granted last. A directory that remembers neither what the controllers granted last nor that
    /// it asked for it is of an earlier time (S2). None from nodes of versions that did not tell.
    #[serde(default)]
    pub attempt: Option<AttemptId>,
    /// See `attempt`.
    #[serde(default)]
    pub granted: Option<AttemptId>,
    /// False when the system went down since that registration, and the directory was not closed in
    /// order: records that were acknowledged before they were synced may be gone.
    #[serde(default)]
    pub same_boot: bool,
    /// What it holds.
    pub replicas: Vec<ReplicaReport>,
    /// The group to be taken into when the controller does not know the node yet. Without one, the
    /// node must have been entered by an operator.
    #[serde(default)]
    pub group: Option<SpuGroupName>,
    /// Where it is and how it is reached.
    #[serde(default)]
    pub site: NodeSite,
}

impl Register {
    /// Whether its epochs and offsets are such as there are.
    ///
    /// # Errors
    /// 400 with the first that is above [`INTEGER_MAX`](crate::limits::INTEGER_MAX).
    pub fn check(&self) -> Result<(), Problem> {
        let known = self.last_incarnation.iter();
        let known = known.map(|incarnation| ("last_incarnation", incarnation.0));
        let held = self.replicas.iter().flat_map(|replica| {
            [
                ("end", replica.end.get()),
                ("leader_epoch", replica.leader_epoch.0),
            ]
        });
        check_numbers(known.chain(held))
    }
}

/// Where a node is and how it is reached, as the node itself knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeSite {
    /// Failure domain; what an operator entered wins.
    pub rack: Option<String>,
    /// Data centre or place; what an operator entered wins.
    pub site: Option<String>,
    /// Addresses it serves at.
    pub endpoints: Vec<Endpoint>,
}

/// One address of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Endpoint {
    /// Who is meant to use it.
    pub audience: Audience,
    /// Scheme, host and port.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "https://spu-0.example.org:8443")
    )]
    pub url: String,
}

/// Who is meant to use an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Clients: the data plane.
    Clients,
    /// Gateways and other storage units.
    Peers,
    /// Operators: health and metrics.
    Operators,
}

/// One replica as its node found it at start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Which partition.
    pub key: ReplicaKey,
    /// Which membership.
    pub replica_gen: ReplicaGen,
    /// True when nothing that was acknowledged can be missing.
    pub intact: bool,
    /// End of its log.
    pub end: Offset,
    /// The newest epoch it accepted.
    pub leader_epoch: LeaderEpoch,
}

/// A leader's wish to change the in-sync set of one partition (I1, I2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrProposal {
    /// Which partition.
    pub key: ReplicaKey,
    /// The epoch that the proposer leads in.
    pub leader_epoch: LeaderEpoch,
    /// The row that this was proposed on.
    pub version: u64,
    /// The whole set as it shall be, the leader in it. The same set as before is a cancel: it only
    /// makes the version grow, which settles what was proposed earlier.
    pub isr: Vec<IsrCandidate>,
}

/// A member of a proposed in-sync set, as it is attached to the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IsrCandidate {
    /// The node and the registration under which it is attached.
    pub member: IsrMember,
    /// The membership under which it is attached.
    pub replica_gen: ReplicaGen,
}

/// The answer to one [`IsrProposal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum IsrOutcome {
    /// Done, as this version of the row.
    Accepted { version: u64 },
    /// Not done; the row is at this version, if there is one.
    Refused { reason: IsrRefusal, version: u64 },
}

/// Why an in-sync set stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IsrRefusal {
    /// There is no such partition.
    Unknown,
    /// The row is not the one that this was proposed on.
    Stale,
    /// The proposer does not lead it in that epoch, or not under its current registration.
    NotLeader,
    /// A member named is not a replica, is one twice, or is not attached as the replica it is now.
    NotReplica,
    /// A member to be added is shut out, or registered again since it attached.
    NotCurrent,
    /// It would leave fewer than `min_isr` (I1).
    BelowMinIsr,
}

/// What one replica found when it was sealed: it journalled the epoch and takes no append below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealAnswer {
    /// Which partition.
    pub key: ReplicaKey,
    /// Who answers.
    pub member: IsrMember,
    /// Which membership.
    pub replica_gen: ReplicaGen,
    /// The epoch it was sealed at.
    pub sealed_at: LeaderEpoch,
    /// Epoch of the last batch in its log.
    pub last_epoch: LeaderEpoch,
    /// End of its log; exclusive.
    pub end: Offset,
    /// The first record it still keeps.
    pub log_start: Offset,
    /// True when nothing that was acknowledged can be missing.
    pub intact: bool,
    /// It knows of requests of the last minutes, which a new copy would not: sent again, they would be
    /// taken for new.
    #[serde(default)]
    pub remembers: bool,
    /// How long that is so from now on, in milliseconds, if nobody sends anything more.
    #[serde(default)]
    pub remembers_ms: u64,
}

/// The controller's answer to [`Register`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The cluster the node now belongs to.
    pub cluster_id: ClusterId,
    /// The number of this registration.
    pub incarnation: Incarnation,
}

/// Where a copy stands that somebody else leads, as the leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStatus {
    /// Who has it.
    pub spu: SpuId,
    /// End of what it has on its disk, as far as the leader was told; exclusive. None while it does not
    /// follow in this epoch.
    #[serde(default)]
    pub end: Option<Offset>,
    /// Since when it has not had all that the leader had, in milliseconds since the epoch; none while it
    /// has. A moment and not a length of time, so that a copy that stays away is no news every second.
    #[serde(default)]
    pub behind_since_ms: Option<i64>,
}

/// Where a partition stands, as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// The first record still kept.
    pub log_start: Offset,
    /// Consumers may read below it; exclusive.
    pub high_watermark: Offset,
    /// End of the log; exclusive.
    pub end: Offset,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// Bytes kept.
    pub size_bytes: u64,
    /// When the last batch was appended, in milliseconds since the epoch; none when nobody knows.
    pub last_append_ms: Option<i64>,
    /// What is known to be damaged; none when nothing is.
    #[serde(default)]
    pub damage: Option<Damage>,
    /// False while a leader that has just taken over does not know yet whether more is committed than it was
    /// told of (H3): what is below `high_watermark` is, and nobody can say what is the latest.
    #[serde(default = "yes")]
    pub is_latest_known: bool,
}

const fn yes() -> bool {
    true
}
