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

/// The routes of the WebSocket door with other times, for tests.
#[cfg(any(test, feature = "testing"))]
pub fn routes_for_tests(data: DataPlane, times: SocketTimes) -> Router {
    use axum::routing::post;

    let tickets = Router::new().route("/v1/ws-tickets", post(crate::tickets::create_ws_ticket));
    routes_with(data.clone(), times).merge(tickets.with_state(data))
}

#[cfg(test)]
mod door {
    //! The partitions themselves.

    use std::sync::Arc;

    pub(super) use super::{SocketTimes, routes_for_tests};
    pub(super) use crate::partitions::Partitions;
    pub(super) use crate::state::{DataPlane, DataPlaneConfig};
    pub(super) use crate::testing::MemoryPartitions;

    /// Nothing in between.
    pub(super) struct Door;

    impl Door {
        pub(super) fn open(memory: &Arc<MemoryPartitions>) -> (Arc<dyn Partitions>, Self) {
            (Arc::clone(memory) as Arc<dyn Partitions>, Self)
        }
    }
}

#[cfg(test)]
mod tests;
