//! What the journal thread tells the shards: of which replicas more is durable, or that the log is
//! dead.
//!
//! The journal thread must not block and must not be many: it adds to the shard's slot and rings once.
//! A shard takes the whole slot at a time, so that many rounds cost one wake-up. A slot holds at most
//! an entry per round and replica that the shard itself submitted.

use std::sync::{Arc, Mutex, PoisonError};

use tidegate_log::{DeadCause, LogDead, RoundListener};
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::sync::Notify;

/// A round had something of this partition. Of which replica of it and how much, the replica's own log
/// knows: the partition may have been made anew since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    pub(crate) round: u64,
    pub(crate) key: ReplicaKey,
}

/// One shard's slot.
#[derive(Debug, Default)]
pub(crate) struct Completions {
    slot: Mutex<Slot>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Slot {
    completions: Vec<Completion>,
    /// Set once, when the log is dead: whether that is for lack of space.
    dead: Option<bool>,
}

impl Completions {
    /// Waits until something is in the slot. At most one shard task waits.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Exchanges the slot's content for an empty list; and whether the log is dead.
    pub(crate) fn take(&self, into: &mut Vec<Completion>) -> Option<bool> {
        into.clear();
        // A slot is valid after every statement, so a panic elsewhere does not spoil it.
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut slot.completions, into);
        slot.dead
    }

    fn add(&self, change: impl FnOnce(&mut Slot)) {
        change(&mut self.slot.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_one();
    }
}

/// What the log is given: the slots of all shards.
#[derive(Debug)]
pub(crate) struct Listener {
    shards: Vec<Arc<Completions>>,
}

impl Listener {
    pub(crate) fn new(shards: Vec<Arc<Completions>>) -> Self {
        Self { shards }
    }
}

impl RoundListener for Listener {
    fn durable(&self, shard: u16, round: u64, ends: &[(ReplicaKey, Offset)]) {
        let Some(completions) = self.shards.get(usize::from(shard)) else {
            return;
        };
        let found = ends.iter().map(|(key, _)| Completion { round, key: *key });
        completions.add(|slot| slot.completions.extend(found));
    }

    fn failed(&self, error: &LogDead) {
        if error.cause != DeadCause::Closed {
            tracing::error!(%error, "the log is dead: appends are refused from now on");
        }
        for completions in &self.shards {
            completions.add(|slot| slot.dead = Some(error.cause == DeadCause::NoSpace));
        }
    }
}
