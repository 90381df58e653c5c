//! Storage units as they are, over a network that is simulated: links, streams, feeds, proposals, shards
//! and logs run for real in three units; sockets, disks and the controller's store are in memory.
//!
//! A seed gives [`Options`]: what is written, how streams are cut, which faults come when. [`run`] plays
//! them: chaos, healing, quiet, an audit. All hosts share one thread and one simulated clock. What is not
//! from the seed: the order in which hash maps are walked and ready branches are taken, and the wall clock.
//! So a seed repeats its options and faults exactly, and what follows from them nearly.
//! Invariant: what is judged holds for every order.

mod random;

mod options;

mod wire;

mod history;
mod identities;

mod control;

mod shared;

mod doors;
mod serving;

mod controller;

mod client;
mod unit;

mod audit;

mod world;

pub use options::{Fault, Options, What};
pub use world::{Report, run};

#[cfg(test)]
mod tests;
