//! Stored batches out to clients: JSON, NDJSON, server-sent events, shared frames.

pub mod answer;
pub mod codecs;
pub mod events;
pub(crate) mod headers;
pub mod json;
pub mod walk;

mod shared;

pub mod frame;
pub(crate) mod latest;
