//! The controllers of the cluster, as the other nodes see them: calls, and the topology as it changes.
//!
//! Any controller answers; which one does not matter. [`ControllerClient`] asks, [`follow`] keeps a
//! snapshot of the topology. Invariant: the topology that is shown is a whole revision, and goes on being
//! shown while no controller can be reached.

mod calls;
mod follow;
mod lines;

pub use calls::{CallError, ControllerClient};
pub use follow::{Followed, Known, follow};

#[cfg(test)]
mod tests;
