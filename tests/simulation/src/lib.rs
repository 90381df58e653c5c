//! A whole cluster in one thread: the real replica and topology machines between simulated disks, links,
//! clocks and a store that fail on purpose.
//!
//! Five storage units, three controllers, two gateways and their clients are driven by one queue of events
//! and one source of chance, so a seed is a run, and runs again the same. Chaos, then nothing goes wrong any
//! more and everything has to come to rest; then all is read and judged. The shells here are as plain as can
//! be: what is under test is what the machines decide. Modules are listed bottom-up.

mod fault;
mod plant;
mod queue;
mod random;

mod coverage;
mod options;

mod history;
mod network;

mod disk;
mod files;
mod found;
mod store;
mod stored;
mod truth;

mod message;

mod client;
mod controller;
mod gateway;
mod unit;

mod world;

mod run;

pub mod gate;
mod mutants;

pub use coverage::{Coverage, STATES};
pub use fault::{Fault, FaultKind};
pub use options::{Options, TopicPlan, Writer, WriterPlan};
pub use plant::Plant;
pub use run::{Report, run, run_aloud, shrink};

#[cfg(test)]
mod tests;
