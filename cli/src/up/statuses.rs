//! What the storage node knows about its partitions, told to the controller's API.
//!
//! The two crates are of one layer and do not know each other; this is where they meet.

use tidegate_proto::control::PartitionStatus;
use tidegate_proto::position::ReplicaKey;

#[derive(Debug)]
pub(crate) struct LocalStatuses(pub(crate) tidegate_spu::Statuses);

impl tidegate_sc::Statuses for LocalStatuses {
    fn partition(&self, key: ReplicaKey) -> Option<PartitionStatus> {
        self.0.partition(key)
    }

    fn has_room(&self) -> bool {
        self.0.has_room()
    }
}
