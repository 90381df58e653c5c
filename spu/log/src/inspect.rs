//! Looks at a data directory without a log on it: for operators, for the scrubber, for tests.
//!
//! [`verify()`] checks every stored byte. All of it reads through [`crate::Vfs::open_read`], and must
//! hold for any bytes whatever: no panic, no memory beyond a batch and the fold of the journal, and
//! nothing is believed before its checksum is good.

mod finding;

mod index;

mod lock;

pub(crate) mod segment;

mod replica;

mod verify;

pub use finding::{Finding, FindingKind};
pub use lock::InspectError;
pub use verify::{Progress, Verified, verify};
