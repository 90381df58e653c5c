//! The protocol model of replication: the real machines, every order of events, and what must hold.
//!
//! Three storage units run `tidegate_spu_core::Replica`, the controllers decide with
//! `tidegate_sc_core::decide` over a store that compares versions, and between them is a network that
//! loses, doubles and reorders. Nothing of the protocol is written down here a second time: a model that
//! holds a copy shows that the copy is right. What is here is the shell in small, the trouble, and the
//! invariants of the replication contract, by number.
//!
//! The mutation gate takes one rule away at a time (`tidegate_spu_core::guard`, `tidegate_sc_core::rule`)
//! and wants the search to find that something breaks.

pub mod kept;
pub mod scope;

pub mod disk;
pub mod message;
pub mod store;

pub mod node;

pub mod witness;

pub mod world;

pub mod steps;

pub mod healing;
pub mod sketch;

pub mod model;

pub mod walks;

pub mod scopes;

pub mod gate;
