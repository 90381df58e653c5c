//! What gateways and storage units tell each other about records: frames over HTTP/2 bodies.
//!
//! Every frame is a header of five bytes ([`FrameHeader`]) and a payload. One stream carries appends
//! ([`append`]), one the moves of tails ([`tail`]); a single question is one frame and its answer another
//! ([`ask`]); what followers and leaders tell each other is in [`replicate`]. Only codecs are here. Numbers are little-endian. docs/private-protocol.md has the tables.
//! Invariant: no input makes anything here panic, nor allocate more than it brought.

mod fault;

mod frame;
mod pieces;

pub mod append;
pub mod ask;
pub mod tail;

pub mod replicate;

mod version;

pub use fault::FrameError;
pub use frame::{FRAME_HEADER_LEN, FrameHeader};
pub use pieces::Pieces;
pub use version::{VERSION_HEADER, VERSIONS, VersionRange, VersionRangeError};

/// Path of the stream of appends.
pub const APPEND_PATH: &str = "/internal/v1/records/append";
/// Path of the stream of tails.
pub const TAIL_PATH: &str = "/internal/v1/records/tail";
/// Path of single questions.
pub const ASK_PATH: &str = "/internal/v1/records/ask";
/// Path of the two streams of replication.
pub const REPLICATE_PATH: &str = "/internal/v1/replicate";
/// Media type of bodies that are frames.
pub const FRAMES_MEDIA_TYPE: &str = "application/vnd.tidegate.frames";

#[cfg(test)]
mod tests;
