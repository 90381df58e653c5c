//! What the storage node knows about its partitions, told to the controller's API.
//!
//! The two crates are of one layer and do not know each other; this is where they meet.

use tidegate_kit::clock;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc::Reported;

#[derive(Debug)]
pub(crate) struct LocalStatuses(pub(crate) tidegate_spu::Statuses);

impl tidegate_sc::Statuses for LocalStatuses {
    fn partition(&self, key: ReplicaKey) -> Option<Reported> {
        Some(Reported {
            status: self.0.partition(key)?,
            copies: Vec::new(),
            as_of: clock::monotonic(),
        })
    }

    fn has_room(&self) -> bool {
        self.0.has_room()
    }
}
