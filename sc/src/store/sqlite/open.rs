//! Opens the file: exclusive lock, schema, identity.
//!
//! Migrations are compiled in, run in order and never edited once released; a store that has one we
//! do not know was written by a newer version and is left alone.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr as _;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlitePool};
use tidegate_proto::id::ClusterId;

use super::{BUSY, CANNOT_OPEN, PERMISSION, READ_ONLY, failure, primary_code};
use crate::limits::STORE_BUSY_TIMEOUT;
use crate::store::meta_store::StoreError;

const MIGRATIONS: [(i64, &str, &str); 2] = [
    (
        1,
        "topology",
        include_str!("../../../../migrations/sqlite/0001_topology.sql"),
    ),
    (
        2,
        "truncate",
        include_str!("../../../../migrations/sqlite/0002_truncate.sql"),
    ),
];

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
    sqlx::query(
        "INSERT INTO cluster (id, cluster_id, created_at_ms) VALUES (1, ?, ?)
         ON CONFLICT (id) DO UPDATE SET revision = revision",
    )
    .bind(new_cluster_id.to_string())
    .bind(now_ms)
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
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        let sql = AssertSqlSafe(sql).into_sql_str();
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sql,
            false,
        )
    });
    let known = MIGRATIONS[MIGRATIONS.len() - 1].0;
    let migrator = Migrator::with_migrations(migrations.to_vec());
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

/// The identity as it is stored.
pub(super) fn cluster_id(text: &str) -> Result<ClusterId, StoreError> {
    ClusterId::from_str(text).map_err(|_| StoreError::Damaged(format!("cluster id {text:?}")))
}
