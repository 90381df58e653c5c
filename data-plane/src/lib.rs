//! The public surface for records: produce, fetch, server-sent events, WebSocket.
//!
//! One router over one trait, [`partitions::Partitions`]: the storage node mounts it on its own
//! partitions, the gateway on remote ones. Nothing here stores or decides anything about records.
//! Modules are listed bottom-up and import only modules above them. What the socket shares with
//! the REST surface: [`position::resolve_start`] turns `from` or a cursor into offsets,
//! [`append::append_records`] takes parsed JSON records and gives the REST answer,
//! [`encode::json`] writes records.

pub mod partitions;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod partitioner;
pub mod state;
pub mod encode;
pub mod tickets;
pub mod ws;

pub use state::{DataPlane, DataPlaneConfig, ProducerIds};
