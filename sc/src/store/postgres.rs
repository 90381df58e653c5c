//! The metadata store in Postgres, for any number of controllers.
//!
//! Every commit is conditional on what it was decided on, under READ COMMITTED; the counter row that it
//! updates last makes the order of revisions the order of commits. No decision rests on anything that
//! Postgres would undo: a lost answer to COMMIT is [`ApplyError::Unknown`](super::ApplyError), and the
//! wait for synchronous standbys is never cut short, because Postgres then reports success.
//!
//! Invariant: a connection whose answer was not awaited to its end is closed, never used again.

mod adopt;
mod backup;
mod bell;
mod lease;
mod migrate;
mod open;
mod read;
mod standing;
mod write;

use std::ops::Range;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::Postgres;
use sqlx::{PgPool, Row as _};
use tidegate_proto::id::{ClusterId, LeaseEpoch, StoreId, TopicId};
use tidegate_sc_core::model::Model;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use uuid::Uuid;

use super::backup::{Backup, Backups, RestoreError};
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
use super::standing::Standing;
use crate::limits::{
    LEASE_STATEMENT_TIMEOUT, LEDGER_ROWS_MAX, RESTORE_TIMEOUT, STORE_CALL_TIMEOUT,
    STORE_SNAPSHOT_TIMEOUT,
};

pub use migrate::{Applied, migrate};
pub use open::DatabaseUrl;

/// A metadata store in a Postgres database.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// Connections of their own, so that no crowd of requests delays the lease or the doorbell.
    lease_pool: PgPool,
    bell_pool: PgPool,
    cluster_id: ClusterId,
}

impl PostgresStore {
    /// Connects to a database that [`migrate`] has prepared. `name` tells the server's administrator
    /// who is connected.
    ///
    /// # Errors
    /// [`StoreError::SchemaMissing`], [`StoreError::SchemaTooOld`] and the like when `migrate` has to be
    /// run first or a newer version is needed; [`StoreError::ReadOnly`] on a standby;
    /// [`StoreError::Unreachable`] when there is no connection.
    pub async fn open(url: &DatabaseUrl, name: &str) -> Result<Self, StoreError> {
        open::open(url, name).await
    }
}

/// Carries `$work` out on a connection of `$pool` named `$conn`, within `$limit`.
macro_rules! within {
    ($pool:expr, $limit:expr, $conn:ident => $work:expr) => {{
        let mut $conn = $pool.acquire().await.map_err(open::failure)?;
        let done = timeout($limit, $work).await;
        settle($conn, $limit, done)
    }};
}

/// What a call came to; the connection goes back only when it has been answered.
fn settle<T, E: From<StoreError>>(
    mut conn: PoolConnection<Postgres>,
    limit: Duration,
    done: Result<Result<T, E>, Elapsed>,
) -> Result<T, E> {
    done.unwrap_or_else(|_| {
        conn.close_on_drop();
        Err(StoreError::Slow(limit).into())
    })
}

impl MetaStore for PostgresStore {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn standing(&self) -> BoxFuture<'_, Result<Standing, StoreError>> {
        Box::pin(async {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => standing::standing(&mut conn))
        })
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>> {
        Box::pin(async {
            within!(self.pool, STORE_SNAPSHOT_TIMEOUT, conn => read::snapshot(&mut conn))
        })
    }

    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>> {
        Box::pin(async move {
            let mut conn = self.pool.acquire().await.map_err(open::failure)?;
            let done = write::apply(&mut conn, commit).await;
            if matches!(
                done,
                Err(ApplyError::Unknown(_) | ApplyError::Failed(StoreError::Slow(_)))
            ) {
                conn.close_on_drop();
            }
            done
        })
    }

    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => read::committed(&mut conn, id))
        })
    }

    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>> {
        Box::pin(async move {
            within!(self.pool, STORE_SNAPSHOT_TIMEOUT,
                    conn => read::events_after(&mut conn, revision, revisions_max))
        })
    }

    fn chain_at(&self, revision: u64) -> BoxFuture<'_, Result<ChainAt, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => read::chain_at(&mut conn, revision))
        })
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        Box::new(bell::Bell::new(self.bell_pool.clone(), self.cluster_id))
    }

    fn compact_events(&self, kept: Kept) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => write::compact_events(&mut conn, kept))
        })
    }

    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT,
                    conn => write::lease_producer_ids(&mut conn, count))
        })
    }

    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => read::is_deleted(&mut conn, id))
        })
    }

    fn adopt<'a>(
        &'a self,
        actor: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => adopt::adopt(&mut conn, actor, at_ms))
        })
    }

    fn has_been(&self, id: StoreId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT, conn => adopt::has_been(&mut conn, id))
        })
    }

    fn answer_for(&self, id: StoreId, at_ms: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            within!(self.pool, STORE_CALL_TIMEOUT,
                    conn => adopt::answer_for(&mut conn, id, at_ms))
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.bell_pool.close().await;
            self.lease_pool.close().await;
            self.pool.close().await;
        })
    }
}

impl Leases for PostgresStore {
    fn acquire_lease<'a>(
        &'a self,
        holder: &'a str,
        duration: Duration,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        Box::pin(async move {
            within!(self.lease_pool, LEASE_STATEMENT_TIMEOUT,
                    conn => lease::acquire(&mut conn, holder, duration))
        })
    }

    fn renew_lease(
        &self,
        epoch: LeaseEpoch,
        duration: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(async move {
            within!(self.lease_pool, LEASE_STATEMENT_TIMEOUT,
                    conn => lease::renew(&mut conn, epoch, duration))
        })
    }

    fn release_lease(&self, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            within!(self.lease_pool, LEASE_STATEMENT_TIMEOUT,
                    conn => lease::release(&mut conn, epoch))
        })
    }
}

impl Backups for PostgresStore {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(async {
            within!(self.pool, STORE_SNAPSHOT_TIMEOUT, conn => backup::read(&mut conn))
        })
    }

    fn restore<'a>(
        &'a self,
        backup: &'a Backup,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, RestoreError>> {
        Box::pin(async move {
            backup.check()?;
            let restored = backup.restored(at_ms);
            within!(self.pool, RESTORE_TIMEOUT,
                    conn => backup::write(&mut conn, &restored, at_ms))
        })
    }
}

ledger_for!(PostgresStore, open::failure);

/// Postgres has signed integers only; everything we count stays far below 2^63.
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

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
