//! The metadata store: what the controller needs of a database, and the databases that give it.
//!
//! [`MetaStore`] is one door with several rooms behind it; [`conformance`] is the suite that each of
//! them passes. Everything above this module decides on models and never sees SQL.

mod meta_store;

mod sqlite;

#[cfg(test)]
mod conformance;

pub use meta_store::{ApplyError, BoxFuture, Commit, Event, EventsError, MetaStore, StoreError};
pub use sqlite::SqliteStore;
