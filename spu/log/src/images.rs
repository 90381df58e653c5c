//! Crash images: scripted workloads run over a disk that writes down every operation; after each one
//! every state that a crash may leave is built, booted, and held against what was submitted.
//!
//! # What a power loss may leave ([`Volatile`])
//! What was synced is there. Of everything since, per file and per name:
//! - **bytes**: any subset of the writes and truncations, in any order of arrival; a write may be torn
//!   at 512 bytes and at 4 KiB of the file, and any of its sectors may be missing;
//! - **length**: older than the bytes (what was written beyond it is gone), or newer (the tail reads
//!   as zeros);
//! - **names**: any subset of the changes, except that two changes of one name keep their order and a
//!   rename is whole or absent. That is weaker than ext4, XFS and btrfs, which keep more order: a log
//!   that survives this survives them. A file whose directory did not last is gone with it; a synced
//!   file does not bring its name along; a synced directory does not bring its own name along.
//!
//! Not in the model: a disk that lies about a sync (it is what the mutants do), bytes that rot (the
//! sweep does that), a sector torn within itself, a write that lands somewhere else.
//!
//! Subsets are exhaustive when few; otherwise each change alone, each left out, each prefix and suffix,
//! and as many random ones as the [`Effort`] allows. States of several files are combined with
//! all-or-nothing of the others, and at random.
//!
//! # What must hold of each ([`boot`])
//! The state found is exactly the one after some submission between the last acknowledged and the last
//! made: same batches, bounds, metadata, snapshots for all replicas at once. It is called intact, for
//! nothing rotted. Reads, by offset and by time, give what was written or an error. Then the log
//! appends, closes and opens again with all of that.

mod kind;

mod volatile;

mod variation;

mod enumeration;

mod model;

mod script;

mod workloads;

mod found;

mod boot;

mod unit;

pub use boot::{Expectation, Observed, boot};
pub use enumeration::Effort;
pub use kind::Kind;
pub use model::{Model, ReplicaModel};
pub use script::{Moment, Recording, Script, tiny};
pub use unit::{Failure, Place, UnitReport, replay_image, run_unit};
pub use volatile::Volatile;
pub use workloads::{WORKLOADS, Workload, find_workload};

#[cfg(test)]
mod tests;
