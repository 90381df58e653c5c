//! Puts an index that was made anew in the place of a closed segment's.
//!
//! Under the writer's lock, so that the segment is still the one that was read. Invariant: a reader finds
//! the old index or the new one, whole.

use std::sync::Arc;

use super::SegmentWriter;
use crate::durable;
use crate::error::DiskError;
use crate::files::FileKind;
use crate::layout;
use crate::replica::{Replica, Sight};

impl SegmentWriter {
    /// False when the segment is no longer the one that was seen, or there is no room.
    pub(crate) fn replace_index(
        &self,
        replica: &Arc<Replica>,
        sight: &Sight,
        entries: &[u8],
    ) -> Result<bool, DiskError> {
        let _work = self.lock_work();
        let applied = replica.lock_applied();
        let is_there = applied.segments.closed.contains(&sight.info);
        if applied.is_retired || !is_there || replica.is_changed_since(sight) {
            return Ok(false);
        }
        let (home, base) = (&replica.home, sight.info.base);
        match durable::replace(&*self.root.vfs, &home.dir(), &layout::index(base), entries) {
            // Whichever of the two is there is a hint.
            Err(error) if error.is_passing() || error.is_no_space() => return Ok(false),
            other => other?,
        }
        home.pool.forget(home.id(base, FileKind::Index));
        Ok(true)
    }
}
