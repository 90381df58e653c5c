//! Serde shapes of the public HTTP and WebSocket API, shared by servers and clients.
//!
//! Shapes only: no behaviour beyond construction and defaults.

pub mod away;
pub mod binary;
pub mod cluster;
pub mod join;
pub mod metadata;
pub mod operation;
pub mod partition;
pub mod records;
pub mod socket;
pub mod spu;
pub mod stats;
pub mod topic;
pub mod truncate;
