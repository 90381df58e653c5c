//! The migrations of both databases, compiled in.
//!
//! Run in order and never edited once released. On Postgres, controllers of the last version go on
//! while a newer one has migrated already, so a migration there only adds; what takes something away
//! comes a version later and raises `schema_floor` to the oldest migration whose programs may run on.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::fault::StoreError;

/// Number, name and text of a migration.
type Script = (i64, &'static str, &'static str);

pub(super) const SQLITE: [Script; 4] = [
    (
        1,
        "topology",
        include_str!("../../../migrations/sqlite/0001_topology.sql"),
    ),
    (
        2,
        "truncate",
        include_str!("../../../migrations/sqlite/0002_truncate.sql"),
    ),
    (
        3,
        "rows",
        include_str!("../../../migrations/sqlite/0003_rows.sql"),
    ),
    (
        4,
        "names",
        include_str!("../../../migrations/sqlite/0004_names.sql"),
    ),
];

pub(super) const POSTGRES: [Script; 2] = [
    (
        1,
        "metadata",
        include_str!("../../../migrations/postgres/0001_metadata.sql"),
    ),
    (
        2,
        "names",
        include_str!("../../../migrations/postgres/0002_names.sql"),
    ),
];

/// The number of the newest.
pub(super) fn newest(scripts: &[Script]) -> i64 {
    scripts.last().map_or(0, |script| script.0)
}

pub(super) fn migrator(scripts: &[Script]) -> Migrator {
    let migration = |(version, name, sql): &Script| {
        let sql = AssertSqlSafe(*sql).into_sql_str();
        let name = Cow::Borrowed(*name);
        Migration::new(*version, name, MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(scripts.iter().map(migration).collect())
}

/// What the migrations that were run (number and checksum) say about the schema. `floor` is the oldest
/// version that may still use it.
pub(super) fn check(
    scripts: &[Script],
    applied: &[(i64, Vec<u8>)],
    floor: i64,
) -> Result<(), StoreError> {
    let known = newest(scripts);
    if known < floor {
        let found = applied.iter().map(|(version, _)| *version).max();
        return Err(StoreError::SchemaTooNew {
            found: found.unwrap_or(floor),
            known,
        });
    }
    for migration in migrator(scripts).iter() {
        let version = migration.version;
        match applied.iter().find(|(applied, _)| *applied == version) {
            Some((_, checksum)) if **checksum == *migration.checksum => {}
            Some(_) => return Err(StoreError::SchemaDiffers { version }),
            None => {
                return Err(StoreError::SchemaTooOld {
                    found: version - 1,
                    needed: known,
                });
            }
        }
    }
    Ok(())
}
