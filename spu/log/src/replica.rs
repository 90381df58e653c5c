//! One replica: what every thread may ask of it, and the state behind one short lock.
//!
//! Three stages of an entry meet here: submitted (visible in memory), durable (its round is
//! synced), applied (in a segment). The lock is never held across disk work.

mod compaction;

mod following;

mod header;

mod retention;

mod scrubbing;

mod snapshot;

mod stages;

mod written;

pub use header::BatchHeader;
pub(crate) use scrubbing::Sight;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_proto::batch::Batch;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};

use crate::checkpoint::ReplicaState;
use crate::compacted::{Compacted, CompactionConfig};
use crate::disk_read::{self, View};
use crate::entry::{Entry, Item, ReplicaMeta};
use crate::error::ReadError;
use crate::segment::{Home, SegmentConfig};
use crate::segments::Segments;
use crate::tail::{Tail, TailBudget};
use stages::{BEFORE_ALL_MS, NO_META};

/// A replica of the data directory. Cheap to share; readers on any thread.
#[derive(Debug)]
pub struct Replica {
    pub(crate) home: Home,
    budget: Arc<TailBudget>,
    wants_snapshot: AtomicBool,
    is_sync_deferred: AtomicBool,
    state: Mutex<State>,
    /// What the segment writer alone uses. Held across disk work; shards never take it.
    pub(crate) applied: Mutex<Applied>,
}

/// What is on disk, by the writer's account.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) segments: Segments,
    /// Its end and tail are the segments' to say, but for the base of the tail at the last checkpoint:
    /// segments before that are synced, and nothing in the journal speaks of them.
    pub(crate) state: ReplicaState,
    pub(crate) compacted: Option<Box<Compacted>>,
    /// Counts cuts, so that a pass of compaction that was under way finds out.
    pub(crate) cuts: u32,
    /// Set when the directory went to the trash.
    pub(crate) is_retired: bool,
}

#[derive(Debug)]
struct State {
    log_start: Offset,
    end: Offset,
    durable_end: Offset,
    /// Only while syncs are deferred, or others hold copies of it.
    told: Option<Box<Told>>,
    high_watermark: Offset,
    meta: ReplicaMeta,
    /// [`stages::NO_META`] when there is none.
    durable_meta: ReplicaMeta,
    /// The least time when there was none.
    last_append_ms: i64,
    /// Epoch of the last durable batch; 0 when there is none, or nobody has looked since the log was
    /// opened or cut.
    durable_epoch: LeaderEpoch,
    config: SegmentConfig,
    /// Boxed, as few have it.
    compaction: Option<Box<CompactionConfig>>,
    tail: Tail,
    view: View,
    segment_bytes: u64,
    /// Cuts submitted and not yet applied to segments, oldest first; mostly there are none.
    #[expect(clippy::box_collection, reason = "thousands of replicas have none")]
    cuts: Option<Box<VecDeque<Offset>>>,
    /// Counts cuts and exchanges of segments, so that a reader notices one.
    cut_count: u32,
    /// Segments are being replaced: names and the view do not agree.
    is_exchanging: bool,
    /// Durable, not yet applied.
    operations: VecDeque<Operation>,
    operation_bytes: u64,
    is_queued: bool,
    is_urgent: bool,
    /// Cuts and trims that are submitted and not durable, as far as there is room to count.
    shortenings: u8,
    /// When the active segment ends by age; the greatest time without one.
    roll_at_ms: i64,
    /// The time under which the writer has it noted; the greatest when it has not.
    roll_noted_ms: i64,
}

/// What is told of a replica beside its durable end.
#[derive(Debug, Default)]
struct Told {
    /// While syncs are deferred; may be behind what is durable.
    written: LogPosition,
    /// How far the newest durable snapshot goes.
    snapshot_as_of: Option<Offset>,
    is_replicated: bool,
}

/// An entry whose round is durable.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) round: u64,
    pub(crate) item: Item,
}

impl Operation {
    pub(crate) fn is_batch(&self) -> bool {
        matches!(self.item, Item::Entry(Entry::Batch(_)))
    }
}

impl Replica {
    /// Which partition this is a copy of.
    #[must_use]
    pub fn key(&self) -> ReplicaKey {
        self.home.key
    }

    /// The membership it was made for.
    #[must_use]
    pub fn replica_gen(&self) -> ReplicaGen {
        self.lock().meta.replica_gen
    }

    /// Metadata as last submitted.
    #[must_use]
    pub fn meta(&self) -> ReplicaMeta {
        self.lock().meta
    }

    /// Metadata that the disk holds, as of the last round announced: set before the listener hears
    /// of the round. `None` until the first round of a replica made now.
    #[must_use]
    pub fn durable_meta(&self) -> Option<ReplicaMeta> {
        Some(self.lock().durable_meta).filter(|meta| *meta != NO_META)
    }

    /// First offset kept.
    #[must_use]
    pub fn log_start(&self) -> Offset {
        self.lock().log_start
    }

    /// Next offset, counting everything submitted.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.lock().end
    }

    /// End of the closed segments. What is below is durable: segments get only what the journal holds,
    /// or is synced behind it.
    #[must_use]
    pub fn sealed_end(&self) -> Offset {
        let state = self.lock();
        match (state.view.closed.last(), &state.view.active) {
            (Some(_), Some(active)) => active.base,
            (Some(_), None) => state.view.disk_end,
            (None, _) => state.log_start,
        }
    }

    /// High watermark as last submitted for checkpointing.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.lock().high_watermark
    }

    /// Bytes of its batches, in segments and on the way there.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let state = self.lock();
        state.segment_bytes + state.operation_bytes
    }

    /// Append time of the newest batch, in epoch milliseconds.
    #[must_use]
    pub fn last_append_ms(&self) -> Option<i64> {
        let last_ms = self.lock().last_append_ms;
        Some(last_ms).filter(|last_ms| *last_ms != BEFORE_ALL_MS)
    }

    /// Changes when segments are closed, from the next append on.
    pub fn set_config(&self, config: SegmentConfig) {
        self.lock().config = config;
    }

    /// Batches from `from` below `upto` out of memory: at least one with records when there is
    /// any, then up to `bytes_max`. The first may begin below `from`. `None`: ask [`Self::read`].
    #[must_use]
    pub fn read_cached(&self, from: Offset, upto: Offset, bytes_max: usize) -> Option<Vec<Batch>> {
        if from >= upto {
            return Some(Vec::new());
        }
        self.lock().tail.read(from, upto, bytes_max)
    }

    /// The same from memory or disk. Blocks on the disk; every batch read there is checked.
    pub fn read(
        &self,
        from: Offset,
        upto: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Batch>, ReadError> {
        loop {
            let (view, cut_count) = {
                let state = self.lock();
                state.check_range(from)?;
                if from >= upto {
                    return Ok(Vec::new());
                }
                if let Some(batches) = state.tail.read(from, upto, bytes_max) {
                    return Ok(batches);
                }
                (state.view.clone(), state.cut_count)
            };
            let result = disk_read::read(&self.home, (&view, cut_count), from, upto, bytes_max);
            let is_outdated = self.is_outdated(cut_count, result.is_err());
            let state = self.lock();
            state.check_range(from)?;
            if is_outdated || state.cut_count != cut_count {
                continue;
            }
            let (mut batches, has_progress) = result?;
            if !has_progress && from.max(view.disk_end) < upto {
                // All that disk has of it is read; the rest is in memory, or came to disk since.
                if state.view.disk_end != view.disk_end {
                    continue;
                }
                let rest = from.max(view.disk_end);
                batches.extend(state.tail.read_what_is_here(rest, upto, bytes_max));
            }
            return Ok(batches);
        }
    }

    /// First offset below `upto` whose record has this time or a later one; `None` when there is
    /// none. Blocks on the disk.
    pub fn offset_at(&self, time_ms: i64, upto: Offset) -> Result<Option<Offset>, ReadError> {
        loop {
            let (view, log_start, cut_count) = {
                let state = self.lock();
                (state.view.clone(), state.log_start, state.cut_count)
            };
            let result = disk_read::batch_at_time(&self.home, &view, log_start, time_ms);
            let is_outdated = self.is_outdated(cut_count, result.is_err());
            let state = self.lock();
            let is_outdated = is_outdated || state.cut_count != cut_count;
            if is_outdated || state.log_start != log_start {
                continue;
            }
            let found = result?.or_else(|| {
                let newest = log_start.max(view.disk_end);
                state
                    .tail
                    .iter_from(newest)
                    .find(|batch| batch.max_timestamp_ms() >= time_ms)
                    .cloned()
            });
            drop(state);
            let Some(batch) = found else { return Ok(None) };
            let offset =
                first_record_at(&batch, time_ms, log_start).map_err(|what| ReadError::Corrupt {
                    key: self.home.key,
                    at: batch.placement.base_offset,
                    until: Some(batch.next_offset()),
                    path: self.home.dir().to_path_buf(),
                    position: 0,
                    what,
                })?;
            return Ok(Some(offset).filter(|offset| *offset < upto));
        }
    }

    /// Hands every batch that reaches above `from` to `take`, in order, up to the end. Blocks on
    /// the disk.
    pub fn batch_headers(
        &self,
        from: Offset,
        mut take: impl FnMut(&BatchHeader),
    ) -> Result<(), ReadError> {
        let mut reached = from;
        // Batches without offsets at the end of what was handed out; memory may hold them as well.
        let mut at_end = Vec::new();
        let view = loop {
            let (view, cut_count) = {
                let state = self.lock();
                (state.view.clone(), state.cut_count)
            };
            let result = disk_read::each(&self.home, &view, reached, |batch| {
                let header = BatchHeader::of(batch);
                if at_end.contains(&header) {
                    return true;
                }
                if header.next_offset > reached {
                    reached = header.next_offset;
                    at_end.clear();
                }
                if header.base_offset == reached {
                    at_end.push(header);
                }
                take(&header);
                true
            });
            if result.is_ok() || !self.is_outdated(cut_count, true) {
                result?;
                break view;
            }
        };
        let state = self.lock();
        for batch in state.tail.iter_at_or_above(from.max(view.disk_end)) {
            let header = BatchHeader::of(batch);
            if !at_end.contains(&header) {
                take(&header);
            }
        }
        Ok(())
    }
}

fn first_record_at(batch: &Batch, time_ms: i64, floor: Offset) -> Result<Offset, String> {
    let base = batch.placement.base_offset;
    if batch.placement.append_timestamps {
        return Ok(base.max(floor));
    }
    let records = batch.client.records().map_err(|error| error.to_string())?;
    for record in &records {
        let record = record.map_err(|error| error.to_string())?;
        let offset = batch.offset_of(&record);
        if offset >= floor && batch.timestamp_of(&record) >= time_ms {
            return Ok(offset);
        }
    }
    // Its greatest timestamp is below the floor: what comes next is at or after it in place.
    Ok(batch.next_offset())
}

impl State {
    fn check_range(&self, from: Offset) -> Result<(), ReadError> {
        if from < self.log_start {
            return Err(ReadError::Trimmed {
                from,
                log_start: self.log_start,
            });
        }
        if from > self.end {
            return Err(ReadError::BeyondEnd {
                from,
                end: self.end,
            });
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.budget.free(state.tail.bytes());
        self.home.pool.damages().forget(self.home.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_replica_takes_less_than_a_kilobyte() {
        // With the counts of its `Arc` it fits into what the allocator gives for 768 bytes, of which it
        // may want 7 for the alignment.
        let counts = 2 * size_of::<usize>();
        assert!(
            size_of::<Replica>() + counts <= 768 - 7,
            "{}",
            size_of::<Replica>()
        );
    }
}
