//! Copies of the database, and a database made of one.
//!
//! A copy is one REPEATABLE READ transaction; a restore is one transaction under the lock of the counter
//! row, so that controllers that run on the empty database meanwhile commit before it or not at all.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId};
use uuid::Uuid;

use super::open::failure;
use super::{signed, unsigned};
use crate::limits::{RESTORE_TIMEOUT, STORE_SNAPSHOT_TIMEOUT};
use crate::store::backup::{Backup, BackupHead, Column, Record, RestoreError, TABLES, Table};
use crate::store::fault::StoreError;
use crate::store::ledger_sql::hash;
use crate::store::restore::{Restoring, restore};

pub(super) async fn read(conn: &mut PgConnection) -> Result<Backup, StoreError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut tx = conn.begin_with(begin).await.map_err(failure)?;
    patient(&mut tx, STORE_SNAPSHOT_TIMEOUT).await?;
    let select =
        "SELECT cluster_id, store_id, cluster.revision, chain, next_producer_id, lease.epoch
                  FROM cluster, lease WHERE cluster.id = 1 AND lease.id = 1";
    let row = sqlx::query(select).fetch_one(&mut *tx).await;
    let head = head(&row.map_err(failure)?)?;
    let mut records = Vec::new();
    for table in &TABLES {
        let columns = table.columns.iter();
        let columns: Vec<String> = columns.map(|(name, column)| shown(name, *column)).collect();
        let select = format!(
            "SELECT json_build_object({})::text FROM {}",
            columns.join(", "),
            table.name
        );
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await.map_err(failure)? {
            let text: &str = row.try_get(0).map_err(failure)?;
            let record = Record::decode(table.name, text);
            records.push(record.map_err(StoreError::Damaged)?);
        }
    }
    tx.rollback().await.map_err(failure)?;
    Ok(Backup::new(head, records))
}

fn head(row: &PgRow) -> Result<BackupHead, StoreError> {
    Ok(BackupHead {
        cluster_id: ClusterId(row.try_get(0).map_err(failure)?),
        store_id: StoreId(row.try_get(1).map_err(failure)?),
        revision: unsigned(row.try_get(2).map_err(failure)?)?,
        chain: ChainHash(hash(row.try_get(3).map_err(failure)?)?),
        next_producer_id: unsigned(row.try_get(4).map_err(failure)?)?,
        lease_epoch: unsigned(row.try_get(5).map_err(failure)?)?,
    })
}

/// A name and a value of `json_build_object`.
fn shown(name: &str, column: Column) -> String {
    match column {
        Column::Bytes => format!("'{name}', encode({name}, 'hex')"),
        Column::Text | Column::Number | Column::Id | Column::Document => {
            format!("'{name}', {name}")
        }
    }
}

pub(super) async fn write(
    conn: &mut PgConnection,
    backup: &Backup,
    at_ms: i64,
) -> Result<StoreId, RestoreError> {
    let mut tx = conn.begin().await.map_err(failure)?;
    patient(&mut tx, RESTORE_TIMEOUT).await?;
    let id = restore(&mut *tx, backup, at_ms).await?;
    tx.commit().await.map_err(failure)?;
    Ok(id)
}

impl Restoring for PgConnection {
    async fn revision(&mut self) -> Result<u64, StoreError> {
        let locked = sqlx::query_scalar("SELECT revision FROM cluster WHERE id = 1 FOR UPDATE");
        unsigned(locked.fetch_one(self).await.map_err(failure)?)
    }

    async fn has_rows(&mut self, table: &Table) -> Result<bool, StoreError> {
        let any = format!("SELECT EXISTS (SELECT 1 FROM {})", table.name);
        let any = sqlx::query_scalar(AssertSqlSafe(any));
        any.fetch_one(self).await.map_err(failure)
    }

    async fn add(&mut self, table: &Table, rows: String) -> Result<(), StoreError> {
        let Table { name, columns } = table;
        let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        let values = columns.iter().map(|(name, column)| match column {
            Column::Text => format!("new ->> '{name}'"),
            Column::Number => format!("(new ->> '{name}')::bigint"),
            Column::Id => format!("(new ->> '{name}')::uuid"),
            Column::Bytes => format!("decode(new ->> '{name}', 'hex')"),
            Column::Document => format!("(new -> '{name}')::jsonb"),
        });
        let insert = format!(
            "INSERT INTO {name} ({}) SELECT {} FROM json_array_elements($1::json) AS new",
            names.join(", "),
            values.collect::<Vec<_>>().join(", ")
        );
        let query = sqlx::query(AssertSqlSafe(insert)).bind(rows);
        query.execute(self).await.map(drop).map_err(failure)
    }

    async fn identify(
        &mut self,
        head: &BackupHead,
        id: StoreId,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let cluster = sqlx::query(
            "UPDATE cluster SET cluster_id = $1, store_id = $2, revision = $3, chain = $4,
                                events_floor = $3, next_producer_id = $5 WHERE id = 1",
        )
        .bind(head.cluster_id.0)
        .bind(id.0)
        .bind(signed(head.revision))
        .bind(&head.chain.0[..])
        .bind(signed(head.next_producer_id));
        cluster.execute(&mut *self).await.map_err(failure)?;
        let lease =
            sqlx::query("UPDATE lease SET holder = '', epoch = $1, until_ms = 0 WHERE id = 1")
                .bind(signed(head.lease_epoch));
        lease.execute(&mut *self).await.map_err(failure)?;
        if head.revision == 0 {
            return Ok(());
        }
        let commit = sqlx::query(
            "INSERT INTO commits (revision, commit_id, actor, request_id, at_ms, lease_epoch, chain)
             VALUES ($1, $2, 'restore', '', $3, NULL, $4)",
        )
        .bind(signed(head.revision))
        .bind(Uuid::new_v4())
        .bind(at_ms)
        .bind(&head.chain.0[..]);
        commit.execute(self).await.map(drop).map_err(failure)
    }
}

async fn patient(db: &mut PgConnection, limit: Duration) -> Result<(), StoreError> {
    let limit = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
    db.execute(AssertSqlSafe(limit))
        .await
        .map(drop)
        .map_err(failure)
}
