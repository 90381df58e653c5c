//! The trait that every metadata store implements, and what may go wrong.
//!
//! Promises of every implementation, checked by the conformance suite:
//! - a commit is made whole or not at all, durably, and only if each changed row still has the version
//!   that the change expects; otherwise nothing happens ([`ApplyError::Conflict`]);
//! - revisions are dense and their order is the order of commits;
//! - the events of a commit appear with it, and folding events over an older snapshot gives the newer.

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;

use thiserror::Error;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::TopicId;
use tidegate_sc_core::change::Change;
use tidegate_sc_core::model::Model;
use uuid::Uuid;

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Changes to be made together.
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
    /// At least one; a topic before its partitions.
    pub changes: Vec<Change>,
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
}

/// The store did not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another controller has the file open.
    #[error("another controller uses the metadata store {}", .0.display())]
    InUse(PathBuf),
    /// The store was written by a newer version.
    #[error(
        "the metadata store has schema {found}, this version knows {known} at most; \
         start it with the version that wrote it, or a newer one"
    )]
    SchemaTooNew { found: i64, known: i64 },
    /// The store's schema was not made by this project's migrations.
    #[error("migration {version} of the metadata store is not the one that this version has")]
    SchemaDiffers { version: i64 },
    /// The file cannot be made or written.
    #[error("the metadata store {} cannot be opened for writing", path.display())]
    NotWritable {
        path: PathBuf,
        #[source]
        source: sqlx::Error,
    },
    /// No room on the disk.
    #[error("no space is left for the metadata store")]
    Full(#[source] sqlx::Error),
    /// What is stored makes no sense.
    #[error("the metadata store is damaged: {0}")]
    Damaged(String),
    /// Anything else that the database says.
    #[error("the metadata store failed")]
    Database(#[source] sqlx::Error),
}

/// A commit was not made, or nobody knows.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// A row had changed; nothing was done. Read again and decide again.
    #[error("what this was decided on has changed")]
    Conflict,
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

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Full(_) => ErrorCode::DiskFull,
            StoreError::Damaged(_) => ErrorCode::Internal,
            _ => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

/// A metadata store.
pub trait MetaStore: Send + Sync + fmt::Debug + 'static {
    /// What it is, for people: `sqlite`, `postgres`.
    fn name(&self) -> &'static str;

    /// The whole state at one revision.
    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>>;

    /// Makes the changes of one commit and answers with its revision.
    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>>;

    /// The revision of the commit with that id, if it was made.
    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>>;

    /// Events of the revisions after `revision`, at most `revisions_max` of them, whole and in order.
    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>>;

    /// Drops the events up to and including `floor`.
    fn compact_events(&self, floor: u64) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Takes `count` producer ids that nobody else will ever get.
    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>>;

    /// True when that topic was deleted, as opposed to never known: its records may be removed (S7).
    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Ends use of the store; later calls fail.
    fn close(&self) -> BoxFuture<'_, ()>;
}
