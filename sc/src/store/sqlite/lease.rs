//! The lease row. With one process on the file there is no rival but an earlier run of it; the rules
//! are those of every store all the same.

use std::time::Duration;

use sqlx::{Row as _, SqlitePool};
use tidegate_proto::id::LeaseEpoch;

use super::{failure, signed, unsigned};
use crate::store::fault::StoreError;
use crate::store::lease::Acquired;

pub(super) async fn acquire(
    pool: &SqlitePool,
    holder: &str,
    duration: Duration,
) -> Result<Acquired, StoreError> {
    let ours: Option<i64> = sqlx::query_scalar(
        "UPDATE lease SET holder = ?1, epoch = epoch + 1,
                          until_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?2
         WHERE id = 1
           AND (until_ms <= CAST(unixepoch('subsec') * 1000 AS INTEGER) OR holder = ?1)
         RETURNING epoch",
    )
    .bind(holder)
    .bind(milliseconds(duration))
    .fetch_optional(pool)
    .await
    .map_err(failure)?;
    if let Some(epoch) = ours {
        return Ok(Acquired::Ours(LeaseEpoch(unsigned(epoch)?)));
    }
    let row = sqlx::query(
        "SELECT holder, epoch, max(until_ms - CAST(unixepoch('subsec') * 1000 AS INTEGER), 0)
         FROM lease WHERE id = 1",
    )
    .fetch_one(pool)
    .await
    .map_err(failure)?;
    Ok(Acquired::Theirs {
        holder: row.try_get(0).map_err(failure)?,
        epoch: LeaseEpoch(unsigned(row.try_get(1).map_err(failure)?)?),
        left: Duration::from_millis(unsigned(row.try_get(2).map_err(failure)?)?),
    })
}

pub(super) async fn renew(
    pool: &SqlitePool,
    epoch: LeaseEpoch,
    duration: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE lease SET until_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER) + ?
         WHERE id = 1 AND epoch = ?",
    )
    .bind(milliseconds(duration))
    .bind(signed(epoch.0))
    .execute(pool)
    .await
    .map_err(failure)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn release(pool: &SqlitePool, epoch: LeaseEpoch) -> Result<(), StoreError> {
    sqlx::query("UPDATE lease SET until_ms = 0 WHERE id = 1 AND epoch = ?")
        .bind(signed(epoch.0))
        .execute(pool)
        .await
        .map_err(failure)?;
    Ok(())
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
