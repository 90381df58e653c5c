//! Reading: the snapshot, events, and whether a commit was made.
//!
//! A snapshot is read in one transaction. A value that does not parse is damage and is reported as
//! such, never skipped.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Row as _, SqlitePool};
use tidegate_proto::id::{Incarnation, PartitionId, SpuId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset};
use tidegate_sc_core::change::{Change, Kind};
use tidegate_sc_core::model::{Model, Rows};
use tidegate_sc_core::rows::{PartitionRow, SpuKind, SpuRow, TopicRow};
use uuid::Uuid;

use super::open::cluster_id;
use super::{failure, signed, unsigned};
use crate::limits::STORE_ROWS_AT_ONCE;
use crate::store::meta_store::{Event, EventsError, StoreError};

pub(super) async fn snapshot(pool: &SqlitePool) -> Result<Model, StoreError> {
    let mut tx = pool.begin().await.map_err(failure)?;
    let cluster = sqlx::query("SELECT cluster_id, revision FROM cluster WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let spus = sqlx::query("SELECT * FROM spus")
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
    let topics = sqlx::query("SELECT * FROM topics")
        .fetch_all(&mut *tx)
        .await
        .map_err(failure)?;
    let partitions = partitions(&mut tx).await?;
    tx.rollback().await.map_err(failure)?;
    Model::from_rows(
        cluster_id(cluster.try_get("cluster_id").map_err(failure)?)?,
        number(&cluster, "revision")?,
        Rows {
            spus: spus.iter().map(spu).collect::<Result<_, _>>()?,
            topics: topics.iter().map(topic).collect::<Result<_, _>>()?,
            partitions,
            ..Rows::default()
        },
    )
    .map_err(|error| StoreError::Damaged(error.to_string()))
}

pub(super) async fn committed(pool: &SqlitePool, id: Uuid) -> Result<Option<u64>, StoreError> {
    let revision: Option<i64> =
        sqlx::query_scalar("SELECT revision FROM commits WHERE commit_id = ?")
            .bind(id.to_string())
            .fetch_optional(pool)
            .await
            .map_err(failure)?;
    revision.map(unsigned).transpose()
}

pub(super) async fn events_after(
    pool: &SqlitePool,
    revision: u64,
    revisions_max: u64,
) -> Result<Vec<Event>, EventsError> {
    let mut tx = pool.begin().await.map_err(failure)?;
    let floor: i64 = sqlx::query_scalar("SELECT events_floor FROM cluster WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let floor = unsigned(floor)?;
    if revision < floor {
        return Err(EventsError::Compacted { floor });
    }
    let rows = sqlx::query(
        "SELECT revision, seq, kind, op, payload, actor, request_id, at_ms
         FROM events JOIN commits USING (revision)
         WHERE revision > ?1 AND revision <= ?2 ORDER BY revision, seq",
    )
    .bind(signed(revision))
    .bind(signed(
        revision.saturating_add(revisions_max).min(i64::MAX as u64),
    ))
    .fetch_all(&mut *tx)
    .await
    .map_err(failure)?;
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

pub(super) async fn is_deleted(pool: &SqlitePool, id: TopicId) -> Result<bool, StoreError> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM tombstones WHERE topic_id = ?)")
        .bind(id.to_string())
        .fetch_one(pool)
        .await
        .map_err(failure)
}

/// All partitions, some at a time: a row as the database gives it takes ten times its own size.
async fn partitions(db: &mut SqliteConnection) -> Result<Vec<PartitionRow>, StoreError> {
    let mut partitions: Vec<PartitionRow> = Vec::new();
    loop {
        let last = partitions.last();
        let after = last.map_or((String::new(), -1), |row| {
            (row.topic_id.to_string(), i64::from(row.partition.0))
        });
        let rows = sqlx::query(
            "SELECT * FROM partitions WHERE (topic_id, partition) > (?1, ?2)
             ORDER BY topic_id, partition LIMIT ?3",
        )
        .bind(after.0)
        .bind(after.1)
        .bind(signed(STORE_ROWS_AT_ONCE as u64))
        .fetch_all(&mut *db)
        .await
        .map_err(failure)?;
        if rows.is_empty() {
            return Ok(partitions);
        }
        for row in &rows {
            partitions.push(partition(row)?);
        }
    }
}

fn spu(row: &SqliteRow) -> Result<SpuRow, StoreError> {
    let persisted: Option<i64> = row.try_get("persisted").map_err(failure)?;
    let spu = SpuId(number(row, "spu")?);
    Ok(SpuRow {
        version: number(row, "version")?,
        storage_id: Some(parsed(row, "storage_id")?),
        run_id: Some(parsed(row, "run_id")?),
        incarnation: Incarnation(number(row, "incarnation")?),
        persisted: persisted.map(unsigned).transpose()?.map(Incarnation),
        fenced: row.try_get("fenced").map_err(failure)?,
        draining: row.try_get("draining").map_err(failure)?,
        rack: row.try_get("rack").map_err(failure)?,
        ..SpuRow::entered(spu, SpuKind::Managed)
    })
}

fn topic(row: &SqliteRow) -> Result<TopicRow, StoreError> {
    let min_in_sync: Option<i64> = row.try_get("min_in_sync").map_err(failure)?;
    Ok(TopicRow {
        id: parsed(row, "topic_id")?,
        name: parsed(row, "name")?,
        version: number(row, "version")?,
        partitions: number(row, "partitions")?,
        replication_factor: number(row, "replication_factor")?,
        min_in_sync: min_in_sync
            .map(|found| narrowed("min_in_sync", found))
            .transpose()?,
        placement: json(row, "placement")?,
        config: json(row, "config")?,
        created_at_ms: row.try_get("created_at_ms").map_err(failure)?,
        updated_at_ms: row.try_get("updated_at_ms").map_err(failure)?,
    })
}

fn partition(row: &SqliteRow) -> Result<PartitionRow, StoreError> {
    let leader: Option<i64> = row.try_get("leader").map_err(failure)?;
    Ok(PartitionRow {
        topic_id: parsed(row, "topic_id")?,
        partition: PartitionId(number(row, "partition")?),
        version: number(row, "version")?,
        leader: leader
            .map(|found| narrowed("leader", found))
            .transpose()?
            .map(SpuId),
        leader_epoch: LeaderEpoch(number(row, "leader_epoch")?),
        replicas: json(row, "replicas")?,
        isr: json(row, "isr")?,
        min_isr: number(row, "min_isr")?,
        recovery_gen: number(row, "recovery_gen")?,
        truncate_before: Offset::new(number(row, "truncate_before")?),
        moving: None,
        seal: None,
    })
}

fn event(row: &SqliteRow) -> Result<Event, StoreError> {
    let kind: &str = row.try_get("kind").map_err(failure)?;
    let op: &str = row.try_get("op").map_err(failure)?;
    let payload: &str = row.try_get("payload").map_err(failure)?;
    let kind =
        Kind::parse(kind).ok_or_else(|| StoreError::Damaged(format!("event kind {kind:?}")))?;
    let change = Change::from_event(kind, op == "delete", payload)
        .map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Event {
        revision: number(row, "revision")?,
        seq: number(row, "seq")?,
        change,
        actor: row.try_get("actor").map_err(failure)?,
        request_id: row.try_get("request_id").map_err(failure)?,
        at_ms: row.try_get("at_ms").map_err(failure)?,
    })
}

fn number<N: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<N, StoreError> {
    narrowed(column, row.try_get(column).map_err(failure)?)
}

fn narrowed<N: TryFrom<i64>>(column: &str, found: i64) -> Result<N, StoreError> {
    found
        .try_into()
        .map_err(|_| StoreError::Damaged(format!("{column} is {found}")))
}

fn parsed<T: FromStr<Err: Display>>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column).map_err(failure)?;
    text.parse()
        .map_err(|error| StoreError::Damaged(format!("{column} {text:?}: {error}")))
}

fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column).map_err(failure)?;
    serde_json::from_str(text)
        .map_err(|error| StoreError::Damaged(format!("{column} {text:?}: {error}")))
}
