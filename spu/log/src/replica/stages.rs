//! The log's side of a replica: submitted, durable, applied, given up.
//!
//! Each function takes the replica's lock once and does memory work only.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::batch::Batch;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

use uuid::Uuid;

use super::{Applied, Operation, Replica, State};
use crate::checkpoint::ReplicaState;
use crate::disk_read::View;
use crate::entry::{Entry, Item, ReplicaMeta};
use crate::error::SubmitError;
use crate::segment::{Home, SegmentConfig, SegmentInfo};
use crate::segments::Segments;
use crate::tail::{Tail, TailBudget};

/// That of no replica: the journal holds none yet.
pub(super) const NO_META: ReplicaMeta = ReplicaMeta {
    replica_gen: ReplicaGen(Uuid::nil()),
    leader_epoch: LeaderEpoch(0),
    version: 0,
    recovery_gen: 0,
};
/// After all times.
const NEVER_MS: i64 = i64::MAX;
/// Before all times.
pub(super) const BEFORE_ALL_MS: i64 = i64::MIN;

impl Replica {
    pub(crate) fn new(
        home: Home,
        config: SegmentConfig,
        segments: Segments,
        applied: ReplicaState,
        durable_meta: Option<ReplicaMeta>,
        budget: Arc<TailBudget>,
    ) -> Self {
        let mut state = State {
            log_start: applied.log_start,
            end: applied.end,
            durable_end: applied.end,
            told: None,
            high_watermark: applied.high_watermark,
            meta: applied.meta,
            durable_meta: durable_meta.unwrap_or(NO_META),
            last_append_ms: applied.last_append_ms.unwrap_or(BEFORE_ALL_MS),
            durable_epoch: LeaderEpoch(0),
            config,
            compaction: None,
            tail: Tail::new(
                applied.end,
                segments.active.is_some() || !segments.closed.is_empty(),
            ),
            view: View {
                closed: Arc::clone(&segments.closed),
                active: None,
                disk_end: applied.end,
                is_cut: false,
            },
            segment_bytes: 0,
            cuts: None,
            cut_count: 0,
            is_exchanging: false,
            operations: VecDeque::new(),
            operation_bytes: 0,
            is_queued: false,
            is_urgent: false,
            shortenings: 0,
            roll_at_ms: NEVER_MS,
            roll_noted_ms: NEVER_MS,
        };
        state.segments_changed(&segments);
        let applied = Applied {
            segments,
            state: applied,
            compacted: None,
            cuts: 0,
            is_retired: false,
        };
        Self {
            home,
            budget,
            wants_snapshot: AtomicBool::new(false),
            is_sync_deferred: AtomicBool::new(false),
            state: Mutex::new(state),
            applied: Mutex::new(applied),
        }
    }

    /// Checks that a batch begins at the end.
    pub(crate) fn check_next(&self, end: Offset, batch: &Batch) -> Result<(), SubmitError> {
        let base = batch.placement.base_offset;
        if base == end {
            return Ok(());
        }
        Err(SubmitError::NotNext {
            key: self.home.key,
            end,
            base,
        })
    }

    /// Makes an entry visible.
    pub(crate) fn submitted(&self, entry: &Entry) {
        let mut state = self.lock();
        match entry {
            Entry::Batch(batch) => {
                state.end = batch.next_offset();
                state.last_append_ms = batch.placement.append_time_ms;
                // A leader's word on what is committed counts as much as a checkpoint (rule T3).
                let told = batch
                    .placement
                    .high_watermark
                    .min(batch.placement.base_offset);
                state.high_watermark = state.high_watermark.max(told);
                state.tail.push(batch.clone());
                self.budget.add(batch.encoded_len() as u64);
            }
            Entry::Cut { to, .. } => {
                let to = *to;
                state.shortenings = state.shortenings.saturating_add(1);
                state.end = state.end.min(to);
                // Below the start: what was given up for good is to be written anew.
                state.log_start = state.log_start.min(to);
                state.high_watermark = state.high_watermark.min(to);
                let freed = state.tail.cut(to);
                self.budget.free(freed);
                state.cuts.get_or_insert_default().push_back(to);
                state.cut_count = state.cut_count.wrapping_add(1);
                state.view.disk_end = state.view.disk_end.min(to);
                state.view.is_cut = true;
            }
            Entry::Trim { to, .. } => {
                state.log_start = state.log_start.max(*to);
                state.shortenings = state.shortenings.saturating_add(1);
                if *to > state.end {
                    state.end = *to;
                    let freed = state.tail.reset(*to);
                    self.budget.free(freed);
                }
            }
            Entry::Meta { meta, .. } => state.meta = *meta,
            Entry::HighWatermark { offset, .. } => {
                state.high_watermark = state.high_watermark.max(*offset);
            }
            Entry::Snapshot { .. } => {}
        }
    }

    /// Takes note that an entry's round is durable; gives the new durable end and the bytes that
    /// now wait for the segment writer.
    pub(crate) fn durable(&self, round: u64, item: Item) -> Durable {
        let bytes = item.encoded_len() as u64;
        let mut state = self.lock();
        match &item {
            Item::Entry(Entry::Batch(batch)) => {
                state.durable_end = batch.next_offset();
                state.durable_epoch = batch.placement.leader_epoch;
            }
            Item::Entry(Entry::Cut { to, .. }) => {
                state.shortenings = state.shortenings.saturating_sub(1);
                state.durable_epoch = LeaderEpoch(0);
                state.durable_end = state.durable_end.min(*to);
                // A cut's round is synced before another is written: this is the newest word.
                if let Some(told) = &mut state.told {
                    if told.written.end > *to {
                        told.written = LogPosition::default();
                    }
                    told.snapshot_as_of.take_if(|as_of| *as_of > *to);
                }
            }
            Item::Entry(Entry::Trim { to, .. }) => {
                state.shortenings = state.shortenings.saturating_sub(1);
                if *to > state.durable_end {
                    state.durable_epoch = LeaderEpoch(0);
                    state.durable_end = *to;
                    if let Some(told) = &mut state.told {
                        told.snapshot_as_of = None;
                    }
                }
            }
            Item::Entry(Entry::Meta { meta, .. }) => state.durable_meta = *meta,
            Item::Entry(Entry::Snapshot { as_of, .. }) => {
                if let Some(told) = &mut state.told {
                    told.snapshot_as_of = Some(*as_of);
                }
            }
            Item::Created { replica_gen, .. } => {
                state.durable_meta = ReplicaMeta::new(*replica_gen);
            }
            _ => {}
        }
        if state.operations.capacity() == 0 {
            // Of ten thousand replicas most have one thing at a time: by itself it would make room for four.
            state.operations.reserve_exact(1);
        }
        state.operations.push_back(Operation { round, item });
        state.operation_bytes += bytes;
        let was_queued = std::mem::replace(&mut state.is_queued, true);
        Durable {
            end: state.durable_end,
            bytes,
            waiting: state.operation_bytes,
            is_first: !was_queued,
        }
    }

    /// Asks for the writer soon; true when it was not asked yet.
    pub(crate) fn make_urgent(&self) -> bool {
        !std::mem::replace(&mut self.lock().is_urgent, true)
    }

    /// Takes waiting operations of rounds up to `round`, in order, up to a size; `None` ends it.
    pub(crate) fn take_operations(&self, round: u64, bytes_max: usize) -> Vec<Operation> {
        let mut state = self.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while state
            .operations
            .front()
            .is_some_and(|operation| operation.round <= round)
        {
            if bytes > bytes_max as u64 {
                break;
            }
            let Some(operation) = state.operations.pop_front() else {
                break;
            };
            bytes += operation.item.encoded_len() as u64;
            taken.push(operation);
        }
        if taken.is_empty() {
            state.is_urgent = false;
            state.is_queued = !state.operations.is_empty();
            if state.operations.is_empty() {
                state.operations.shrink_to_fit();
            }
        }
        taken
    }

    /// Puts operations that were taken and not applied back in front.
    pub(crate) fn put_back(&self, operations: Vec<Operation>) {
        let mut state = self.lock();
        for operation in operations.into_iter().rev() {
            state.operations.push_front(operation);
        }
    }

    /// True when operations wait, which then belong in the writer's queue.
    pub(crate) fn is_queued(&self) -> bool {
        self.lock().is_queued
    }

    /// Publishes what the writer did with operations of `bytes` in all.
    pub(crate) fn applied(&self, segments: &Segments, bytes: u64, cut_done: bool) {
        let mut state = self.lock();
        if cut_done {
            let cuts = state.cuts.as_mut();
            cuts.and_then(|cuts| cuts.pop_front());
            state.cuts.take_if(|cuts| cuts.is_empty());
            // What is left of a hole has a file of its own.
            state.cut_count = state.cut_count.wrapping_add(1);
        }
        state.operation_bytes = state.operation_bytes.saturating_sub(bytes);
        state.segments_changed(segments);
    }

    /// Gives up cached batches that end at or below `upto` and are on disk, oldest first, until
    /// `wanted` bytes are free.
    pub(crate) fn evict(&self, upto: Offset, wanted: u64) {
        let mut state = self.lock();
        let upto = upto.min(state.view.disk_end);
        let freed = state.tail.evict(upto, wanted);
        drop(state);
        self.budget.free(freed);
    }

    /// Gives up all that is on disk, so that it is read from there.
    #[cfg(any(test, feature = "testing"))]
    pub fn cool(&self) {
        let all = self.lock().end;
        self.evict(all, u64::MAX);
    }

    /// Gives up all such batches when nothing was appended since `quiet_ms`, in epoch milliseconds; true
    /// when some stay.
    pub(crate) fn rest(&self, upto: Offset, quiet_ms: i64) -> bool {
        let mut state = self.lock();
        let upto = upto.min(state.view.disk_end);
        if state.last_append_ms > quiet_ms {
            return state.tail.holds_below(upto);
        }
        let freed = state.tail.evict(upto, u64::MAX);
        let stays = state.tail.holds_below(upto);
        drop(state);
        self.budget.free(freed);
        stays
    }

    pub(crate) fn config(&self) -> SegmentConfig {
        self.lock().config
    }

    /// True when the active segment's time is up.
    pub(crate) fn is_roll_due(&self, now_ms: i64) -> bool {
        let state = self.lock();
        state.roll_at_ms <= now_ms
    }

    /// The time of the active segment's end by age, when that is not noted yet: it then is.
    pub(crate) fn take_roll_to_note(&self) -> Option<i64> {
        let mut state = self.lock();
        let at_ms = state.roll_at_ms;
        if at_ms == NEVER_MS || state.roll_noted_ms <= at_ms {
            return None;
        }
        state.roll_noted_ms = at_ms;
        Some(at_ms)
    }

    /// The note of that time is gone.
    pub(crate) fn forget_roll(&self) {
        self.lock().roll_noted_ms = NEVER_MS;
    }

    pub(crate) fn lock_applied(&self) -> MutexGuard<'_, Applied> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every closed or active segment.
    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        let state = self.lock();
        state
            .view
            .closed
            .iter()
            .copied()
            .chain(state.view.active)
            .collect()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn segments_changed(&mut self, segments: &Segments) {
        let disk_end = self
            .cuts
            .iter()
            .flat_map(|cuts| cuts.iter())
            .fold(segments.end, |end, cut| end.min(*cut));
        self.view = View {
            closed: Arc::clone(&segments.closed),
            active: segments.active.as_ref().map(|active| active.info),
            disk_end,
            is_cut: self.cuts.is_some(),
        };
        let closed: u64 = segments.closed.iter().map(|segment| segment.len).sum();
        self.segment_bytes = closed + self.view.active.map_or(0, |active| active.len);
        self.roll_at_ms = segments.active.as_ref().map_or(NEVER_MS, |active| {
            active
                .first_append_ms
                .saturating_add(i64::try_from(self.config.segment_ms).unwrap_or(i64::MAX))
        });
    }
}

/// What became of an entry when its round was durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Durable {
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    pub(crate) waiting: u64,
    /// True when nothing else of the replica waited.
    pub(crate) is_first: bool,
}
