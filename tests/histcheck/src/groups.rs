//! Consumer groups: what is committed stays committed, by the owner of the partition alone.
//!
//! A commit by force may take the position anywhere; what overlaps it may have been before or after it.

use std::collections::BTreeMap;

use crate::event::{Event, What};
use crate::facts::{Facts, Question};
use crate::order::{Fall, Floor, Probe, sweep};
use crate::verdict::{Class, Verdict};

/// Of one partition of one group.
#[derive(Default)]
struct Positions {
    floors: Vec<Floor>,
    falls: Vec<Fall>,
    probes: Vec<Probe>,
    epoch_floors: Vec<Floor>,
    epoch_probes: Vec<Probe>,
}

pub(crate) fn judge(history: &[Event], facts: &Facts<'_>, verdict: &mut Verdict) {
    judge_owners(history, verdict);
    for ((group, partition), positions) in gather(facts) {
        let (floors, probes) = (positions.floors, positions.probes);
        sweep(floors, &positions.falls, probes, |probe, bound| {
            verdict.add(Class::GroupBackwards, || {
                format!(
                    "group {group}, partition {partition}: asked at event {}, {:?} was committed, when {:?} had been",
                    probe.begun,
                    probe.value.checked_sub(1),
                    bound.checked_sub(1)
                )
            });
        });
        let (floors, probes) = (positions.epoch_floors, positions.epoch_probes);
        sweep(floors, &[], probes, |probe, bound| {
            verdict.add(Class::ZombieCommit, || {
                format!(
                    "group {group}, partition {partition}: event {} commits as of assignment {} after one of {bound}",
                    probe.begun, probe.value
                )
            });
        });
    }
}

fn gather(facts: &Facts<'_>) -> BTreeMap<(u32, u32), Positions> {
    let mut all: BTreeMap<(u32, u32), Positions> = BTreeMap::new();
    for ask in facts.asked.iter().filter(|ask| !ask.has_failed) {
        let begun = ask.begun;
        match ask.question {
            Question::Latest { .. } => {}
            // Nothing committed is below offset 0, so positions count from 1.
            Question::Committed { group, partition } => {
                if let Some(ended) = ask.ended {
                    let value = ask.answer.map_or(0, |offset| offset + 1);
                    let of = all.entry((group, partition)).or_default();
                    of.floors.push(Floor {
                        begun,
                        ended,
                        value,
                    });
                    of.probes.push(Probe {
                        begun,
                        ended,
                        value,
                    });
                }
            }
            Question::Commit {
                group,
                partition,
                assignment_epoch,
                offset,
                is_forced,
            } => {
                let of = all.entry((group, partition)).or_default();
                let value = offset + 1;
                if is_forced {
                    let ended = ask.ended.unwrap_or(usize::MAX);
                    of.falls.push(Fall {
                        begun,
                        ended,
                        value,
                    });
                }
                if let Some(ended) = ask.ended {
                    of.floors.push(Floor {
                        begun,
                        ended,
                        value,
                    });
                    if !is_forced {
                        let value = assignment_epoch;
                        of.epoch_floors.push(Floor {
                            begun,
                            ended,
                            value,
                        });
                        of.epoch_probes.push(Probe {
                            begun,
                            ended,
                            value,
                        });
                    }
                }
            }
        }
    }
    all
}

fn judge_owners(history: &[Event], verdict: &mut Verdict) {
    let mut owners: BTreeMap<(u32, u32, u64), u64> = BTreeMap::new();
    for event in history {
        let What::Owned {
            group,
            partition,
            member,
            assignment_epoch,
        } = &event.what
        else {
            continue;
        };
        let of = (*group, *partition, *assignment_epoch);
        let first = *owners.entry(of).or_insert(*member);
        if first != *member {
            verdict.add(Class::TwoOwners, || {
                format!("group {group}, partition {partition}, assignment {assignment_epoch}: {first} and {member}")
            });
        }
    }
}
