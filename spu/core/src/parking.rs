//! Early requests of idempotent producers, held until the one before them arrives (D1).
//!
//! Requests of one producer may overtake each other on parallel streams. A few of them wait here for
//! up to a second; nothing of them has been appended, so ending one is definite.

use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::PRODUCER_IN_FLIGHT_MAX;

use crate::effect::{Effect, Effects, Refusal};
use crate::input::{Append, Now};
use crate::limits::{PARK_MS_MAX, PARKED_PER_PARTITION_MAX};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parked {
    producer: ProducerId,
    until_ms: u64,
    /// What to answer when nothing came.
    refusal: Refusal,
    append: Append,
}

/// All early requests of a partition, in order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Parking {
    requests: Vec<Parked>,
}

impl Parking {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// When a request that comes now has waited long enough.
    pub(crate) fn patience(now: Now, append: &Append) -> u64 {
        append
            .deadline_ms
            .min(now.monotonic_ms.saturating_add(PARK_MS_MAX))
    }

    /// Holds a request until then, or gives it back as refused when there is no room.
    pub(crate) fn park(
        &mut self,
        until_ms: u64,
        producer: ProducerId,
        refusal: Refusal,
        append: Append,
        effects: &mut Effects,
    ) {
        let held = self
            .requests
            .iter()
            .filter(|other| other.producer == producer)
            .count();
        let full = self.requests.len() >= PARKED_PER_PARTITION_MAX;
        if held >= PRODUCER_IN_FLIGHT_MAX || full {
            effects.push(Effect::Reply {
                request: append.request,
                outcome: Err(refusal),
            });
            return;
        }
        self.requests.push(Parked {
            producer,
            until_ms,
            refusal,
            append,
        });
    }

    /// Takes out what waits for this producer, each with its own end of patience: its sequence has
    /// moved, so they are judged anew.
    pub(crate) fn take(&mut self, producer: ProducerId) -> Vec<(u64, Append)> {
        let taken = self
            .requests
            .extract_if(.., |other| other.producer == producer);
        let mut appends: Vec<_> = taken
            .map(|parked| (parked.until_ms, parked.append))
            .collect();
        appends.sort_by_key(|(_, append)| {
            let first = append.batches.first();
            first
                .and_then(|batch| batch.producer())
                .map(|stamp| stamp.seq)
        });
        appends
    }

    pub(crate) fn expire(&mut self, monotonic_ms: u64, effects: &mut Effects) {
        let late = self
            .requests
            .extract_if(.., |parked| parked.until_ms <= monotonic_ms);
        effects.extend(late.map(|parked| Effect::Reply {
            request: parked.append.request,
            outcome: Err(parked.refusal),
        }));
    }

    pub(crate) fn end(&mut self, refusal: Refusal, effects: &mut Effects) {
        effects.extend(self.requests.drain(..).map(|parked| Effect::Reply {
            request: parked.append.request,
            outcome: Err(refusal),
        }));
    }
}
