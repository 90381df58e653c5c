//! The lease row. Its epoch has a unique index, so taking the lease waits for transactions that rely on
//! the old epoch, while renewing it waits for nobody.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tidegate_proto::id::LeaseEpoch;

use super::open::failure;
use super::{milliseconds, signed, unsigned};
use crate::store::fault::StoreError;
use crate::store::lease::Acquired;

pub(super) async fn acquire(
    conn: &mut PgConnection,
    holder: &str,
    duration: Duration,
) -> Result<Acquired, StoreError> {
    let ours: Option<i64> = sqlx::query_scalar(
        "WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now)
         UPDATE lease SET holder = $1, epoch = epoch + 1, until_ms = clock.now + $2
         FROM clock WHERE id = 1 AND (until_ms <= clock.now OR holder = $1)
         RETURNING epoch",
    )
    .bind(holder)
    .bind(milliseconds(duration))
    .fetch_optional(&mut *conn)
    .await
    .map_err(failure)?;
    if let Some(epoch) = ours {
        return Ok(Acquired::Ours(LeaseEpoch(unsigned(epoch)?)));
    }
    let row = sqlx::query(
        "SELECT holder, epoch,
                greatest(until_ms - (extract(epoch FROM clock_timestamp()) * 1000)::bigint, 0)
         FROM lease WHERE id = 1",
    )
    .fetch_one(conn)
    .await
    .map_err(failure)?;
    Ok(Acquired::Theirs {
        holder: row.try_get(0).map_err(failure)?,
        epoch: LeaseEpoch(unsigned(row.try_get(1).map_err(failure)?)?),
        left: Duration::from_millis(unsigned(row.try_get(2).map_err(failure)?)?),
    })
}

pub(super) async fn renew(
    conn: &mut PgConnection,
    epoch: LeaseEpoch,
    duration: Duration,
) -> Result<bool, StoreError> {
    let done = sqlx::query(
        "UPDATE lease SET until_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint + $2
         WHERE id = 1 AND epoch = $1",
    )
    .bind(signed(epoch.0))
    .bind(milliseconds(duration))
    .execute(conn)
    .await
    .map_err(failure)?;
    Ok(done.rows_affected() == 1)
}

pub(super) async fn release(conn: &mut PgConnection, epoch: LeaseEpoch) -> Result<(), StoreError> {
    sqlx::query("UPDATE lease SET until_ms = 0 WHERE id = 1 AND epoch = $1")
        .bind(signed(epoch.0))
        .execute(conn)
        .await
        .map_err(failure)?;
    Ok(())
}
