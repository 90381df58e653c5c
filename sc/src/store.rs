//! The metadata store: what the controller needs of a database, and the databases that give it.
//!
//! [`MetaStore`] is one door with several rooms behind it: Postgres for clusters, a SQLite file for one
//! controller, and one in memory that fails on purpose. `conformance` is the suite that each of them
//! passes. Everything above this module decides on models and never sees SQL.

mod fault;
mod rows;

mod standing;

mod lease;
mod ledger;

mod backup;

mod backup_file;
mod meta_store;
mod restore;

mod chain;
mod ledger_sql;
mod migrations;

mod memory;
mod postgres;
mod sqlite;

#[cfg(test)]
mod conformance;

pub use backup::{Adoption, Backup, BackupHead, Backups, Record, RestoreError, Tombstone};
pub use backup_file::{BackupFileError, backup_lines, read_backup};
pub(crate) use chain::after as chain_after;
pub use fault::{BoxFuture, StoreError};
pub use lease::{Acquired, Leases};
pub use ledger::{JoinToken, Ledger, NodeCertificate, Receipt, Redeemed, Use};
pub use memory::{Fault, MemoryDatabase, MemoryStore, Weather};
pub use meta_store::{
    ApplyError, ChainAt, Commit, Doorbell, Event, EventsError, Guard, Kept, MetaStore,
};
pub use postgres::{Applied, DatabaseUrl, PostgresStore, migrate};
pub use sqlite::SqliteStore;
pub use standing::{Durability, Standing};
