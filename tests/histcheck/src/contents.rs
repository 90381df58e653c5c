//! What stands where: the logs at the end against what was acknowledged and read.
//!
//! Each scan is judged by itself, so a replica that differs from the others is found. Offsets that no scan
//! covers (retention took them, or their partition was not scanned) are judged by what answers said of
//! them among each other.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::event::{Acks, Seen};
use crate::facts::{Facts, Outcome, Scanned};
use crate::verdict::{Class, Verdict};

/// The log of a partition: its scans laid over each other, and below them what was told.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) records: BTreeMap<u64, u64>,
    /// From here on nothing is missing; none without a scan.
    pub(crate) whole_from: Option<u64>,
}

/// All of them, and where each value stands.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) logs: BTreeMap<u32, Log>,
    /// Partition and offset, lowest first.
    pub(crate) places: HashMap<u64, Vec<(u32, u64)>>,
}

/// A scan that can be looked up.
struct Index<'a> {
    scan: &'a Scanned<'a>,
    offsets: HashMap<u64, u64>,
    values: HashSet<u64>,
}

/// What somebody was told of an offset.
struct Claim {
    partition: u32,
    seen: Seen,
    /// Until when an accepted loss forgives that it is gone.
    known_at: usize,
    /// When it is nowhere.
    class: Class,
}

enum Judged {
    Right,
    Wrong,
    Not,
}

pub(crate) fn judge(facts: &Facts<'_>, verdict: &mut Verdict) -> Contents {
    let indexes: Vec<Index<'_>> = facts.scans.iter().map(Index::of).collect();
    let mut contents = Contents::default();
    for index in &indexes {
        index.judge_order(verdict);
        contents.add_scan(index.scan, verdict);
    }
    let scanned = contents.logs.values().map(|log| log.records.len() as u64);
    verdict.counts.scanned = scanned.sum();
    for reading in &facts.readings {
        verdict.counts.read += 1;
        let claim = Claim {
            partition: reading.partition,
            seen: reading.seen,
            known_at: reading.at,
            class: Class::Vanished,
        };
        contents.settle(&claim, &indexes, facts, verdict);
    }
    for sending in &facts.sendings {
        let count = sending.send.values.len() as u64;
        match (sending.outcome, sending.replicated()) {
            (_, Some((partition, base, _))) => {
                verdict.counts.acked += count;
                for (offset, value) in (base..).zip(&sending.send.values) {
                    let claim = Claim {
                        partition,
                        seen: Seen {
                            offset,
                            value: *value,
                        },
                        known_at: sending.begun,
                        class: Class::LostWrite,
                    };
                    if matches!(
                        contents.settle(&claim, &indexes, facts, verdict),
                        Judged::Not
                    ) {
                        verdict.counts.unjudged += 1;
                    }
                }
            }
            (Outcome::Placed { .. }, None) => verdict.counts.acked_by_leader += count,
            (Outcome::Failed, None) => verdict.counts.failed += count,
            (Outcome::Unknown, None) => verdict.counts.unknown += count,
        }
    }
    contents.place();
    judge_origins(facts, verdict);
    judge_places(facts, &contents, verdict);
    contents
}

impl<'a> Index<'a> {
    fn of(scan: &'a Scanned<'a>) -> Self {
        let offsets = scan.records.iter().map(|seen| (seen.offset, seen.value));
        Self {
            scan,
            offsets: offsets.collect(),
            values: scan.records.iter().map(|seen| seen.value).collect(),
        }
    }

    /// Offsets are dense from the start of the log.
    fn judge_order(&self, verdict: &mut Verdict) {
        let Scanned {
            partition, replica, ..
        } = self.scan;
        let mut expected = self.scan.log_start;
        for seen in self.scan.records {
            let class = match seen.offset.cmp(&expected) {
                std::cmp::Ordering::Equal => None,
                std::cmp::Ordering::Greater => Some(Class::PollSkipped),
                std::cmp::Ordering::Less => Some(Class::PollBackwards),
            };
            if let Some(class) = class {
                verdict.add(class, || {
                    let offset = seen.offset;
                    format!(
                        "the log of partition {partition} at replica {replica} has offset {offset} where \
                         {expected} belongs"
                    )
                });
            }
            expected = seen.offset + 1;
        }
    }

    fn judge(&self, claim: &Claim) -> Judged {
        if self.scan.partition != claim.partition || claim.seen.offset < self.scan.log_start {
            return Judged::Not;
        }
        if self.offsets.get(&claim.seen.offset) == Some(&claim.seen.value) {
            Judged::Right
        } else {
            Judged::Wrong
        }
    }
}

impl Contents {
    fn add_scan(&mut self, scan: &Scanned<'_>, verdict: &mut Verdict) {
        let log = self.logs.entry(scan.partition).or_default();
        let whole_from = log.whole_from.unwrap_or(scan.log_start);
        log.whole_from = Some(whole_from.min(scan.log_start));
        for seen in scan.records {
            let other = *log.records.entry(seen.offset).or_insert(seen.value);
            if other != seen.value {
                verdict.add(Class::InconsistentOffset, || {
                    format!(
                        "partition {}, offset {}: {} at replica {}, {other} at another",
                        scan.partition, seen.offset, seen.value, scan.replica
                    )
                });
            }
        }
    }

    /// Compares what was told with every scan, or with what else was told.
    fn settle(
        &mut self,
        claim: &Claim,
        indexes: &[Index<'_>],
        facts: &Facts<'_>,
        verdict: &mut Verdict,
    ) -> Judged {
        let Seen { offset, value } = claim.seen;
        let partition = claim.partition;
        let mut judged = Judged::Not;
        for index in indexes {
            match index.judge(claim) {
                Judged::Not => {}
                Judged::Right => judged = Judged::Right,
                Judged::Wrong if facts.is_forgiven(partition, offset, claim.known_at) => {
                    verdict.counts.forgiven += 1;
                    return Judged::Right;
                }
                Judged::Wrong => {
                    let stands = index.values.contains(&value);
                    let class = if stands {
                        Class::InconsistentOffset
                    } else {
                        claim.class
                    };
                    verdict.add(class, || {
                        let replica = index.scan.replica;
                        let found = index.offsets.get(&offset);
                        let how = if claim.class == Class::Vanished { "read" } else { "acknowledged" };
                        format!(
                            "partition {partition}, offset {offset}: {value} was {how} there; in the log at replica \
                             {replica}: {found:?}"
                        )
                    });
                    return Judged::Wrong;
                }
            }
        }
        if matches!(judged, Judged::Not) {
            self.compare_below(claim, facts, verdict);
        }
        judged
    }

    fn compare_below(&mut self, claim: &Claim, facts: &Facts<'_>, verdict: &mut Verdict) {
        let Seen { offset, value } = claim.seen;
        if facts.is_forgiven(claim.partition, offset, claim.known_at) {
            return;
        }
        let log = self.logs.entry(claim.partition).or_default();
        let other = *log.records.entry(offset).or_insert(value);
        if other != value {
            verdict.add(Class::InconsistentOffset, || {
                let partition = claim.partition;
                format!("partition {partition}, offset {offset}: told as {value} and as {other}")
            });
        }
    }

    fn place(&mut self) {
        for (partition, log) in &self.logs {
            for (offset, value) in &log.records {
                let places = self.places.entry(*value).or_default();
                places.push((*partition, *offset));
            }
        }
    }
}

/// Every value that was seen was sent there, before, and not refused.
fn judge_origins(facts: &Facts<'_>, verdict: &mut Verdict) {
    let readings = facts
        .readings
        .iter()
        .map(|reading| (reading.at, reading.partition, reading.seen));
    let scanned = facts.scans.iter().flat_map(|scan| {
        let all = scan.records.iter();
        all.map(move |seen| (usize::MAX, scan.partition, *seen))
    });
    let mut told = HashSet::new();
    for (at, partition, Seen { offset, value }) in readings.chain(scanned) {
        let sending = facts.values.get(&value).map(|at| &facts.sendings[*at]);
        let (class, why) = match sending {
            None => (Class::Phantom, "nobody sent it"),
            Some(sending) if sending.send.partition.is_some_and(|to| to != partition) => {
                (Class::Phantom, "it was sent to another partition")
            }
            Some(sending) if at < sending.begun => (Class::Phantom, "it was not sent yet"),
            Some(sending) if sending.outcome == Outcome::Failed => {
                (Class::AbortedRead, "it was refused for good")
            }
            Some(_) => continue,
        };
        if told.insert((class, value)) {
            verdict.add(class, || {
                format!("partition {partition}, offset {offset} has {value}: {why}")
            });
        }
    }
}

/// Every value stands at one place, and the leaders' losses are counted.
fn judge_places(facts: &Facts<'_>, contents: &Contents, verdict: &mut Verdict) {
    for sending in &facts.sendings {
        for value in &sending.send.values {
            let places = contents.places.get(value).map_or(&[][..], Vec::as_slice);
            if places.len() > 1 {
                if sending.send.producer.is_some() {
                    verdict.add(Class::Duplicate, || {
                        format!("{value} stands at {places:?} (partition, offset)")
                    });
                } else {
                    verdict.counts.doubled += places.len() as u64 - 1;
                }
            }
            match sending.outcome {
                Outcome::Unknown if !places.is_empty() => verdict.counts.unknown_seen += 1,
                Outcome::Placed { partition, .. }
                    if sending.send.acks != Acks::Quorum && places.is_empty() =>
                {
                    let log = contents.logs.get(&partition);
                    if log.is_some_and(|log| log.whole_from.is_some()) {
                        verdict.counts.lost_of_leader += 1;
                    }
                }
                _ => {}
            }
        }
    }
}
