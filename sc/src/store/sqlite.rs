//! The metadata store in one SQLite file, for a single controller.
//!
//! One connection that holds the file exclusively: a second controller is refused by SQLite itself,
//! and the lock goes with the process however it ends. Write-ahead log, `synchronous=FULL`: a commit
//! that was answered survives power loss.

mod open;
mod read;
mod write;

use std::ops::Range;
use std::path::Path;

use sqlx::SqlitePool;
use tidegate_proto::id::{ClusterId, TopicId};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::meta_store::{ApplyError, BoxFuture, Commit, Event, EventsError, MetaStore, StoreError};

/// A metadata store in a SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, making it and bringing its schema up to date as needed. A new store gets
    /// `new_cluster_id` as its identity; one that is there keeps its own.
    pub async fn open(
        path: &Path,
        new_cluster_id: ClusterId,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        open::open(path, new_cluster_id, now_ms)
            .await
            .map(|pool| Self { pool })
    }
}

impl MetaStore for SqliteStore {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>> {
        Box::pin(read::snapshot(&self.pool))
    }

    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>> {
        Box::pin(write::apply(&self.pool, commit))
    }

    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(read::committed(&self.pool, id))
    }

    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>> {
        Box::pin(read::events_after(&self.pool, revision, revisions_max))
    }

    fn compact_events(&self, floor: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(write::compact_events(&self.pool, floor))
    }

    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>> {
        Box::pin(write::lease_producer_ids(&self.pool, count))
    }

    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(read::is_deleted(&self.pool, id))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.pool.close())
    }
}

/// What a failing statement means, when it is about the store as a whole.
fn failure(error: sqlx::Error) -> StoreError {
    match primary_code(&error) {
        Some(FULL) => StoreError::Full(error),
        Some(CORRUPT | NOT_A_DATABASE) => StoreError::Damaged(error.to_string()),
        _ => StoreError::Database(error),
    }
}

// Primary result codes of SQLite; the extended ones have them in their low byte.
const PERMISSION: i32 = 3;
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?.parse::<i32>().ok()?;
    Some(code & 0xff)
}

/// SQLite has signed integers only; everything we count stays far below 2^63.
fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("counters stay below 2^63")
}

fn unsigned(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::Damaged(format!("{number} is negative")))
}

#[cfg(test)]
mod tests;
