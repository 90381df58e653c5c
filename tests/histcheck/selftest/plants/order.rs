//! Anomalies of order: of producers, of readers, and in time.

use tidegate_histcheck::{Class, Event, Producer, Seen, What};

use super::{Plant, acked, add, placed, reads, sends};
use crate::world::Random;

pub(super) const ALL: &[Plant] = &[
    (
        "two batches change sequence numbers",
        Class::Reordered,
        swap_sequences,
    ),
    (
        "a sequence number left out",
        Class::SequenceGap,
        skip_sequence,
    ),
    (
        "a sequence number used twice",
        Class::Duplicate,
        repeat_sequence,
    ),
    ("a reader misses a record", Class::PollSkipped, skip_record),
    ("a reader begins too late", Class::PollSkipped, begin_late),
    (
        "a reader gets a record again",
        Class::PollBackwards,
        repeat_record,
    ),
    ("a reader is sent back", Class::PollBackwards, go_back),
    (
        "a record at the watermark",
        Class::BeyondWatermark,
        lower_mark,
    ),
    (
        "a record above the watermark",
        Class::BeyondWatermark,
        zero_mark,
    ),
    (
        "a batch sent late stands before others",
        Class::RealTimeOrder,
        send_late,
    ),
    (
        "a batch stands before what was read",
        Class::RealTimeOrder,
        send_after_read,
    ),
    ("latest falls to zero", Class::LatestBackwards, zero_latest),
    (
        "latest falls within an epoch",
        Class::LatestBackwards,
        fall_in_scope,
    ),
    (
        "latest below an acknowledgement",
        Class::LatestBackwards,
        latest_below_ack,
    ),
];

/// Two acknowledged batches of one producer and epoch, next to each other.
fn neighbours(history: &[Event], random: &mut Random) -> Option<(u64, Producer, u64, Producer)> {
    let of_it = acked(history);
    let of_it: Vec<_> = of_it
        .iter()
        .filter_map(|(send, ..)| Some((send.op, send.producer?)))
        .collect();
    let pairs: Vec<_> = of_it
        .iter()
        .flat_map(|one| of_it.iter().map(move |other| (one, other)))
        .filter(|((_, one), (_, other))| {
            one.id == other.id && one.epoch == other.epoch && one.sequence < other.sequence
        })
        .map(|((op, one), (next, other))| (*op, *one, *next, *other))
        .collect();
    random.pick(&pairs).copied()
}

fn set_producer(history: &mut [Event], op: u64, to: Producer) {
    for event in history {
        if let What::Send(send) = &mut event.what
            && send.op == op
        {
            send.producer = Some(to);
        }
    }
}

fn swap_sequences(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (op, producer, next, other) = neighbours(history, random)?;
    set_producer(history, op, other);
    set_producer(history, next, producer);
    Some(())
}

fn skip_sequence(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, _, _, from) = neighbours(history, random)?;
    for event in history {
        if let What::Send(send) = &mut event.what
            && let Some(producer) = &mut send.producer
            && (producer.id, producer.epoch) == (from.id, from.epoch)
            && producer.sequence >= from.sequence
        {
            producer.sequence += 1;
        }
    }
    Some(())
}

fn repeat_sequence(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, producer, next, _) = neighbours(history, random)?;
    set_producer(history, next, producer);
    Some(())
}

fn edit_read(history: &mut [Event], at: usize, edit: impl FnOnce(&mut Vec<Seen>)) {
    if let What::Read { records, .. } = &mut history[at].what {
        edit(records);
    }
}

fn skip_record(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let all = reads(history);
    let has_next = |(at, nth, _): &&(usize, usize, Seen)| {
        all.iter()
            .any(|(other, later, _)| other == at && later > nth)
    };
    let inner: Vec<_> = all.iter().filter(has_next).copied().collect();
    let (at, nth, _) = *random.pick(&inner)?;
    edit_read(history, at, |records| {
        records.remove(nth);
    });
    Some(())
}

fn begin_late(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (at, _, _) = *random.pick(&reads(history))?;
    let What::Read { reader, .. } = history[at].what else {
        return None;
    };
    let is_moved =
        |event: &Event| matches!(event.what, What::Moved { reader: of, .. } if of == reader);
    if history.iter().any(is_moved) {
        return None;
    }
    for event in history.iter_mut() {
        if let What::ReadFrom {
            reader: of, offset, ..
        } = &mut event.what
            && *of == reader
        {
            *offset = offset.checked_sub(1)?;
        }
    }
    Some(())
}

fn repeat_record(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (at, nth, seen) = *random.pick(&reads(history))?;
    edit_read(history, at, |records| records.insert(nth, seen));
    Some(())
}

fn go_back(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (at, _, _) = *random.pick(&reads(history))?;
    let again = history[at].clone();
    history.insert(at + 1, again);
    Some(())
}

fn set_mark(history: &mut [Event], random: &mut Random, to: impl FnOnce(u64) -> u64) -> Option<()> {
    let (at, _, seen) = *random.pick(&reads(history))?;
    if let What::Read { high_watermark, .. } = &mut history[at].what {
        *high_watermark = Some(to(seen.offset));
    }
    Some(())
}

fn lower_mark(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    set_mark(history, random, |offset| offset)
}

fn zero_mark(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    set_mark(history, random, |_| 0)
}

/// Moves a batch's beginning and end behind everything else.
fn send_late(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let all = acked(history);
    let (send, partition, base) = random.pick(&all)?.clone();
    let is_later = |(_, of, at): &(_, u32, u64)| *of == partition && *at > base;
    all.iter().find(|other| is_later(other))?;
    let (ended, ..) = placed(history, send.op)?;
    let (begun, _) = sends(history).find(|(_, of)| of.op == send.op)?;
    let end = history.remove(ended).what;
    let begin = history.remove(begun).what;
    add(history, [begin, end])
}

fn send_after_read(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, partition, base) = random.pick(&acked(history))?.clone();
    let above = acked(history).into_iter().find_map(|(other, of, offset)| {
        (of == partition && offset > base).then_some((other.values[0], offset))
    });
    let (value, offset) = above?;
    let (at, _) = sends(history).find(|(_, of)| of.op == send.op)?;
    let events = [
        What::ReadFrom {
            reader: u64::MAX,
            partition,
            offset,
        },
        What::Read {
            reader: u64::MAX,
            records: vec![Seen { offset, value }],
            high_watermark: None,
        },
    ];
    history.splice(at..at, events.map(|what| Event { client: 9, what }));
    Some(())
}

fn latest(op: u64, partition: u32, scope: Option<u64>, offset: u64) -> [What; 2] {
    [
        What::AskLatest { op, partition },
        What::Latest { op, offset, scope },
    ]
}

fn zero_latest(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (_, _, seen) = *random.pick(&reads(history))?;
    let op = sends(history)
        .find(|(_, send)| send.values.contains(&seen.value))?
        .1
        .op;
    let (_, partition, _) = placed(history, op)?;
    let is_loss = |event: &Event| matches!(event.what, What::LossAccepted { .. });
    if history.iter().any(is_loss) {
        return None;
    }
    add(history, latest(u64::MAX, partition, None, 0))
}

fn fall_in_scope(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let high = 1 + random.below(100);
    let what = [
        latest(u64::MAX, 7, Some(3), high),
        latest(u64::MAX - 1, 7, Some(3), high - 1),
    ];
    add(history, what.into_iter().flatten())
}

fn latest_below_ack(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let (send, partition, base) = random.pick(&acked(history))?.clone();
    let below = base + send.values.len() as u64 - 1;
    add(history, latest(u64::MAX, partition, None, below))
}
