//! The metadata store in one SQLite file, for a single controller.
//!
//! One connection that holds the file exclusively: a second controller is refused by SQLite itself,
//! and the lock goes with the process however it ends. Write-ahead log, `synchronous=FULL`: a commit
//! that was answered survives power loss.

mod adopt;
mod backup;
mod lease;
mod open;
mod read;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use sqlx::{Row as _, SqlitePool};
use tidegate_proto::id::{ClusterId, LeaseEpoch, StoreId, TopicId};
use tidegate_sc_core::model::Model;
use tokio::sync::watch;
use uuid::Uuid;

use super::fault::{BoxFuture, StoreError};
use super::lease::{Acquired, Leases};
use super::ledger::{JoinToken, NodeCertificate, Receipt, Redeemed, Use};
use super::ledger_sql::{
    CERTIFICATE, CERTIFICATES, JOIN_TOKEN, JOIN_TOKENS, PUT_RECEIPT, hash, join_token, ledger_for,
    node_certificate,
};
use super::meta_store::{
    ApplyError, ChainAt, Commit, Doorbell, Event, EventsError, Kept, MetaStore,
};
use super::standing::{Durability, Standing};
use crate::limits::LEDGER_ROWS_MAX;

/// A metadata store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
    /// The revision of the last commit, for the doorbells: nobody else writes.
    committed: watch::Sender<u64>,
}

impl SqliteStore {
    /// Opens the file, making it and bringing its schema up to date as needed. A new store gets
    /// `new_cluster_id` as its identity; one that is there keeps its own.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another controller has it; [`StoreError::SchemaTooNew`] when a newer
    /// version wrote it; others as the file system says.
    pub async fn open(
        path: &Path,
        new_cluster_id: ClusterId,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let pool = open::open(path, new_cluster_id, now_ms).await?;
        let (committed, _) = watch::channel(0);
        Ok(Self { pool, committed })
    }
}

/// Lends the connection. The file is ours alone and on this machine: nothing to give up waiting for.
macro_rules! within {
    ($pool:expr, $limit:expr, $conn:ident => $work:expr) => {{
        let mut $conn = $pool.acquire().await.map_err(failure)?;
        $work.await
    }};
}

impl MetaStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn standing(&self) -> BoxFuture<'_, Result<Standing, StoreError>> {
        Box::pin(async {
            let facts = read::facts(&self.pool).await?;
            let settings = [("synchronous", "full"), ("journal_mode", "wal")];
            let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Ok(Standing {
                cluster_id: facts.cluster_id,
                store_id: facts.store_id,
                revision: facts.revision,
                chain: facts.chain,
                events_floor: facts.events_floor,
                is_writable: true,
                durability: Durability {
                    survives_power_loss: true,
                    synchronous_copies: 0,
                    settings: BTreeMap::from(settings),
                },
            })
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>> {
        Box::pin(read::snapshot(&self.pool))
    }

    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>> {
        Box::pin(async move {
            let revision = write::apply(&self.pool, commit).await?;
            self.committed.send_replace(revision);
            Ok(revision)
        })
    }

    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(read::committed(&self.pool, id))
    }

    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>> {
        Box::pin(read::events_after(&self.pool, revision, revisions_max))
    }

    fn chain_at(&self, revision: u64) -> BoxFuture<'_, Result<ChainAt, StoreError>> {
        Box::pin(read::chain_at(&self.pool, revision))
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(Bell(self.committed.subscribe()))
    }

    fn compact_events(&self, kept: Kept) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(write::compact_events(&self.pool, kept))
    }

    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>> {
        Box::pin(write::lease_producer_ids(&self.pool, count))
    }

    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(read::is_deleted(&self.pool, id))
    }

    fn adopt<'a>(
        &'a self,
        actor: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, StoreError>> {
        Box::pin(adopt::adopt(&self.pool, actor, at_ms))
    }

    fn has_been(&self, id: StoreId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(adopt::has_been(&self.pool, id))
    }

    fn answer_for(&self, id: StoreId, at_ms: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(adopt::answer_for(&self.pool, id, at_ms))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

impl Leases for SqliteStore {
    fn acquire_lease<'a>(
        &'a self,
        holder: &'a str,
        duration: Duration,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        Box::pin(lease::acquire(&self.pool, holder, duration))
    }

    fn renew_lease(
        &self,
        epoch: LeaseEpoch,
        duration: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(lease::renew(&self.pool, epoch, duration))
    }

    fn release_lease(&self, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(lease::release(&self.pool, epoch))
    }
}

ledger_for!(SqliteStore, failure);

/// Rings at each commit of this process, which is the only one.
struct Bell(watch::Receiver<u64>);

impl Doorbell for Bell {
    fn rung(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.0.changed().await.is_err() {
                // The store is gone: nothing will ever ring again.
                std::future::pending::<()>().await;
            }
        })
    }
}

/// What a failing statement means, when it is about the store as a whole.
fn failure(error: sqlx::Error) -> StoreError {
    match primary_code(&error) {
        Some(FULL) => StoreError::Full(error),
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Database(error),
    }
}

// Primary result codes of SQLite; the extended ones have them in their low byte.
const PERMISSION: i32 = 3;
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const CONSTRAINT: i32 = 19;
const NOT_A_DATABASE: i32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// SQLite has signed integers only; everything we count stays far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("counters stay below 2^63")
}

/// A bound that may mean "all there are".
fn bounded(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is negative")))
}

#[cfg(test)]
mod tests;
