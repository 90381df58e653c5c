//! `tidegate sc migrate`: brings the schema up to date, and gives a new store its identity.
//!
//! Whoever runs it holds an advisory lock, so that several may start at once and one does the work.
//! Migrations only add, so controllers of the last version go on meanwhile.

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tidegate_proto::id::{ClusterId, StoreId};
use uuid::Uuid;

use super::open::{DatabaseUrl, check_schema, failure};
use crate::limits::MIGRATION_LOCK_TIMEOUT;
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::migrations::{POSTGRES, migrator};

/// Any number that no other program takes a lock on: "tidegate" in ASCII.
const LOCK: i64 = 0x7469_6465_6761_7465;

/// A migration that was run now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub version: i64,
    pub name: String,
}

/// Runs the migrations that have not been run, in order, each in a transaction. A database without a
/// cluster gets `new_cluster_id` and an identity of its own.
///
/// # Errors
/// [`StoreError::SchemaDiffers`] when a migration that was run is not ours; those of connecting.
pub async fn migrate(
    url: &DatabaseUrl,
    new_cluster_id: ClusterId,
    now_ms: i64,
) -> Result<Vec<Applied>, StoreError> {
    let mut conn = url.connect("tidegate sc migrate").await?;
    let wait = format!("SET lock_timeout = {}", MIGRATION_LOCK_TIMEOUT.as_millis());
    conn.execute(AssertSqlSafe(wait)).await.map_err(failure)?;
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut conn)
        .await
        .map_err(failure)?;
    let applied = run(&mut conn).await?;
    let identity = sqlx::query(
        "INSERT INTO cluster (id, cluster_id, store_id, chain, created_at_ms)
         VALUES (1, $1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(new_cluster_id.0)
    .bind(StoreId(Uuid::new_v4()).0)
    .bind(&chain::start(new_cluster_id).0[..])
    .bind(now_ms);
    identity.execute(&mut conn).await.map_err(failure)?;
    check_schema(&mut conn).await?;
    // The lock goes with the session.
    conn.close().await.map_err(failure)?;
    Ok(applied)
}

async fn run(conn: &mut PgConnection) -> Result<Vec<Applied>, StoreError> {
    let mut migrator = migrator(&POSTGRES);
    migrator.set_locking(false);
    // A newer version may have been here; whether that matters is for the check of the schema.
    migrator.set_ignore_missing(true);
    let before = versions(conn).await?;
    let done = migrator.run_direct(None, &mut *conn, false).await;
    done.map_err(|error| {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::VersionMismatch(version) | MigrateError::Dirty(version) => {
                StoreError::SchemaDiffers { version }
            }
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
                failure(error)
            }
            error => StoreError::Damaged(error.to_string()),
        }
    })?;
    let after = versions(conn).await?;
    let new = after
        .into_iter()
        .filter(|version| !before.contains(version));
    let named = |version: i64| {
        let script = POSTGRES.iter().find(|script| script.0 == version)?;
        let name = script.1.to_owned();
        Some(Applied { version, name })
    };
    Ok(new.filter_map(named).collect())
}

async fn versions(conn: &mut PgConnection) -> Result<Vec<i64>, StoreError> {
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await
        .map_err(failure)?;
    if !is_there {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version")
        .fetch_all(conn)
        .await
        .map_err(failure)
}
