//! Anomalies, planted in histories that were clean.
//!
//! A plant says nothing when the history has not what it needs. It may cause other anomalies as well (a
//! record that is lost makes room for others), so only its own class is asked for.

use tidegate_histcheck::{Acks, Class, Event, Seen, Send, What};

use crate::world::Random;

mod contents;
mod coordination;
mod order;

/// Its name, what must be found, and how it is done.
pub(crate) type Plant = (
    &'static str,
    Class,
    fn(&mut Vec<Event>, &mut Random) -> Option<()>,
);

pub(crate) fn all() -> Vec<Plant> {
    [contents::ALL, order::ALL, coordination::ALL].concat()
}

/// The logs at the end: their places in the history.
pub(crate) fn scans(history: &[Event]) -> Vec<usize> {
    let is_scan = |at: &usize| matches!(history[*at].what, What::Scan { .. });
    (0..history.len()).filter(is_scan).collect()
}

pub(crate) fn log_of(history: &mut [Event], at: usize) -> (u32, &mut Vec<Seen>) {
    match &mut history[at].what {
        What::Scan {
            partition, records, ..
        } => (*partition, records),
        other => panic!("no scan: {other:?}"),
    }
}

pub(crate) fn sends(history: &[Event]) -> impl Iterator<Item = (usize, &Send)> {
    history
        .iter()
        .enumerate()
        .filter_map(|(at, event)| match &event.what {
            What::Send(send) => Some((at, send)),
            _ => None,
        })
}

/// Where operation `op` ended: its place, partition and first offset.
pub(crate) fn placed(history: &[Event], op: u64) -> Option<(usize, u32, u64)> {
    history
        .iter()
        .enumerate()
        .find_map(|(at, event)| match event.what {
            What::Sent {
                op: of,
                partition,
                base_offset,
            } if of == op => Some((at, partition, base_offset)),
            _ => None,
        })
}

/// From where on no log has been given up, so that losses count.
fn has_loss(history: &[Event]) -> bool {
    let is_loss = |event: &Event| matches!(event.what, What::LossAccepted { .. });
    history.iter().any(is_loss)
}

/// Batches that are acknowledged as replicated and stand in every log of their partition.
pub(crate) fn acked(history: &[Event]) -> Vec<(Send, u32, u64)> {
    if has_loss(history) {
        return Vec::new();
    }
    let starts = scans(history)
        .into_iter()
        .filter_map(|at| match history[at].what {
            What::Scan {
                partition,
                log_start,
                ..
            } => Some((partition, log_start)),
            _ => None,
        });
    let starts: Vec<(u32, u64)> = starts.collect();
    let all = sends(history).filter(|(_, send)| send.acks == Acks::Quorum);
    all.filter_map(|(_, send)| {
        let (_, partition, base) = placed(history, send.op)?;
        let mut of_it = starts.iter().filter(|(of, _)| *of == partition);
        of_it
            .all(|(_, start)| *start <= base)
            .then(|| (send.clone(), partition, base))
    })
    .collect()
}

/// Batches that stand in the first scan of their partition, with their place in it.
fn written(history: &[Event]) -> Vec<(Send, usize, usize)> {
    let mut found = Vec::new();
    for (_, send) in sends(history) {
        for at in scans(history) {
            let What::Scan { records, .. } = &history[at].what else {
                continue;
            };
            let place = records.iter().position(|seen| seen.value == send.values[0]);
            if let Some(place) = place {
                found.push((send.clone(), at, place));
                break;
            }
        }
    }
    found
}

/// Records in readers' hands: place in the history and in the answer.
pub(crate) fn reads(history: &[Event]) -> Vec<(usize, usize, Seen)> {
    let mut found = Vec::new();
    for (at, event) in history.iter().enumerate() {
        if let What::Read { records, .. } = &event.what {
            found.extend(
                records
                    .iter()
                    .enumerate()
                    .map(|(nth, seen)| (at, nth, *seen)),
            );
        }
    }
    found
}

/// Puts events before the logs at the end.
fn add(history: &mut Vec<Event>, what: impl IntoIterator<Item = What>) -> Option<()> {
    let at = *scans(history).first()?;
    let events = what.into_iter().map(|what| Event { client: 9, what });
    history.splice(at..at, events);
    Some(())
}
