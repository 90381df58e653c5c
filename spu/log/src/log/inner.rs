//! What all clones of a log share: the queue of submissions, rounds, and the end of it all.
//!
//! Order of locks: round, then queue or journal or writer; none of the last three inside another
//! save the journal's inside the writer's. The registry's comes before the queue's, and nothing takes
//! it inside that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::gathering::Gathering;
use super::items::Items;
use super::pace::Pace;
use super::room::Room;
use super::rounds::Rounds;
use crate::compaction::{CompactionStep, Compactor};
use crate::config::RoundListener;
use crate::error::LogDead;
use crate::files::FilePool;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::limits::{GATHERED_BYTES, GATHERING_PATIENCE_US};
use crate::registry::Registry;
use crate::tail::TailBudget;
use crate::vfs::{Place, VfsFile};
use crate::writer::SegmentWriter;

pub(crate) struct Inner {
    pub(super) root: Place,
    pub(super) lock: Mutex<Option<Arc<dyn VfsFile>>>,
    pub(super) identity: Mutex<Identity>,
    /// The system's memory of what was written was not lost, or a registration said so since.
    pub(super) is_loss_told: AtomicBool,
    pub(super) journal: Arc<Journal>,
    pub(super) registry: Arc<Registry>,
    pub(crate) writer: SegmentWriter,
    pub(crate) compactor: Compactor,
    /// The compaction thread sleeps here.
    pub(super) compaction: (Mutex<bool>, Condvar),
    pub(crate) compaction_bytes_per_s: u64,
    pub(super) pool: Arc<FilePool>,
    pub(super) budget: Arc<TailBudget>,
    pub(super) room: Room,
    pub(super) listener: Arc<dyn RoundListener>,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    /// Held through a round; orders rounds of different callers.
    pub(super) rounds: Mutex<Rounds>,
    /// The thread that bounds how long rounds stay unsynced sleeps here.
    pub(super) pace: Pace,
    pub(super) sync_interval: Duration,
    pub(super) dead: OnceLock<LogDead>,
    pub(super) next_number: AtomicU64,
    pub(crate) threads: Mutex<Vec<std::thread::JoinHandle<()>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("root", &self.root.root)
            .finish_non_exhaustive()
    }
}

/// Submissions that wait for a round. Bounded by the callers' byte permits: they hold them until
/// they hear that the round is durable.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) bytes: u64,
    /// Entries in all of them.
    pub(super) count: usize,
    pub(super) gathering: Gathering,
    is_stopping: bool,
    /// There was no room for what waits; the next look at the disk ends it.
    pub(super) is_parked: bool,
    /// Rounds have been unsynced for long enough.
    is_sync_due: bool,
    /// The journal thread sleeps until it is woken.
    is_asleep: bool,
    /// It sleeps because so many are not there yet.
    is_gathering: bool,
}

impl Queue {
    /// Whether there is enough for a round.
    fn is_enough(&self) -> bool {
        self.count >= self.gathering.enough() || self.bytes >= GATHERED_BYTES
    }
}

#[derive(Debug)]
pub(super) struct Waiting {
    /// `None` for the log's own entries.
    pub(super) shard: Option<u16>,
    pub(super) items: Items,
    pub(super) bytes: usize,
}

/// What the journal thread should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    Submissions,
    Sync,
    Idle,
    Stop,
}

impl Inner {
    /// Waits for submissions. With `patience`, at most that long.
    pub(crate) fn wait(&self, patience: Option<Duration>) -> Wake {
        let mut queue = self.lock_queue();
        loop {
            if queue.is_stopping {
                return Wake::Stop;
            }
            // First, or a journal that is never idle would put it off.
            if std::mem::take(&mut queue.is_sync_due) {
                return Wake::Sync;
            }
            if !queue.waiting.is_empty() && !queue.is_parked {
                self.gather(queue);
                return Wake::Submissions;
            }
            queue.is_asleep = true;
            match patience {
                None => {
                    queue = self
                        .wake
                        .wait(queue)
                        .unwrap_or_else(PoisonError::into_inner);
                }
                Some(patience) => {
                    let waited = self.wake.wait_timeout(queue, patience);
                    let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    queue = guard;
                    let is_quiet = queue.waiting.is_empty() || queue.is_parked;
                    let is_quiet = is_quiet && !queue.is_sync_due;
                    if timeout.timed_out() && is_quiet && !queue.is_stopping {
                        queue.is_asleep = false;
                        return Wake::Idle;
                    }
                }
            }
        }
    }

    /// Waits, once, for those who are about to submit as well.
    fn gather(&self, mut queue: MutexGuard<'_, Queue>) {
        if queue.is_enough() {
            return;
        }
        (queue.is_asleep, queue.is_gathering) = (true, true);
        let patience = Duration::from_micros(GATHERING_PATIENCE_US);
        let waited = self.wake.wait_timeout(queue, patience);
        let (mut queue, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (queue.is_asleep, queue.is_gathering) = (false, false);
        if timeout.timed_out() {
            let count = queue.count;
            queue.gathering.was_in_vain(count);
        } else if queue.is_enough() {
            queue.gathering.was_worth_it();
        }
    }

    pub(crate) fn wants_closing_round(&self) -> bool {
        self.journal.wants_closing_round() && !self.lock_queue().is_parked
    }

    /// Whether something was submitted that is in no round.
    pub(super) fn is_behind(&self) -> bool {
        !self.lock_queue().waiting.is_empty()
    }

    pub(crate) fn run_compaction_step(&self, now_ms: i64) -> Result<CompactionStep, LogDead> {
        self.check_alive()?;
        let step = self.compactor.step(&self.writer, now_ms);
        step.map_err(|error| self.kill(&error))
    }

    /// Waits between steps of compaction; false when it is to end.
    pub(crate) fn pause_compaction(&self, pause: Duration) -> bool {
        let (is_stopping, wake) = &self.compaction;
        let stopping = is_stopping.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = wake.wait_timeout_while(stopping, pause, |stopping| !*stopping);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn run_writer_step(&self) -> Result<bool, LogDead> {
        self.check_alive()?;
        match self.with_reserve(|| self.writer.step()) {
            Err(error) if error.is_passing() => {
                tracing::warn!(%error, "segments cannot be written now");
                self.writer.park();
                Ok(false)
            }
            other => other.map_err(|error| self.kill(&error)),
        }
    }

    pub(super) fn enqueue(&self, shard: Option<u16>, items: Items) -> Result<(), LogDead> {
        if items.is_empty() {
            return Ok(());
        }
        let bytes = items.iter().map(|(_, item)| item.encoded_len()).sum();
        let mut queue = self.lock_queue();
        self.check_alive()?;
        // One that is awake looks here before it sleeps; waking it again would cost a system call.
        queue.bytes += bytes as u64;
        queue.count += items.len();
        let wakes = queue.is_asleep && (!queue.is_gathering || queue.is_enough());
        queue.is_asleep &= !wakes;
        queue.waiting.push_back(Waiting {
            shard,
            items,
            bytes,
        });
        drop(queue);
        if wakes {
            self.wake.notify_one();
        }
        Ok(())
    }

    pub(super) fn check_alive(&self) -> Result<(), LogDead> {
        self.dead.get().map_or(Ok(()), |dead| Err(dead.clone()))
    }

    /// Asks the journal thread for a sync of what is written.
    pub(super) fn ask_for_sync(&self) {
        let mut queue = self.lock_queue();
        queue.is_sync_due = true;
        if std::mem::take(&mut queue.is_asleep) {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.lock_queue().is_stopping = true;
        self.wake.notify_all();
        self.pace.stop();
        self.writer.stop();
        *self
            .compaction
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.compaction.1.notify_all();
    }

    pub(super) fn join_threads(&self) {
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has poisoned nothing that matters: state is checked on open.
            let _ = thread.join();
        }
    }

    pub(super) fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
