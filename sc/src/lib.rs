//! The streaming controller: topology in a metadata store, behind a REST API.
//!
//! [`controller::Controller`] owns the state of one cluster: it decides with `tidegate-sc-core`, makes
//! what was decided in a [`store::MetaStore`], and publishes the topology. [`api`] is the public
//! control plane over it. This is the only crate that knows SQL.
//!
//! Modules are listed bottom-up and import only modules above them.

pub mod limits;
mod metrics;

#[cfg(unix)]
pub mod local_postgres;

pub mod store;

mod history;

pub mod controller;

pub mod internal;

pub mod admission;

pub mod api;

pub use admission::Admission;
pub use api::{Statuses, openapi};
pub use controller::{
    Amounts, Condition, Controller, ControllerSettings, HolderLink, Reported, ScConfig,
    StoreLocation,
};
pub use internal::PrivateLink;
pub use store::BoxFuture;
