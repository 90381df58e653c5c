//! Anomalies of order, of groups and of watches, planted in histories that were clean.

use tidegate_histcheck::{Class, Event, Producer, Seen, What};

use crate::plants::{Plant, acked, placed, reads, scans, sends};
use crate::world::Random;

pub(crate) const ALL: &[Plant] = &[
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
    (
        "a committed position falls",
        Class::GroupBackwards,
        fall_of_group,
    ),
    (
        "a committed position is forgotten",
        Class::GroupBackwards,
        forget_group,
    ),
    (
        "a read position falls",
        Class::GroupBackwards,
        fall_of_readings,
    ),
    (
        "a commit of an assignment that is over",
        Class::ZombieCommit,
        zombie,
    ),
    (
        "one assignment, two members",
        Class::TwoOwners,
        second_owner,
    ),
    ("one epoch, two leaders", Class::TwoLeaders, second_leader),
    ("a watch misses a revision", Class::WatchGap, miss_revision),
    ("a watch begins too late", Class::WatchGap, watch_late),
    (
        "a filtered watch misses a revision",
        Class::WatchGap,
        miss_filtered,
    ),
    (
        "a watch gets a revision again",
        Class::WatchBackwards,
        repeat_revision,
    ),
    (
        "two revisions change places",
        Class::WatchBackwards,
        swap_revisions,
    ),
];

fn add(history: &mut Vec<Event>, what: impl IntoIterator<Item = What>) -> Option<()> {
    let at = *scans(history).first()?;
    let events = what.into_iter().map(|what| Event { client: 9, what });
    history.splice(at..at, events);
    Some(())
}

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
        What::AskLatest {
            op,
            partition,
            scope,
        },
        What::Latest { op, offset },
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

const GROUP: u32 = 99;

fn commit(op: u64, assignment_epoch: u64, offset: u64) -> [What; 2] {
    [
        What::Commit {
            op,
            group: GROUP,
            partition: 0,
            assignment_epoch,
            offset,
            is_forced: false,
        },
        What::Committed { op },
    ]
}

fn find(op: u64, offset: Option<u64>) -> [What; 2] {
    let (group, partition) = (GROUP, 0);
    [
        What::AskCommitted {
            op,
            group,
            partition,
        },
        What::FoundCommitted { op, offset },
    ]
}

fn fall_of_group(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let offset = 1 + random.below(100);
    let what = [
        commit(u64::MAX, 1, offset),
        find(u64::MAX - 1, Some(offset - 1)),
    ];
    add(history, what.into_iter().flatten())
}

fn forget_group(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let what = [
        commit(u64::MAX, 1, random.below(9)),
        find(u64::MAX - 1, None),
    ];
    add(history, what.into_iter().flatten())
}

fn fall_of_readings(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let offset = 1 + random.below(100);
    let what = [
        find(u64::MAX, Some(offset)),
        find(u64::MAX - 1, Some(offset - 1)),
    ];
    add(history, what.into_iter().flatten())
}

fn zombie(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let epoch = 1 + random.below(9);
    let what = [
        commit(u64::MAX, epoch, 5),
        commit(u64::MAX - 1, epoch - 1, 9),
    ];
    add(history, what.into_iter().flatten())
}

fn second_owner(history: &mut Vec<Event>, _: &mut Random) -> Option<()> {
    let mut owned = history.iter().filter_map(|event| match event.what {
        What::Owned { .. } => Some(event.what.clone()),
        _ => None,
    });
    let mut owned = owned.next()?;
    if let What::Owned { member, .. } = &mut owned {
        *member += 1;
    }
    add(history, [owned])
}

fn second_leader(history: &mut Vec<Event>, _: &mut Random) -> Option<()> {
    let mut led = history.iter().filter_map(|event| match event.what {
        What::Led { .. } => Some(event.what.clone()),
        _ => None,
    });
    let mut led = led.next()?;
    if let What::Led { leader, .. } = &mut led {
        *leader += 1;
    }
    add(history, [led])
}

/// Places in the history of what the first watch of that kind was told, without a break.
fn told(history: &[Event], filter: Option<u32>) -> Vec<usize> {
    let mut best = Vec::new();
    for (from, event) in history.iter().enumerate() {
        let watch = match event.what {
            What::Watched {
                watch, filter: of, ..
            } if of == filter => watch,
            _ => continue,
        };
        let mut run = Vec::new();
        for (at, event) in history.iter().enumerate().skip(from) {
            match event.what {
                What::Revision { watch: of, .. } if of == watch => run.push(at),
                What::Compacted { watch: of, .. } if of == watch => break,
                _ => {}
            }
        }
        if run.len() > best.len() {
            best = run;
        }
    }
    best
}

fn inner(run: &[usize], random: &mut Random) -> Option<usize> {
    let inner = run.get(1..run.len().checked_sub(1)?)?;
    random.pick(inner).copied()
}

fn miss_revision(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let run = told(history, None);
    history.remove(inner(&run, random)?);
    Some(())
}

fn watch_late(history: &mut Vec<Event>, _: &mut Random) -> Option<()> {
    let first = *told(history, None).first()?;
    let What::Revision { watch, .. } = history[first].what else {
        return None;
    };
    for event in history.iter_mut() {
        if let What::Watched {
            watch: of, after, ..
        } = &mut event.what
            && *of == watch
        {
            *after = after.checked_sub(1)?;
        }
    }
    Some(())
}

fn miss_filtered(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let run = told(history, Some(0));
    let at = inner(&run, random)?;
    let What::Revision { revision, .. } = history[at].what else {
        return None;
    };
    let mut others = history.iter().enumerate();
    let is_same =
        |event: &Event| matches!(event.what, What::Revision { revision: of, .. } if of == revision);
    // An unfiltered watch does not know what the filter lets through.
    let filtered = |event: &Event| {
        match event.what {
        What::Revision { watch, .. } => history.iter().any(|other| {
            matches!(other.what, What::Watched { watch: of, filter: Some(0), .. } if of == watch)
        }),
        _ => false,
    }
    };
    others.find(|(other, event)| *other != at && is_same(event) && filtered(event))?;
    history.remove(at);
    Some(())
}

fn repeat_revision(history: &mut Vec<Event>, random: &mut Random) -> Option<()> {
    let at = *random.pick(&told(history, None))?;
    let again = history[at].clone();
    history.insert(at, again);
    Some(())
}

fn swap_revisions(history: &mut Vec<Event>, _: &mut Random) -> Option<()> {
    let run = told(history, Some(0));
    let (first, second) = (*run.first()?, *run.get(1)?);
    history.swap(first, second);
    Some(())
}
