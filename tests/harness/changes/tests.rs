//! The judge itself: a right history passes, and one of each kind of wrong ones does not.

use super::*;

fn put(created: bool, id: &str, version: u64) -> Ending {
    let id = id.to_owned();
    Ending::Put {
        created,
        id,
        version,
    }
}

fn asked(mark: u64, ask: Ask, (began, ended): (u64, u64), ending: Ending) -> Operation {
    Operation {
        mark,
        topic: "t".to_owned(),
        ask,
        began,
        ended,
        ending,
    }
}

fn event(revision: u64, state: Option<(&str, u64, u64)>) -> Event {
    let state = state.map(|(id, version, mark)| State {
        id: id.to_owned(),
        version,
        mark,
    });
    Event {
        revision,
        topic: "t".to_owned(),
        state,
    }
}

type History = (Vec<Operation>, Vec<Event>, BTreeMap<String, State>);

/// Made, altered twice (of two with one condition one wins), deleted, made again; one outcome unknown.
fn right() -> History {
    let matching = |version| Ask::Ensure {
        if_match: Some(version),
    };
    let refused = |code: &str| Ending::Refused(code.to_owned());
    let operations = vec![
        asked(1, Ask::Create, (1, 2), put(true, "a", 1)),
        asked(2, Ask::Create, (3, 4), refused("already_exists")),
        asked(3, matching(1), (5, 8), put(false, "a", 2)),
        asked(4, matching(1), (6, 9), refused("precondition_failed")),
        asked(
            5,
            Ask::Ensure { if_match: None },
            (10, u64::MAX),
            Ending::Unknown,
        ),
        asked(
            6,
            Ask::Delete { if_match: Some(3) },
            (11, 12),
            Ending::Deleted,
        ),
        asked(
            7,
            Ask::Delete { if_match: None },
            (13, 14),
            refused("topic_not_found"),
        ),
        asked(
            8,
            Ask::Ensure { if_match: None },
            (15, 16),
            put(true, "b", 7),
        ),
        asked(9, matching(7), (17, 18), put(false, "b", 8)),
    ];
    let events = vec![
        event(4, Some(("a", 1, 1))),
        event(5, Some(("a", 2, 3))),
        event(7, Some(("a", 3, 5))),
        event(8, None),
        event(9, Some(("b", 7, 8))),
        event(10, Some(("b", 8, 9))),
    ];
    let last = events[5].state.clone().expect("a state");
    (operations, events, BTreeMap::from([("t".to_owned(), last)]))
}

fn found(history: &History) -> Vec<String> {
    faults(&history.0, &history.1, &history.2)
}

#[test]
fn a_right_history_has_no_fault() {
    assert_eq!(found(&right()), Vec::<String>::new());
}

#[test]
fn each_kind_of_wrong_history_is_found_out() {
    type Damage = fn(&mut History);
    let damages: [(&str, Damage); 14] = [
        ("lost", |history| {
            history.1.pop();
            history.2.get_mut("t").expect("there").clone_from(&State {
                id: "b".to_owned(),
                version: 7,
                mark: 8,
            });
        }),
        ("acted twice", |history| {
            history.1.push(event(11, Some(("b", 9, 9))));
        }),
        ("nobody asked", |history| {
            history.1.push(event(11, Some(("b", 9, 77))));
        }),
        ("refused, and yet done", |history| {
            history.1.push(event(11, Some(("b", 9, 4))));
        }),
        ("revision", |history| history.1[3].revision = 7),
        ("became", |history| {
            history.1[1] = event(5, Some(("a", 3, 3)));
        }),
        ("had version 3 before", |history| {
            history.1[4] = event(9, Some(("b", 3, 8)));
        }),
        ("told otherwise", |history| {
            history.0[2].ending = put(false, "a", 3);
        }),
        ("condition did not hold", |history| {
            history.0[8].ask = Ask::Ensure { if_match: Some(2) };
        }),
        ("deletions of", |history| {
            history.0[6].ending = Ending::Deleted;
        }),
        ("asked for 0", |history| {
            history.0[5].ending = Ending::Refused("topic_not_found".to_owned());
        }),
        ("that began later", |history| {
            (history.0[7].began, history.0[7].ended) = (19, 20);
        }),
        ("refused for no reason", |history| {
            history.0[1].ending = Ending::Refused("precondition_failed".to_owned());
        }),
        ("in the end", |history| {
            history.2.clear();
        }),
    ];
    for (fault, damage) in damages {
        let mut history = right();
        damage(&mut history);
        let found = found(&history);
        assert!(
            found.iter().any(|words| words.contains(fault)),
            "{fault}: {found:?}"
        );
    }
}
