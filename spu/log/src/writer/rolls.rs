//! When segments are to be closed for their age, in the order of that time.
//!
//! Invariant: a replica with an active segment has an entry here at or before that segment's time,
//! so that a tick looks at those whose time has come and at no others.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use crate::replica::Replica;

#[derive(Debug, Default)]
pub(super) struct Rolls {
    entries: BinaryHeap<Reverse<Entry>>,
}

#[derive(Debug)]
struct Entry {
    at_ms: i64,
    replica: Weak<Replica>,
}

impl Rolls {
    /// Takes note of the replica's active segment, unless an entry stands for it already.
    pub(super) fn note(&mut self, replica: &Arc<Replica>) {
        if let Some(at_ms) = replica.take_roll_to_note() {
            let replica = Arc::downgrade(replica);
            self.entries.push(Reverse(Entry { at_ms, replica }));
        }
    }

    /// Takes out those whose time has come and that nobody has in hand yet, and says how many it
    /// looked at. One whose segment has been followed by a younger one is noted again.
    pub(super) fn due(&mut self, now_ms: i64) -> (Vec<Arc<Replica>>, usize) {
        let (mut due, mut again, mut looked_at) = (Vec::new(), Vec::new(), 0);
        while let Some(Reverse(entry)) = self.entries.peek()
            && entry.at_ms <= now_ms
        {
            let replica = entry.replica.upgrade();
            self.entries.pop();
            looked_at += 1;
            let Some(replica) = replica else { continue };
            replica.forget_roll();
            if !replica.is_roll_due(now_ms) {
                again.push(replica);
            } else if replica.make_urgent() {
                due.push(replica);
            }
        }
        again.iter().for_each(|replica| self.note(replica));
        (due, looked_at)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at_ms == other.at_ms
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at_ms.cmp(&other.at_ms)
    }
}
