//! Finds the pages of a partition by going through its batches.
//!
//! Reads what it looks at, a chunk at a time, and keeps none of it. Invariant: where it begins changes
//! which pages it finds, never where they begin and end.

use tidegate_proto::error::Problem;
use tidegate_proto::limits::READ_BYTES_DEFAULT;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::boundary::{PAGE_BYTES_MAX, begins_page};
use crate::limits::SEALED_WALK_BYTES_MAX;
use crate::state::DataPlane;

/// Looks for pages in a partition.
pub(super) struct Walk<'a> {
    pub(super) state: &'a DataPlane,
    pub(super) key: ReplicaKey,
    pub(super) limit: usize,
}

/// What a walk found.
pub(super) struct Listed {
    pub(super) pages: Vec<(Offset, Offset)>,
    /// Where to look on; `None` when there is no more.
    pub(super) next: Option<Offset>,
    pub(super) sealed_end: Offset,
}

impl Walk<'_> {
    pub(super) async fn list(&self, from: Option<Offset>) -> Result<Listed, Problem> {
        let partitions = self.state.partitions();
        let sealed_end = partitions.sealed_end(self.key).await?;
        let mut next = match from {
            Some(from) => from,
            None => partitions.offsets(self.key).await?.log_start,
        };
        let mut pages = Vec::new();
        // The page that was begun, and how long it is so far.
        let mut open: Option<(Offset, usize)> = None;
        let mut walked = 0;
        while next < sealed_end {
            if walked > SEALED_WALK_BYTES_MAX {
                let next = open.map_or(next, |(base, _)| base);
                return Ok(Listed {
                    pages,
                    next: Some(next),
                    sealed_end,
                });
            }
            let before = next;
            let chunk = partitions.read(self.key, next, READ_BYTES_DEFAULT).await?;
            next = chunk.next;
            for batch in &chunk.batches {
                let (base, bytes) = (batch.placement.base_offset, batch.encoded_len());
                walked += bytes;
                if base < before || batch.client.is_control() {
                    continue;
                }
                if batch.client.is_sparse() {
                    // Left by a time when the topic was compacted, by every replica for itself.
                    open = None;
                    continue;
                }
                if base > sealed_end {
                    break;
                }
                if !begins_page(batch) {
                    open = open.map(|(base, length)| (base, length + bytes));
                    continue;
                }
                if let Some((first, length)) = open.replace((base, bytes))
                    && length <= PAGE_BYTES_MAX
                {
                    pages.push((first, base));
                    if pages.len() == self.limit {
                        return Ok(Listed {
                            pages,
                            next: Some(base),
                            sealed_end,
                        });
                    }
                }
            }
            if next <= before {
                break;
            }
        }
        Ok(Listed {
            pages,
            next: None,
            sealed_end,
        })
    }
}
