//! Connecting: the address, the settings of every session, the schema check, and what failures mean.
//!
//! A standby is never used: what is visible there may be in another order than on the primary. The
//! address has a password in it, so it is never part of an error or a log line.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgPool, Row as _};
use tidegate_proto::id::ClusterId;
use tokio::time::timeout;

use super::PostgresStore;
use crate::limits::{
    LEASE_STATEMENT_TIMEOUT, STORE_CONNECT_TIMEOUT, STORE_CONNECTIONS_MAX,
    STORE_IDLE_TRANSACTION_TIMEOUT, STORE_LOCK_TIMEOUT, STORE_STATEMENT_TIMEOUT,
};
use crate::store::fault::StoreError;
use crate::store::migrations;

/// Where a Postgres database is: `postgres://user:password@host:port/database?sslmode=verify-full`.
///
/// TLS follows `sslmode` (`disable`, `allow`, `prefer`, `require`, `verify-ca`, `verify-full`), with
/// `sslrootcert`, `sslcert` and `sslkey`; a directory as the host, percent-encoded, is a Unix socket.
#[derive(Clone)]
pub struct DatabaseUrl(Box<PgConnectOptions>);

impl DatabaseUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// [`StoreError::Address`], without what was given.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        if !(text.starts_with("postgres://") || text.starts_with("postgresql://")) {
            let scheme = "it has to begin with postgres://".to_owned();
            return Err(StoreError::Address(scheme));
        }
        let options = PgConnectOptions::from_str(text).map_err(|error| {
            // The library's words quote what they stumbled over, which may be the password.
            let what = match error {
                sqlx::Error::Configuration(_) => "it is not a URL, or an option in it is not known",
                _ => "it cannot be read",
            };
            StoreError::Address(what.to_owned())
        })?;
        Ok(Self(Box::new(options.disable_statement_logging())))
    }

    /// Opens one connection that is not part of a pool.
    pub(super) async fn connect(&self, name: &str) -> Result<PgConnection, StoreError> {
        let options = self.0.clone().application_name(name);
        let connected = timeout(STORE_CONNECT_TIMEOUT, options.connect()).await;
        connected
            .map_err(|_| StoreError::Slow(STORE_CONNECT_TIMEOUT))?
            .map_err(failure)
    }

    fn pool(&self, name: &str, connections: u32, statement_timeout: Duration) -> PgPool {
        PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(STORE_CONNECT_TIMEOUT)
            .after_connect(move |conn, _| Box::pin(session(conn, statement_timeout)))
            .connect_lazy_with(self.0.clone().application_name(name))
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (host, port) = (self.0.get_host(), self.0.get_port());
        write!(f, "DatabaseUrl({host}:{port})")
    }
}

pub(super) async fn open(url: &DatabaseUrl, name: &str) -> Result<PostgresStore, StoreError> {
    // By hand first: a pool would keep trying and then say only that it did.
    let mut conn = url.connect(name).await?;
    session(&mut conn, STORE_STATEMENT_TIMEOUT)
        .await
        .map_err(failure)?;
    check_schema(&mut conn).await?;
    let cluster_id = cluster_id(&mut conn).await?;
    conn.close().await.map_err(failure)?;
    Ok(PostgresStore {
        pool: url.pool(name, STORE_CONNECTIONS_MAX, STORE_STATEMENT_TIMEOUT),
        lease_pool: url.pool(name, 1, LEASE_STATEMENT_TIMEOUT),
        bell_pool: url.pool(name, 2, STORE_STATEMENT_TIMEOUT),
        cluster_id,
    })
}

/// Settings of a session, by statements: a pooler in between would refuse them at the start. Fails
/// where nothing can be written.
async fn session(conn: &mut PgConnection, statement_timeout: Duration) -> Result<(), sqlx::Error> {
    let settings = format!(
        "SET statement_timeout = {}; SET lock_timeout = {};
         SET idle_in_transaction_session_timeout = {};
         SET default_transaction_isolation = 'read committed';
         SELECT set_config('synchronous_commit', 'on', false)
         WHERE current_setting('synchronous_commit') IN ('off', 'local')",
        statement_timeout.as_millis(),
        STORE_LOCK_TIMEOUT.as_millis(),
        STORE_IDLE_TRANSACTION_TIMEOUT.as_millis(),
    );
    conn.execute(AssertSqlSafe(settings)).await?;
    let is_writable: bool = sqlx::query_scalar(
        "SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off'",
    )
    .fetch_one(conn)
    .await?;
    if is_writable {
        Ok(())
    } else {
        Err(sqlx::Error::Configuration(Box::new(Standby)))
    }
}

/// The server takes no writes.
#[derive(Debug, thiserror::Error)]
#[error("a standby, or a database that is read-only")]
struct Standby;

/// Whether this version may work on that schema.
pub(super) async fn check_schema(conn: &mut PgConnection) -> Result<(), StoreError> {
    let is_there: bool = sqlx::query_scalar(
        "SELECT to_regclass('_sqlx_migrations') IS NOT NULL
                AND to_regclass('schema_floor') IS NOT NULL",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(failure)?;
    if !is_there {
        return Err(StoreError::SchemaMissing);
    }
    let applied: Vec<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut *conn)
            .await
            .map_err(failure)?;
    let floor: i64 = sqlx::query_scalar("SELECT floor FROM schema_floor")
        .fetch_one(conn)
        .await
        .map_err(failure)?;
    migrations::check(&migrations::POSTGRES, &applied, floor)
}

async fn cluster_id(conn: &mut PgConnection) -> Result<ClusterId, StoreError> {
    let row = sqlx::query("SELECT cluster_id FROM cluster WHERE id = 1")
        .fetch_optional(conn)
        .await
        .map_err(failure)?;
    let row = row.ok_or(StoreError::SchemaMissing)?;
    Ok(ClusterId(row.try_get(0).map_err(failure)?))
}

/// What a failing statement means, when it is about the store as a whole.
pub(super) fn failure(error: sqlx::Error) -> StoreError {
    let code = sql_state(&error).unwrap_or_default();
    match (&error, code.as_str()) {
        (sqlx::Error::Configuration(cause), _) if cause.is::<Standby>() => StoreError::ReadOnly,
        (_, "25006") => StoreError::ReadOnly,
        (_, "53100") => StoreError::Full(error),
        (_, "57014") => StoreError::Slow(STORE_STATEMENT_TIMEOUT),
        (_, "55P03") => StoreError::Slow(STORE_LOCK_TIMEOUT),
        (_, "42P01") => StoreError::SchemaMissing,
        (_, "XX001" | "XX002") => StoreError::Damaged(error.to_string()),
        (sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut, _)
        | (sqlx::Error::PoolClosed | sqlx::Error::Protocol(_), _) => StoreError::Unreachable(error),
        (_, code) if is_about_the_connection(code) => StoreError::Unreachable(error),
        _ => StoreError::Database(error),
    }
}

/// Refused, broken or ended by the server, as opposed to a statement that failed.
fn is_about_the_connection(code: &str) -> bool {
    ["08", "28", "3D", "57P", "53"]
        .iter()
        .any(|class| code.starts_with(class))
}

/// The five characters with which the server classes an error.
pub(super) fn sql_state(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}
