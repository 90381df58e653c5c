//! Looks at a data directory without a log on it: for operators, for the scrubber, for tests.
//!
//! [`verify()`] checks every stored byte, [`Contents`] shows what stands there. They read through
//! [`crate::Vfs::open_read`] only, and must hold for any bytes whatever: no panic, no memory beyond a
//! batch and the fold of the journal, and nothing is believed before its checksum is good.
//! [`repair_indexes`] alone writes, and only indexes.

mod finding;

pub(crate) mod index;

mod lock;

pub(crate) mod segment;

mod replica;

mod verify;

mod contents;

mod repair;

pub use contents::{
    CheckpointFacts, Contents, IdentityFacts, Journaled, Overview, ReplicaFigures, Stored,
};
pub use finding::{Finding, FindingKind};
pub use lock::InspectError;
pub use repair::{IndexRepair, Repaired, repair_indexes};
pub use verify::{Progress, Verified, verify};
