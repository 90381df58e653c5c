//! What waits for a shard: appends, rounds that became durable, the end of the log.
//!
//! Whoever adds something never waits and never blocks, the journal thread least of all. Whoever steps
//! the shard takes all of it at once, so that many rounds and requests cost one turn. Bounded: appends
//! by count (and, by their permits, in bytes), completions by an entry per round and replica that the
//! shard itself submitted.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidegate_proto::position::ReplicaKey;

use super::message::AppendMessage;

/// A round had something of this partition. Of which replica of it and how much, the replica's own log
/// knows: the partition may have been made anew since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) stage: Stage,
    pub(crate) round: u64,
    pub(crate) key: ReplicaKey,
}

/// How far a round came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Written; told only of replicas that do not wait for the sync.
    Written,
    Durable,
}

/// Everything that waits, in the order in which it is to be stepped.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) completions: Vec<Completion>,
    /// Set once, when the log is dead: whether that is for lack of space.
    pub(crate) dead: Option<bool>,
    pub(crate) appends: Vec<AppendMessage>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.completions.is_empty() && self.dead.is_none()
    }
}

/// Why an append was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    Full,
    Closed,
}

/// One shard's inbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    slot: Mutex<Slot>,
    appends_max: usize,
}

#[derive(Debug, Default)]
struct Slot {
    waiting: Waiting,
    is_closed: bool,
}

impl Inbox {
    pub(crate) fn new(appends_max: usize) -> Self {
        Self {
            slot: Mutex::default(),
            appends_max,
        }
    }

    pub(crate) fn append(&self, message: AppendMessage) -> Result<(), NotTaken> {
        let mut slot = self.lock();
        if slot.is_closed {
            return Err(NotTaken::Closed);
        }
        if slot.waiting.appends.len() >= self.appends_max {
            return Err(NotTaken::Full);
        }
        slot.waiting.appends.push(message);
        Ok(())
    }

    pub(crate) fn complete(&self, completions: impl Iterator<Item = Completion>) {
        let mut slot = self.lock();
        if !slot.is_closed {
            slot.waiting.completions.extend(completions);
        }
    }

    pub(crate) fn failed(&self, no_space: bool) {
        self.lock().waiting.dead = Some(no_space);
    }

    /// Exchanges the content for that of `empty`, whose room is used again.
    pub(crate) fn take(&self, empty: &mut Waiting) {
        debug_assert!(empty.is_empty(), "what was taken is stepped first");
        std::mem::swap(&mut self.lock().waiting, empty);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// Takes no more appends; what was taken is still there.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
    }

    /// Takes nothing more, and gives back the appends that nobody has looked at.
    pub(crate) fn abandon(&self) -> Vec<AppendMessage> {
        let mut slot = self.lock();
        slot.is_closed = true;
        std::mem::take(&mut slot.waiting).appends
    }

    // A slot is valid after every statement, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
