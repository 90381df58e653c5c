//! Copies of the database, and a database made of one, each in one transaction.

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use tidegate_proto::id::StoreId;
use uuid::Uuid;

use super::read::facts_of;
use super::{SqliteStore, failure, signed, unsigned};
use crate::store::backup::{
    Backup, BackupHead, Backups, Column, Record, RestoreError, TABLES, Table,
};
use crate::store::fault::{BoxFuture, StoreError};
use crate::store::restore::{Restoring, restore};

impl Backups for SqliteStore {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(read(&self.pool))
    }

    fn restore<'a>(
        &'a self,
        backup: &'a Backup,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, RestoreError>> {
        Box::pin(async move {
            backup.check()?;
            let id = write(&self.pool, &backup.restored(at_ms), at_ms).await?;
            self.committed.send_replace(backup.head.revision);
            Ok(id)
        })
    }
}

async fn read(pool: &SqlitePool) -> Result<Backup, StoreError> {
    let mut tx = pool.begin().await.map_err(failure)?;
    let facts = facts_of(&mut tx).await?;
    let select = "SELECT next_producer_id, epoch FROM cluster, lease";
    let row = sqlx::query(select)
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let head = BackupHead {
        cluster_id: facts.cluster_id,
        store_id: facts.store_id,
        revision: facts.revision,
        chain: facts.chain,
        next_producer_id: unsigned(row.try_get(0).map_err(failure)?)?,
        lease_epoch: unsigned(row.try_get(1).map_err(failure)?)?,
    };
    let mut records = Vec::new();
    for table in &TABLES {
        let columns = table.columns.iter().map(|(name, column)| match column {
            Column::Bytes => format!("'{name}', lower(hex({name}))"),
            Column::Document => format!("'{name}', json({name})"),
            Column::Text | Column::Number | Column::Id => format!("'{name}', {name}"),
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let select = format!("SELECT json_object({columns}) FROM {}", table.name);
        let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(select))
            .fetch_all(&mut *tx)
            .await
            .map_err(failure)?;
        for text in rows {
            let record = Record::decode(table.name, &text);
            records.push(record.map_err(StoreError::Damaged)?);
        }
    }
    Ok(Backup::new(head, records))
}

async fn write(pool: &SqlitePool, backup: &Backup, at_ms: i64) -> Result<StoreId, RestoreError> {
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    let id = restore(&mut *tx, backup, at_ms).await?;
    tx.commit().await.map_err(failure)?;
    Ok(id)
}

impl Restoring for SqliteConnection {
    async fn revision(&mut self) -> Result<u64, StoreError> {
        Ok(facts_of(self).await?.revision)
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
            Column::Text | Column::Number | Column::Id => format!("new.value ->> '{name}'"),
            Column::Bytes => format!("unhex(new.value ->> '{name}')"),
            Column::Document => format!("new.value -> '{name}'"),
        });
        let insert = format!(
            "INSERT INTO {name} ({}) SELECT {} FROM json_each(?) AS new",
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
            "UPDATE cluster SET cluster_id = ?1, store_id = ?2, revision = ?3, chain = ?4,
                                events_floor = ?3, next_producer_id = ?5 WHERE id = 1",
        )
        .bind(head.cluster_id.to_string())
        .bind(id.to_string())
        .bind(signed(head.revision))
        .bind(&head.chain.0[..])
        .bind(signed(head.next_producer_id));
        cluster.execute(&mut *self).await.map_err(failure)?;
        let lease =
            sqlx::query("UPDATE lease SET holder = '', epoch = ?, until_ms = 0 WHERE id = 1")
                .bind(signed(head.lease_epoch));
        lease.execute(&mut *self).await.map_err(failure)?;
        if head.revision == 0 {
            return Ok(());
        }
        let commit = sqlx::query(
            "INSERT INTO commits (revision, commit_id, actor, request_id, at_ms, lease_epoch, chain)
             VALUES (?, ?, 'restore', '', ?, NULL, ?)",
        )
        .bind(signed(head.revision))
        .bind(Uuid::new_v4().to_string())
        .bind(at_ms)
        .bind(&head.chain.0[..]);
        commit.execute(self).await.map(drop).map_err(failure)
    }
}
