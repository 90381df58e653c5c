//! The one route list of the data plane, and the document made from it.

use axum::Router;
use utoipa::OpenApi as _;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::DataPlane;
use crate::{events, fetch, groups, offsets, produce, producers, tickets, ws};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Tidegate data plane",
        description = "Append and read records.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "records", description = "Append and read records"),
        (name = "sockets", description = "Produce and consume over one WebSocket, and tickets for browsers"),
    ),
    components(schemas(
        tidegate_proto::api::records::EventData,
        tidegate_proto::name::TopicName,
        tidegate_proto::produce::Acks,
    )),
)]
struct Document;

/// The routes of the data plane. The process lays the edge around them.
pub fn router(state: DataPlane) -> Router {
    let sockets = ws::routes(state.clone());
    documented()
        .split_for_parts()
        .0
        .with_state(state)
        .merge(sockets)
}

/// The OpenAPI document of these routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = documented().into_openapi();
    document.merge(ws::described());
    document
}

fn documented() -> OpenApiRouter<DataPlane> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(produce::routes())
        .merge(fetch::routes())
        .merge(events::routes())
        .merge(offsets::routes())
        .merge(producers::routes())
        .merge(groups::routes())
        .routes(routes!(tickets::create_ws_ticket))
}

#[cfg(test)]
mod door {
    //! The partitions themselves.

    use std::sync::Arc;

    pub(super) use super::{openapi, router};
    pub(super) use crate::partitioner::for_key;
    pub(super) use crate::partitions::Partitions;
    pub(super) use crate::produce::DirectProduce;
    pub(super) use crate::state::{DataPlane, DataPlaneConfig, ProducerIds};
    pub(super) use crate::testing::{ANSWER_BYTES_MIN, HIGH_WATERMARK_BYTES_MAX, MemoryPartitions};

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
