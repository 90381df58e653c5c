//! The suites of the data plane's routes, over a gateway's partitions.

#[path = "../../../../data-plane/src/routes/tests.rs"]
mod routes;

mod door {
    //! The partitions behind a storage unit's door, as a gateway has them.

    use std::sync::Arc;

    use tidegate_data_plane::partitioner;
    pub(super) use tidegate_data_plane::partitions::Partitions;
    pub(super) use tidegate_data_plane::testing::{
        ANSWER_BYTES_MIN, HIGH_WATERMARK_BYTES_MAX, MemoryPartitions,
    };
    pub(super) use tidegate_data_plane::{
        DataPlane, DataPlaneConfig, DirectProduce, ProducerIds, openapi, router,
    };

    use super::super::Far;

    pub(super) use partitioner::for_key;

    /// A unit and a gateway; both end with it.
    pub(super) struct Door(Far);

    impl Door {
        pub(super) fn open(memory: &Arc<MemoryPartitions>) -> (Arc<dyn Partitions>, Self) {
            let far = Far::of(Arc::clone(memory));
            (Arc::clone(&far.remote) as Arc<dyn Partitions>, Self(far))
        }
    }

    impl Drop for Door {
        fn drop(&mut self) {
            self.0.tasks.cancel();
            self.0.unit.tasks.cancel();
        }
    }
}
