//! One shard, stepped by whoever has something for it.
//!
//! A request that finds nobody at the shard steps it itself, and the journal thread steps what a round
//! made durable: no task has to be woken for either. Who finds somebody there leaves what it has in the
//! inbox, for the one who is there looks into it again after leaving. Nobody waits for a request or
//! for the journal, and the lock is held for memory work only.
//!
//! Invariants: one thread steps the shard at a time; what is in the inbox when nobody is at the shard
//! was put there a moment ago by somebody who is about to step it, or the task has been rung for. A step
//! that panics ends the shard, not whoever stepped it: all that waits is answered at once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use thiserror::Error;
use tidegate_log::{DeadCause, LogDead, RoundListener};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::Refusal;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::inbox::{Completion, Inbox, NotTaken, Stage};
use super::message::{AppendMessage, Message};
use super::task::Shard;
use crate::limits::{DEADLINE_TICK, MAILBOX_MAX, MAINTENANCE_TICK, PASSING_TURNS_MAX};

/// A step panicked: what the shard had in memory is not to be trusted, and its partitions are served
/// again when the process was started anew and has recovered them from the log.
#[derive(Debug, Error)]
#[error("a step of the shard panicked")]
pub(crate) struct ShardBroken;

/// The place of one shard. It is empty before the node starts, after it stopped, and after a step
/// panicked.
#[derive(Debug)]
pub(crate) struct Seat {
    inbox: Inbox,
    shard: Mutex<Option<Shard>>,
    is_broken: AtomicBool,
    /// Rung when the task has something to do: time to keep, more turns than a passer-by takes, the end.
    bell: Notify,
}

impl Seat {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(MAILBOX_MAX),
            shard: Mutex::new(None),
            is_broken: AtomicBool::new(false),
            bell: Notify::new(),
        })
    }

    /// Hands an append over. Whatever becomes of it is told to its sender by the shard.
    pub(crate) fn append(&self, message: AppendMessage) -> Result<(), NotTaken> {
        self.inbox.append(message)?;
        self.step_for(PASSING_TURNS_MAX);
        Ok(())
    }

    /// Steps the shard with what must arrive, behind what came before; false when the shard is gone.
    pub(crate) fn tell(&self, message: Message) -> bool {
        self.with(|shard| {
            shard.turn(&self.inbox);
            shard.tell(message);
        })
    }

    /// Whether a step panicked.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Puts a shard here. [`Self::run`] must follow.
    pub(crate) fn install(&self, shard: Shard) {
        *self.lock() = Some(shard);
    }

    /// Runs the shard until the node stops: steps what time asks for, and what passers-by left.
    pub(crate) async fn run(
        self: Arc<Self>,
        cancelled: CancellationToken,
    ) -> Result<(), ShardBroken> {
        let mut deadlines = ticker(DEADLINE_TICK);
        let mut maintenance = ticker(MAINTENANCE_TICK);
        let mut is_told = false;
        loop {
            let is_timed = self.visit(|held| {
                if let Some(shard) = held.take_if(|shard| shard.is_settled()) {
                    // Under the lock: who comes now finds an inbox that is closed, or nobody.
                    self.inbox.close();
                    shard.finish(&self.inbox);
                }
                held.as_ref().map(Shard::keeps_time)
            });
            let Some(is_timed) = is_timed.flatten() else {
                return if self.is_broken() {
                    Err(ShardBroken)
                } else {
                    Ok(())
                };
            };
            tokio::select! {
                biased;
                () = self.bell.notified() => self.step_for(PASSING_TURNS_MAX),
                _ = deadlines.tick(), if is_timed => { self.with(Shard::tick); }
                _ = maintenance.tick() => { self.with(|shard| { shard.maintain(); }); }
                () = cancelled.cancelled(), if !is_told => {
                    is_told = true;
                    self.with(|shard| shard.stop(None));
                }
            }
            // Whoever rings again and again must not keep a worker for itself.
            tokio::task::yield_now().await;
        }
    }

    #[cfg(test)]
    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Takes turns at the shard until its inbox is empty, somebody else is there, or there were many.
    fn step_for(&self, turns: usize) {
        for _ in 0..turns {
            let mut held = match self.shard.try_lock() {
                Ok(held) => held,
                Err(TryLockError::Poisoned(held)) => held.into_inner(),
                // Who is there now looks into the inbox after leaving, and finds what was put there
                // before this look at the lock.
                Err(TryLockError::WouldBlock) => return,
            };
            let stepped = self.guard(&mut held, |held| {
                held.as_mut().map(|shard| shard.turn(&self.inbox))
            });
            if stepped.flatten().is_none() {
                return;
            }
            self.leave(held);
            if self.inbox.is_empty() {
                return;
            }
        }
        self.bell.notify_one();
    }

    /// False when nobody is here.
    fn with(&self, step: impl FnOnce(&mut Shard)) -> bool {
        let stepped = self.visit(|held| held.as_mut().map(step));
        stepped.flatten().is_some()
    }

    /// The one way to the shard for those who wait for it; nothing when the step panicked. Looks into
    /// the inbox after leaving: whoever came meanwhile was sent away.
    fn visit<T>(&self, step: impl FnOnce(&mut Option<Shard>) -> T) -> Option<T> {
        let mut held = self.lock();
        let outcome = self.guard(&mut held, step);
        self.leave(held);
        if !self.inbox.is_empty() {
            self.step_for(PASSING_TURNS_MAX);
        }
        outcome
    }

    /// Keeps a panic from whoever happens to step: a request has its own answer to wait for, and the
    /// journal thread serves all shards.
    fn guard<T>(
        &self,
        held: &mut Option<Shard>,
        step: impl FnOnce(&mut Option<Shard>) -> T,
    ) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| step(held))) {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                // The panic itself was logged where it happened.
                self.abandon(held.take());
                None
            }
        }
    }

    /// Ends a shard that is not to be trusted. What was handed over to it loses its answer, and so is
    /// told that nobody knows; what still waits is refused.
    fn abandon(&self, shard: Option<Shard>) {
        tracing::error!("a step of a shard panicked: its partitions take nothing until a restart");
        self.is_broken.store(true, Ordering::Release);
        for message in self.inbox.abandon() {
            let _ = message.pending.reply.send(Err(Refusal::Closed));
        }
        if let Some(shard) = shard {
            shard.abandon();
        }
        self.bell.notify_one();
    }

    fn leave(&self, mut held: MutexGuard<'_, Option<Shard>>) {
        let wants_task = held.as_mut().is_some_and(Shard::wants_task);
        drop(held);
        if wants_task {
            self.bell.notify_one();
        }
    }

    // A step that panics is caught while the lock is held, and the shard taken out.
    fn lock(&self) -> MutexGuard<'_, Option<Shard>> {
        self.shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ticker(period: Duration) -> Interval {
    let mut ticker = interval(period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// What the log is given: the seats of all shards.
#[derive(Debug)]
pub(crate) struct Listener {
    seats: Vec<Arc<Seat>>,
}

impl Listener {
    pub(crate) fn new(seats: Vec<Arc<Seat>>) -> Self {
        Self { seats }
    }
}

impl Listener {
    fn complete(&self, shard: u16, stage: Stage, round: u64, ends: &[(ReplicaKey, Offset)]) {
        let Some(seat) = self.seats.get(usize::from(shard)) else {
            return;
        };
        let found = ends.iter().map(|(key, _)| Completion {
            stage,
            round,
            key: *key,
        });
        seat.inbox.complete(found);
        // One turn: the next round, or this one's sync, waits for this thread.
        seat.step_for(1);
    }
}

impl RoundListener for Listener {
    fn durable(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        self.complete(shard, Stage::Durable, round, ends);
    }

    fn written(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        self.complete(shard, Stage::Written, round, ends);
    }

    fn failed(&self, error: &LogDead) {
        if error.cause != DeadCause::Closed {
            tracing::error!(%error, "the log is dead: appends are refused from now on");
        }
        for seat in &self.seats {
            seat.inbox.failed(error.cause == DeadCause::NoSpace);
            seat.step_for(1);
        }
    }
}

#[cfg(test)]
mod tests;
