//! Who reaches whom, and how long it takes.
//!
//! Between two nodes messages arrive in the order in which they were sent, as on a connection, or not at
//! all. What belongs to a connection that broke is told apart by whoever receives it: it may still arrive
//! late. Invariant: a link that is cut lets nothing through, whatever was sent before.

use std::collections::BTreeMap;

use crate::queue::Time;
use crate::random::Random;

/// The longest that a message takes.
const DELAY_MAX: Time = 2_500_000;

/// Somebody who sends and receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    Unit(u32),
    Controller(u32),
    Gateway(u32),
    Client(u32),
    Store,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network {
    random: Random,
    delay_us: (u64, u64),
    late_per_mille: u64,
    lost_per_mille: u64,
    /// How many faults cut the way from the one to the other.
    cuts: BTreeMap<(Node, Node), u32>,
    /// How many faults slow links between units down.
    slow: u32,
    arrivals: BTreeMap<(Node, Node), Time>,
    calm: bool,
}

impl Network {
    pub(crate) const fn new(
        random: Random,
        delay_us: (u64, u64),
        late_per_mille: u64,
        lost_per_mille: u64,
    ) -> Self {
        Self {
            random,
            delay_us,
            late_per_mille,
            lost_per_mille,
            cuts: BTreeMap::new(),
            slow: 0,
            arrivals: BTreeMap::new(),
            calm: false,
        }
    }

    /// When a message that is sent now arrives; none when it never does.
    pub(crate) fn send(&mut self, now: Time, from: Node, to: Node) -> Option<Time> {
        let (low, high) = self.delay_us;
        let mut delay = self.random.between(low, high);
        let is_lossy = !matches!((from, to), (Node::Client(_), _) | (_, Node::Client(_)));
        if !self.calm && is_lossy {
            if self.random.hits(self.late_per_mille) {
                delay = delay * 100 + 20_000;
            }
            if self.random.hits(self.lost_per_mille) {
                return None;
            }
        }
        if self.slow > 0 && matches!((from, to), (Node::Unit(_), Node::Unit(_))) {
            delay = delay * 20 + 50_000;
        }
        // Longer, and a node would take the connection for gone.
        let delay = delay.min(DELAY_MAX);
        let last = self.arrivals.entry((from, to)).or_default();
        *last = (*last).max(now + delay);
        Some(*last)
    }

    /// Whether what arrives now gets through.
    pub(crate) fn is_open(&self, from: Node, to: Node) -> bool {
        self.cuts.get(&(from, to)).is_none_or(|count| *count == 0)
    }

    /// Cuts the way, or mends it; as often as it was cut.
    pub(crate) fn cut(&mut self, from: Node, to: Node, is_cut: bool) {
        let count = self.cuts.entry((from, to)).or_default();
        *count = if is_cut {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
    }

    pub(crate) const fn slow_down(&mut self, is_slow: bool) {
        self.slow = if is_slow {
            self.slow + 1
        } else {
            self.slow.saturating_sub(1)
        };
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.slow = 0;
        self.calm = true;
    }
}
