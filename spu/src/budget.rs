//! Bytes of produce requests that are under way.
//!
//! A permit is taken before a message is sent and lives until the bytes are durable or refused, so
//! the queue, the shard and the journal together never hold more than the budget. Nobody waits for a
//! permit: a full budget is an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A budget of bytes.
#[derive(Debug)]
pub(crate) struct Budget {
    taken: AtomicUsize,
    max: usize,
}

/// Bytes taken from a budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            max,
        })
    }

    /// Takes `bytes`, if they are there.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        // Relaxed: the counter guards no other memory.
        let add = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.max);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()?;
        Some(Permit {
            budget: Arc::clone(self),
            bytes,
        })
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permit_gives_back_what_it_took() {
        let budget = Budget::new(10);
        let first = budget.take(7).unwrap();
        assert!(budget.take(4).is_none());
        let second = budget.take(3).unwrap();
        drop(first);
        assert_eq!(budget.taken(), 3);
        drop(second);
        assert!(budget.take(11).is_none());
        assert_eq!(budget.taken(), 0);
    }
}
