//! What a check found: anomalies by class, a bounded number of them in words, and counts.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use thiserror::Error;

/// Findings of one class that are told in words; all are counted.
const TOLD_MAX: usize = 20;

/// Kinds of anomaly; the page of the crate says what each means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    LostWrite,
    AbortedRead,
    Duplicate,
    InconsistentOffset,
    Reordered,
    SequenceGap,
    PollSkipped,
    PollBackwards,
    BeyondWatermark,
    Vanished,
    Phantom,
    RealTimeOrder,
    LatestBackwards,
    GroupBackwards,
    ZombieCommit,
    TwoOwners,
    TwoLeaders,
    WatchGap,
    WatchBackwards,
}

/// One anomaly in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub class: Class,
    pub words: String,
}

/// What is no anomaly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub events: u64,
    /// Records acknowledged as replicated.
    pub acked: u64,
    /// Records acknowledged by a leader only, and how many of them a failover took.
    pub acked_by_leader: u64,
    pub lost_of_leader: u64,
    /// Records refused for good.
    pub failed: u64,
    /// Records whose outcome nobody knew, and how many of them are there.
    pub unknown: u64,
    pub unknown_seen: u64,
    /// Second and further places of values whose producer was not idempotent.
    pub doubled: u64,
    /// Records given to readers.
    pub read: u64,
    /// Records in the logs at the end, each once.
    pub scanned: u64,
    /// Acknowledged records that cannot be judged: their partition was not scanned, or retention took them.
    pub unjudged: u64,
    /// Records whose loss an operator accepted.
    pub forgiven: u64,
}

/// The outcome of a check.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    found: BTreeMap<Class, u64>,
    told: Vec<Finding>,
    pub counts: Counts,
}

impl Verdict {
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// How many of each class there are.
    #[must_use]
    pub const fn found(&self) -> &BTreeMap<Class, u64> {
        &self.found
    }

    /// The first of each class, in words.
    #[must_use]
    pub fn told(&self) -> &[Finding] {
        &self.told
    }

    pub(crate) fn add(&mut self, class: Class, words: impl FnOnce() -> String) {
        let count = self.found.entry(class).or_default();
        *count += 1;
        if *count <= TOLD_MAX as u64 {
            let words = words();
            self.told.push(Finding { class, words });
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = &self.counts;
        write!(
            f,
            "{} events; records: {} acknowledged, {} by a leader only ({} of them lost), {} refused, {} unknown \
             ({} of them there), {} doubled, {} read, {} in the logs, {} not judged, {} given up",
            counts.events,
            counts.acked,
            counts.acked_by_leader,
            counts.lost_of_leader,
            counts.failed,
            counts.unknown,
            counts.unknown_seen,
            counts.doubled,
            counts.read,
            counts.scanned,
            counts.unjudged,
            counts.forgiven,
        )?;
        if self.is_clean() {
            return write!(f, "; no anomaly");
        }
        for (class, count) in &self.found {
            write!(f, "\n{class:?}: {count}")?;
            let of_class = self.told.iter().filter(|told| told.class == *class);
            for finding in of_class {
                write!(f, "\n  {}", finding.words)?;
            }
        }
        Ok(())
    }
}

/// A history that cannot be: its recorder is wrong. `at` counts events from 0.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Malformed {
    #[error("event {at}: operation {op} was begun before")]
    BegunTwice { at: usize, op: u64 },
    #[error("event {at}: operation {op} was never begun, or not with this")]
    NotBegun { at: usize, op: u64 },
    #[error("event {at}: operation {op} has ended before")]
    EndedTwice { at: usize, op: u64 },
    #[error("event {at}: value {value} was sent by another operation")]
    ValueTwice { at: usize, value: u64 },
    #[error("event {at}: operation {op} was sent to another partition")]
    OtherPartition { at: usize, op: u64 },
    #[error("event {at}: reader {reader} never began, or began before")]
    Reader { at: usize, reader: u64 },
    #[error("event {at}: watch {watch} never began, or began before")]
    Watch { at: usize, watch: u64 },
}
