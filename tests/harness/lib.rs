//! What the tests and benchmarks stand on: real `tidegate` processes, a plain HTTP client that shares
//! no code with the product, the real input, and bounded waiting.
//!
//! Every process started here is ended by its id when its handle is dropped; every listener is on
//! loopback with a port that the system chose.

pub mod effort;
pub mod random;
pub mod wait;

pub mod changes;
pub mod deliveries;

pub mod program;

pub mod http;
pub mod input;
pub mod records;
pub mod socket;

pub mod doors;
pub mod watching;

pub mod copies;
pub mod refusals;

pub mod recorded;
pub mod recorded_readers;

pub mod cluster;
pub mod network;
pub mod server;

pub mod browser;
pub mod crowd;
pub mod muxed;
