//! Which store this is: an operator takes it for the cluster's, and what else it has been (X2).
//!
//! An adoption is no commit: it changes no row. Invariant: what it passes over was never given out by the
//! store that was adopted, and will not be.

use sqlx::postgres::PgConnection;
use tidegate_proto::id::StoreId;
use uuid::Uuid;

use super::open::failure;
use super::signed;
use crate::limits::{PRODUCER_IDS_PER_ADOPTION, REVISIONS_PER_ADOPTION};
use crate::store::fault::StoreError;
use crate::store::meta_store::revision_at_least;

pub(super) async fn adopt(
    conn: &mut PgConnection,
    actor: &str,
    at_ms: i64,
) -> Result<StoreId, StoreError> {
    let id = StoreId(Uuid::new_v4());
    sqlx::query(
        "WITH old AS (SELECT store_id FROM cluster WHERE id = 1),
              taken AS (UPDATE cluster SET store_id = $1, next_producer_id = next_producer_id + $4,
                                           revision = greatest(revision + $5, $7),
                                           events_floor = greatest(revision + $5, $7)
                        WHERE id = 1 RETURNING revision, chain),
              begun AS (INSERT INTO commits (revision, commit_id, actor, request_id, at_ms,
                                             lease_epoch, chain)
                        SELECT revision, $6, $2, '', $3, NULL, chain FROM taken),
              known AS (UPDATE adoptions SET revision = taken.revision FROM taken
                        WHERE adoptions.revision < 0)
         INSERT INTO adoptions (store_id, actor, revision, at_ms)
         SELECT $1, $2, revision, $3 FROM taken
         UNION ALL SELECT old.store_id, '', revision, $3 FROM old, taken
         ON CONFLICT (store_id) DO NOTHING",
    )
    .bind(id.0)
    .bind(actor)
    .bind(at_ms)
    .bind(signed(PRODUCER_IDS_PER_ADOPTION))
    .bind(signed(REVISIONS_PER_ADOPTION))
    .bind(Uuid::new_v4())
    .bind(signed(revision_at_least(at_ms)))
    .execute(conn)
    .await
    .map_err(failure)?;
    Ok(id)
}

/// Identities that were adopted away are kept beside those that were adopted.
pub(super) async fn has_been(conn: &mut PgConnection, id: StoreId) -> Result<bool, StoreError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM cluster WHERE store_id = $1)
             OR EXISTS (SELECT 1 FROM adoptions WHERE store_id = $1 AND revision >= 0)",
    )
    .bind(id.0)
    .fetch_one(conn)
    .await
    .map_err(failure)
}

pub(super) async fn answer_for(
    conn: &mut PgConnection,
    id: StoreId,
    at_ms: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO adoptions (store_id, actor, revision, at_ms)
         SELECT $1, '', revision, $2 FROM cluster WHERE id = 1
         ON CONFLICT (store_id) DO UPDATE SET revision = greatest(adoptions.revision, 0)",
    )
    .bind(id.0)
    .bind(at_ms)
    .execute(conn)
    .await
    .map(drop)
    .map_err(failure)
}
