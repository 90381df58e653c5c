//! The trait that every metadata store implements, and what may go wrong.
//!
//! Promises of every implementation, checked by the conformance suite:
//! - a commit is made whole or not at all, durably, and only if each changed row still has the version
//!   that the change expects and its other conditions hold; otherwise nothing happens;
//! - revisions are dense but for adoptions, and their order is the order of commits; each commit's hash
//!   covers the last;
//! - the events of a commit appear with it, and folding events over an older snapshot gives the newer.

use std::fmt;
use std::ops::Range;

use thiserror::Error;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{LeaseEpoch, StoreId, TopicId};
use tidegate_sc_core::change::Change;
pub use tidegate_sc_core::change::Guard;
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::backup::Backups;
use super::fault::{BoxFuture, StoreError};
use super::lease::Leases;
use super::ledger::{Ledger, Receipt};
use super::standing::Standing;
use crate::limits::REVISIONS_PER_MS;

/// Changes to be made together, and what has to hold for them.
#[derive(Debug, Clone)]
pub struct Commit {
    /// New for every attempt; finds the commit again when its answer was lost.
    pub id: Uuid,
    /// Who asked, for the record.
    pub actor: String,
    /// Which request asked, for the record; not unique.
    pub request_id: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// At least one; a topic before its partitions. A row is changed once.
    pub changes: Vec<Change>,
    /// Rows that were looked at and not changed: they must be as they were.
    pub guards: Vec<Guard>,
    /// When given, nothing at all may have changed since that revision: for decisions on the whole
    /// state, such as quotas.
    pub at_revision: Option<u64>,
    /// When given, the history up to that revision must have that hash: what was decided on is no other
    /// store's, nor one that went back and on another way (X1).
    pub seen: Option<(u64, ChainHash)>,
    /// When given, the controller's lease must still be held under this epoch.
    pub lease: Option<LeaseEpoch>,
    /// Written with the changes: a repetition of the request then finds its answer.
    pub receipt: Option<Receipt>,
}

impl Commit {
    /// Changes of one request, with no condition but their own.
    #[must_use]
    pub fn new(changes: Vec<Change>, actor: String, request_id: String, at_ms: i64) -> Self {
        Self {
            id: Uuid::new_v4(),
            actor,
            request_id,
            at_ms,
            changes,
            guards: Vec::new(),
            at_revision: None,
            seen: None,
            lease: None,
            receipt: None,
        }
    }
}

/// One change as it was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: u64,
    /// Place within the commit, from 0.
    pub seq: u32,
    pub change: Change,
    pub actor: String,
    pub request_id: String,
    pub at_ms: i64,
    /// Over the whole history up to and including this revision.
    pub chain: ChainHash,
}

/// How much of the history is kept: whichever of the two is less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub revisions: u64,
    /// Events; a revision may have thousands.
    pub rows: u64,
}

/// What the store knows about its history at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainAt {
    Known(ChainHash),
    /// Forgotten with the events up to that revision.
    Compacted {
        floor: u64,
    },
    /// The store is not that far.
    Ahead {
        revision: u64,
    },
}

/// A commit was not made, or nobody knows. Where several hold: fenced, then repeated, then conflict.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// A row had changed; nothing was done. Read again and decide again.
    #[error("what this was decided on has changed")]
    Conflict,
    /// The lease has gone to another holder; nothing was done. Stop controlling.
    #[error("the lease is no longer held under epoch {0}")]
    Fenced(LeaseEpoch),
    /// There is a receipt for that principal and key; nothing was done. Give its answer.
    #[error("the request was carried out before")]
    Repeated,
    /// Nothing was done.
    #[error(transparent)]
    Failed(#[from] StoreError),
    /// The answer to the commit was lost; [`MetaStore::committed`] finds out.
    #[error("the commit may or may not have been made")]
    Unknown(#[source] StoreError),
}

/// Events cannot be read from there.
#[derive(Debug, Error)]
pub enum EventsError {
    /// Those right after that revision are gone: take a snapshot instead.
    #[error("events up to revision {floor} were compacted")]
    Compacted { floor: u64 },
    #[error(transparent)]
    Failed(#[from] StoreError),
}

/// Rings when there may be something new to read.
pub trait Doorbell: Send {
    /// Waits for a commit, by whichever controller. May ring for nothing, and may miss: whoever waits
    /// here also looks by himself now and then.
    fn rung(&mut self) -> BoxFuture<'_, ()>;
}

/// What an adoption at that time brings the revision to at least, beside the revisions that it passes over.
pub(super) fn revision_at_least(at_ms: i64) -> u64 {
    u64::try_from(at_ms)
        .unwrap_or(0)
        .saturating_mul(REVISIONS_PER_MS)
}

/// A metadata store.
pub trait MetaStore: Leases + Ledger + Backups + Send + Sync + fmt::Debug + 'static {
    /// What it is, for people: `sqlite`, `postgres`.
    fn name(&self) -> &'static str;

    /// Which store it is, how far it is, and what it promises.
    fn standing(&self) -> BoxFuture<'_, Result<Standing, StoreError>>;

    /// The whole state at one revision.
    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>>;

    /// Makes the changes of one commit and answers with its revision.
    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>>;

    /// The revision of the commit with that id, if it was made. None is the last word: such a commit is
    /// not made later. While one is under way whose fate is open, this waits, and then fails.
    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// Events of the revisions after `revision`, at most `revisions_max` of them, whole and in order.
    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>>;

    /// The hash of the history up to `revision`, to be compared with what a node saw (X1).
    fn chain_at(&self, revision: u64) -> BoxFuture<'_, Result<ChainAt, StoreError>>;

    /// A bell of one's own.
    fn doorbell(&self) -> Box<dyn Doorbell>;

    /// Drops the oldest events beyond what is to be kept; never those of the newest revision.
    fn compact_events(&self, kept: Kept) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Takes `count` producer ids that nobody else will ever get.
    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>>;

    /// True when that topic was deleted, as opposed to never known: its records may be removed (S7).
    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// An operator takes this store for the cluster's, whatever others saw: it gets a new identity, and
    /// passes over [`PRODUCER_IDS_PER_ADOPTION`](crate::limits::PRODUCER_IDS_PER_ADOPTION) producer ids and
    /// [`REVISIONS_PER_ADOPTION`](crate::limits::REVISIONS_PER_ADOPTION) revisions that it may have given
    /// out and forgotten. Events up to then are gone.
    fn adopt<'a>(
        &'a self,
        actor: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, StoreError>>;

    /// True when this store has that identity, or had it before an operator adopted it (X2). A store that was
    /// restored has the identities of the one that was backed up only once it is adopted.
    fn has_been(&self, id: StoreId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// From now on this store has had that identity too: an operator adopted this one, though it had been
    /// seen under that.
    fn answer_for(&self, id: StoreId, at_ms: i64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends use of the store; later calls fail.
    fn close(&self) -> BoxFuture<'_, ()>;
}
