//! What a replica has to say of its producers: the snapshot, and whether batches alone tell the same.

use bytes::Bytes;
use tidegate_proto::position::Offset;

use super::Replica;
use crate::error::SnapshotLost;
use crate::snapshot::{self, Untold};

impl Replica {
    /// The newest applied producer snapshot; `None` when there is none, or it is damaged and every
    /// batch is still there. Blocks on the disk, and waits for the segment writer.
    pub fn snapshot(&self) -> Result<Option<(Offset, Bytes)>, SnapshotLost> {
        let untold = self.untold();
        let recovered = snapshot::recover(self.home.pool.vfs(), &self.home.dir(), untold);
        recovered.map_err(|what| SnapshotLost {
            key: self.home.key,
            what,
        })
    }

    /// True when the batches that are stored tell all that producers did: none was given up, and
    /// compaction took nothing out. Otherwise only they and the snapshot together do.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.untold().is_nothing()
    }

    fn untold(&self) -> Untold {
        let log_start = self.log_start();
        let applied = self.lock_applied();
        let thinned = applied.compacted.as_ref().map(|known| known.thinned_end);
        Untold {
            log_start,
            thinned_end: thinned.unwrap_or_default(),
        }
    }
}
