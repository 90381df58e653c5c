//! The public surface for records: produce, fetch, server-sent events, WebSocket.
//!
//! One router over one trait, [`partitions::Partitions`]: the storage node mounts it on its own
//! partitions, the gateway on remote ones. Nothing here stores or decides anything about records.
//! Modules are listed bottom-up and import only modules above them. What the socket shares with
//! the REST surface: `opening` turns `from` or a cursor into offsets and tails,
//! [`append::append_json`] takes a JSON list of records and gives what REST answers,
//! [`encode::json`] writes records.

mod limits;
pub mod metrics;
mod negotiate;
pub mod partitions;

pub mod partitioner;

mod body;
mod query;
pub mod state;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

mod caller;

pub mod topics;

pub mod position;

pub mod decode;
pub mod encode;
mod opening;
mod select;

mod any_copy;

mod follow;

mod assemble;
pub mod plan;

pub mod append;

mod events;
mod groups;
mod offsets;
mod produce;
mod producers;
pub mod tickets;
pub mod ws;

mod fetch;

mod routes;

pub use produce::DirectProduce;
pub use routes::{openapi, router};
pub use state::{DataPlane, DataPlaneConfig, ProducerIds};
