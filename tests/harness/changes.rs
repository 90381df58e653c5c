//! Judges a history of changes to topics: what clients asked and were told, against the one order of
//! events that watchers saw.
//!
//! Each create or alter carries a mark of its own, found again in the event that it made. Pure. Invariant
//! of what it accepts: every answer is one that a single controller could have given which did everything
//! one after the other in the order of the revisions, each thing between its question and its answer.

mod refusals;

use std::collections::BTreeMap;

/// What was asked of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// POST: only if there is none.
    Create,
    /// PUT: creates or changes, conditional on a version or not.
    Ensure { if_match: Option<u64> },
    /// DELETE, conditional on a version or not.
    Delete { if_match: Option<u64> },
}

/// What the client knows of the outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Created or changed; the topic then, as the answer told it.
    Put {
        created: bool,
        id: String,
        version: u64,
    },
    Deleted,
    /// Refused with that code: nothing was done.
    Refused(String),
    /// No answer, and not asked again.
    Unknown,
}

/// One thing that a client did. Times are ticks of one counter that all clients share.
#[derive(Debug, Clone)]
pub struct Operation {
    pub mark: u64,
    pub topic: String,
    pub ask: Ask,
    pub began: u64,
    pub ended: u64,
    pub ending: Ending,
}

/// A topic as an event or a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub id: String,
    pub version: u64,
    pub mark: u64,
}

/// What became of a topic at a revision: gone when there is no state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub revision: u64,
    pub topic: String,
    pub state: Option<State>,
}

/// A topic's states one after the other; before the first it is not there.
type Lives<'a> = BTreeMap<&'a str, Vec<&'a Event>>;

/// Everything that is wrong with a history; nothing when it is right. `last` are the topics at the end.
#[must_use]
pub fn faults(
    operations: &[Operation],
    events: &[Event],
    last: &BTreeMap<String, State>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut lives = Lives::new();
    let mut newest = 0;
    for event in events {
        if event.revision <= newest {
            faults.push(format!("revision {} after {newest}", event.revision));
        }
        newest = event.revision;
        lives.entry(&event.topic).or_default().push(event);
    }
    for (topic, states) in &lives {
        check_versions(topic, states, &mut faults);
    }
    let by_mark = check_marks(operations, events, &mut faults);
    check_puts(operations, &lives, &by_mark, &mut faults);
    check_deletes(operations, &lives, &mut faults);
    check_real_time(operations, &by_mark, &mut faults);
    refusals::check(operations, &lives, &mut faults);
    check_end(&lives, last, &mut faults);
    faults
}

/// Versions of one life grow by one; those of the next are above all of the last.
fn check_versions(topic: &str, states: &[&Event], faults: &mut Vec<String>) {
    let mut before: Option<&State> = None;
    let mut highest = 0;
    for event in states {
        let Some(now) = &event.state else {
            if before.is_none() {
                faults.push(format!("{topic} was deleted twice at {}", event.revision));
            }
            before = None;
            continue;
        };
        let is_next = before.is_none_or(|old| old.id == now.id && old.version + 1 == now.version);
        if now.version <= highest {
            faults.push(format!("{topic} had version {highest} before {now:?}"));
        }
        highest = now.version;
        if !is_next {
            faults.push(format!("{topic}: {before:?} became {now:?}"));
        }
        before = Some(now);
    }
}

/// Each mark shows at most once, on the topic that it was meant for, and not when it was refused.
fn check_marks<'a>(
    operations: &[Operation],
    events: &'a [Event],
    faults: &mut Vec<String>,
) -> BTreeMap<u64, &'a Event> {
    let asked: BTreeMap<u64, &Operation> = operations.iter().map(|one| (one.mark, one)).collect();
    let mut found = BTreeMap::new();
    for event in events {
        let Some(state) = &event.state else { continue };
        if let Some(before) = found.insert(state.mark, event) {
            faults.push(format!("acted twice: {before:?} and {event:?}"));
        }
        match asked.get(&state.mark) {
            None => faults.push(format!("nobody asked for {event:?}")),
            Some(one) if one.topic != event.topic || matches!(one.ask, Ask::Delete { .. }) => {
                faults.push(format!("{one:?} made {event:?}"));
            }
            Some(one) if matches!(one.ending, Ending::Refused(_)) => {
                faults.push(format!("refused, and yet done: {one:?}, {event:?}"));
            }
            Some(_) => {}
        }
    }
    found
}

/// What an acknowledged create or alter says is what its event says, and its condition held just before.
fn check_puts(
    operations: &[Operation],
    lives: &Lives<'_>,
    by_mark: &BTreeMap<u64, &Event>,
    faults: &mut Vec<String>,
) {
    for one in operations {
        let Some(event) = by_mark.get(&one.mark) else {
            if matches!(one.ending, Ending::Put { .. }) {
                faults.push(format!("lost: {one:?}"));
            }
            continue;
        };
        let states = &lives[event.topic.as_str()];
        let at = states.partition_point(|known| known.revision < event.revision);
        let before = at.checked_sub(1).and_then(|at| states[at].state.as_ref());
        if let (
            Ending::Put {
                created,
                id,
                version,
            },
            Some(now),
        ) = (&one.ending, &event.state)
            && (id, *version, *created) != (&now.id, now.version, before.is_none())
        {
            faults.push(format!(
                "told otherwise: {one:?}, {event:?} after {before:?}"
            ));
        }
        let allowed = match one.ask {
            Ask::Create => before.is_none(),
            Ask::Ensure {
                if_match: Some(wanted),
            } => before.is_some_and(|before| before.version == wanted),
            Ask::Ensure { if_match: None } | Ask::Delete { .. } => true,
        };
        if !allowed {
            faults.push(format!("condition did not hold: {one:?} after {before:?}"));
        }
    }
}

/// As many deletions as were acknowledged, of every version that was asked for; more only where the outcome
/// is not known.
fn check_deletes(operations: &[Operation], lives: &Lives<'_>, faults: &mut Vec<String>) {
    let mut made: BTreeMap<(&str, Option<u64>), i64> = BTreeMap::new();
    for (topic, states) in lives {
        for pair in states.windows(2) {
            if let (Some(before), None) = (&pair[0].state, &pair[1].state) {
                *made.entry((topic, Some(before.version))).or_default() += 1;
                *made.entry((topic, None)).or_default() += 1;
            }
        }
    }
    let mut told: BTreeMap<(&str, Option<u64>), i64> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, i64> = BTreeMap::new();
    for one in operations {
        let Ask::Delete { if_match } = one.ask else {
            continue;
        };
        match one.ending {
            Ending::Deleted => {
                *told.entry((&one.topic, None)).or_default() += 1;
                if if_match.is_some() {
                    *told.entry((&one.topic, if_match)).or_default() += 1;
                }
            }
            Ending::Unknown => *unknown.entry(&one.topic).or_default() += 1,
            Ending::Refused(_) => {}
            Ending::Put { .. } => faults.push(format!("a deletion that made something: {one:?}")),
        }
    }
    for (which, count) in &told {
        let made = made.get(which).copied().unwrap_or_default();
        if made < *count {
            faults.push(format!(
                "{count} deletions of {which:?} were told, {made} made"
            ));
        }
    }
    for ((topic, _), count) in made.iter().filter(|((_, version), _)| version.is_none()) {
        let told = told.get(&(*topic, None)).copied().unwrap_or_default();
        let most = told + unknown.get(topic).copied().unwrap_or_default();
        if *count > most {
            faults.push(format!(
                "{topic} was deleted {count} times, asked for {most}"
            ));
        }
    }
}

/// What was answered before something else was asked comes before it.
fn check_real_time(
    operations: &[Operation],
    by_mark: &BTreeMap<u64, &Event>,
    faults: &mut Vec<String>,
) {
    let placed = operations
        .iter()
        .filter_map(|one| Some((by_mark.get(&one.mark)?.revision, one)));
    let mut placed: Vec<(u64, &Operation)> = placed.collect();
    placed.sort_by_key(|(revision, _)| *revision);
    let mut latest: Option<&Operation> = None;
    for (revision, one) in placed {
        if let Some(earlier) = latest.filter(|earlier| one.ended < earlier.began) {
            faults.push(format!(
                "{one:?} at {revision}, after {earlier:?} that began later"
            ));
        }
        if latest.is_none_or(|latest| latest.began < one.began) {
            latest = Some(one);
        }
    }
}

/// The topics at the end are those of the events.
fn check_end(lives: &Lives<'_>, last: &BTreeMap<String, State>, faults: &mut Vec<String>) {
    let folded = lives.iter().filter_map(|(topic, states)| {
        let state = states.last().and_then(|event| event.state.clone())?;
        Some(((*topic).to_owned(), state))
    });
    let folded: BTreeMap<String, State> = folded.collect();
    if folded != *last {
        faults.push(format!("in the end {last:?}, by the events {folded:?}"));
    }
}

#[cfg(test)]
mod tests;
