//! Crash images: scripted workloads run over a disk that writes down every operation; after each one
//! every state that a crash may leave is built, booted, and held against what was submitted.
//!
//! What a power loss may leave is said in [`Volatile`]'s module. Subsets are exhaustive when few;
//! otherwise each change alone, each left out, each prefix and suffix, and as many random ones as the
//! [`Effort`] allows. States of several files are combined with all-or-nothing of the others, and at
//! random. Some recoveries are crashed a second time, at each of their own operations.
//!
//! # What must hold of each ([`boot`])
//! The state found is exactly the one after some submission between the last acknowledged and the last
//! made: same batches, bounds, metadata, snapshots for all replicas at once. It is called intact, for
//! nothing rotted. Reads, by offset and by time, give what was written or an error. Then the log
//! appends, closes and opens again with all of that. Of a compacted replica records count, not batches:
//! those that nothing superseded must be there, at their offsets; and it is compacted further.

mod kind;

mod volatile;

mod variation;

mod enumeration;

mod setting;

mod model;

mod surviving;

mod script;

mod workloads;

mod found;

mod boot;

mod rot;

mod unit;

pub use boot::{Expectation, Observed, boot};
pub use enumeration::Effort;
pub use kind::Kind;
pub use model::{Model, ReplicaModel};
pub use rot::{Rot, RotReport};
pub use script::{Keyed, Moment, Recording, Script};
pub use setting::tiny;
pub use unit::{Failure, Place, UnitReport, replay_image, run_unit};
pub use volatile::Volatile;
pub use workloads::{WORKLOADS, Workload, find_workload};

#[cfg(test)]
mod tests;
