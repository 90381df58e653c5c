//! What can wake the loop of one socket, and what its futures end with.
//!
//! Types only.

use tidegate_kit::auth::Principal;
use tidegate_proto::error::Problem;
use tidegate_proto::position::ReplicaKey;
use tokio::sync::watch;

use super::consume::Opened;
use super::effect::{Effects, Input, Of};
use super::wire::Over;
use crate::opening::Present;
use crate::partitions::Tail;

/// What a future of the loop ended with.
pub(super) enum Done {
    Input(Input),
    Opened {
        of: Of,
        outcome: Result<Opened, Problem>,
    },
    Joined {
        of: Of,
        present: Present,
    },
    Tail(Followed),
    Reauthenticated {
        id: Option<u32>,
        outcome: Result<Principal, Problem>,
    },
    /// It belonged to positions that nobody wants any more.
    Nothing,
}

/// A tail and whether it is still open.
pub(super) struct Followed {
    pub(super) of: Of,
    pub(super) key: ReplicaKey,
    pub(super) tail: watch::Receiver<Tail>,
    pub(super) is_open: bool,
}

/// What woke the loop.
pub(super) enum Woken {
    Message(Result<Input, Over>),
    Done(Done),
    Topology(bool),
    Tick,
    Stop,
    DrainExpired,
}

/// What the path of a socket subscribes to, looked up before.
pub(crate) struct Home {
    pub(crate) of: Of,
    pub(crate) opened: Opened,
    pub(crate) effects: Effects,
}
