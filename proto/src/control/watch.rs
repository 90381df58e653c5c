//! How the topology travels: lines of a watch stream, a snapshot first, then every revision.
//!
//! `GET /internal/v1/watch?after=<revision>&hash=<hash>&store=<store>` answers with NDJSON, one
//! [`WatchLine`] a line; with `seen` in place of `after` it begins with a snapshot. A revision may be told in several lines; the hash stands in the last of them,
//! and nothing of a revision counts before it. Plain data; [`TopologyFold`](super::TopologyFold) puts it
//! together.

use serde::{Deserialize, Serialize};

use super::{PartitionSpec, Seen, SpuSpec, TopicSpec};
use crate::chain::ChainHash;
use crate::error::Problem;
use crate::id::{ClusterId, SpuId, StoreId, TopicId};
use crate::name::TopicName;

/// One line of a watch stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub enum WatchLine {
    /// Forget what was told: the next revision is the whole state.
    Reset {
        /// The cluster that is watched.
        cluster_id: ClusterId,
        /// The store that tells.
        store_id: StoreId,
    },
    /// What a revision changed, or a part of that. A revision that changed nothing of the topology is
    /// told without changes.
    Changes {
        /// The revision: one more than the last, except after a reset.
        revision: u64,
        /// In order; a topic comes before its partitions.
        changes: Vec<TopologyChange>,
        /// In the last line of the revision: the hash of the history up to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<ChainHash>,
    },
    /// Nothing happened; the connection is alive.
    Alive {
        /// The newest revision.
        revision: u64,
        /// Milliseconds since this controller last heard from the store, when that is too long ago.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stale_ms: Option<u64>,
    },
    /// The controller ends the stream, and why. Go on elsewhere, or here again, from where you are.
    End {
        /// `overloaded` for a reader that was too slow, `unavailable` for a controller that stops.
        problem: Problem,
    },
}

/// One change of the topology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum TopologyChange {
    /// A unit is there, as this.
    PutSpu {
        /// Which.
        spu: SpuId,
        /// What it is.
        spec: SpuSpec,
    },
    /// A unit is gone.
    RemoveSpu {
        /// Which.
        spu: SpuId,
    },
    /// A topic is there, as this. Its partitions are told apart and stay as they are.
    PutTopic {
        /// Without partitions.
        spec: TopicSpec,
    },
    /// A partition is there, as this.
    PutPartition {
        /// Of this topic, which is known.
        topic_id: TopicId,
        /// What it is; a new one has the next number.
        spec: PartitionSpec,
    },
    /// A topic is gone with its partitions.
    RemoveTopic {
        /// This life of it.
        topic_id: TopicId,
        /// Its name, which may be another topic's by now.
        name: TopicName,
    },
}

/// From where a watch goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchQuery {
    /// The last revision that is known; without it the stream begins with a snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// The last revision that was seen, by one who needs a snapshot all the same: a store that is not that
    /// far has lost commits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<u64>,
    /// The hash at that revision.
    #[serde(default)]
    pub hash: Option<ChainHash>,
    /// The store that told it.
    #[serde(default)]
    pub store: Option<StoreId>,
}

/// Where a watch is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchStart {
    /// With a snapshot.
    Snapshot,
    /// With a snapshot, for one who had seen so much in an earlier run (X1).
    SnapshotFor(Seen),
    /// After what is known.
    After(Seen),
}

impl WatchQuery {
    /// What is asked for; none when parts of it are missing or contradict each other.
    #[must_use]
    pub fn start(self) -> Option<WatchStart> {
        let place = |revision| {
            let (hash, store_id) = self.hash.zip(self.store)?;
            Some(Seen {
                store_id,
                revision,
                hash,
            })
        };
        match (self.after, self.seen) {
            (Some(after), None) => place(after).map(WatchStart::After),
            (None, Some(seen)) => place(seen).map(WatchStart::SnapshotFor),
            (None, None) if self.hash.is_none() && self.store.is_none() => {
                Some(WatchStart::Snapshot)
            }
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}
