//! Where a subscription starts: what was asked for, and what it was found to be.
//!
//! Types only.

use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset};

use crate::opening::Absent;
use crate::partitions::Tail;

/// Where one partition of a subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartPlace {
    pub(crate) partition: PartitionId,
    pub(crate) offset: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) tail: Tail,
}

/// What resolving a subscribe or seek gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resolution {
    pub(crate) topic_id: TopicId,
    /// What binary messages call it.
    pub(crate) topic_number: u32,
    /// Partitions added later belong to it too.
    pub(crate) all_partitions: bool,
    pub(crate) starts: Vec<StartPlace>,
    /// Those that cannot be reached now.
    pub(crate) absent: Vec<Absent>,
}

/// A subscribe or seek that is being looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening {
    pub(crate) generation: u64,
    pub(crate) id: Option<u32>,
}
