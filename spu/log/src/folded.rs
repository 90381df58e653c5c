//! A batch that stands in the journal: where, and which one it is.
//!
//! Holds no bytes of it: they are read back only when no segment has them.

use tidegate_proto::batch::{Batch, PLACEMENT_LEN};
use tidegate_proto::position::Offset;

/// A batch in the journal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoldedBatch {
    pub(crate) base: Offset,
    pub(crate) next: Offset,
    /// Covers the placement and, through it, the records' checksum: equal means equal.
    pub(crate) header_crc: [u8; 4],
    pub(crate) append_time_ms: i64,
    pub(crate) file_seq: u64,
    pub(crate) at: u64,
    pub(crate) len: usize,
}

impl FoldedBatch {
    /// True when the stored batch is this one.
    pub(crate) fn is(&self, batch: &Batch) -> bool {
        batch.placement.base_offset == self.base && header_crc(batch) == self.header_crc
    }
}

pub(crate) fn header_crc(batch: &Batch) -> [u8; 4] {
    let header = batch.header_bytes();
    let (_, crc) = header.split_at(PLACEMENT_LEN - 4);
    crc.try_into()
        .expect("the checksum is the header's last four bytes")
}
