//! The public surface for records: produce, fetch, server-sent events, WebSocket.
//!
//! One router over one trait, [`partitions::Partitions`]: the storage node mounts it on its own
//! partitions, the gateway on remote ones. Nothing here stores or decides anything about records.
//! Modules are listed bottom-up and import only modules above them. What the socket shares with
//! the REST surface: [`position::resolve_start`] turns `from` or a cursor into offsets,
//! [`append::append_json`] takes a JSON list of records and gives what REST answers,
//! [`encode::json`] writes records.

pub mod partitions;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod limits;
pub mod metrics;
pub mod partitioner;
pub mod state;
mod query;
mod negotiate;
pub mod topics;
pub mod position;
mod follow;
pub mod decode;
mod assemble;
pub mod encode;
pub mod append;
mod select;
mod produce;
mod events;
mod fetch;
mod offsets;
mod producers;
mod groups;
pub mod tickets;
pub mod ws;
mod routes;

pub use routes::{openapi, router};
pub use state::{DataPlane, DataPlaneConfig, ProducerIds};
