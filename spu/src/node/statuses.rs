//! Where the partitions of a node stand, as it tells others.

use tidegate_log::{Log, Space, SpaceLevel};
use tidegate_proto::control::{DiskSpace, PartitionStatus, StatusReport, Traffic};
use tidegate_proto::position::ReplicaKey;

use crate::shard::Directory;
use crate::traffic::TrafficCounters;

/// Looks up where partitions stand.
#[derive(Clone, Debug)]
pub struct Statuses {
    pub(super) log: Log,
    pub(super) directory: Directory,
    pub(super) traffic: TrafficCounters,
}

impl Statuses {
    /// Where the partition stands on this node; none when it is not open here.
    pub fn partition(&self, key: ReplicaKey) -> Option<PartitionStatus> {
        self.directory.get(key).map(|handle| handle.reader.status())
    }

    /// The same with what went in and out.
    pub fn report(&self, key: ReplicaKey) -> Option<StatusReport> {
        let handle = self.directory.get(key)?;
        Some(StatusReport {
            key,
            status: handle.reader.status(),
            traffic: handle.reader.traffic(),
            copies: handle.reader.copies(),
        })
    }

    /// What went in and out of the node since it was opened.
    pub fn traffic(&self) -> Traffic {
        self.traffic.sum()
    }

    /// Room on the disk, as the file system said about a second ago.
    pub fn disk(&self) -> DiskSpace {
        let stats = self.log.stats();
        // One that does not say is said to be endless.
        let space = stats.space.filter(|space| *space != Space::UNKNOWN);
        DiskSpace {
            capacity_bytes: space.map_or(0, |space| space.total),
            free_bytes: space.map_or(0, |space| space.available),
            has_room: stats.space_level != SpaceLevel::Full,
            is_low: stats.space_level != SpaceLevel::Plenty,
        }
    }

    /// False while the disk takes no records, and so should get no new partitions.
    pub fn has_room(&self) -> bool {
        self.log.space_level() != SpaceLevel::Full
    }
}
