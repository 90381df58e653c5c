//! Orders: of one producer by its sequence numbers, and of everything by time.
//!
//! What had ended before something else began bounds it from below; one sweep over both, sorted by time,
//! finds all violations. The same sweep serves offsets of the log, of groups, and assignment epochs.

use std::collections::BTreeMap;

use crate::contents::Contents;
use crate::facts::{Facts, Question};
use crate::verdict::{Class, Verdict};

/// From `ended` on, nothing that begins may be below `value`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) begun: usize,
    pub(crate) ended: usize,
    pub(crate) value: u64,
}

/// Something allowed to take floors down to `value`, at any time between (open end: for ever).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fall {
    pub(crate) begun: usize,
    pub(crate) ended: usize,
    pub(crate) value: u64,
}

/// Something that began at `begun` and got `value`; of what is known to have ended, when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) begun: usize,
    pub(crate) ended: usize,
    pub(crate) value: u64,
}

/// Tells of each probe below a floor: what it got, and the floor.
pub(crate) fn sweep(
    mut floors: Vec<Floor>,
    falls: &[Fall],
    mut probes: Vec<Probe>,
    mut tell: impl FnMut(Probe, u64),
) {
    // One that overlaps a fall may have been before or after it.
    floors.retain(|floor| {
        let overlaps = |fall: &Fall| {
            floor.begun <= fall.ended && fall.begun <= floor.ended && floor.value > fall.value
        };
        !falls.iter().any(overlaps)
    });
    floors.sort_unstable_by_key(|floor| floor.ended);
    probes.sort_unstable_by_key(|probe| probe.begun);
    let mut steps: Vec<Fall> = falls.to_vec();
    steps.sort_unstable_by_key(|fall| fall.begun);
    let (mut floors, mut steps) = (floors.into_iter().peekable(), steps.into_iter().peekable());
    let mut bound = 0;
    for probe in probes {
        loop {
            let floor = floors.peek().filter(|floor| floor.ended < probe.begun);
            let step = steps.peek().filter(|fall| fall.begun < probe.begun);
            match (floor.copied(), step.copied()) {
                (Some(floor), step) if step.is_none_or(|step| floor.ended < step.begun) => {
                    bound = bound.max(floor.value);
                    floors.next();
                }
                (_, Some(step)) => {
                    bound = bound.min(step.value);
                    steps.next();
                }
                (_, None) => break,
            }
        }
        // What fell while it was under way may have fallen before it was carried out.
        let during = falls
            .iter()
            .filter(|fall| probe.begun < fall.ended && fall.begun < probe.ended);
        let lowest = during.map(|fall| fall.value).min();
        let bound = lowest.map_or(bound, |lowest| bound.min(lowest));
        if probe.value < bound {
            tell(probe, bound);
        }
    }
}

pub(crate) fn judge(facts: &Facts<'_>, contents: &Contents, verdict: &mut Verdict) {
    judge_producers(facts, contents, verdict);
    let floors = log_floors(facts);
    judge_sends(facts, contents, &floors, verdict);
    judge_latest(facts, &floors, verdict);
}

/// Offsets that the log is known to reach, by partition.
fn log_floors(facts: &Facts<'_>) -> BTreeMap<u32, Vec<Floor>> {
    let mut floors: BTreeMap<u32, Vec<Floor>> = BTreeMap::new();
    for sending in &facts.sendings {
        if let Some((partition, base, at)) = sending.replicated() {
            floors.entry(partition).or_default().push(Floor {
                begun: sending.begun,
                ended: at,
                value: base + sending.send.values.len() as u64,
            });
        }
    }
    for reading in &facts.readings {
        floors.entry(reading.partition).or_default().push(Floor {
            begun: reading.at,
            ended: reading.at,
            value: reading.seen.offset + 1,
        });
    }
    floors
}

fn losses(facts: &Facts<'_>, partition: u32) -> Vec<Fall> {
    let of_partition = facts
        .losses
        .iter()
        .filter(|loss| loss.partition == partition);
    let fall = |loss: &crate::facts::Loss| Fall {
        begun: loss.at,
        ended: loss.at,
        value: loss.from,
    };
    of_partition.map(fall).collect()
}

/// What is sent after something was known to be in the log comes behind it.
fn judge_sends(
    facts: &Facts<'_>,
    contents: &Contents,
    floors: &BTreeMap<u32, Vec<Floor>>,
    verdict: &mut Verdict,
) {
    let mut probes: BTreeMap<u32, Vec<Probe>> = BTreeMap::new();
    for sending in &facts.sendings {
        let mut lowest: BTreeMap<u32, u64> = BTreeMap::new();
        let mut take = |partition, offset: u64| {
            let at = lowest.entry(partition).or_insert(offset);
            *at = offset.min(*at);
        };
        if let Some((partition, base, _)) = sending.replicated() {
            take(partition, base);
        }
        let values = sending.send.values.iter();
        for (partition, offset) in values
            .filter_map(|value| contents.places.get(value))
            .flatten()
        {
            take(*partition, *offset);
        }
        for (partition, value) in lowest {
            let ended = sending.replicated().map_or(usize::MAX, |(_, _, at)| at);
            probes.entry(partition).or_default().push(Probe {
                begun: sending.begun,
                ended,
                value,
            });
        }
    }
    for (partition, probes) in probes {
        let floors = floors.get(&partition).cloned().unwrap_or_default();
        sweep(floors, &losses(facts, partition), probes, |probe, bound| {
            verdict.add(Class::RealTimeOrder, || {
                format!(
                    "partition {partition}: the send of event {} stands at {}, when the log had reached {bound} before",
                    probe.begun, probe.value
                )
            });
        });
    }
}

fn judge_latest(facts: &Facts<'_>, floors: &BTreeMap<u32, Vec<Floor>>, verdict: &mut Verdict) {
    let mut asked: BTreeMap<_, (Vec<Floor>, Vec<Probe>)> = BTreeMap::new();
    for ask in &facts.asked {
        let Question::Latest { partition, scope } = ask.question else {
            continue;
        };
        if let (Some(ended), Some(value)) = (ask.ended, ask.answer) {
            let begun = ask.begun;
            let of_scope = asked.entry((partition, scope)).or_default();
            of_scope.0.push(Floor {
                begun,
                ended,
                value,
            });
            of_scope.1.push(Probe {
                begun,
                ended,
                value,
            });
        }
    }
    for ((partition, scope), (mut told, probes)) in asked {
        if scope.is_none() {
            told.extend(floors.get(&partition).into_iter().flatten());
        }
        sweep(told, &losses(facts, partition), probes, |probe, bound| {
            verdict.add(Class::LatestBackwards, || {
                format!(
                    "partition {partition}: latest, asked at event {}, was {}, when {bound} was known before",
                    probe.begun, probe.value
                )
            });
        });
    }
}

/// Records of one producer and epoch stand in the order of their sequence numbers, each once, all of them.
fn judge_producers(facts: &Facts<'_>, contents: &Contents, verdict: &mut Verdict) {
    let mut runs: BTreeMap<(u64, u16, u32), Vec<(u64, u64)>> = BTreeMap::new();
    for sending in &facts.sendings {
        let Some(producer) = sending.send.producer else {
            continue;
        };
        for (sequence, value) in (producer.sequence..).zip(&sending.send.values) {
            // Its other places are told as duplicates.
            if let Some((partition, offset)) =
                contents.places.get(value).and_then(|all| all.first())
            {
                let run = (producer.id, producer.epoch, *partition);
                runs.entry(run).or_default().push((sequence, *offset));
            }
        }
    }
    for ((id, epoch, partition), mut run) in runs {
        let log = contents.logs.get(&partition);
        let whole_from = log.and_then(|log| log.whole_from).unwrap_or(u64::MAX);
        let is_lossy = facts.losses.iter().any(|loss| loss.partition == partition);
        run.sort_unstable();
        for pair in run.windows(2) {
            let [(sequence, offset), (next, next_offset)] = pair else {
                continue;
            };
            let class = if sequence == next {
                Class::Duplicate
            } else if next_offset < offset {
                Class::Reordered
            } else if *next > sequence + 1 && *offset >= whole_from && !is_lossy {
                Class::SequenceGap
            } else {
                continue;
            };
            verdict.add(class, || {
                format!(
                    "partition {partition}, producer {id} epoch {epoch}: sequence {sequence} at {offset}, then {next} \
                     at {next_offset}"
                )
            });
        }
    }
}
