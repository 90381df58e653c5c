//! Histories small enough to be read: the edges of each rule, both sides.

use tidegate_histcheck::{Acks, Class, Event, Malformed, Producer, Seen, Send, What, check};

fn history(what: impl IntoIterator<Item = What>) -> Vec<Event> {
    let event = |what| Event { client: 0, what };
    what.into_iter().map(event).collect()
}

fn classes(what: impl IntoIterator<Item = What>) -> Vec<Class> {
    let verdict = check(&history(what)).expect("a history");
    verdict.found().keys().copied().collect()
}

fn send(op: u64, values: impl Into<Vec<u64>>) -> What {
    What::Send(Send {
        op,
        partition: Some(0),
        acks: Acks::Quorum,
        producer: None,
        values: values.into(),
    })
}

const fn sent(op: u64, base_offset: u64) -> What {
    What::Sent {
        op,
        partition: 0,
        base_offset,
    }
}

fn scan(log_start: u64, values: &[u64]) -> What {
    let records = (log_start..).zip(values);
    What::Scan {
        partition: 0,
        replica: 0,
        log_start,
        records: records
            .map(|(offset, value)| Seen {
                offset,
                value: *value,
            })
            .collect(),
    }
}

#[test]
fn an_empty_history_is_clean() {
    assert_eq!(classes([]), []);
}

#[test]
fn one_lost_record_is_one_lost_write_and_nothing_else() {
    assert_eq!(
        classes([send(1, [1, 2]), sent(1, 0), scan(0, &[1])]),
        [Class::LostWrite]
    );
    assert_eq!(classes([send(1, [1, 2]), sent(1, 0), scan(0, &[1, 2])]), []);
}

#[test]
fn what_retention_took_is_not_lost() {
    let verdict = check(&history([send(1, [1, 2]), sent(1, 0), scan(1, &[2])])).expect("a history");
    assert!(verdict.is_clean());
    assert_eq!(verdict.counts.unjudged, 1);
}

#[test]
fn a_record_without_an_outcome_may_be_there_or_not() {
    assert_eq!(classes([send(1, [1]), scan(0, &[1])]), []);
    assert_eq!(classes([send(1, [1]), scan(0, &[])]), []);
    assert_eq!(
        classes([send(1, [1]), What::Failed { op: 1 }, scan(0, &[1])]),
        [Class::AbortedRead]
    );
}

#[test]
fn only_what_did_not_overlap_has_an_order() {
    let overlapping = [
        send(1, [1]),
        send(2, [2]),
        sent(1, 1),
        sent(2, 0),
        scan(0, &[2, 1]),
    ];
    assert_eq!(classes(overlapping), []);
    let one_after_the_other = [
        send(1, [1]),
        sent(1, 1),
        send(2, [2]),
        sent(2, 0),
        scan(0, &[2, 1]),
    ];
    assert_eq!(classes(one_after_the_other), [Class::RealTimeOrder]);
    let unknown = [
        send(1, [1]),
        sent(1, 1),
        send(2, [2]),
        What::Unknown { op: 2 },
        scan(0, &[2, 1]),
    ];
    assert_eq!(classes(unknown), [Class::RealTimeOrder]);
}

#[test]
fn a_second_place_is_an_error_of_idempotent_producers_only() {
    let once = |producer| {
        let batch = Send {
            op: 1,
            partition: Some(0),
            acks: Acks::Quorum,
            producer,
            values: vec![1],
        };
        [What::Send(batch), sent(1, 0), scan(0, &[1, 1])]
    };
    assert_eq!(classes(once(None)), []);
    let producer = Producer {
        id: 1,
        epoch: 0,
        sequence: 0,
    };
    assert_eq!(classes(once(Some(producer))), [Class::Duplicate]);
}

#[test]
fn an_accepted_loss_forgives_what_was_known_before_it_and_nothing_later() {
    let lost = What::LossAccepted {
        partition: 0,
        from: 0,
    };
    let before = [send(1, [1]), sent(1, 0), lost.clone(), scan(0, &[])];
    assert_eq!(classes(before), []);
    let after = [lost, send(1, [1]), sent(1, 0), scan(0, &[])];
    assert_eq!(classes(after), [Class::LostWrite]);
    let above = What::LossAccepted {
        partition: 0,
        from: 1,
    };
    let below = [send(1, [1]), sent(1, 0), above, scan(0, &[])];
    assert_eq!(classes(below), [Class::LostWrite]);
}

#[test]
fn a_forced_commit_may_take_a_group_back() {
    let commit = |op, offset, is_forced| What::Commit {
        op,
        group: 0,
        partition: 0,
        assignment_epoch: 0,
        offset,
        is_forced,
    };
    let ask = What::AskCommitted {
        op: 3,
        group: 0,
        partition: 0,
    };
    let found = |offset| What::FoundCommitted {
        op: 3,
        offset: Some(offset),
    };
    for (is_forced, expected) in [(true, vec![]), (false, vec![Class::GroupBackwards])] {
        let all = [
            commit(1, 9, false),
            What::Committed { op: 1 },
            commit(2, 4, is_forced),
            What::Committed { op: 2 },
            ask.clone(),
            found(4),
        ];
        assert_eq!(classes(all), expected);
    }
}

#[test]
fn a_recorder_that_contradicts_itself_is_told() {
    let wrong = |what: Vec<What>| check(&history(what)).expect_err("no history");
    assert_eq!(
        wrong(vec![send(1, [1]), send(1, [2])]),
        Malformed::BegunTwice { at: 1, op: 1 }
    );
    assert_eq!(
        wrong(vec![sent(1, 0)]),
        Malformed::NotBegun { at: 0, op: 1 }
    );
    assert_eq!(
        wrong(vec![send(1, [1]), sent(1, 0), What::Unknown { op: 1 }]),
        Malformed::EndedTwice { at: 2, op: 1 }
    );
    assert_eq!(
        wrong(vec![send(1, [1]), send(2, [1])]),
        Malformed::ValueTwice { at: 1, value: 1 }
    );
    let elsewhere = What::Sent {
        op: 1,
        partition: 1,
        base_offset: 0,
    };
    assert_eq!(
        wrong(vec![send(1, [1]), elsewhere]),
        Malformed::OtherPartition { at: 1, op: 1 }
    );
    let unread = What::Moved {
        reader: 1,
        offset: 0,
    };
    assert_eq!(wrong(vec![unread]), Malformed::Reader { at: 0, reader: 1 });
    let unwatched = What::Revision {
        watch: 1,
        revision: 0,
    };
    assert_eq!(wrong(vec![unwatched]), Malformed::Watch { at: 0, watch: 1 });
}
