//! Writing: one transaction per commit, every statement conditional on versions.
//!
//! Rows and events are written by one statement for many of them (from JSON), so that a commit of ten
//! thousand partitions is some dozens of statements, and none holds all of them in memory. Invariant:
//! the revision counter is taken after everything that can conflict, and what follows it only inserts
//! under that revision.

use std::ops::Range;

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult};
use sqlx::{AssertSqlSafe, Sqlite, SqlitePool, Transaction};
use tidegate_sc_core::change::Change;

use super::read::facts_of;
use super::{CONSTRAINT, bounded, failure, primary_code, signed, unsigned};
use crate::limits::STORE_ROWS_AT_ONCE;
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::ledger_sql::PUT_RECEIPT;
use crate::store::meta_store::{ApplyError, Commit, Guard, Kept};
use crate::store::rows::{Rows, by_kind, end_of, leaves_tombstone, table, value, version_after};

pub(super) async fn apply(pool: &SqlitePool, commit: &Commit) -> Result<u64, ApplyError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    // Dropping the transaction on the way out of an error rolls it back.
    let revision = write(&mut tx, commit).await?;
    tx.commit()
        .await
        .map_err(|error| ApplyError::Unknown(failure(error)))?;
    Ok(revision)
}

pub(super) async fn compact_events(pool: &SqlitePool, kept: Kept) -> Result<(), StoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    let floor: i64 = sqlx::query_scalar(
        "UPDATE cluster SET events_floor = max(events_floor, min(revision - 1, max(
             revision - ?1,
             coalesce((SELECT events.revision FROM events
                       ORDER BY events.revision DESC, seq DESC LIMIT 1 OFFSET ?2), 0))))
         WHERE id = 1 RETURNING events_floor",
    )
    .bind(bounded(kept.revisions))
    .bind(bounded(kept.rows))
    .fetch_one(&mut *tx)
    .await
    .map_err(failure)?;
    // The commit at the floor stays: a node that is just there can still be told from a stranger.
    for statement in [
        "DELETE FROM events WHERE revision <= ?",
        "DELETE FROM commits WHERE revision < ?",
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
    pool: &SqlitePool,
    count: u64,
) -> Result<Range<u64>, StoreError> {
    let end: i64 = sqlx::query_scalar(
        "UPDATE cluster SET next_producer_id = next_producer_id + ? WHERE id = 1
         RETURNING next_producer_id",
    )
    .bind(signed(count))
    .fetch_one(pool)
    .await
    .map_err(failure)?;
    let end = unsigned(end)?;
    Ok(end - count..end)
}

async fn write(tx: &mut Transaction<'_, Sqlite>, commit: &Commit) -> Result<u64, ApplyError> {
    check_lease(tx, commit).await?;
    put_receipt(tx, commit).await?;
    check_guards(tx, &commit.guards).await?;
    for rows in by_kind(&commit.changes) {
        delete(tx, &rows).await?;
        insert(tx, &rows).await?;
        check_names(tx, &rows).await?;
        update(tx, &rows).await?;
    }
    let revision = advance(tx, commit).await?;
    record(tx, commit, revision).await?;
    Ok(unsigned(revision)?)
}

async fn check_lease(db: &mut SqliteConnection, commit: &Commit) -> Result<(), ApplyError> {
    let Some(epoch) = commit.lease else {
        return Ok(());
    };
    let held = sqlx::query("SELECT 1 FROM lease WHERE id = 1 AND epoch = ?")
        .bind(signed(epoch.0))
        .fetch_optional(db)
        .await
        .map_err(failure)?;
    held.map(drop).ok_or(ApplyError::Fenced(epoch))
}

async fn check_guards(db: &mut SqliteConnection, guards: &[Guard]) -> Result<(), ApplyError> {
    for guard in guards {
        let select = format!(
            "SELECT 1 FROM {} WHERE row_key = ? AND version = ?",
            table(guard.kind)
        );
        let found = sqlx::query(AssertSqlSafe(select))
            .bind(&guard.row_key)
            .bind(signed(guard.version))
            .fetch_optional(&mut *db)
            .await
            .map_err(failure)?;
        found.ok_or(ApplyError::Conflict)?;
    }
    Ok(())
}

async fn delete(db: &mut SqliteConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    for change in &rows.deletes {
        let statement = format!(
            "DELETE FROM {} WHERE row_key = ? AND version = ?",
            table(rows.kind)
        );
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(change.row_key())
            .bind(signed(change.expected_version()))
            .execute(&mut *db)
            .await;
        all(done, 1)?;
        let Some((kind, prefix)) = change.takes_along() else {
            continue;
        };
        let statement = format!(
            "DELETE FROM {} WHERE row_key >= ? AND row_key < ?",
            table(kind)
        );
        sqlx::query(AssertSqlSafe(statement))
            .bind(&prefix)
            .bind(end_of(&prefix))
            .execute(&mut *db)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

async fn insert(db: &mut SqliteConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    let statement = format!(
        "INSERT INTO {} (row_key, version, value)
         SELECT value ->> 'key', value ->> 'version', value -> 'value' FROM json_each(?)
         WHERE true ON CONFLICT DO NOTHING",
        table(rows.kind)
    );
    put(db, &statement, &rows.inserts).await
}

async fn check_names(db: &mut SqliteConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    for change in &rows.inserts {
        let Some(since) = change.name_unused_since() else {
            continue;
        };
        let is_used: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM tombstones WHERE kind = ? AND name = ? AND revision > ?)",
        )
        .bind(rows.kind.as_str())
        .bind(change.key())
        .bind(signed(since))
        .fetch_one(&mut *db)
        .await
        .map_err(failure)?;
        if is_used {
            return Err(ApplyError::Conflict);
        }
    }
    Ok(())
}

async fn update(db: &mut SqliteConnection, rows: &Rows<'_>) -> Result<(), ApplyError> {
    let table = table(rows.kind);
    let statement = format!(
        "UPDATE {table} SET version = new.value ->> 'version', value = new.value -> 'value'
         FROM json_each(?) AS new
         WHERE {table}.row_key = new.value ->> 'key'
           AND {table}.version = (new.value ->> 'version') - 1"
    );
    put(db, &statement, &rows.updates).await
}

/// A row as the statements above take it.
#[derive(Serialize)]
struct Put {
    key: String,
    version: u64,
    value: Box<RawValue>,
}

async fn put(
    db: &mut SqliteConnection,
    statement: &str,
    changes: &[&Change],
) -> Result<(), ApplyError> {
    for changes in changes.chunks(STORE_ROWS_AT_ONCE) {
        let puts = changes.iter().map(|change| Put {
            key: change.row_key(),
            version: version_after(change),
            value: RawValue::from_string(value(change)).expect("rows are JSON"),
        });
        let puts = text(&puts.collect::<Vec<_>>());
        let query = sqlx::query(AssertSqlSafe(statement)).bind(puts);
        all(query.execute(&mut *db).await, changes.len())?;
    }
    Ok(())
}

async fn put_receipt(db: &mut SqliteConnection, commit: &Commit) -> Result<(), ApplyError> {
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
        .map_err(failure)?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(ApplyError::Repeated)
    }
}

/// Takes the next revision and notes the commit.
async fn advance(db: &mut SqliteConnection, commit: &Commit) -> Result<i64, ApplyError> {
    let facts = facts_of(&mut *db).await?;
    if commit.at_revision.is_some_and(|at| at != facts.revision) {
        return Err(ApplyError::Conflict);
    }
    // Before the first commit there is nothing to have seen.
    if let Some((seen, hash)) = commit.seen.filter(|(revision, _)| *revision > 0) {
        let is_ours: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM commits WHERE revision = ? AND chain = ?)",
        )
        .bind(signed(seen))
        .bind(&hash.0[..])
        .fetch_one(&mut *db)
        .await
        .map_err(failure)?;
        if !is_ours {
            return Err(ApplyError::Conflict);
        }
    }
    let revision = signed(facts.revision + 1);
    let chain = chain::next(facts.chain, chain::digest(commit));
    sqlx::query("UPDATE cluster SET revision = ?, chain = ? WHERE id = 1")
        .bind(revision)
        .bind(&chain.0[..])
        .execute(&mut *db)
        .await
        .map_err(failure)?;
    sqlx::query(
        "INSERT INTO commits (revision, commit_id, actor, request_id, at_ms, lease_epoch, chain)
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(revision)
    .bind(commit.id.to_string())
    .bind(&commit.actor)
    .bind(&commit.request_id)
    .bind(commit.at_ms)
    .bind(commit.lease.map(|epoch| signed(epoch.0)))
    .bind(&chain.0[..])
    .execute(db)
    .await
    .map_err(failure)?;
    Ok(revision)
}

/// An event as the statement below takes it. The payload is a string, so that it comes back byte for
/// byte.
#[derive(Serialize)]
struct Recorded {
    kind: &'static str,
    key: String,
    op: &'static str,
    payload: String,
}

async fn record(
    db: &mut SqliteConnection,
    commit: &Commit,
    revision: i64,
) -> Result<(), ApplyError> {
    let mut seq: i64 = 0;
    for changes in commit.changes.chunks(STORE_ROWS_AT_ONCE) {
        let events = changes.iter().map(|change| Recorded {
            kind: change.kind().as_str(),
            key: change.key(),
            op: if change.is_delete() { "delete" } else { "put" },
            payload: value(change),
        });
        let done = sqlx::query(
            "INSERT INTO events (revision, seq, kind, key, op, payload)
             SELECT ?1, ?2 + key, value ->> 'kind', value ->> 'key', value ->> 'op',
                    value ->> 'payload'
             FROM json_each(?3)",
        )
        .bind(revision)
        .bind(seq)
        .bind(text(&events.collect::<Vec<_>>()))
        .execute(&mut *db)
        .await
        .map_err(failure)?;
        seq += signed(done.rows_affected());
    }
    for change in &commit.changes {
        if !(change.is_delete() && leaves_tombstone(change.kind())) {
            continue;
        }
        sqlx::query("INSERT INTO tombstones VALUES (?, ?, ?, ?, ?)")
            .bind(change.kind().as_str())
            .bind(change.row_key())
            .bind(change.key())
            .bind(revision)
            .bind(commit.at_ms)
            .execute(&mut *db)
            .await
            .map_err(failure)?;
    }
    Ok(())
}

/// A conditional statement that missed a row, or met a name that was taken, means that somebody was
/// faster.
fn all(done: Result<SqliteQueryResult, sqlx::Error>, expected: usize) -> Result<(), ApplyError> {
    match done {
        Ok(done) if done.rows_affected() == expected as u64 => Ok(()),
        Ok(_) => Err(ApplyError::Conflict),
        Err(error) if primary_code(&error) == Some(CONSTRAINT) => Err(ApplyError::Conflict),
        Err(error) => Err(failure(error).into()),
    }
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("rows have string keys only")
}
