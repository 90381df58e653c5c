//! The pure topology machine: rows in, decisions out.
//!
//! [`decide::decide`] takes the control state, the time, a seed and a request, and answers with the
//! conditional changes to make, or with why not. It does no I/O, reads no clock and draws no random
//! numbers, so that production, the simulator and the tests run the same code. Storing the changes
//! and telling the world are the business of the crate above.
//!
//! Modules are listed bottom-up and import only modules above them.

pub mod limits;
pub mod rule;

pub mod ids;
pub mod rows;
pub mod shared;

pub mod change;
pub mod model;

pub mod decision;
pub mod holdings;
pub mod invariant;
pub mod liveness;
pub mod refusal;
pub mod status;

pub mod health;

mod draft;

mod elect;
mod place;

mod settings;
mod settle;

mod difference;

pub mod groups;

mod membership;
mod operation;

mod isr;
mod moves;

mod admit;
mod drain;
mod failed;
mod rebalance;
mod recover;
mod register;
mod requests;

mod truncate;

pub mod decide;
pub mod tick;

#[cfg(test)]
mod tests;
