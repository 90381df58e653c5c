//! The WebSocket door: sessions, subscriptions, credit, produce.
//!
//! [`upgrade`] turns a request into a socket, [`pump`] is the loop of one socket, [`session`] the
//! pure machine that it drives. The document of all frames is [`asyncapi::asyncapi`].

pub mod asyncapi;
mod consume;
mod credit;
mod effect;
mod fields;
mod limits;
mod metrics;
mod numbers;
mod origin;
mod produce;
mod protocol;
mod pump;
mod session;
mod slow;
mod sockets;
mod stall;
mod subscription;
#[cfg(test)]
mod tests;
mod upgrade;
mod wake;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::routing::any;

pub use sockets::SocketTimes;

use crate::state::DataPlane;
use sockets::Sockets;

#[derive(utoipa::OpenApi)]
#[openapi(paths(upgrade::open_socket, upgrade::open_topic_socket))]
struct Document;

/// How the routes are described in OpenAPI; the messages are in [`asyncapi::asyncapi`].
pub(crate) fn described() -> utoipa::openapi::OpenApi {
    <Document as utoipa::OpenApi>::openapi()
}

/// The routes of the WebSocket door. `any`, because HTTP/2 opens a WebSocket by CONNECT.
pub(crate) fn routes(data: DataPlane) -> Router {
    let times = SocketTimes {
        ping_every: data.config().ping_interval,
        ..SocketTimes::STANDARD
    };
    routes_with(data, times)
}

fn routes_with(data: DataPlane, times: SocketTimes) -> Router {
    Router::new()
        .route("/v1/ws", any(upgrade::open_socket))
        .route("/v1/topics/{topic}/ws", any(upgrade::open_topic_socket))
        .with_state(Arc::new(Sockets::new(data, times)))
}
