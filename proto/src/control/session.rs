//! What a registered storage node and the controller tell each other while it runs.
//!
//! Plain data, JSON on the private plane. A node says hello every [`HEARTBEAT_MS`] to any controller;
//! what it leads is reported in turns, at most [`HEARTBEAT_STATUSES_MAX`] partitions at a time, those
//! that changed first. Every request names the registration that it is made under.
//!
//! [`HEARTBEAT_MS`]: crate::limits::HEARTBEAT_MS
//! [`HEARTBEAT_STATUSES_MAX`]: crate::limits::HEARTBEAT_STATUSES_MAX

use serde::{Deserialize, Serialize};

use super::{CopyStatus, IsrOutcome, IsrProposal, PartitionStatus, SealAnswer};
use crate::chain::ChainHash;
use crate::error::{ErrorCode, Problem};
use crate::id::{Incarnation, ReplicaGen, RunId, SpuId, StoreId, TopicId};
use crate::limits::{INTEGER_MAX, REPORTED_COPIES_MAX};
use crate::position::{LeaderEpoch, ReplicaKey};

/// How much of the metadata's history somebody has seen (X1). Kept on disk by nodes, so that a store
/// that went back is found out even after everything was restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The store that told it.
    pub store_id: StoreId,
    /// The newest revision.
    pub revision: u64,
    /// Hash of the history up to it.
    pub hash: ChainHash,
}

/// A sign of life of a storage node, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The node.
    pub spu_id: SpuId,
    /// This run of its process.
    pub run_id: RunId,
    /// The registration that it acts under.
    pub incarnation: Incarnation,
    /// The metadata that it has on its disk.
    #[serde(default)]
    pub seen: Option<Seen>,
    /// It was asked to stop and hands its partitions over.
    #[serde(default)]
    pub draining: bool,
    /// Room on its disk.
    #[serde(default)]
    pub disk: DiskSpace,
    /// What it did since it started.
    #[serde(default)]
    pub traffic: Traffic,
    /// Number of this sign of life under that registration, from 1; it grows by one whenever a
    /// controller took one. 0 of nodes that do not count: what they do not repeat proves nothing.
    #[serde(default)]
    pub beat: u64,
    /// Partitions it leads that changed and found no room in this one. While there are none, all that
    /// it told under this registration holds still.
    #[serde(default)]
    pub untold: u64,
    /// Partitions that it leads.
    #[serde(default)]
    pub statuses: Vec<StatusReport>,
}

impl Heartbeat {
    /// Whether its epochs, offsets and counts of signs are such as there are. Its amounts of bytes and
    /// records may be anything.
    ///
    /// # Errors
    /// 400 with the first that is above [`INTEGER_MAX`].
    pub fn check(&self) -> Result<(), Problem> {
        let own = [
            ("incarnation", self.incarnation.0),
            ("beat", self.beat),
            ("untold", self.untold),
        ];
        let told = self.statuses.iter().flat_map(|report| {
            let status = &report.status;
            let own = [
                ("log_start", status.log_start.get()),
                ("high_watermark", status.high_watermark.get()),
                ("end", status.end.get()),
                ("leader_epoch", status.leader_epoch.0),
            ];
            let ends = report.copies.iter().filter_map(|copy| copy.end);
            let ends = ends.map(|end| ("end", end.get()));
            own.into_iter().chain(ends)
        });
        check_numbers(own.into_iter().chain(told))?;
        let most = self.statuses.iter().map(|report| report.copies.len()).max();
        if most.is_some_and(|most| most > REPORTED_COPIES_MAX) {
            let detail = format!("a partition has more than {REPORTED_COPIES_MAX} other copies");
            return Err(Problem::new(ErrorCode::InvalidParameter, detail));
        }
        Ok(())
    }
}

/// Refuses numbers that no cluster counts to, so that others can be made of them without a look.
pub(super) fn check_numbers(
    numbers: impl IntoIterator<Item = (&'static str, u64)>,
) -> Result<(), Problem> {
    let mut numbers = numbers.into_iter();
    match numbers.find(|(_, number)| *number > INTEGER_MAX) {
        None => Ok(()),
        Some((name, number)) => {
            let detail = format!("{name} is {number}, above {INTEGER_MAX}");
            Err(Problem::new(ErrorCode::InvalidParameter, detail))
        }
    }
}

/// Room on a node's disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskSpace {
    /// Size of the file system, in bytes; 0 when it is not known.
    pub capacity_bytes: u64,
    /// Free for us, in bytes.
    pub free_bytes: u64,
    /// False while appends are refused for want of space.
    pub has_room: bool,
    /// Below the mark at which somebody should look.
    pub is_low: bool,
}

impl Default for DiskSpace {
    fn default() -> Self {
        Self {
            capacity_bytes: 0,
            free_bytes: 0,
            has_room: true,
            is_low: false,
        }
    }
}

/// Counters of one run of a node; they start at 0 and only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Records appended as a leader.
    pub appended_records: u64,
    /// Bytes of the batches they came in.
    pub appended_bytes: u64,
    /// Records in the batches read by consumers and gateways.
    pub read_records: u64,
    /// Bytes of those batches.
    pub read_bytes: u64,
    /// Requests to append that were answered, refusals among them.
    pub append_requests: u64,
    /// Reads that found something.
    pub read_requests: u64,
}

/// Counters of one partition since its leader opened it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PartitionTraffic {
    /// Bytes of batches appended.
    pub appended_bytes: u64,
    /// Bytes of batches read by consumers and gateways.
    pub read_bytes: u64,
}

/// Where one partition stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Which partition.
    pub key: ReplicaKey,
    /// As its leader sees it.
    #[serde(flatten)]
    pub status: PartitionStatus,
    /// What went in and out.
    #[serde(default)]
    pub traffic: PartitionTraffic,
    /// Every other copy that the leader knows of; empty when there is none, or nobody counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyStatus>,
}

/// What a registration is worth now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It takes part.
    Current,
    /// It was shut out and has to register again.
    Fenced,
    /// A later registration of the same id took its place: it has to exit (S5).
    Superseded,
    /// The controller does not know it, or it was removed.
    Unknown,
}

/// The answer to a [`Heartbeat`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// What the node's registration is worth, as far as this controller knows.
    pub standing: Standing,
    /// How far this controller is; a node that is far behind has lost its watch.
    pub revision: u64,
    /// When to come again, in milliseconds.
    pub interval_ms: u64,
    /// This controller has lost sight of the store, and may not know whom to pass the heartbeat on to:
    /// better talk to another one.
    #[serde(default)]
    pub is_stale: bool,
    /// This controller missed what was told before, and wants to be told of every partition.
    #[serde(default)]
    pub tell_all: bool,
}

/// A leader's wishes for in-sync sets (I3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrRequest {
    /// The leader.
    pub spu_id: SpuId,
    /// Its registration.
    pub incarnation: Incarnation,
    /// Each is judged alone; all that are accepted are made together.
    pub proposals: Vec<IsrProposal>,
}

/// One outcome per proposal, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrAnswer {
    /// The outcomes.
    pub outcomes: Vec<IsrOutcome>,
}

/// What replicas found when they were sealed (L3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealRequest {
    /// One per replica.
    pub answers: Vec<SealAnswer>,
}

impl SealRequest {
    /// Whether its epochs and offsets are such as there are.
    ///
    /// # Errors
    /// 400 with the first that is above [`INTEGER_MAX`].
    pub fn check(&self) -> Result<(), Problem> {
        check_numbers(self.answers.iter().flat_map(|answer| {
            [
                ("incarnation", answer.member.incarnation.0),
                ("sealed_at", answer.sealed_at.0),
                ("last_epoch", answer.last_epoch.0),
                ("end", answer.end.get()),
                ("log_start", answer.log_start.get()),
            ]
        }))
    }
}

/// A replica whose log takes nothing any more, as its node found while it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedReplica {
    /// Which partition.
    pub key: ReplicaKey,
    /// Which membership: another one is another replica.
    pub replica_gen: ReplicaGen,
    /// The epoch that it accepted last.
    pub leader_epoch: LeaderEpoch,
    /// False when some of what it acknowledged is known to be lost or damaged.
    pub intact: bool,
}

/// Replicas that failed under a registration. They stay so until the node registers anew or they are
/// replaced, so that a late or repeated copy of this changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRequest {
    /// The node.
    pub spu_id: SpuId,
    /// The registration that they failed under.
    pub incarnation: Incarnation,
    /// Which.
    pub replicas: Vec<FailedReplica>,
}

impl FailedRequest {
    /// Whether its numbers are such as there are.
    ///
    /// # Errors
    /// 400 with the first that is above [`INTEGER_MAX`].
    pub fn check(&self) -> Result<(), Problem> {
        let epochs = self.replicas.iter().map(|one| one.leader_epoch.0);
        let epochs = epochs.map(|epoch| ("leader_epoch", epoch));
        check_numbers(
            [("incarnation", self.incarnation.0)]
                .into_iter()
                .chain(epochs),
        )
    }
}

/// A node stops on purpose: its partitions get other leaders at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveRequest {
    /// The node.
    pub spu_id: SpuId,
    /// Its registration.
    pub incarnation: Incarnation,
}

/// Producer ids that are the asker's for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIds {
    /// The first of them.
    pub first: u64,
    /// How many.
    pub count: u64,
}

/// Topics that a node holds replicas of and does not find in the topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopicsQuery {
    /// Which; bounded by the controller.
    pub topics: Vec<TopicId>,
}

/// Those of them that were deleted (S7). The others may be missing because the metadata is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopics {
    /// Which.
    pub deleted: Vec<TopicId>,
}
