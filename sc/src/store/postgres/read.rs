//! Reading: the snapshot, events, hashes, and whether a commit was made.
//!
//! A snapshot is one REPEATABLE READ transaction that also reads the counter, and streams the rows: no
//! copy of all of them is held but the model itself. A value that does not parse is damage and is
//! reported as such, never skipped.

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, TopicId};
use tidegate_sc_core::change::{Change, Kind};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::open::failure;
use super::{bounded, signed, unsigned};
use crate::limits::STORE_SNAPSHOT_TIMEOUT;
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::ledger_sql::hash;
use crate::store::meta_store::{ChainAt, Event, EventsError};
use crate::store::rows::table;

pub(super) async fn snapshot(conn: &mut PgConnection) -> Result<Model, StoreError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut tx = conn.begin_with(begin).await.map_err(failure)?;
    let patience = STORE_SNAPSHOT_TIMEOUT.as_millis();
    let patience = format!("SET LOCAL statement_timeout = {patience}");
    tx.execute(AssertSqlSafe(patience)).await.map_err(failure)?;
    let cluster = sqlx::query("SELECT cluster_id, revision FROM cluster WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let cluster_id = ClusterId(cluster.try_get(0).map_err(failure)?);
    let revision = unsigned(cluster.try_get(1).map_err(failure)?)?;
    let mut puts = Vec::new();
    for kind in Kind::ALL {
        let select = AssertSqlSafe(format!("SELECT value::text FROM {}", table(kind)));
        let mut rows = sqlx::query(select).fetch(&mut *tx);
        while let Some(row) = rows.try_next().await.map_err(failure)? {
            puts.push(put(kind, &row)?);
        }
    }
    tx.rollback().await.map_err(failure)?;
    Model::from_puts(cluster_id, revision, puts)
        .map_err(|error| StoreError::Damaged(error.to_string()))
}

fn put(kind: Kind, row: &PgRow) -> Result<Change, StoreError> {
    let value: &str = row.try_get(0).map_err(failure)?;
    Change::from_event(kind, false, value).map_err(|error| StoreError::Damaged(error.to_string()))
}

/// Waits for every commit that is under way: one that waits for a standby may be made yet, and what is
/// told here is the last word.
pub(super) async fn committed(
    conn: &mut PgConnection,
    id: Uuid,
) -> Result<Option<u64>, StoreError> {
    let mut tx = conn.begin().await.map_err(failure)?;
    tx.execute("SELECT 1 FROM cluster WHERE id = 1 FOR SHARE")
        .await
        .map_err(failure)?;
    // A statement of its own, so that it sees what was waited for.
    let revision: Option<i64> =
        sqlx::query_scalar("SELECT revision FROM commits WHERE commit_id = $1")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await
            .map_err(failure)?;
    // Unlike the end of a commit, this waits for no standby.
    tx.rollback().await.map_err(failure)?;
    revision.map(unsigned).transpose()
}

pub(super) async fn events_after(
    conn: &mut PgConnection,
    revision: u64,
    revisions_max: u64,
) -> Result<Vec<Event>, EventsError> {
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut tx = conn.begin_with(begin).await.map_err(failure)?;
    let floor: i64 = sqlx::query_scalar("SELECT events_floor FROM cluster WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let floor = unsigned(floor)?;
    if revision < floor {
        tx.rollback().await.map_err(failure)?;
        return Err(EventsError::Compacted { floor });
    }
    let last = revision.saturating_add(revisions_max).min(i64::MAX as u64);
    let rows = sqlx::query(
        "SELECT revision, seq, kind, op, payload, actor, request_id, at_ms, chain
         FROM events JOIN commits USING (revision)
         WHERE revision > $1 AND revision <= $2 ORDER BY revision, seq",
    )
    .bind(bounded(revision))
    .bind(signed(last))
    .fetch_all(&mut *tx)
    .await
    .map_err(failure)?;
    tx.rollback().await.map_err(failure)?;
    Ok(rows.iter().map(event).collect::<Result<_, _>>()?)
}

pub(super) async fn chain_at(
    conn: &mut PgConnection,
    revision: u64,
) -> Result<ChainAt, StoreError> {
    // One statement, so one moment.
    let row = sqlx::query(
        "SELECT cluster_id, revision, events_floor,
                (SELECT chain FROM commits WHERE revision = $1) AS chain
         FROM cluster WHERE id = 1",
    )
    .bind(bounded(revision))
    .fetch_one(conn)
    .await
    .map_err(failure)?;
    let newest = unsigned(row.try_get("revision").map_err(failure)?)?;
    let floor = unsigned(row.try_get("events_floor").map_err(failure)?)?;
    let known: Option<&[u8]> = row.try_get("chain").map_err(failure)?;
    match known {
        Some(bytes) => hash(bytes).map(ChainHash).map(ChainAt::Known),
        None if revision > newest => Ok(ChainAt::Ahead { revision: newest }),
        None if revision == 0 => {
            let cluster_id = ClusterId(row.try_get("cluster_id").map_err(failure)?);
            Ok(ChainAt::Known(chain::start(cluster_id)))
        }
        None => Ok(ChainAt::Compacted { floor }),
    }
}

pub(super) async fn is_deleted(conn: &mut PgConnection, id: TopicId) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM tombstones WHERE kind = 'topic' AND row_key = $1)",
    )
    .bind(id.to_string())
    .fetch_one(conn)
    .await
    .map_err(failure)
}

fn event(row: &PgRow) -> Result<Event, StoreError> {
    let kind: &str = row.try_get("kind").map_err(failure)?;
    let op: &str = row.try_get("op").map_err(failure)?;
    let payload: &str = row.try_get("payload").map_err(failure)?;
    let kind =
        Kind::parse(kind).ok_or_else(|| StoreError::Damaged(format!("event kind {kind:?}")))?;
    let change = Change::from_event(kind, op == "delete", payload)
        .map_err(|error| StoreError::Damaged(error.to_string()))?;
    let seq: i64 = row.try_get("seq").map_err(failure)?;
    Ok(Event {
        revision: unsigned(row.try_get("revision").map_err(failure)?)?,
        seq: u32::try_from(seq).map_err(|_| StoreError::Damaged(format!("seq {seq}")))?,
        change,
        actor: row.try_get("actor").map_err(failure)?,
        request_id: row.try_get("request_id").map_err(failure)?,
        at_ms: row.try_get("at_ms").map_err(failure)?,
        chain: ChainHash(hash(row.try_get("chain").map_err(failure)?)?),
    })
}
