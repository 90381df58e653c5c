//! Writing: one transaction per commit, every statement conditional.
//!
//! Rows go by one statement for many of them (UNNEST). Invariant: the revision counter is taken after
//! everything that can conflict; from there on its row lock orders the commits, and what follows only
//! inserts under that revision.

use std::ops::Range;

use sqlx::postgres::{PgConnection, PgQueryResult};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tidegate_sc_core::change::Change;
use tokio::time::timeout;

use super::bell::channel;
use super::open::{failure, sql_state};
use super::{bounded, signed, unsigned};
use crate::limits::{STORE_CALL_TIMEOUT, STORE_ROWS_AT_ONCE};
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::ledger_sql::PUT_RECEIPT;
use crate::store::meta_store::{ApplyError, Commit, Guard, Kept};
use crate::store::rows::{Rows, by_kind, end_of, leaves_tombstone, table, value, version_after};

pub(super) async fn apply(conn: &mut PgConnection, commit: &Commit) -> Result<u64, ApplyError> {
    let mut tx = conn.begin().await.map_err(failure)?;
    // Dropping the transaction on the way out of an error rolls it back, or closes the connection.
    let revision = timeout(STORE_CALL_TIMEOUT, write(&mut tx, commit))
        .await
        .map_err(|_| ApplyError::Failed(StoreError::Slow(STORE_CALL_TIMEOUT)))??;
    match timeout(STORE_CALL_TIMEOUT, tx.commit()).await {
        Ok(Ok(())) => Ok(revision),
        Ok(Err(error)) => Err(after_commit(error)),
        Err(_) => Err(ApplyError::Unknown(StoreError::Slow(STORE_CALL_TIMEOUT))),
    }
}

pub(super) async fn compact_events(conn: &mut PgConnection, kept: Kept) -> Result<(), StoreError> {
    let mut tx = conn.begin().await.map_err(failure)?;
    let floor: i64 = sqlx::query_scalar(
        "UPDATE cluster SET events_floor = greatest(events_floor, least(revision - 1, greatest(
             revision - $1,
             (SELECT events.revision FROM events ORDER BY events.revision DESC, seq DESC
              OFFSET $2 LIMIT 1))))
         WHERE id = 1 RETURNING events_floor",
    )
    .bind(bounded(kept.revisions))
    .bind(bounded(kept.rows))
    .fetch_one(&mut *tx)
    .await
    .map_err(failure)?;
    // The commit at the floor stays: a node that is just there can still be told from a stranger.
    for statement in [
        "DELETE FROM events WHERE revision <= $1",
        "DELETE FROM commits WHERE revision < $1",
    ] {
        sqlx::query(statement)
            .bind(floor)
            .execute(&mut *tx)
            .await
            .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)
}

pub(super) async fn lease_producer_ids(
    conn: &mut PgConnection,
    count: u64,
) -> Result<Range<u64>, StoreError> {
    let end: i64 = sqlx::query_scalar(
        "UPDATE cluster SET next_producer_id = next_producer_id + $1 WHERE id = 1
         RETURNING next_producer_id",
    )
    .bind(signed(count))
    .fetch_one(conn)
    .await
    .map_err(failure)?;
    let end = unsigned(end)?;
    Ok(end - count..end)
}

async fn write(db: &mut PgConnection, commit: &Commit) -> Result<u64, ApplyError> {
    check_lease(db, commit).await?;
    put_receipt(db, commit).await?;
    check_guards(db, &commit.guards).await?;
    for rows in by_kind(&commit.changes) {
        delete(db, &rows).await?;
        insert(db, &rows).await?;
        check_names(db, &rows).await?;
        update(db, &rows).await?;
    }
    let revision = advance(db, commit).await?;
    record(db, commit, revision).await?;
    Ok(unsigned(revision)?)
}

/// Holds off whoever would take the lease until this transaction has ended.
async fn check_lease(db: &mut PgConnection, commit: &Commit) -> Result<(), ApplyError> {
    let Some(epoch) = commit.lease else {
        return Ok(());
    };
    let held = sqlx::query("SELECT 1 FROM lease WHERE id = 1 AND epoch = $1 FOR KEY SHARE")
        .bind(signed(epoch.0))
        .fetch_optional(db)
        .await
        .map_err(refusal)?;
    held.map(drop).ok_or(ApplyError::Fenced(epoch))
}

async fn check_guards(db: &mut PgConnection, guards: &[Guard]) -> Result<(), ApplyError> {
    for guard in guards {
        let select = format!(
            "SELECT 1 FROM {} WHERE row_key = $1 AND version = $2 FOR SHARE",
            table(guard.kind)
        );
        let found = sqlx::query(AssertSqlSafe(select))
            .bind(&guard.row_key)
            .bind(signed(guard.version))
            .fetch_optional(&mut *db)
            .await
            .map_err(refusal)?;
        found.ok_or(ApplyError::Conflict)?;
    }
    Ok(())
}

async fn delete(db: &mut PgConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    for changes in rows.deletes.chunks(STORE_ROWS_AT_ONCE) {
        let statement = format!(
            "DELETE FROM {} AS old USING unnest($1::text[], $2::bigint[]) AS gone(row_key, version)
             WHERE old.row_key = gone.row_key AND old.version = gone.version",
            table(rows.kind)
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(keys(changes))
            .bind(expected(changes))
            .execute(&mut *db)
            .await;
        all(done, changes.len())?;
    }
    for change in &rows.deletes {
        let Some((kind, prefix)) = change.takes_along() else {
            continue;
        };
        let statement = format!(
            "DELETE FROM {} WHERE row_key >= $1 AND row_key < $2",
            table(kind)
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(&prefix)
            .bind(end_of(&prefix))
            .execute(&mut *db)
            .await
            .map_err(refusal)?;
    }
    Ok(())
}

async fn insert(db: &mut PgConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    for changes in rows.inserts.chunks(STORE_ROWS_AT_ONCE) {
        let statement = format!(
            "INSERT INTO {} (row_key, version, value)
             SELECT * FROM unnest($1::text[], $2::bigint[], $3::jsonb[]) ON CONFLICT DO NOTHING",
            table(rows.kind)
        );
        put(db, statement, changes).await?;
    }
    Ok(())
}

/// After the insert, which waited for whoever was deleting a row of the same name.
async fn check_names(db: &mut PgConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    let inserts = rows.inserts.iter();
    let new =
        inserts.filter_map(|change| Some((change.key(), signed(change.name_unused_since()?))));
    let (names, since): (Vec<_>, Vec<_>) = new.unzip();
    if names.is_empty() {
        return Ok(());
    }
    let is_used: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM unnest($2::text[], $3::bigint[]) AS new(name, since)
                        JOIN tombstones USING (name) WHERE kind = $1 AND revision > since)",
    )
    .bind(rows.kind.as_str())
    .bind(names)
    .bind(since)
    .fetch_one(db)
    .await
    .map_err(refusal)?;
    if is_used {
        return Err(ApplyError::Conflict);
    }
    Ok(())
}

async fn update(db: &mut PgConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    for changes in rows.updates.chunks(STORE_ROWS_AT_ONCE) {
        let statement = format!(
            "UPDATE {} AS old SET version = new.version, value = new.value
             FROM unnest($1::text[], $2::bigint[], $3::jsonb[]) AS new(row_key, version, value)
             WHERE old.row_key = new.row_key AND old.version = new.version - 1",
            table(rows.kind)
        );
        put(db, statement, changes).await?;
    }
    Ok(())
}

/// Carries out a statement over the keys, new versions and values of `changes`, each of which must match.
async fn put(
    db: &mut PgConnection,
    statement: String,
    changes: &[&Change],
) -> Result<(), ApplyError> {
    let done = sqlx::query(AssertSqlSafe(statement))
        .bind(keys(changes))
        .bind(after(changes))
        .bind(values(changes))
        .execute(db)
        .await;
    all(done, changes.len())
}

async fn put_receipt(db: &mut PgConnection, commit: &Commit) -> Result<(), ApplyError> {
    let Some(receipt) = &commit.receipt else {
        return Ok(());
    };
    let done = sqlx::query(PUT_RECEIPT)
        .bind(&receipt.principal)
        .bind(&receipt.key)
        .bind(&receipt.request_hash[..])
        .bind(&receipt.answer)
        .bind(receipt.expires_at_ms)
        .bind(commit.at_ms)
        .execute(db)
        .await
        .map_err(refusal)?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(ApplyError::Repeated)
    }
}

/// Takes the next revision, notes the commit, rings the bell. From here on no time limit of the server:
/// one that ends the wait for a synchronous standby would pass for success.
async fn advance(db: &mut PgConnection, commit: &Commit) -> Result<i64, ApplyError> {
    // Before the first commit there is nothing to have seen.
    let seen = commit.seen.filter(|(revision, _)| *revision > 0);
    let head = sqlx::query(
        "WITH head AS (
             UPDATE cluster SET revision = revision + 1, chain = sha256(chain || $1)
             WHERE id = 1 AND ($2::bigint IS NULL OR revision = $2)
               AND ($9::bigint IS NULL
                    OR EXISTS (SELECT 1 FROM commits WHERE revision = $9 AND chain = $10))
             RETURNING revision, chain, cluster_id
         ), noted AS (
             INSERT INTO commits (revision, commit_id, actor, request_id, at_ms, lease_epoch, chain)
             SELECT revision, $3, $4, $5, $6, $7, chain FROM head
         )
         SELECT revision, pg_notify($8 || replace(cluster_id::text, '-', ''), revision::text),
                set_config('statement_timeout', '0', true)
         FROM head",
    )
    .bind(&chain::digest(commit)[..])
    .bind(commit.at_revision.map(signed))
    .bind(commit.id)
    .bind(&commit.actor)
    .bind(&commit.request_id)
    .bind(commit.at_ms)
    .bind(commit.lease.map(|epoch| signed(epoch.0)))
    .bind(channel::PREFIX)
    .bind(seen.map(|(revision, _)| signed(revision)))
    .bind(seen.map(|(_, hash)| hash.0.to_vec()))
    .fetch_optional(db)
    .await
    .map_err(refusal)?;
    let head = head.ok_or(ApplyError::Conflict)?;
    Ok(head.try_get(0).map_err(failure)?)
}

async fn record(db: &mut PgConnection, commit: &Commit, revision: i64) -> Result<(), ApplyError> {
    let mut seq: i64 = 0;
    for changes in commit.changes.chunks(STORE_ROWS_AT_ONCE) {
        let column = |of: fn(&Change) -> String| changes.iter().map(of).collect::<Vec<_>>();
        let ops = changes.iter().map(|change| op(change));
        sqlx::query(
            "INSERT INTO events (revision, seq, kind, key, op, payload)
             SELECT $1, $2 + place - 1, kind, key, op, payload
             FROM unnest($3::text[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY
                  AS new(kind, key, op, payload, place)",
        )
        .bind(revision)
        .bind(seq)
        .bind(column(|change| change.kind().as_str().to_owned()))
        .bind(column(Change::key))
        .bind(ops.collect::<Vec<_>>())
        .bind(column(value))
        .execute(&mut *db)
        .await
        .map_err(refusal)?;
        seq += signed(changes.len() as u64);
    }
    for change in &commit.changes {
        if !(change.is_delete() && leaves_tombstone(change.kind())) {
            continue;
        }
        sqlx::query("INSERT INTO tombstones VALUES ($1, $2, $3, $4, $5)")
            .bind(change.kind().as_str())
            .bind(change.row_key())
            .bind(change.key())
            .bind(revision)
            .bind(commit.at_ms)
            .execute(&mut *db)
            .await
            .map_err(refusal)?;
    }
    Ok(())
}

fn op(change: &Change) -> &'static str {
    if change.is_delete() { "delete" } else { "put" }
}

fn keys(changes: &[&Change]) -> Vec<String> {
    changes.iter().map(|change| change.row_key()).collect()
}

fn expected(changes: &[&Change]) -> Vec<i64> {
    let versions = changes
        .iter()
        .map(|change| signed(change.expected_version()));
    versions.collect()
}

fn after(changes: &[&Change]) -> Vec<i64> {
    let versions = changes.iter().map(|change| signed(version_after(change)));
    versions.collect()
}

fn values(changes: &[&Change]) -> Vec<String> {
    changes.iter().map(|change| value(change)).collect()
}

/// A conditional statement that missed a row means that somebody was faster.
fn all(done: Result<PgQueryResult, sqlx::Error>, expected: usize) -> Result<(), ApplyError> {
    if done.map_err(refusal)?.rows_affected() == expected as u64 {
        Ok(())
    } else {
        Err(ApplyError::Conflict)
    }
}

/// What a failing statement inside the transaction means: nothing was done.
fn refusal(error: sqlx::Error) -> ApplyError {
    match sql_state(&error).as_deref() {
        // A deadlock or a name that was taken: another commit was faster.
        Some("40001" | "40P01" | "23505") => ApplyError::Conflict,
        _ => ApplyError::Failed(failure(error)),
    }
}

/// What a failing COMMIT means: only an answer that says so rules the commit out.
fn after_commit(error: sqlx::Error) -> ApplyError {
    match sql_state(&error).as_deref() {
        Some("40001" | "40P01" | "40002") => ApplyError::Conflict,
        Some(code) if code.starts_with("23") => ApplyError::Failed(failure(error)),
        _ => ApplyError::Unknown(failure(error)),
    }
}
