//! Refusals that cannot have been right: what they deny held for as long as the question was open.
//!
//! A state surely holds from the answer that made it to the question that ended it. Deletions carry no mark,
//! so of states beside one only what is sure by others is judged.

use std::collections::BTreeMap;

use super::{Ask, Ending, Event, Lives, Operation, State};

/// From when and until when a topic was surely in one state.
struct Held<'a> {
    state: Option<&'a State>,
    from: u64,
    until: u64,
}

pub(super) fn check(operations: &[Operation], lives: &Lives<'_>, faults: &mut Vec<String>) {
    let asked: BTreeMap<u64, &Operation> = operations.iter().map(|one| (one.mark, one)).collect();
    let held: BTreeMap<&str, Vec<Held<'_>>> = lives
        .iter()
        .map(|(topic, states)| (*topic, held(states, &asked)))
        .collect();
    for one in operations {
        let Ending::Refused(code) = &one.ending else {
            continue;
        };
        let stood = held.get(one.topic.as_str()).into_iter().flatten();
        let mut stood = stood.filter(|held| held.from < one.began && one.ended < held.until);
        if let Some(held) = stood.find(|held| !is_right(code, one.ask, held.state)) {
            faults.push(format!(
                "refused for no reason: {one:?}, it was {:?}",
                held.state
            ));
        }
    }
}

/// Whether a topic in that state may be answered so.
fn is_right(code: &str, ask: Ask, state: Option<&State>) -> bool {
    match (code, ask) {
        ("already_exists", Ask::Create) => state.is_some(),
        ("topic_not_found", Ask::Delete { .. }) => state.is_none(),
        (
            "precondition_failed",
            Ask::Ensure {
                if_match: Some(wanted),
            }
            | Ask::Delete {
                if_match: Some(wanted),
            },
        ) => state.is_none_or(|state| state.version != wanted),
        _ => false,
    }
}

fn held<'a>(states: &[&'a Event], asked: &BTreeMap<u64, &Operation>) -> Vec<Held<'a>> {
    let maker = |event: Option<&&Event>| {
        let mark = event?.state.as_ref()?.mark;
        asked.get(&mark).copied()
    };
    let mut held = Vec::new();
    let before_all = maker(states.first()).map_or(0, |first| first.began);
    held.push(Held {
        state: None,
        from: 0,
        until: before_all,
    });
    for (at, event) in states.iter().enumerate() {
        let answered = maker(Some(event)).filter(|one| matches!(one.ending, Ending::Put { .. }));
        let until = match states.get(at + 1) {
            None => u64::MAX,
            next => maker(next).map_or(0, |next| next.began),
        };
        held.extend(answered.map(|one| Held {
            state: event.state.as_ref(),
            from: one.ended,
            until,
        }));
    }
    held
}
