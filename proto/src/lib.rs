//! All that crosses a process or disk border: names, ids, offsets, limits, error codes, the record
//! batch codec, cursors, and the serde shapes of the public API.
//!
//! No I/O, no clock, no randomness: every function here is a function of its arguments. Modules are
//! listed bottom-up and import only modules above them; the blank lines keep rustfmt from sorting them.

// A number cut short on a border is a corrupt record on the other side.
#![cfg_attr(not(test), warn(clippy::cast_possible_truncation))]

pub mod limits;

pub mod name;

pub mod id;

pub mod node;

pub mod chain;

pub mod time;

pub mod position;

pub mod error;

mod bytes;

pub mod json;

pub mod compression;

pub mod record;

pub mod batch;

pub mod partitioner;

pub mod cursor;

pub mod produce;

pub mod damage;

pub mod control;

pub mod private;

pub mod api;
