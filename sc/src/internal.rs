//! The private plane of a controller: what nodes of the cluster ask of it, over mutual TLS.
//!
//! A file per subject. A unit speaks for itself alone; gateways and other controllers may watch.
//! Invariant: nobody is answered who did not show a certificate of the cluster.

mod stream;

mod registration;
mod relay;
mod replicas;
mod trust;
mod watch;

#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tidegate_kit::http::ApiJson;

use crate::controller::Controller;
use crate::limits::PRIVATE_BODY_BYTES_MAX;
pub use relay::PrivateLink;
use stream::Watchers;

/// A body of the private plane.
type PrivateJson<T> = ApiJson<T, PRIVATE_BODY_BYTES_MAX>;

#[derive(Debug, Clone)]
struct Private {
    controller: Controller,
    watchers: Watchers,
}

impl Controller {
    /// The private plane as routes. The listener puts the peer's identity into requests.
    pub fn private_router(&self) -> Router {
        let state = Private {
            controller: self.clone(),
            watchers: Watchers::new(self),
        };
        Router::new()
            .route("/internal/v1/register", post(registration::register))
            .route("/internal/v1/heartbeat", post(registration::heartbeat))
            .route("/internal/v1/leave", post(registration::leave))
            .route("/internal/v1/isr", post(replicas::isr))
            .route("/internal/v1/failed", post(replicas::failed))
            .route("/internal/v1/seal", post(replicas::seal))
            .route("/internal/v1/producer-ids", post(trust::producer_ids))
            .route("/internal/v1/deleted-topics", post(trust::deleted_topics))
            .route("/internal/v1/relay", post(relay::relay))
            .route("/internal/v1/reports", get(relay::reports))
            .route("/internal/v1/watch", get(watch::watch))
            .layer(DefaultBodyLimit::disable())
            .with_state(state)
    }
}
