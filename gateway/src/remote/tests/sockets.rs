//! The suites of the data plane's sockets, over a gateway's partitions.

#[path = "../../../../data-plane/src/ws/tests.rs"]
mod suites;

mod door {
    //! The partitions behind a storage unit's door, as a gateway has them.

    pub(super) use tidegate_data_plane::partitions::Partitions;
    pub(super) use tidegate_data_plane::testing::MemoryPartitions;
    pub(super) use tidegate_data_plane::ws::{SocketTimes, routes_for_tests};
    pub(super) use tidegate_data_plane::{DataPlane, DataPlaneConfig};

    pub(super) use super::super::Door;
}
