//! The partitions that a consumer cannot reach: those it waits for, and what its user is told.
//!
//! Some could not be looked up yet; of others the server says that they are away, and sends their records when
//! they are back. Nothing is kept beyond one text for each of them.

use std::collections::BTreeMap;

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
    awaited: BTreeMap<PartitionId, (Begin, Error)>,
    /// Since when there are some of them.
    pub(crate) since: Instant,
    pub(crate) look_at: Instant,
    told: watch::Sender<AwayPartitions>,
}

impl Away {
    pub(crate) fn new() -> Self {
        let now = clock::now();
        Self {
            awaited: BTreeMap::new(),
            since: now,
            look_at: now,
            told: watch::Sender::default(),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<AwayPartitions> {
        self.told.subscribe()
    }

    /// Takes what could not be looked up, and gives the others.
    pub(crate) fn sort_out(&mut self, found: Found) -> Spans {
        let now = clock::now();
        if self.awaited.is_empty() {
            self.since = now;
        }
        self.look_at = now + AWAY_REFRESH;
        for partition in found.spans.0.keys() {
            if self.awaited.remove(partition).is_some() {
                self.back(partition.0);
            }
        }
        for (partition, (begin, error)) in found.away {
            self.gone(partition.0, &error.to_string());
            self.awaited.insert(partition, (begin, error));
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
        awaited.map(|(partition, (begin, _))| (*partition, *begin))
    }

    pub(crate) fn waits(&self) -> bool {
        !self.awaited.is_empty()
    }

    pub(crate) fn waits_for(&self, partition: PartitionId) -> bool {
        self.awaited.contains_key(&partition)
    }

    /// Why one of them is still away, for those who do not wait any longer.
    pub(crate) fn give_up(&mut self) -> Option<Error> {
        let (_, (_, error)) = self.awaited.pop_first()?;
        Some(error)
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
