//! The judge itself: a right history passes, and one of each kind of wrong ones does not.

use super::*;

type History = (Vec<Sent>, Vec<Read>, BTreeMap<u32, Vec<String>>);

fn right() -> History {
    let sent = |producer, value: &str, (began, ended), fate| Sent {
        producer,
        value: value.to_owned(),
        began,
        ended,
        fate,
    };
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let read = |consumer: &str, values: &[&str]| Read {
        consumer: consumer.to_owned(),
        partition: 0,
        records: (0..).zip(words(values)).collect(),
    };
    let all = vec![
        sent(1, "a", (1, 2), Fate::Acknowledged((0, 0))),
        sent(1, "b", (3, 6), Fate::Acknowledged((0, 1))),
        sent(2, "c", (4, 5), Fate::Acknowledged((0, 2))),
        sent(2, "d", (7, u64::MAX), Fate::Unknown),
        sent(2, "e", (8, u64::MAX), Fate::Unknown),
        sent(1, "f", (9, 10), Fate::Refused),
        sent(1, "g", (11, 12), Fate::Acknowledged((1, 0))),
    ];
    let reads = vec![
        read("whole", &["a", "b", "c", "d"]),
        read("slow", &["a", "b"]),
    ];
    let log = BTreeMap::from([(0, words(&["a", "b", "c", "d"])), (1, words(&["g"]))]);
    (all, reads, log)
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
    let damages: [(&str, Damage); 11] = [
        ("lost", |history| drop(history.2.remove(&1))),
        ("lost", |history| {
            history.2.get_mut(&0).expect("there").swap(0, 1)
        }),
        ("stored twice", |history| {
            history.2.get_mut(&1).expect("there").push("a".to_owned());
        }),
        ("refused, and yet stored", |history| {
            history.2.get_mut(&1).expect("there").push("f".to_owned());
        }),
        ("nobody sent", |history| {
            history.2.get_mut(&1).expect("there").push("x".to_owned());
        }),
        ("out of order", |history| history.0.swap(0, 1)),
        ("stands after what was sent later", |history| {
            (history.0[1].began, history.0[1].ended) = (13, 14);
        }),
        ("where 0 was due", |history| {
            drop(history.1[0].records.remove(0))
        }),
        ("where 1 was due", |history| {
            drop(history.1[0].records.remove(1))
        }),
        ("where 4 was due", |history| {
            let again = history.1[0].records[2].clone();
            history.1[0].records.push(again);
        }),
        ("there is", |history| {
            "x".clone_into(&mut history.1[1].records[0].1)
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
