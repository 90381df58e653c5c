//! All that crosses a process or disk border: names, ids, offsets, limits, error codes, the record
//! batch codec, cursors, and the serde shapes of the public API.
//!
//! No I/O, no clock, no randomness: every function here is a function of its arguments. Modules are
//! listed bottom-up and import only modules above them.

pub mod api;
