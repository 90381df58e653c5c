//! Stored batches out to clients: JSON, NDJSON, server-sent events, shared frames.

pub mod frame;
