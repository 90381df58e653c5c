//! Stored batches out to clients: JSON, NDJSON, server-sent events, shared frames.

pub mod answer;
pub mod events;
pub mod frame;
pub mod json;
pub mod walk;
