//! Reading: the snapshot, events, hashes, and whether a commit was made.
//!
//! A snapshot is read in one transaction. A value that does not parse is damage and is reported as
//! such, never skipped.

use std::fmt::Display;
use std::str::FromStr;

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, SqlitePool};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId, TopicId};
use tidegate_sc_core::change::{Change, Kind};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::{bounded, failure, signed, unsigned};
use crate::limits::STORE_ROWS_AT_ONCE;
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::ledger_sql::hash;
use crate::store::meta_store::{ChainAt, Event, EventsError};
use crate::store::rows::table;

/// The one row about the store as a whole.
pub(super) struct Facts {
    pub(super) cluster_id: ClusterId,
    pub(super) store_id: StoreId,
    pub(super) revision: u64,
    pub(super) chain: ChainHash,
    pub(super) events_floor: u64,
}

pub(super) async fn facts(pool: &SqlitePool) -> Result<Facts, StoreError> {
    let mut conn = pool.acquire().await.map_err(failure)?;
    facts_of(&mut conn).await
}

pub(super) async fn facts_of(db: &mut SqliteConnection) -> Result<Facts, StoreError> {
    let row = sqlx::query(
        "SELECT cluster_id, store_id, revision, chain, events_floor FROM cluster WHERE id = 1",
    )
    .fetch_one(db)
    .await
    .map_err(failure)?;
    Ok(Facts {
        cluster_id: parsed(&row, "cluster_id")?,
        store_id: parsed(&row, "store_id")?,
        revision: number(&row, "revision")?,
        chain: ChainHash(hash(row.try_get("chain").map_err(failure)?)?),
        events_floor: number(&row, "events_floor")?,
    })
}

pub(super) async fn snapshot(pool: &SqlitePool) -> Result<Model, StoreError> {
    let mut tx = pool.begin().await.map_err(failure)?;
    let facts = facts_of(&mut tx).await?;
    let mut puts = Vec::new();
    for kind in Kind::ALL {
        rows(&mut tx, kind, &mut puts).await?;
    }
    tx.rollback().await.map_err(failure)?;
    Model::from_puts(facts.cluster_id, facts.revision, puts)
        .map_err(|error| StoreError::Damaged(error.to_string()))
}

/// All rows of a kind, some at a time: a row as the database gives it takes ten times its own size.
async fn rows(
    db: &mut SqliteConnection,
    kind: Kind,
    puts: &mut Vec<Change>,
) -> Result<(), StoreError> {
    let select = format!(
        "SELECT row_key, value FROM {} WHERE row_key > ?1 ORDER BY row_key LIMIT ?2",
        table(kind)
    );
    let mut after = String::new();
    loop {
        let rows = sqlx::query(AssertSqlSafe(select.as_str()))
            .bind(&after)
            .bind(signed(STORE_ROWS_AT_ONCE as u64))
            .fetch_all(&mut *db)
            .await
            .map_err(failure)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.try_get(0).map_err(failure)?;
        for row in &rows {
            let value: &str = row.try_get(1).map_err(failure)?;
            let put = Change::from_event(kind, false, value);
            puts.push(put.map_err(|error| StoreError::Damaged(error.to_string()))?);
        }
    }
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
    let floor = facts_of(&mut tx).await?.events_floor;
    if revision < floor {
        return Err(EventsError::Compacted { floor });
    }
    let rows = sqlx::query(
        "SELECT revision, seq, kind, op, payload, actor, request_id, at_ms, chain
         FROM events JOIN commits USING (revision)
         WHERE revision > ?1 AND revision <= ?2 ORDER BY revision, seq",
    )
    .bind(bounded(revision))
    .bind(signed(
        revision.saturating_add(revisions_max).min(i64::MAX as u64),
    ))
    .fetch_all(&mut *tx)
    .await
    .map_err(failure)?;
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

pub(super) async fn chain_at(pool: &SqlitePool, revision: u64) -> Result<ChainAt, StoreError> {
    let mut tx = pool.begin().await.map_err(failure)?;
    let facts = facts_of(&mut tx).await?;
    let known: Option<Vec<u8>> = sqlx::query_scalar("SELECT chain FROM commits WHERE revision = ?")
        .bind(bounded(revision))
        .fetch_optional(&mut *tx)
        .await
        .map_err(failure)?;
    match known {
        Some(bytes) => hash(&bytes).map(ChainHash).map(ChainAt::Known),
        None if revision > facts.revision => Ok(ChainAt::Ahead {
            revision: facts.revision,
        }),
        None if revision == 0 => Ok(ChainAt::Known(chain::start(facts.cluster_id))),
        None => Ok(ChainAt::Compacted {
            floor: facts.events_floor,
        }),
    }
}

pub(super) async fn is_deleted(pool: &SqlitePool, id: TopicId) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tombstones WHERE kind = 'topic' AND row_key = ?)",
    )
    .bind(id.to_string())
    .fetch_one(pool)
    .await
    .map_err(failure)
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
        chain: ChainHash(hash(row.try_get("chain").map_err(failure)?)?),
    })
}

fn number<N: TryFrom<i64>>(row: &SqliteRow, column: &str) -> Result<N, StoreError> {
    let found: i64 = row.try_get(column).map_err(failure)?;
    found
        .try_into()
        .map_err(|_| StoreError::Damaged(format!("{column} is {found}")))
}

fn parsed<T: FromStr<Err: Display>>(row: &SqliteRow, column: &str) -> Result<T, StoreError> {
    let text: &str = row.try_get(column).map_err(failure)?;
    text.parse()
        .map_err(|error| StoreError::Damaged(format!("{column} {text:?}: {error}")))
}
