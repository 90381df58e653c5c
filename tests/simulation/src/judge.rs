//! Judges what clients saw against what is there at the end.
//!
//! What was promised to a quorum is there at its offset, once, in its producer's order; what was refused is
//! not there; what was read once stays.

use std::collections::BTreeMap;

use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::Durable;

use crate::history::{End, History, Value};
use crate::options::Writer;
use crate::queue::Time;

/// The first thing that is wrong.
pub(crate) fn judge(history: &History) -> Result<(), String> {
    let mut places: BTreeMap<Value, Vec<(ReplicaKey, Offset)>> = BTreeMap::new();
    let mut at: BTreeMap<(ReplicaKey, Offset), Value> = BTreeMap::new();
    for (key, scan) in &history.scans {
        for (offset, value) in scan {
            places.entry(*value).or_default().push((*key, *offset));
            at.insert((*key, *offset), *value);
        }
    }
    writes(history, &places)?;
    order(history, &places)?;
    real_time(history)?;
    let mut read: BTreeMap<u32, Offset> = BTreeMap::new();
    for seen in &history.seen {
        let before = read.insert(seen.consumer, seen.offset);
        if before.is_some_and(|before| before >= seen.offset) {
            return Err(format!(
                "11 a consumer goes back: {seen:?} behind {before:?}"
            ));
        }
        let start = history.starts.get(&seen.key).copied().unwrap_or_default();
        if seen.offset >= seen.high_watermark {
            return Err(format!("13 HWVisible: {seen:?}"));
        }
        let there = at.get(&(seen.key, seen.offset));
        if seen.offset >= start && there != Some(&seen.value) {
            return Err(format!(
                "10 ConsumedStable: {seen:?}, at the end {there:?} is there"
            ));
        }
    }
    Ok(())
}

fn writes(
    history: &History,
    places: &BTreeMap<Value, Vec<(ReplicaKey, Offset)>>,
) -> Result<(), String> {
    let none = Vec::new();
    for sent in &history.sent {
        let start = history.starts.get(&sent.key).copied().unwrap_or_default();
        for (n, value) in (0..).zip(&sent.values) {
            let found = places.get(value).unwrap_or(&none);
            if found.len() > 1 && sent.kind != Writer::Bare {
                return Err(format!(
                    "12 ExactlyOnceAppend: {value:x} of {sent:?} is at {found:?}"
                ));
            }
            match sent.end {
                End::Done {
                    base,
                    durable: Durable::Quorum,
                } => {
                    let place = (sent.key, base.plus(n));
                    if place.1 >= start && found != &[place] {
                        return Err(format!("1 lost: {value:x} of {sent:?} is at {found:?}"));
                    }
                }
                End::Refused if !found.is_empty() => {
                    return Err(format!(
                        "refused and there: {value:x} of {sent:?} is at {found:?}"
                    ));
                }
                End::Done { .. } | End::Refused | End::Unknown | End::Open => {}
            }
        }
    }
    Ok(())
}

/// 11: one producer's records of one partition stand in the order in which it sent them.
fn order(
    history: &History,
    places: &BTreeMap<Value, Vec<(ReplicaKey, Offset)>>,
) -> Result<(), String> {
    let mut last: BTreeMap<(u32, ReplicaKey), Offset> = BTreeMap::new();
    for sent in &history.sent {
        if !matches!(sent.kind, Writer::Idempotent { .. }) {
            continue;
        }
        for value in &sent.values {
            let Some((_, offset)) = places.get(value).and_then(|found| found.first()) else {
                continue;
            };
            let before = last.insert((sent.writer, sent.key), *offset);
            if before.is_some_and(|before| before >= *offset) {
                return Err(format!(
                    "11 NoReorder: {value:x} of {sent:?} at {offset}, behind {before:?}"
                ));
            }
        }
    }
    Ok(())
}

/// What was acknowledged before something else began stands before it.
fn real_time(history: &History) -> Result<(), String> {
    let mut done: BTreeMap<ReplicaKey, Vec<(Time, Time, Offset)>> = BTreeMap::new();
    for sent in &history.sent {
        // Of a request that was sent several times, the first may have been the one that counted.
        if let End::Done {
            base,
            durable: Durable::Quorum,
        } = sent.end
        {
            let of = done.entry(sent.key).or_default();
            of.push((sent.began, sent.ended, base));
        }
    }
    for (key, began) in &mut done {
        let mut ended = began.clone();
        began.sort_unstable();
        ended.sort_unstable_by_key(|(_, ended, _)| *ended);
        let (mut next, mut highest) = (0, None);
        for (begin, _, base) in began {
            while let Some((_, _, other)) = ended.get(next).filter(|(_, end, _)| end < begin) {
                highest = highest.max(Some(*other));
                next += 1;
            }
            if highest.is_some_and(|highest| highest > *base) {
                return Err(format!(
                    "11 real time: {key}: {base} began when {highest:?} was acknowledged"
                ));
            }
        }
    }
    Ok(())
}
