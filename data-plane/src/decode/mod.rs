//! Request bodies into records and batches: JSON, NDJSON, raw, binary batches.
//!
//! Nothing here waits or appends. JSON payloads are borrowed from the body and kept byte for byte.

pub mod batch;
pub mod json;
pub mod ndjson;
pub mod pointer;
pub mod raw;
pub mod record;
