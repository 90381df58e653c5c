//! The partitions that a consumer cannot reach: those it waits for, and what its user is told.
//!
//! Some could not be looked up yet; of others the server says that they are away, and sends their records when
//! they are back. Nothing is kept beyond one text for each of them.

use std::collections::BTreeMap;

use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::span::Spans;
use super::start::{Begin, Found};
use crate::clock;
use crate::error::Error;
use crate::limits::AWAY_REFRESH;

/// Partitions that cannot be reached now, and why.
pub type AwayPartitions = BTreeMap<PartitionId, String>;

/// Those of one consumer.
#[derive(Debug)]
pub(crate) struct Away {
    /// Not looked up yet.
    awaited: BTreeMap<PartitionId, Begin>,
    /// When to try them again.
    pub(crate) look_at: Instant,
    told: watch::Sender<AwayPartitions>,
}

impl Away {
    pub(crate) fn new() -> Self {
        Self {
            awaited: BTreeMap::new(),
            look_at: clock::now(),
            told: watch::Sender::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<AwayPartitions> {
        self.told.subscribe()
    }

    /// Takes what could not be looked up, and gives the others.
    pub(crate) fn sort_out(&mut self, found: Found) -> Spans {
        self.look_later();
        for partition in found.spans.0.keys() {
            if self.awaited.remove(partition).is_some() {
                self.back(partition.0);
            }
        }
        for (partition, (begin, error)) in found.away {
            self.gone(partition.0, &error.to_string());
            self.awaited.insert(partition, begin);
        }
        found.spans
    }

    /// None of them was found.
    pub(crate) fn look_later(&mut self) {
        self.look_at = clock::now() + AWAY_REFRESH;
    }

    /// Those that were not looked up yet, and where to begin in them.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = (PartitionId, Begin)> {
        let awaited = self.awaited.iter();
        awaited.map(|(partition, begin)| (*partition, *begin))
    }

    pub(crate) fn waits(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(crate) fn waits_for(&self, partition: PartitionId) -> bool {
        self.awaited.contains_key(&partition)
    }

    pub(crate) fn is_away(&self, partition: PartitionId) -> bool {
        self.told.borrow().contains_key(&partition)
    }

    /// Why the first of them is away, for those who do not wait any longer.
    pub(crate) fn why(&self) -> Option<Error> {
        let told = self.told.borrow();
        let (partition, why) = told.first_key_value()?;
        let detail = format!("partition {partition} is away: {why}");
        let problem = Problem::new(ErrorCode::Unavailable, detail);
        Some(Error::Problem(Box::new(problem)))
    }

    pub(crate) fn gone(&self, partition: u32, why: &str) {
        self.told.send_if_modified(|told| {
            let is_new = !told.contains_key(&PartitionId(partition));
            told.insert(PartitionId(partition), why.to_owned());
            is_new
        });
    }

    pub(crate) fn back(&self, partition: u32) {
        self.told
            .send_if_modified(|told| told.remove(&PartitionId(partition)).is_some());
    }

    /// The server says which those are; no others but the awaited ones.
    pub(crate) fn are(&self, away: &[u32]) {
        for partition in away {
            self.gone(*partition, "it cannot be reached");
        }
        self.told.send_if_modified(|told| {
            let before = told.len();
            told.retain(|partition, _| {
                self.awaited.contains_key(partition) || away.contains(&partition.0)
            });
            told.len() != before
        });
    }
}
