//! Writing: one transaction per commit, every statement conditional on versions.
//!
//! Partitions and events are written by one statement for many rows (from JSON), so that a commit of
//! ten thousand partitions is some dozens of statements, and none holds all of them in memory. Invariant: the revision counter is taken
//! after every row that can conflict, and what follows it only inserts under that revision.

use std::ops::Range;

use serde::Serialize;
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnection, SqliteQueryResult};
use sqlx::{Sqlite, SqlitePool, Transaction};
use tidegate_sc_core::change::{Change, DeletedTopic};
use tidegate_sc_core::rows::{PartitionRow, SpuRow, TopicRow};

use super::{failure, signed, unsigned};
use crate::limits::STORE_ROWS_AT_ONCE;
use crate::store::meta_store::{ApplyError, Commit, StoreError};

pub(super) async fn apply(pool: &SqlitePool, commit: &Commit) -> Result<u64, ApplyError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    // Dropping the transaction on the way out of an error rolls it back.
    let revision = write(&mut tx, commit).await?;
    tx.commit()
        .await
        .map_err(|error| ApplyError::Unknown(failure(error)))?;
    Ok(revision)
}

pub(super) async fn compact_events(pool: &SqlitePool, floor: u64) -> Result<(), StoreError> {
    let floor = signed(floor);
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    for statement in [
        "UPDATE cluster SET events_floor = max(events_floor, min(?, revision)) WHERE id = 1",
        "DELETE FROM events WHERE revision <= ?",
        "DELETE FROM commits WHERE revision <= ?",
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
    assert!(!commit.changes.is_empty(), "a commit changes something");
    let mut partitions = Vec::new();
    for change in &commit.changes {
        match change {
            Change::PutSpu(row) => put_spu(tx, row).await?,
            Change::PutTopic(row) => put_topic(tx, row).await?,
            Change::DeleteTopic(gone) => delete_topic(tx, gone, commit.at_ms).await?,
            Change::PutPartition(row) => partitions.push(row),
            Change::PutSpuGroup(_) | Change::PutOperation(_) | Change::DeleteOperation(_) => {
                let what = format!("this store keeps no rows of kind {}", change.kind());
                return Err(StoreError::Damaged(what).into());
            }
        }
    }
    put_partitions(tx, &partitions).await?;
    let revision: i64 = sqlx::query_scalar(
        "UPDATE cluster SET revision = revision + 1 WHERE id = 1 RETURNING revision",
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(failure)?;
    record(tx, commit, revision).await?;
    Ok(unsigned(revision)?)
}

async fn put_spu(db: &mut SqliteConnection, row: &SpuRow) -> Result<(), ApplyError> {
    let statement = if row.version == 1 {
        "INSERT INTO spus (version, storage_id, run_id, incarnation, persisted, fenced, draining, rack, spu)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE spus SET version = ?1, storage_id = ?2, run_id = ?3, incarnation = ?4, persisted = ?5,
                         fenced = ?6, draining = ?7, rack = ?8
         WHERE spu = ?9 AND version = ?1 - 1"
    };
    let done = sqlx::query(statement)
        .bind(signed(row.version))
        .bind(row.storage_id.map(|id| id.to_string()))
        .bind(row.run_id.map(|id| id.to_string()))
        .bind(signed(row.incarnation.0))
        .bind(row.persisted.map(|incarnation| signed(incarnation.0)))
        .bind(row.fenced)
        .bind(row.draining)
        .bind(&row.rack)
        .bind(i64::from(row.spu.0))
        .execute(db)
        .await
        .map_err(failure)?;
    all(&done, 1)
}

async fn put_topic(db: &mut SqliteConnection, row: &TopicRow) -> Result<(), ApplyError> {
    let statement = if row.version == 1 {
        "INSERT INTO topics (name, version, partitions, replication_factor, min_in_sync, placement,
                             config, created_at_ms, updated_at_ms, topic_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING"
    } else {
        "UPDATE topics SET name = ?1, version = ?2, partitions = ?3, replication_factor = ?4,
                           min_in_sync = ?5, placement = ?6, config = ?7, created_at_ms = ?8,
                           updated_at_ms = ?9
         WHERE topic_id = ?10 AND version = ?2 - 1"
    };
    let done = sqlx::query(statement)
        .bind(row.name.as_str())
        .bind(signed(row.version))
        .bind(i64::from(row.partitions))
        .bind(i64::from(row.replication_factor))
        .bind(row.min_in_sync.map(i64::from))
        .bind(text(&row.placement))
        .bind(text(&row.config))
        .bind(row.created_at_ms)
        .bind(row.updated_at_ms)
        .bind(row.id.to_string())
        .execute(db)
        .await
        .map_err(failure)?;
    all(&done, 1)
}

async fn delete_topic(
    db: &mut SqliteConnection,
    gone: &DeletedTopic,
    at_ms: i64,
) -> Result<(), ApplyError> {
    let id = gone.id.to_string();
    let done = sqlx::query("DELETE FROM topics WHERE topic_id = ? AND version = ?")
        .bind(&id)
        .bind(signed(gone.version))
        .execute(&mut *db)
        .await
        .map_err(failure)?;
    all(&done, 1)?;
    sqlx::query("DELETE FROM partitions WHERE topic_id = ?")
        .bind(&id)
        .execute(&mut *db)
        .await
        .map_err(failure)?;
    sqlx::query(
        "INSERT INTO tombstones (topic_id, name, revision, deleted_at_ms)
         VALUES (?, ?, (SELECT revision + 1 FROM cluster WHERE id = 1), ?)",
    )
    .bind(&id)
    .bind(gone.name.as_str())
    .bind(at_ms)
    .execute(db)
    .await
    .map_err(failure)?;
    Ok(())
}

async fn put_partitions(
    db: &mut SqliteConnection,
    rows: &[&PartitionRow],
) -> Result<(), ApplyError> {
    let (new, old): (Vec<&PartitionRow>, Vec<_>) = rows.iter().partition(|row| row.version == 1);
    // Later values of one row would hide each other in a statement for all rows.
    debug_assert!(
        rows.iter()
            .map(|row| (row.topic_id, row.partition))
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            == rows.len(),
        "a commit changes a partition once"
    );
    let insert = "INSERT INTO partitions (topic_id, partition, version, leader, leader_epoch, replicas,
                                          isr, min_isr, recovery_gen, truncate_before)
         SELECT value ->> 'topic_id', value ->> 'partition', value ->> 'version', value ->> 'leader',
                value ->> 'leader_epoch', value -> 'replicas', value -> 'isr', value ->> 'min_isr',
                value ->> 'recovery_gen', value ->> 'truncate_before'
         FROM json_each(?) WHERE true ON CONFLICT DO NOTHING";
    let update =
        "UPDATE partitions SET version = new.value ->> 'version', leader = new.value ->> 'leader',
                leader_epoch = new.value ->> 'leader_epoch', replicas = new.value -> 'replicas',
                isr = new.value -> 'isr', min_isr = new.value ->> 'min_isr',
                recovery_gen = new.value ->> 'recovery_gen',
                truncate_before = new.value ->> 'truncate_before'
         FROM json_each(?) AS new
         WHERE partitions.topic_id = new.value ->> 'topic_id'
           AND partitions.partition = new.value ->> 'partition'
           AND partitions.version = (new.value ->> 'version') - 1";
    for (statement, rows) in [(insert, new), (update, old)] {
        for rows in rows.chunks(STORE_ROWS_AT_ONCE) {
            let query = sqlx::query(statement).bind(text(&rows));
            let done = query.execute(&mut *db).await.map_err(failure)?;
            all(&done, rows.len())?;
        }
    }
    Ok(())
}

async fn record(
    db: &mut SqliteConnection,
    commit: &Commit,
    revision: i64,
) -> Result<(), ApplyError> {
    sqlx::query(
        "INSERT INTO commits (revision, commit_id, actor, request_id, at_ms) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(revision)
    .bind(commit.id.to_string())
    .bind(&commit.actor)
    .bind(&commit.request_id)
    .bind(commit.at_ms)
    .execute(&mut *db)
    .await
    .map_err(failure)?;
    let mut seq: i64 = 0;
    for changes in commit.changes.chunks(STORE_ROWS_AT_ONCE) {
        let events: Vec<Value> = changes.iter().map(event).collect();
        let done = sqlx::query(
            "INSERT INTO events (revision, seq, kind, key, op, payload)
             SELECT ?1, ?2 + key, value ->> 'kind', value ->> 'key', value ->> 'op',
                    value ->> 'payload'
             FROM json_each(?3)",
        )
        .bind(revision)
        .bind(seq)
        .bind(text(&events))
        .execute(&mut *db)
        .await
        .map_err(failure)?;
        seq += signed(done.rows_affected());
    }
    Ok(())
}

fn event(change: &Change) -> Value {
    let op = if change.is_delete() { "delete" } else { "put" };
    // As a string, so that the payload comes back byte for byte.
    let payload = change.payload().expect("rows have string keys only");
    json!({ "kind": change.kind().as_str(), "key": change.key(), "op": op, "payload": payload })
}

/// A conditional statement that missed a row means that somebody was faster.
fn all(done: &SqliteQueryResult, expected: usize) -> Result<(), ApplyError> {
    if done.rows_affected() == expected as u64 {
        Ok(())
    } else {
        Err(ApplyError::Conflict)
    }
}

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("rows have string keys only")
}
