//! Opens the file: exclusive lock, schema, identity.
//!
//! Migrations are compiled in, run in order and never edited once released; a store that has one we
//! do not know was written by a newer version and is left alone.

use std::path::Path;
use std::str::FromStr as _;

use sqlx::SqlitePool;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use tidegate_proto::id::{ClusterId, StoreId};
use uuid::Uuid;

use super::{BUSY, CANNOT_OPEN, PERMISSION, READ_ONLY, failure, primary_code};
use crate::limits::{SQLITE_CACHE, STORE_BUSY_TIMEOUT};
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::migrations::{SQLITE, migrator, newest};

pub(super) async fn open(
    path: &Path,
    new_cluster_id: ClusterId,
    now_ms: i64,
) -> Result<SqlitePool, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Before the journal mode: then the lock covers the write-ahead log and no shared memory
        // file is needed.
        .locking_mode(SqliteLockingMode::Exclusive)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", SQLITE_CACHE)
        .busy_timeout(STORE_BUSY_TIMEOUT);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|error| opening_failure(path, error))?;
    let ready = prepare(&pool, path, new_cluster_id, now_ms).await;
    if let Err(error) = ready {
        pool.close().await;
        return Err(error);
    }
    Ok(pool)
}

async fn prepare(
    pool: &SqlitePool,
    path: &Path,
    new_cluster_id: ClusterId,
    now_ms: i64,
) -> Result<(), StoreError> {
    // Nothing is promised before this function returns, so the steps of a first start need no sync of
    // their own: the last write below syncs the log with all that came before it.
    synchronous(pool, path, "PRAGMA synchronous = NORMAL").await?;
    migrate(pool, path).await?;
    synchronous(pool, path, "PRAGMA synchronous = FULL").await?;
    // A write, so that the file is locked from here on even when the store was there already.
    let cluster_id: String = sqlx::query_scalar(
        "INSERT INTO cluster (id, cluster_id, store_id, created_at_ms) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET store_id = coalesce(store_id, ?2) RETURNING cluster_id",
    )
    .bind(new_cluster_id.to_string())
    .bind(StoreId(Uuid::new_v4()).to_string())
    .bind(now_ms)
    .fetch_one(pool)
    .await
    .map_err(|error| opening_failure(path, error))?;
    let cluster_id = ClusterId::from_str(&cluster_id)
        .map_err(|_| StoreError::Damaged(format!("cluster id {cluster_id:?}")))?;
    // A new store, or one of a version before there were hashes.
    sqlx::query("UPDATE cluster SET chain = coalesce(chain, ?) WHERE id = 1")
        .bind(&chain::start(cluster_id).0[..])
        .execute(pool)
        .await
        .map_err(|error| opening_failure(path, error))?;
    Ok(())
}

async fn synchronous(
    pool: &SqlitePool,
    path: &Path,
    pragma: &'static str,
) -> Result<(), StoreError> {
    let set = sqlx::query(pragma).execute(pool).await;
    set.map(drop).map_err(|error| opening_failure(path, error))
}

async fn migrate(pool: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let known = newest(&SQLITE);
    let migrator = migrator(&SQLITE);
    migrator.run(pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(found) => StoreError::SchemaTooNew { found, known },
        MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => {
            StoreError::SchemaDiffers { version }
        }
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            opening_failure(path, error)
        }
        error => StoreError::Damaged(error.to_string()),
    })
}

fn opening_failure(path: &Path, error: sqlx::Error) -> StoreError {
    let path = path.to_owned();
    match primary_code(&error) {
        Some(BUSY) => StoreError::InUse(path),
        Some(PERMISSION | READ_ONLY | CANNOT_OPEN) => StoreError::NotWritable {
            path,
            source: error,
        },
        _ => failure(error),
    }
}
