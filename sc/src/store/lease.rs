//! The controller's lease: who runs the controllers of the cluster, and under which epoch.
//!
//! One row, judged by the clock of the database. Time decides only when another may *try*: what keeps
//! an old holder out is the epoch, which every transaction of a controller checks
//! ([`Commit::lease`](super::Commit::lease)) and which grows whenever the lease changes hands.

use std::time::Duration;

use tidegate_proto::id::LeaseEpoch;

use super::fault::{BoxFuture, StoreError};

/// What became of an attempt to take the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Acquired {
    /// It is ours under this epoch, until it expires unless renewed.
    Ours(LeaseEpoch),
    /// Somebody else has it.
    Theirs {
        holder: String,
        epoch: LeaseEpoch,
        /// Time left by the clock of the database.
        left: Duration,
    },
}

/// The lease of one store.
pub trait Leases {
    /// Takes the lease for `holder` (unique to one run of one process) if nobody has it, it has
    /// expired, or `holder` has it; every success is a new epoch.
    fn acquire_lease<'a>(
        &'a self,
        holder: &'a str,
        duration: Duration,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>>;

    /// Prolongs it to `duration` from now. False when it was taken by somebody else: stop at once.
    fn renew_lease(
        &self,
        epoch: LeaseEpoch,
        duration: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Gives it back before its time, if it is still held under that epoch.
    fn release_lease(&self, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>>;
}
