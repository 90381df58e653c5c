//! What the followers of one stream lack that catch up, for operators.
//!
//! Told to gauges that all streams share, as the difference to the last time. Invariant: a stream that is
//! gone counts nothing.

use super::{Sending, State};
use crate::metrics;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Lag {
    partitions: f64,
    records: f64,
}

impl Lag {
    pub(super) fn tell<'a>(&mut self, sessions: impl Iterator<Item = &'a Sending>) {
        let (mut partitions, mut records) = (0_u64, 0);
        for sending in sessions {
            let (State::Open(cursor) | State::Awaiting(cursor) | State::Shipping(cursor, _)) =
                &sending.state
            else {
                continue;
            };
            partitions += 1;
            records += sending
                .partition
                .reader
                .log
                .end()
                .distance_from(cursor.at.end);
        }
        self.set(partitions as f64, records as f64);
    }

    fn set(&mut self, partitions: f64, records: f64) {
        metrics::catching_up(partitions - self.partitions, records - self.records);
        *self = Self {
            partitions,
            records,
        };
    }
}

impl Drop for Lag {
    fn drop(&mut self) {
        metrics::catching_up(-self.partitions, -self.records);
    }
}
