//! Anomalies of groups, of leaders and of watches.

use tidegate_histcheck::{Class, Event, What};

use super::{Plant, add};
use crate::world::Random;

pub(super) const ALL: &[Plant] = &[
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
