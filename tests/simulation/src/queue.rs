//! The one queue of events: what happens next, and when.
//!
//! Invariant: events of the same moment happen in the order in which they were put in, so a run repeats
//! exactly.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Microseconds since the run began.
pub(crate) type Time = u64;

/// A millisecond.
pub(crate) const MS: Time = 1_000;

#[derive(Debug)]
struct Entry<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// What is to happen, the earliest first.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    numbers: u64,
    now: Time,
}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            numbers: 0,
            now: 0,
        }
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn put_at(&mut self, at: Time, event: E) {
        self.numbers += 1;
        self.heap.push(Reverse(Entry {
            at: at.max(self.now),
            number: self.numbers,
            event,
        }));
    }

    pub(crate) fn put_in(&mut self, delay: Time, event: E) {
        self.put_at(self.now + delay, event);
    }

    /// The next event; the time is then that of it.
    pub(crate) fn take(&mut self) -> Option<E> {
        let Reverse(entry) = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}
