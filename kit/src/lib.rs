//! What every process of Tidegate needs: clocks, tasks and shutdown, TLS, serving, problem+json
//! errors, extractors, identity, metrics and health.
//!
//! Nothing here knows records, topics' contents or replication. Modules are listed bottom-up and
//! import only modules above them. Handlers meet this crate through three doors: the extractors
//! ([`http::ApiJson`], [`http::ApiQuery`], [`http::ApiPath`]), the error ([`http::ApiError`]) and
//! the identity ([`auth::Authenticated`] with [`auth::require`]).

mod aside;

pub mod backoff;
pub mod budget;
pub mod clock;
pub mod limits;
pub mod memory;
pub mod secret;
pub mod signal;

pub mod frames;
pub mod outlet;

pub mod boot;
pub mod tasks;

pub mod dial;
pub mod http;
pub mod metrics;
pub mod tls;

pub mod peer;

pub mod channel;

pub mod enrol;

pub mod acquaintance;

pub mod auth;
pub mod serve;

pub mod controller;

pub mod health;
