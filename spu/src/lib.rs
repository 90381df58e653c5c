//! The storage node: replicas of partitions over one data directory, behind the data plane.
//!
//! ```text
//!   data-plane -> local (trait Partitions) -> seat of a shard -> spu-core machine
//!                   |                             |  effects, in order
//!                   +-> reader (memory,           +-> log: journal rounds
//!                       then the disk lane)            journal thread -> seat of the shard
//!   topology watch -> assign -> seat of a shard
//! ```
//!
//! [`Node`] is the whole surface: open, register, start, stop. One shard owns each replica; who is at
//! its seat alone steps the machine and carries out effects, so that what is saved, published and answered
//! happens in that order. Modules are listed bottom-up.

pub mod limits;

mod calendar;
mod config;
mod lane;
mod refusal;
mod traffic;

mod metrics;

mod shard;

mod storage;

mod departed;
mod failures;
mod seals;

mod replication;

mod assign;
mod leftovers;
mod local;
mod scrub;
mod sweep;

mod node;

mod report;

pub mod private;
pub mod session;

pub use config::{ScrubConfig, SpuConfig};
pub use failures::Failures;
pub use leftovers::Leftovers;
pub use node::{Node, NodeError, Statuses};
pub use replication::{Followers, Membership};
pub use seals::Seals;
pub use tidegate_log::{SpaceConfig, SpaceLevel};
