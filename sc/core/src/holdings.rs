//! What the leaders of partitions said last of their logs: knowledge that is not in any row.
//!
//! It may be old, so nothing is given up because of it: it tells what is worth trying.

use crate::rows::PartitionRow;

/// What leaders said.
pub trait Holdings {
    /// Whether the partition held no record when its leader last spoke in the row's epoch; none when it
    /// has not.
    fn is_empty(&self, row: &PartitionRow) -> Option<bool>;
}

/// Nobody said anything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Untold;

impl Holdings for Untold {
    fn is_empty(&self, _row: &PartitionRow) -> Option<bool> {
        None
    }
}
