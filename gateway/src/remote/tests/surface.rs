//! The suites of the data plane's routes, over a gateway's partitions.

#[path = "../../../../data-plane/src/routes/tests.rs"]
mod routes;

mod door {
    //! What the suites name.

    pub(super) use tidegate_data_plane::partitioner::for_key;
    pub(super) use tidegate_data_plane::partitions::Partitions;
    pub(super) use tidegate_data_plane::testing::{
        ANSWER_BYTES_MIN, HIGH_WATERMARK_BYTES_MAX, MemoryPartitions,
    };
    pub(super) use tidegate_data_plane::{
        DataPlane, DataPlaneConfig, DirectProduce, ProducerIds, openapi, router,
    };

    pub(super) use super::super::Door;
}
