//! The public edge: one router from the planes' routers, the merged API description, the pages that
//! explain errors, and the live page. [`RemotePartitions`] leads the data plane to the storage units.
//!
//! Holds no data and no rules of its own: who may do what is decided in the planes. Modules are
//! listed bottom-up and import only modules above them.

mod page;

mod console;
mod docs;

mod links;
mod schema;

pub mod openapi;

mod control;

pub mod edge;

mod remote;

pub use control::control_plane;
pub use edge::{Parts, front, router};
pub use remote::RemotePartitions;
