//! Anomalies of what stands where.

use tidegate_histcheck::{Class, Event, Seen, Send, What};

use super::{Plant, acked, has_loss, log_of, placed, reads, scans, sends, written};
use crate::world::Random;

pub(super) const ALL: &[Plant] = &[
    ("every log ends too early", Class::LostWrite, lose_tails),
    (
        "one replica's log ends too early",
        Class::LostWrite,
        lose_one_tail,
    ),
    (
        "an acknowledged record replaced",
        Class::LostWrite,
        replace_acked,
    ),
    (
        "an acknowledged partition's log is empty",
        Class::LostWrite,
        empty_log,
    ),
    (
        "a written batch told as refused",
        Class::AbortedRead,
        refuse_written,
    ),
    (
        "a read batch told as refused",
        Class::AbortedRead,
        refuse_read,
    ),
    (
        "an idempotent record again at the end",
        Class::Duplicate,
        double_at_end,
    ),
    (
        "an idempotent record again in another partition",
        Class::Duplicate,
        double_elsewhere,
    ),
    (
        "two neighbours change places in every log",
        Class::InconsistentOffset,
        swap_everywhere,
    ),
    (
        "two neighbours change places at one replica",
        Class::InconsistentOffset,
        swap_at_one,
    ),
    (
        "a reader sees a neighbour's record",
        Class::InconsistentOffset,
        misread,
    ),
    (
        "an acknowledgement with another offset",
        Class::InconsistentOffset,
        misplace,
    ),
    ("a read record is nowhere", Class::Vanished, vanish),
    (
        "a record that nobody sent, in a log",
        Class::Phantom,
        invent_in_log,
    ),
    (
        "a record that nobody sent, at a reader",
        Class::Phantom,
        invent_at_reader,
    ),
    (
        "a record read before it was sent",
        Class::Phantom,
        read_ahead,
    ),
    ("a record in another partition", Class::Phantom, stray),
    ("a hole in a log", Class::PollSkipped, pierce),
];

fn cut(history: &mut [Event], at: usize, end: u64) {
    log_of(history, at).1.retain(|seen| seen.offset < end);
}

fn lose_tails(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, partition, base) = random.pick(&acked(history))?.clone();
    for at in scans(history) {
        if log_of(history, at).0 == partition {
            cut(history, at, base);
        }
    }
    Some(())
}

fn lose_one_tail(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, partition, base) = random.pick(&acked(history))?.clone();
    let of_it: Vec<usize> = scans(history)
        .into_iter()
        .filter(|at| log_of(history, *at).0 == partition)
        .collect();
    cut(history, *random.pick(&of_it)?, base);
    Some(())
}

fn replace_acked(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, _, _) = random.pick(&acked(history))?.clone();
    for at in scans(history) {
        for seen in log_of(history, at).1 {
            if seen.value == send.values[0] {
                seen.value = u64::MAX;
            }
        }
    }
    Some(())
}

fn empty_log(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, partition, _) = random.pick(&acked(history))?.clone();
    for at in scans(history) {
        if log_of(history, at).0 == partition {
            cut(history, at, 0);
        }
    }
    Some(())
}

/// Turns whatever an operation ended with into a refusal.
fn refuse(history: &mut [Event], op: u64) -> Option<()> {
    let ended = history.iter_mut().find(|event| {
        matches!(event.what, What::Sent { op: of, .. } | What::Unknown { op: of } if of == op)
    })?;
    ended.what = What::Failed { op };
    Some(())
}

fn refuse_written(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, _, _) = random.pick(&written(history))?.clone();
    refuse(history, send.op)
}

fn refuse_read(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, _, seen) = *random.pick(&reads(history))?;
    let op = sends(history)
        .find(|(_, send)| send.values.contains(&seen.value))?
        .1
        .op;
    refuse(history, op)
}

fn append(history: &mut [Event], at: usize, value: u64) {
    let records = log_of(history, at).1;
    let offset = records.last().map_or(0, |last| last.offset + 1);
    records.push(Seen { offset, value });
}

fn idempotent(history: &[Event], random: &mut Random) -> Option<(Send, usize)> {
    let of_it: Vec<_> = written(history)
        .into_iter()
        .filter(|(send, ..)| send.producer.is_some())
        .collect();
    random.pick(&of_it).map(|(send, at, _)| (send.clone(), *at))
}

fn double_at_end(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, at) = idempotent(history, random)?;
    append(history, at, send.values[0]);
    Some(())
}

fn double_elsewhere(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, at) = idempotent(history, random)?;
    let partition = log_of(history, at).0;
    let mut others = scans(history).into_iter();
    let other = others.find(|at| log_of(history, *at).0 != partition)?;
    append(history, other, send.values[0]);
    Some(())
}

/// Exchanges the values at an offset and the next one of a log that has both.
fn swap(history: &mut [Event], at: usize, offset: u64) -> Option<()> {
    let records = log_of(history, at).1;
    let place = records.iter().position(|seen| seen.offset == offset)?;
    let next = records.get(place + 1)?.value;
    let first = std::mem::replace(&mut records[place].value, next);
    records[place + 1].value = first;
    Some(())
}

fn swap_everywhere(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, partition, base) = random.pick(&acked(history))?.clone();
    for at in scans(history) {
        if log_of(history, at).0 == partition {
            swap(history, at, base)?;
        }
    }
    Some(())
}

fn swap_at_one(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, partition, base) = random.pick(&acked(history))?.clone();
    let mut of_it = scans(history).into_iter();
    let at = of_it.rfind(|at| log_of(history, *at).0 == partition)?;
    swap(history, at, base)
}

fn misread(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    if has_loss(history) {
        return None;
    }
    let (at, nth, seen) = *random.pick(&reads(history))?;
    let (_, log, place) = written(history)
        .into_iter()
        .find(|(send, ..)| send.values.contains(&seen.value))?;
    let other = log_of(history, log).1.get(place + 5)?.value;
    if let What::Read { records, .. } = &mut history[at].what {
        records[nth].value = other;
    }
    Some(())
}

fn misplace(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, _, _) = random.pick(&acked(history))?.clone();
    let (at, _, _) = placed(history, send.op)?;
    if let What::Sent { base_offset, .. } = &mut history[at].what {
        *base_offset += 1;
    }
    Some(())
}

fn vanish(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    if has_loss(history) {
        return None;
    }
    let (_, _, seen) = *random.pick(&reads(history))?;
    let mut is_there = false;
    for at in scans(history) {
        let records = log_of(history, at).1;
        if records.iter().any(|other| other.value == seen.value) {
            is_there = true;
            cut(history, at, seen.offset);
        }
    }
    is_there.then_some(())
}

fn invent_in_log(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let at = *random.pick(&scans(history))?;
    append(history, at, u64::MAX);
    Some(())
}

fn invent_at_reader(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (at, nth, _) = *random.pick(&reads(history))?;
    if let What::Read { records, .. } = &mut history[at].what {
        records[nth].value = u64::MAX;
    }
    Some(())
}

fn read_ahead(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, partition, offset) = random.pick(&acked(history))?.clone();
    let (at, _) = sends(history).find(|(_, of)| of.op == send.op)?;
    let value = send.values[0];
    let (reader, high_watermark) = (u64::MAX, None);
    let events = [
        What::ReadFrom {
            reader,
            partition,
            offset,
        },
        What::Read {
            reader,
            records: vec![Seen { offset, value }],
            high_watermark,
        },
    ];
    history.splice(at..at, events.map(|what| Event { client: 9, what }));
    Some(())
}

fn stray(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let is_loose = |send: &Send| {
        let is_told = placed(history, send.op).is_some();
        send.partition.is_some() && send.producer.is_none() && !is_told
    };
    let loose: Vec<_> = sends(history)
        .filter(|(_, send)| is_loose(send))
        .map(|(_, send)| (send.values[0], send.partition))
        .collect();
    let (value, to) = *random.pick(&loose)?;
    let mut others = scans(history);
    others.retain(|at| Some(log_of(history, *at).0) != to);
    append(history, *random.pick(&others)?, value);
    Some(())
}

fn pierce(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let at = *random.pick(&scans(history))?;
    let records = log_of(history, at).1;
    let count = records.len() as u64;
    if count < 3 {
        return None;
    }
    records.remove(1 + random.below(count - 2) as usize);
    Some(())
}
