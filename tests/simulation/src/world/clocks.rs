//! Clocks of nodes: each has a wall clock that is off by some time, and runs too fast or too slow.
//!
//! Invariant: the steady clock of a node never goes back.

use super::World;
use crate::message::Context;
use crate::network::Node;
use crate::options::{CONTROLLERS, GATEWAYS, UNITS};
use crate::queue::MS;

/// A machine's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Clock {
    pub(super) wall_skew_ms: i64,
    drift_per_mille: i64,
    began_ms: u64,
}

impl World {
    pub(super) fn set_clocks(&mut self) {
        let nodes = (0..UNITS)
            .map(Node::Unit)
            .chain((0..CONTROLLERS).map(Node::Controller));
        for node in nodes.chain((0..GATEWAYS).map(Node::Gateway)) {
            let skew = self.options.skew_ms;
            let drift = self.options.drift_per_mille;
            let clock = Clock {
                wall_skew_ms: signed(self.random.below(2 * skew + 1)) - signed(skew),
                drift_per_mille: signed(self.random.below(2 * drift + 1)) - signed(drift),
                began_ms: 0,
            };
            self.clocks.insert(node, clock);
        }
    }

    pub(super) fn context(&mut self, node: Node) -> Context {
        let now = self.queue.now();
        let clock = self.clocks.get(&node).copied().unwrap_or_default();
        let ms = now / MS;
        let drifted = signed(ms) + signed(ms) * clock.drift_per_mille / 1_000;
        let drifted = drifted.max(0);
        Context {
            now,
            wall_ms: 1_700_000_000_000 + drifted + clock.wall_skew_ms,
            monotonic_ms: drifted.unsigned_abs() + clock.began_ms,
            random: self.random.clone(),
            sent: Vec::new(),
            timers: Vec::new(),
            notes: Vec::new(),
            plant: self.options.plant,
            is_loud: self.is_loud,
        }
    }
}

/// Small numbers only.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
