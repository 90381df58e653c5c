//! Which segments a replica's owner may give up, by age and by size.
//!
//! Decides only; what goes is trimmed by an entry in the journal. Invariant: nothing at or above the
//! high watermark is named, nor the segment that is written to.

use tidegate_proto::position::Offset;

use super::Replica;

impl Replica {
    /// A new first offset that retention asks for, at the end of a closed segment and not above
    /// `high_watermark`; `None` when nothing may go. Submit it as [`crate::Entry::Trim`].
    ///
    /// Segments go, oldest first, whose last append is longer ago than `retention_ms`, and as long as
    /// what is left is `retention_bytes` or more. Times are the leader's, of appending: a producer's
    /// clock that is wrong neither deletes records nor keeps them.
    #[must_use]
    pub fn retention(
        &self,
        now_ms: i64,
        retention_ms: Option<u64>,
        retention_bytes: Option<u64>,
        high_watermark: Offset,
    ) -> Option<Offset> {
        let state = self.lock();
        let closed = &state.view.closed;
        let oldest_ms =
            retention_ms.map(|age| now_ms.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX)));
        let mut left = state.segment_bytes;
        let mut log_start = None;
        for (number, segment) in closed.iter().enumerate() {
            let next = closed.get(number + 1).copied().or(state.view.active);
            let end = next.map_or(state.view.disk_end, |next| next.base);
            let is_old = oldest_ms.is_some_and(|oldest| segment.last_append_ms < oldest);
            let is_surplus =
                retention_bytes.is_some_and(|keep| left.saturating_sub(segment.len) >= keep);
            if end > high_watermark || !(is_old || is_surplus) {
                break;
            }
            left = left.saturating_sub(segment.len);
            log_start = Some(end);
        }
        log_start.filter(|offset| *offset > state.log_start)
    }
}
