//! The segment writer: takes what is durable out of the journal's hands, into segments, and makes
//! checkpoints so that journal files can be used again.
//!
//! One step at a time, by whoever calls: the writer thread, a simulation, or a round that must wait
//! for space. Invariant (J3, J4): nothing is written before its round is durable; a checkpoint
//! names round R only after everything up to R is applied and synced.

mod apply;

mod cached;

mod damaged;

mod exchange;

mod index;

mod rolls;

pub(crate) use apply::move_to_trash;

pub(crate) use exchange::Exchanged;

use cached::Cached;

use rolls::Rolls;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tidegate_proto::position::{Offset, ReplicaKey};

use crate::checkpoint::{Checkpoint, JournalPosition};
use crate::config::LogConfig;
use crate::entry::Item;
use crate::error::DiskError;
use crate::files::{FileId, Unsynced};
use crate::journal::{Journal, Written};
use crate::limits::CHECKPOINT_INTERVAL_MS;
use crate::registry::Registry;
use crate::replica::Replica;
use crate::segment::Home;
use crate::tail::TailBudget;
use crate::vfs::Place;

#[derive(Debug)]
pub(crate) struct SegmentWriter {
    root: Place,
    config: LogConfig,
    journal: Arc<Journal>,
    registry: Arc<Registry>,
    budget: Arc<TailBudget>,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// Held through a step; orders steps of different callers.
    work: Mutex<Work>,
    /// When segments are to be closed for their age.
    rolls: Mutex<Rolls>,
    cached: Mutex<Cached>,
    /// Durable bytes that no segment has yet. A flush may subtract what it saw before the round that
    /// brought it adds it, so this is signed and below zero for moments.
    unflushed: AtomicI64,
    now_ms: AtomicI64,
}

#[derive(Debug)]
struct Queue {
    /// Replicas with operations, longest waiting first.
    pending: VecDeque<Arc<Replica>>,
    /// Those that are worth a write now.
    urgent: VecDeque<Arc<Replica>>,
    round: u64,
    next: JournalPosition,
    /// Journal bytes since the last checkpoint.
    uncheckpointed: u64,
    checkpoint_ms: i64,
    is_stopping: bool,
    /// There was no room; the next look at the disk ends it.
    is_parked: bool,
}

#[derive(Debug)]
struct Work {
    unsynced: Unsynced,
    /// Files of trimmed segments, to be removed a few at a time.
    trimmed: VecDeque<(Home, FileId)>,
    checkpoint: u64,
}

impl SegmentWriter {
    pub(crate) fn new(
        root: Place,
        config: LogConfig,
        journal: Arc<Journal>,
        registry: Arc<Registry>,
        budget: Arc<TailBudget>,
        unsynced: Unsynced,
        checkpoint: u64,
    ) -> Self {
        let next = journal.position();
        let queue = Queue {
            pending: VecDeque::new(),
            urgent: VecDeque::new(),
            round: next.round_seq - 1,
            next,
            uncheckpointed: 0,
            checkpoint_ms: 0,
            is_stopping: false,
            is_parked: false,
        };
        let work = Work {
            unsynced,
            trimmed: VecDeque::new(),
            checkpoint,
        };
        let mut rolls = Rolls::default();
        registry
            .read()
            .by_key
            .values()
            .for_each(|replica| rolls.note(replica));
        Self {
            root,
            config,
            journal,
            registry,
            budget,
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            work: Mutex::new(work),
            rolls: Mutex::new(rolls),
            cached: Mutex::default(),
            unflushed: AtomicI64::new(0),
            now_ms: AtomicI64::new(0),
        }
    }

    /// Takes over a round's items. Atomic against checkpoints: one that names this round finds all
    /// of them.
    pub(crate) fn take_over(
        &self,
        written: Written,
        items: impl Iterator<Item = (Option<u16>, (Arc<Replica>, Item))>,
        mut told: impl FnMut(Option<u16>, ReplicaKey, Offset),
    ) {
        let mut queue = self.lock_queue();
        queue.round = written.round_seq;
        queue.next = written.next;
        queue.uncheckpointed += written.bytes;
        let mut is_work = queue.uncheckpointed >= self.config.checkpoint_bytes;
        for (shard, (replica, item)) in items {
            let durable = replica.durable(written.round_seq, item);
            self.unflushed
                .fetch_add(signed(durable.bytes), Ordering::Relaxed);
            is_work |= self.unflushed() > self.config.unflushed_bytes_soft;
            told(shard, replica.key(), durable.end);
            if durable.waiting >= self.config.flush_bytes && replica.make_urgent() {
                queue.urgent.push_back(Arc::clone(&replica));
                is_work = true;
            }
            if durable.is_first {
                queue.pending.push_back(replica);
            }
        }
        drop(queue);
        if is_work {
            self.wake.notify_all();
        }
    }

    /// One piece of work; false when there is none.
    pub(crate) fn step(&self) -> Result<bool, DiskError> {
        let mut work = self.lock_work();
        if self.journal.prepare_step()? {
            return Ok(true);
        }
        if let Some(replica) = self.next_replica() {
            self.flush(&replica, u64::MAX, &mut work)?;
            return Ok(true);
        }
        if self.is_checkpoint_due() {
            self.checkpoint_with(&mut work)?;
            return Ok(true);
        }
        self.delete_some(&mut work)
    }

    /// Brings everything that is durable into segments, synced, and says so in a checkpoint. Gives
    /// its number.
    pub(crate) fn checkpoint(&self) -> Result<u64, DiskError> {
        let mut work = self.lock_work();
        self.checkpoint_with(&mut work)?;
        Ok(work.checkpoint)
    }

    /// Does some of what a round waits for: writes segments out.
    pub(crate) fn relieve(&self) -> Result<(), DiskError> {
        let mut work = self.lock_work();
        let replica = {
            let mut queue = self.lock_queue();
            queue
                .urgent
                .pop_front()
                .or_else(|| queue.pending.pop_front())
        };
        replica.map_or(Ok(()), |replica| self.flush(&replica, u64::MAX, &mut work))
    }

    pub(crate) fn is_overfull(&self) -> bool {
        self.unflushed() > self.config.unflushed_bytes_max
    }

    /// Time as the caller sees it: rolls by age, gives up the tails of quiet replicas, and makes an old
    /// checkpoint due. Gives how many
    /// replicas it looked at: those whose time has come, not those that are there.
    pub(crate) fn tick(&self, now_ms: i64) -> usize {
        self.now_ms.store(now_ms, Ordering::Relaxed);
        self.lock_cached().rest(now_ms);
        let (due, looked_at) = self.lock_rolls().due(now_ms);
        let mut queue = self.lock_queue();
        if queue.checkpoint_ms == 0 {
            queue.checkpoint_ms = now_ms;
        }
        queue.urgent.extend(due);
        drop(queue);
        self.wake.notify_all();
        looked_at
    }

    /// Waits until there may be work; false when the writer is to end.
    pub(crate) fn wait(&self) -> bool {
        let mut queue = self.lock_queue();
        while !queue.is_stopping && (queue.is_parked || !self.has_work(&queue)) {
            queue = self
                .wake
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
        !queue.is_stopping
    }

    /// Ends the waiting of the writer thread.
    pub(crate) fn stop(&self) {
        self.lock_queue().is_stopping = true;
        self.wake.notify_all();
    }

    /// Keeps the writer thread from trying again before [`Self::resume`].
    pub(crate) fn park(&self) {
        self.lock_queue().is_parked = true;
    }

    /// Lets it try again.
    pub(crate) fn resume(&self) {
        if std::mem::take(&mut self.lock_queue().is_parked) {
            self.wake.notify_all();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock_queue().is_stopping
    }

    /// Wakes the writer thread: a journal file may be wanted.
    pub(crate) fn nudge(&self) {
        self.wake.notify_all();
    }

    pub(crate) fn unflushed(&self) -> u64 {
        u64::try_from(self.unflushed.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    /// Last durable round, and journal bytes since the checkpoint.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let queue = self.lock_queue();
        (queue.round, queue.uncheckpointed)
    }

    /// Entries of the list of what to give up first.
    #[cfg(test)]
    pub(crate) fn cached_flushes(&self) -> usize {
        self.lock_cached().len()
    }

    /// Number of the last checkpoint. Waits for a step that is under way.
    pub(crate) fn last_checkpoint(&self) -> u64 {
        self.lock_work().checkpoint
    }

    /// True when a checkpoint would say something new.
    pub(crate) fn is_behind(&self) -> bool {
        let queue = self.lock_queue();
        queue.uncheckpointed > 0 || !queue.pending.is_empty() || !queue.urgent.is_empty()
    }

    fn has_work(&self, queue: &Queue) -> bool {
        !queue.urgent.is_empty()
            || (!queue.pending.is_empty() && self.unflushed() > self.config.unflushed_bytes_soft)
            || self.is_due(queue)
            || self.journal.wants_spare()
    }

    fn is_due(&self, queue: &Queue) -> bool {
        // A clock that was set back must not put checkpoints off: who knows for how long.
        let age_ms = self.now_ms().saturating_sub(queue.checkpoint_ms);
        let is_old = !(0..CHECKPOINT_INTERVAL_MS).contains(&age_ms);
        queue.uncheckpointed >= self.config.checkpoint_bytes || (queue.uncheckpointed > 0 && is_old)
    }

    fn is_checkpoint_due(&self) -> bool {
        self.is_due(&self.lock_queue())
    }

    fn next_replica(&self) -> Option<Arc<Replica>> {
        let mut queue = self.lock_queue();
        let urgent = queue.urgent.pop_front();
        if urgent.is_some() || self.unflushed() <= self.config.unflushed_bytes_soft {
            return urgent;
        }
        queue.pending.pop_front()
    }

    fn checkpoint_with(&self, work: &mut Work) -> Result<(), DiskError> {
        let (round, position, covered, mut pending) = {
            let mut queue = self.lock_queue();
            let mut pending = std::mem::take(&mut queue.pending);
            pending.append(&mut queue.urgent);
            (queue.round, queue.next, queue.uncheckpointed, pending)
        };
        while let Some(replica) = pending.pop_front() {
            if let Err(error) = self.flush(&replica, round, work) {
                self.lock_queue().pending.extend(pending);
                return Err(error);
            }
        }
        work.unsynced.sync(&*self.root.vfs, &self.root.root)?;
        let checkpoint = Checkpoint {
            storage_id: self.journal.storage_id(),
            generation: work.checkpoint + 1,
            position,
            replicas: self.registry.states(),
        };
        checkpoint.save(&self.root)?;
        self.registry.checkpointed(&checkpoint.replicas);
        work.checkpoint = checkpoint.generation;
        {
            let mut queue = self.lock_queue();
            queue.uncheckpointed -= covered;
            queue.checkpoint_ms = self.now_ms();
        }
        self.journal.release(position.round_seq)?;
        // Here as well, so that a writer who always has something to write still frees space.
        self.delete_some(work).map(drop)
    }

    fn lock_cached(&self) -> MutexGuard<'_, Cached> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_rolls(&self) -> MutexGuard<'_, Rolls> {
        self.rolls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes as a difference; what is in memory never comes near the bound.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
