//! The public surface for records: produce, fetch, server-sent events, WebSocket.
//!
//! One router over one trait, [`partitions::Partitions`]: the storage node mounts it on its own
//! partitions, the gateway on remote ones. Nothing here stores or decides anything about records.

pub mod encode;
pub mod tickets;
pub mod ws;
