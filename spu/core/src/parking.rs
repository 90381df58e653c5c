//! Early requests of idempotent producers, held until the one before them arrives (D1).
//!
//! Requests of one producer may overtake each other on parallel streams. A few of them wait here for
//! up to a second; nothing of them has been appended, so ending one is definite.

use tidegate_proto::id::ProducerId;
use tidegate_proto::limits::PRODUCER_IN_FLIGHT_MAX;

use crate::effect::{Effect, Effects, Refusal};
use crate::input::{Append, Now};
use crate::limits::{PARK_MS_MAX, PARKED_PER_PARTITION_MAX};

#[derive(Clone, Debug)]
struct Parked {
    producer: ProducerId,
    until_ms: u64,
    /// What to answer when nothing came.
    refusal: Refusal,
    append: Append,
}

/// All early requests of a partition, in order of arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parking {
    requests: Vec<Parked>,
}

impl Parking {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Holds a request, or gives it back as refused when there is no room.
    pub(crate) fn park(
        &mut self,
        now: Now,
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
        let until_ms = append
            .deadline_ms
            .min(now.monotonic_ms.saturating_add(PARK_MS_MAX));
        self.requests.push(Parked {
            producer,
            until_ms,
            refusal,
            append,
        });
    }

    /// Takes out what waits for this producer: its sequence has moved, so each is judged anew.
    pub(crate) fn take(&mut self, producer: ProducerId) -> Vec<Append> {
        let taken = self
            .requests
            .extract_if(.., |other| other.producer == producer);
        let mut appends: Vec<Append> = taken.map(|parked| parked.append).collect();
        appends.sort_by_key(|append| {
            append
                .batches
                .first()
                .and_then(|b| b.producer())
                .map(|p| p.seq)
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
