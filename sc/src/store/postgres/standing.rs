//! Which store this is and what its answers are worth, as the server says (X2).
//!
//! Settings that only a privileged role may see are left out where ours is not.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId};

use super::open::failure;
use super::unsigned;
use crate::store::fault::StoreError;
use crate::store::ledger_sql::hash;
use crate::store::standing::{Durability, Standing};

/// Settings on which durability rests, and the version of the server.
const SETTINGS: [&str; 6] = [
    "server_version",
    "fsync",
    "full_page_writes",
    "synchronous_commit",
    "synchronous_standby_names",
    "default_transaction_read_only",
];

pub(super) async fn standing(conn: &mut PgConnection) -> Result<Standing, StoreError> {
    let cluster = sqlx::query(
        "SELECT cluster_id, store_id, revision, chain, events_floor, pg_is_in_recovery() AS recovering
         FROM cluster WHERE id = 1",
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(failure)?;
    let settings: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, current_setting(name) FROM unnest($1::text[]) AS name
         UNION ALL SELECT 'system_identifier', system_identifier::text FROM pg_control_system()
         UNION ALL SELECT 'timeline', timeline_id::text FROM pg_control_checkpoint()",
    )
    .bind(&SETTINGS[..])
    .fetch_all(&mut *conn)
    .await
    .map_err(failure)?;
    // Rows without a state are those that our role may not see; then nothing is claimed.
    let copies: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_replication
         WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')",
    )
    .fetch_one(conn)
    .await
    .map_err(failure)?;
    let copies = u32::try_from(copies).unwrap_or(u32::MAX);
    let settings: BTreeMap<String, String> = settings.into_iter().collect();
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|found| found == value);
    let recovering: bool = cluster.try_get("recovering").map_err(failure)?;
    let waits = !is("synchronous_commit", "off");
    let waits_for_copies = waits && !is("synchronous_commit", "local");
    Ok(Standing {
        cluster_id: ClusterId(cluster.try_get("cluster_id").map_err(failure)?),
        store_id: StoreId(cluster.try_get("store_id").map_err(failure)?),
        revision: unsigned(cluster.try_get("revision").map_err(failure)?)?,
        chain: ChainHash(hash(cluster.try_get("chain").map_err(failure)?)?),
        events_floor: unsigned(cluster.try_get("events_floor").map_err(failure)?)?,
        is_writable: !recovering && is("default_transaction_read_only", "off"),
        durability: Durability {
            survives_power_loss: waits && is("fsync", "on") && is("full_page_writes", "on"),
            synchronous_copies: if waits_for_copies {
                let awaited = settings.get("synchronous_standby_names");
                awaited.map_or(0, |names| awaited_copies(names).min(copies))
            } else {
                0
            },
            settings,
        },
    })
}

/// Of how many standbys a commit awaits the answer: `ANY 2 (a, b, c)`, `FIRST 1 (a, b)`, `1 (a)`, `a, b`.
fn awaited_copies(names: &str) -> u32 {
    let Some((method, _)) = names.split_once('(') else {
        return u32::from(!names.trim().is_empty());
    };
    let number = method.split_whitespace().next_back();
    number.and_then(|number| number.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_awaited_standbys_is_read_off_the_setting() {
        let known = [
            ("", 0),
            ("*", 1),
            ("a, b", 1),
            ("ANY 2 (a, b, c)", 2),
            ("FIRST 3 (a, b, c)", 3),
            ("2 (a, b)", 2),
        ];
        for (names, awaited) in known {
            assert_eq!(awaited_copies(names), awaited, "{names}");
        }
    }
}
