//! Which store this is: an operator takes it for the cluster's, and what else it has been (X2).
//!
//! An adoption is no commit: it changes no row. Invariant: what it passes over was never given out by the
//! store that was adopted, and will not be.

use sqlx::SqlitePool;
use tidegate_proto::id::StoreId;
use uuid::Uuid;

use super::{failure, signed};
use crate::limits::{PRODUCER_IDS_PER_ADOPTION, REVISIONS_PER_ADOPTION};
use crate::store::fault::StoreError;
use crate::store::meta_store::revision_at_least;

pub(super) async fn adopt(
    pool: &SqlitePool,
    actor: &str,
    at_ms: i64,
) -> Result<StoreId, StoreError> {
    let id = StoreId(Uuid::new_v4());
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.map_err(failure)?;
    let old: String = sqlx::query_scalar("SELECT store_id FROM cluster WHERE id = 1")
        .fetch_one(&mut *tx)
        .await
        .map_err(failure)?;
    let revision: i64 = sqlx::query_scalar(
        "UPDATE cluster SET store_id = ?1, next_producer_id = next_producer_id + ?2,
                            revision = max(revision + ?3, ?4),
                            events_floor = max(revision + ?3, ?4)
         WHERE id = 1 RETURNING revision",
    )
    .bind(id.to_string())
    .bind(signed(PRODUCER_IDS_PER_ADOPTION))
    .bind(signed(REVISIONS_PER_ADOPTION))
    .bind(signed(revision_at_least(at_ms)))
    .fetch_one(&mut *tx)
    .await
    .map_err(failure)?;
    sqlx::query(
        "INSERT INTO commits (revision, commit_id, actor, request_id, at_ms, lease_epoch, chain)
         SELECT revision, ?, ?, '', ?, NULL, chain FROM cluster WHERE id = 1",
    )
    .bind(Uuid::new_v4().to_string())
    .bind(actor)
    .bind(at_ms)
    .execute(&mut *tx)
    .await
    .map_err(failure)?;
    sqlx::query("UPDATE adoptions SET revision = ? WHERE revision < 0")
        .bind(revision)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    for (store_id, actor) in [(old, ""), (id.to_string(), actor)] {
        sqlx::query(
            "INSERT OR IGNORE INTO adoptions (store_id, actor, revision, at_ms) VALUES (?, ?, ?, ?)",
        )
        .bind(store_id)
        .bind(actor)
        .bind(revision)
        .bind(at_ms)
        .execute(&mut *tx)
        .await
        .map_err(failure)?;
    }
    tx.commit().await.map_err(failure)?;
    Ok(id)
}

/// Identities that were adopted away are kept beside those that were adopted.
pub(super) async fn has_been(pool: &SqlitePool, id: StoreId) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM cluster WHERE store_id = ?1)
             OR EXISTS (SELECT 1 FROM adoptions WHERE store_id = ?1 AND revision >= 0)",
    )
    .bind(id.to_string())
    .fetch_one(pool)
    .await
    .map_err(failure)
}

pub(super) async fn answer_for(
    pool: &SqlitePool,
    id: StoreId,
    at_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO adoptions (store_id, actor, revision, at_ms)
         SELECT ?1, '', revision, ?2 FROM cluster WHERE id = 1
         ON CONFLICT (store_id) DO UPDATE SET revision = max(adoptions.revision, 0)",
    )
    .bind(id.to_string())
    .bind(at_ms)
    .execute(pool)
    .await
    .map(drop)
    .map_err(failure)
}
