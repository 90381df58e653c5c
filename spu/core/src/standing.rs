//! What a replica has, whatever its role: its log's ends, its metadata and its ledger.
//!
//! Roles borrow it and move it forward; it belongs to none of them. It keeps
//! `log_start <= high_watermark <= end` and `durable_end <= written_end <= end`.

use bytes::Bytes;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::batch::{Batch, Placement};
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_proto::limits::REQUEST_KEY_WINDOW_MS;
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};

use crate::age::Ages;
use crate::attach::Truncation;
use crate::effect::{Effect, Effects, ReplicaMeta, Survey};
use crate::input::{Facts, Now, ReplicaConfig};
use crate::invariant;
use crate::ledger::{BatchFacts, Ledger};
use crate::limits::{
    PRODUCER_IDLE_MS_WHEN_FULL, PRODUCER_SWEEP_MS, SNAPSHOT_AT_STOP_BYTES, SNAPSHOT_EVERY_BYTES,
    SNAPSHOT_EVERY_MS, UNORDERED_IDLE_MS_MAX, UNORDERED_MEMORY_MS,
};

mod truncation;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Standing {
    pub(crate) key: ReplicaKey,
    pub(crate) own: SpuId,
    pub(crate) incarnation: Incarnation,
    pub(crate) meta: ReplicaMeta,
    pub(crate) config: ReplicaConfig,
    pub(crate) intact: bool,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) end: Offset,
    pub(crate) durable_end: Offset,
    /// What the system has of the log, synced or not; followed while the topic does not wait for syncs.
    pub(crate) written_end: Offset,
    /// Epochs of the last batches of both parts, as far as the log told.
    durable_epoch: Option<LeaderEpoch>,
    written_epoch: Option<LeaderEpoch>,
    /// The highest high watermark that this replica ever heard of, in its batches too: below it nothing
    /// is cut (T3).
    pub(crate) promised: Offset,
    pub(crate) last_append_ms: Option<i64>,
    pub(crate) ledger: Ledger,
    /// The ledger lacks nothing below the end. A leader's never does: nobody knows better.
    pub(crate) is_whole: bool,
    /// How far the newest durable snapshot of the ledger reaches.
    pub(crate) ledger_as_of: Option<Offset>,
    /// The partition has other copies.
    pub(crate) is_replicated: bool,
    /// The log is being changed: its ends and its ledger are known when that is durable.
    truncating: Option<Truncating>,
    /// Counts attaches, so that what belongs to an earlier one is known as such (T4).
    pub(crate) attempts: u64,
    snapshot: SnapshotState,
    checkpointed: Offset,
    ages: Ages,
    swept_ms: u64,
}

/// What was asked of the log, and whether an operator gave up what was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Truncating {
    truncation: Truncation,
    loses: bool,
}

/// Where the ledger's snapshots are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SnapshotState {
    /// The newest one that was submitted.
    as_of: Offset,
    /// Bytes appended since it was taken, and when that was, on the monotonic clock.
    bytes_since: u64,
    taken_ms: u64,
    /// Taken, but ahead of the high watermark: a cut could still take back what it holds.
    pending: Option<Box<(Offset, Bytes)>>,
}

impl Standing {
    pub(crate) fn new(facts: Facts) -> Self {
        let high_watermark = facts.high_watermark.min(facts.end).max(facts.log_start);
        invariant::high_watermark_is_visible(high_watermark, facts.end);
        invariant::durable_end_is_within(Offset::ZERO, facts.durable_end, facts.end);
        let last_epoch = facts.ledger.epochs().last();
        let durable_epoch = if facts.durable_end == facts.end {
            last_epoch
        } else {
            facts.ledger.epochs().at(facts.durable_end)
        };
        let meta = ReplicaMeta {
            leader_epoch: facts.meta.leader_epoch.max(last_epoch.unwrap_or_default()),
            ..facts.meta
        };
        Self {
            key: facts.key,
            own: facts.own,
            incarnation: facts.incarnation,
            meta,
            config: facts.config,
            intact: facts.intact,
            log_start: facts.log_start,
            high_watermark,
            end: facts.end,
            durable_end: facts.durable_end,
            written_end: facts.durable_end,
            durable_epoch,
            written_epoch: durable_epoch,
            promised: high_watermark,
            last_append_ms: facts.last_append_ms,
            ledger: facts.ledger,
            is_whole: facts.intact && is_whole(facts.log_start, facts.snapshot_as_of),
            ledger_as_of: facts.snapshot_as_of,
            is_replicated: false,
            truncating: None,
            attempts: facts.attempts_from,
            snapshot: SnapshotState {
                as_of: facts.snapshot_as_of.unwrap_or(facts.log_start),
                bytes_since: facts.bytes_since_snapshot,
                taken_ms: 0,
                pending: None,
            },
            checkpointed: facts.high_watermark,
            ages: Ages::default(),
            swept_ms: 0,
        }
    }

    pub(crate) fn is_interval(&self) -> bool {
        self.config.defers_sync()
    }

    pub(crate) fn position(&self) -> LogPosition {
        LogPosition {
            end: self.end,
            last_epoch: self.ledger.epochs().last(),
        }
    }

    /// How far this replica's own log counts towards the high watermark (H2): never further than what
    /// outlives the process.
    pub(crate) fn own_position(&self) -> LogPosition {
        let (end, last_epoch) = if self.is_interval() {
            (self.written_end, self.written_epoch)
        } else {
            (self.durable_end, self.durable_epoch)
        };
        LogPosition { end, last_epoch }
    }

    /// Places a client's batch at the end of the log and submits it.
    pub(crate) fn append(&mut self, now: Now, client: ClientBatch, effects: &mut Effects) {
        let batch = Batch {
            placement: Placement {
                key: self.key,
                base_offset: self.end,
                leader_epoch: self.meta.leader_epoch,
                high_watermark: self.high_watermark,
                append_time_ms: now.wall_ms,
                append_timestamps: self.config.append_timestamps,
            },
            client,
        };
        self.take(now, batch, effects);
    }

    /// Takes the next batch of the log, as its leader placed it, and submits it.
    pub(crate) fn take(&mut self, now: Now, batch: Batch, effects: &mut Effects) {
        let placement = &batch.placement;
        invariant::batch_epoch_is_monotone(self.ledger.epochs().last(), placement.leader_epoch);
        invariant::batch_is_next(self.end, placement.base_offset);
        self.ledger.observe(&BatchFacts::of(&batch));
        self.end = batch.next_offset();
        self.last_append_ms = Some(placement.append_time_ms);
        self.promised = self.promised.max(placement.high_watermark);
        self.snapshot.bytes_since += batch.encoded_len() as u64;
        effects.push(Effect::Submit(batch));
        let since_ms = now.monotonic_ms.saturating_sub(self.snapshot.taken_ms);
        if self.snapshot.bytes_since >= SNAPSHOT_EVERY_BYTES && since_ms >= SNAPSHOT_EVERY_MS {
            self.snapshot.taken_ms = now.monotonic_ms;
            self.take_snapshot(effects);
        }
    }

    /// The journal synced a round.
    pub(crate) fn durable(&mut self, position: LogPosition, snapshot_as_of: Option<Offset>) {
        if self.is_truncating() {
            return;
        }
        let LogPosition { end, last_epoch } = position;
        invariant::durable_end_is_within(self.durable_end, end, self.end);
        self.durable_end = end;
        self.durable_epoch = self.durable_epoch.max(last_epoch);
        self.written_end = self.written_end.max(end);
        self.written_epoch = self.written_epoch.max(last_epoch);
        self.ledger_as_of = self.ledger_as_of.max(snapshot_as_of);
    }

    /// The journal wrote a round, which is not synced yet.
    pub(crate) fn written(&mut self, position: LogPosition) {
        if self.is_truncating() {
            return;
        }
        let end = position.end.max(self.written_end);
        invariant::written_end_is_within(self.durable_end, end, self.end);
        self.written_end = end;
        self.written_epoch = self.written_epoch.max(position.last_epoch);
    }

    /// Moves the high watermark up to `committed`, and tells readers when it moved.
    pub(crate) fn commit(&mut self, committed: Offset, effects: &mut Effects) {
        let next = committed.max(self.high_watermark);
        invariant::high_watermark_is_monotone(self.high_watermark, next);
        invariant::high_watermark_is_visible(next, self.end);
        if next > self.high_watermark {
            self.high_watermark = next;
            self.promised = self.promised.max(next);
            effects.push(Effect::Publish);
        }
        self.submit_snapshot(effects);
    }

    /// An operator took what this copy has for all that there is: that is committed, however few are in sync.
    /// Noted before the epoch is: the operator says it once.
    pub(crate) fn commit_all(&mut self, effects: &mut Effects) {
        if !self.is_truncating() {
            self.commit(self.durable_end, effects);
            self.checkpoint(effects);
        }
    }

    /// Whether a copy that begins where this one does could be told what was below that.
    pub(crate) fn has_usable_snapshot(&self) -> bool {
        is_whole(self.log_start, self.ledger_as_of)
    }

    /// A snapshot of the ledger was shipped, and the log ends where it does: what producers did below
    /// that is known from now on, and which epochs there were.
    pub(crate) fn complete_ledger(&mut self, ledger: Ledger, bytes: Bytes) {
        self.ledger = ledger;
        self.is_whole = self.intact;
        self.snapshot.pending = Some(Box::new((self.end, bytes)));
        self.snapshot.bytes_since = 0;
    }

    /// Encodes the ledger now; it goes to the journal when all that it holds is committed.
    pub(crate) fn take_snapshot(&mut self, effects: &mut Effects) {
        if !self.is_whole || self.is_truncating() {
            return; // It would claim to know what it does not.
        }
        let bytes = self.ledger.encode_below(self.end);
        self.snapshot.pending = Some(Box::new((self.end, bytes.into())));
        self.snapshot.bytes_since = 0;
        self.submit_snapshot(effects);
    }

    /// A snapshot is needed by somebody, unless one is under way.
    pub(crate) fn want_snapshot(&mut self, effects: &mut Effects) {
        let is_submitted = self.snapshot.as_of > self.ledger_as_of.unwrap_or(self.log_start);
        if !is_submitted && self.snapshot.pending.is_none() {
            self.take_snapshot(effects);
        }
    }

    fn submit_snapshot(&mut self, effects: &mut Effects) {
        let committed = self.high_watermark;
        let pending = &mut self.snapshot.pending;
        if let Some((as_of, bytes)) = pending.take_if(|at| at.0 <= committed).map(|at| *at) {
            self.snapshot.as_of = as_of;
            effects.push(Effect::Snapshot { as_of, bytes });
        }
    }

    /// Whether the next start would read more than a snapshot costs now.
    pub(crate) fn outgrew_snapshot(&self) -> bool {
        self.snapshot.bytes_since >= SNAPSHOT_AT_STOP_BYTES
    }

    /// Notes the high watermark, if it moved since the last time.
    pub(crate) fn checkpoint(&mut self, effects: &mut Effects) {
        // While the log is cut it may be what an operator gave up, and would stand behind the cut.
        if self.checkpointed < self.high_watermark && !self.is_truncating() {
            self.checkpointed = self.high_watermark;
            effects.push(Effect::Checkpoint {
                high_watermark: self.high_watermark,
            });
        }
    }

    /// Retention. What producers did in the part that goes is kept in a snapshot first (D3).
    pub(crate) fn retain(&mut self, to: Offset, effects: &mut Effects) {
        let to = to.min(self.high_watermark);
        // Of a damaged log nothing goes by itself: it may be all that is left.
        if to <= self.log_start || !self.intact || self.is_truncating() {
            return;
        }
        // Where there are other copies one may have to be brought up to date by it, however empty it is.
        let is_of_use = self.is_replicated || !self.ledger.is_empty();
        if self.snapshot.as_of < to && is_of_use {
            self.take_snapshot(effects);
            if self.snapshot.pending.is_some() {
                return; // Once it is committed the next retention run finds it.
            }
        }
        invariant::start_is_committed(to, self.high_watermark);
        self.log_start = to;
        self.ledger.epochs.trim(to);
        effects.push(Effect::Trim { to });
        effects.push(Effect::Publish);
    }

    /// A copy that was just made begins where the one before it ended, which held no record any more.
    pub(crate) fn begin_at(&mut self, to: Offset, effects: &mut Effects) {
        if to <= self.end || self.is_truncating() {
            return;
        }
        if self.log_start != self.end || !self.ledger.is_empty() {
            // It holds what a later copy should have held, and nobody knows why.
            self.intact = false;
            effects.push(Effect::Alarm(
                "a copy with records ends below where the partition is said to begin",
            ));
            return;
        }
        // Durable, and so counted, with the round that this goes to.
        (self.log_start, self.high_watermark, self.end) = (to, to, to);
        self.promised = to;
        self.snapshot.as_of = to;
        self.is_whole = self.intact;
        effects.push(Effect::Trim { to });
    }

    /// What the log holds; none while a part of it is not durable.
    pub(crate) fn survey(&mut self, now: Now) -> Option<Survey> {
        if self.durable_end < self.end || self.is_truncating() {
            return None;
        }
        Some(Survey {
            epoch: self.meta.leader_epoch,
            last_epoch: self.ledger.epochs().last().unwrap_or(LeaderEpoch(0)),
            log_start: self.log_start,
            end: self.end,
            intact: self.intact,
            remembers_ms: self.ledger.indispensable_ms(now.wall_ms),
        })
    }

    /// The first row since the start is adopted: from now on everything that the log holds counts as new.
    /// Whoever led before may have had another clock, and may have answered a moment ago.
    pub(crate) fn remember(&mut self, now: Now) {
        if self.ages.begin(now.monotonic_ms, self.end) {
            self.swept_ms = now.monotonic_ms;
        }
    }

    /// Everything that ends at or below this has been in the log for so long.
    pub(crate) fn forgotten(&self, now: Now, window_ms: u64) -> Offset {
        self.ages.older_than(window_ms, now.monotonic_ms)
    }

    /// Forgets request keys and runs of unordered producers that are too old, and idle producers now and then.
    pub(crate) fn sweep(&mut self, now: Now) {
        self.ages.note(now.monotonic_ms, self.end);
        let keys = self.forgotten(now, REQUEST_KEY_WINDOW_MS);
        let runs = self.forgotten(now, UNORDERED_MEMORY_MS);
        self.ledger.keys.expire(keys);
        self.ledger.producers.unordered.expire_runs(runs);
        if now.monotonic_ms.saturating_sub(self.swept_ms) >= PRODUCER_SWEEP_MS {
            self.swept_ms = now.monotonic_ms;
            self.make_room(now);
        }
    }

    /// Forgets producers that have been silent for too long.
    pub(crate) fn make_room(&mut self, now: Now) {
        let idle = self.forgotten(now, UNORDERED_IDLE_MS_MAX);
        let idle_when_full = self.forgotten(now, PRODUCER_IDLE_MS_WHEN_FULL);
        let producers = &mut self.ledger.producers;
        producers.expire(now.wall_ms, idle, idle_when_full);
    }
}

/// Whether a recovered ledger knows all that was below the end: the log goes back to the first record, or
/// a snapshot tells what was in the part that is gone.
fn is_whole(log_start: Offset, snapshot_as_of: Option<Offset>) -> bool {
    log_start == Offset::ZERO || snapshot_as_of.is_some_and(|as_of| as_of >= log_start)
}
