//! A restore, the same in every database: into an empty one, inside one transaction of the caller's.
//!
//! The databases give the statements; what is asked, and in which order, is here. Invariant: into a store
//! that holds anything nothing is written.

use tidegate_proto::id::StoreId;
use uuid::Uuid;

use super::backup::{Backup, BackupHead, Record, RestoreError, TABLES, Table};
use super::fault::StoreError;
use crate::limits::STORE_ROWS_AT_ONCE;

/// What a restore asks of a database.
pub(super) trait Restoring {
    /// The revision, after which nobody else commits until the transaction has ended.
    async fn revision(&mut self) -> Result<u64, StoreError>;

    /// Whether the table has any row.
    async fn has_rows(&mut self, table: &Table) -> Result<bool, StoreError>;

    /// Adds rows to the table: a JSON array of objects with the names of its columns.
    async fn add(&mut self, table: &Table, rows: String) -> Result<(), StoreError>;

    /// Writes the one row about the store, the lease, and the commit at whose revision the history begins.
    async fn identify(
        &mut self,
        head: &BackupHead,
        id: StoreId,
        at_ms: i64,
    ) -> Result<(), StoreError>;
}

/// Writes everything that is in the backup; gives the new identity.
pub(super) async fn restore(
    db: &mut impl Restoring,
    backup: &Backup,
    at_ms: i64,
) -> Result<StoreId, RestoreError> {
    let revision = db.revision().await?;
    let mut is_empty = revision == 0;
    for table in &TABLES {
        is_empty &= !db.has_rows(table).await?;
    }
    if !is_empty {
        return Err(RestoreError::NotEmpty { revision });
    }
    for records in backup
        .records
        .chunk_by(|one, other| one.table() == other.table())
    {
        for records in records.chunks(STORE_ROWS_AT_ONCE) {
            let name = records.first().map(Record::table).unwrap_or_default();
            let table = TABLES.iter().find(|table| table.name == name);
            let table = table.expect("every record is in a table");
            let rows: Vec<String> = records.iter().map(Record::encode).collect();
            db.add(table, format!("[{}]", rows.join(","))).await?;
        }
    }
    let id = StoreId(Uuid::new_v4());
    db.identify(&backup.head, id, at_ms).await?;
    Ok(id)
}
