//! Which replica is worth a pass now, and over which of its segments.
//!
//! Looks at what is in memory only. Invariant: a segment is chosen only when it is closed, was synced
//! before the last checkpoint, and ends at or below the high watermark: nothing that recovery compares
//! with the journal, and nothing that could be cut.

use std::sync::Arc;

use crate::compacted::{Compacted, CompactionConfig};
use crate::limits::{COMPACTION_DIRTY_PERCENT, COMPACTION_LAG_MS};
use crate::replica::Replica;
use crate::segment::Span;

/// A replica with something to do.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) replica: Arc<Replica>,
    pub(super) config: CompactionConfig,
    pub(super) compacted: Compacted,
    pub(super) spans: Vec<Span>,
    /// Cuts that were carried out when it was looked at.
    pub(super) cuts: u32,
    /// Parts in a hundred that are dirty: the greatest goes first.
    pub(super) dirty_percent: u64,
}

/// The replica as a candidate, when a pass over it is due.
pub(super) fn candidate(replica: &Arc<Replica>, now_ms: i64) -> Option<Candidate> {
    let config = replica.compaction()?;
    let high_watermark = replica.high_watermark();
    let applied = replica.lock_applied();
    if applied.is_retired || !applied.state.intact {
        return None;
    }
    let closed = &applied.segments.closed;
    let last = applied.segments.active.as_ref();
    let ends = closed.iter().skip(1).map(|segment| segment.base);
    let ends = ends.chain([last.map_or(applied.segments.end, |active| active.info.base)]);
    let spans: Vec<Span> = closed
        .iter()
        .zip(ends)
        .map(|(info, end)| Span { info: *info, end })
        .take_while(|span| span.end <= high_watermark && span.end <= applied.state.tail_base)
        .collect();
    let compacted = applied.compacted.as_deref().cloned().unwrap_or_default();
    let cuts = applied.cuts;
    drop(applied);
    let dirty = spans.iter().filter(|span| span.end > compacted.clean_end);
    let dirty_bytes: u64 = dirty.clone().map(|span| span.info.len).sum();
    let bytes: u64 = spans.iter().map(|span| span.info.len).sum();
    let dirty_percent = dirty_bytes.saturating_mul(100) / bytes.max(1);
    let is_old = dirty
        .clone()
        .next()
        .is_some_and(|span| now_ms.saturating_sub(span.info.last_append_ms) >= COMPACTION_LAG_MS);
    let is_due = (dirty_bytes > 0 && (dirty_percent >= COMPACTION_DIRTY_PERCENT || is_old))
        || (!spans.is_empty() && compacted.expired(now_ms, config).is_some());
    is_due.then(|| Candidate {
        replica: Arc::clone(replica),
        config,
        compacted,
        spans,
        cuts,
        dirty_percent,
    })
}
