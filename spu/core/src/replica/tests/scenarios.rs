//! One promise each, in a few steps.

use tidegate_proto::limits::REQUEST_KEY_WINDOW_MS;

use super::*;
use crate::limits::{
    AGE_MARK_EVERY_MS, SNAPSHOT_AT_STOP_BYTES, SNAPSHOT_EVERY_BYTES, SNAPSHOT_EVERY_MS,
};

#[test]
fn an_epoch_is_durable_before_anything_happens_in_it() {
    let mut world = World::asleep(facts(1, Offset::ZERO, Ledger::default(), false), false);
    let early = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.outcome(early), Some(Err(Refusal::NotReady)));
    let effects = world.step(Input::Assigned(row(1, Some(OWN))));
    assert!(matches!(effects[0], Effect::Persist(meta) if meta.leader_epoch == LeaderEpoch(1)));
    let opening = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.outcome(opening), Some(Err(Refusal::NotReady)));
    world.step(Input::Persisted {
        epoch: LeaderEpoch(1),
    });
    let served = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.base(served), (0, false));
}

#[test]
fn the_marker_of_an_epoch_comes_before_its_first_batch_and_takes_no_offset() {
    let mut world = World::new(false);
    assert!(world.log.is_empty());
    world.one((1, 0, 0), 2);
    world.one((1, 0, 2), 2);
    let shape: Vec<_> = world
        .log
        .iter()
        .map(|b| (b.placement.base_offset.get(), b.client.is_control()))
        .collect();
    assert_eq!(shape, [(0, true), (0, false), (2, false)]);
}

#[test]
fn answers_wait_for_what_they_promise() {
    let mut world = World::new(false);
    let none = world.append(vec![batch(None, 1, None)], Acks::None, None);
    let leader = world.append(vec![batch(None, 1, None)], Acks::Leader, None);
    let quorum = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    assert_eq!(world.base(none), (0, false));
    assert_eq!((world.outcome(leader), world.outcome(quorum)), (None, None));
    world.sync();
    assert_eq!(world.replies[&leader].unwrap().durable, Durable::Leader);
    assert_eq!(world.replies[&quorum].unwrap().durable, Durable::Quorum);
    assert_eq!(world.base(quorum), (2, false));
}

#[test]
fn readers_are_told_before_the_producer_is() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    world.durable = world.log.len();
    let effects = world.step(durable(world.durable_end()));
    assert!(
        matches!(effects[..], [Effect::Publish, Effect::Reply { .. }]),
        "{effects:?}"
    );
}

#[test]
fn an_interval_topic_waits_for_the_write_and_not_for_the_sync_and_says_so() {
    for acks in [Acks::Leader, Acks::Quorum] {
        let mut world = World::new(true);
        let request = world.append(vec![batch(None, 1, None)], acks, None);
        assert_eq!(world.outcome(request), None);
        assert_eq!(world.replica.status().high_watermark, Offset::ZERO);
        world.write(2); // The epoch's marker came first.
        assert_eq!(world.replies[&request].unwrap().durable, Durable::Memory);
        assert_eq!(world.replica.status().high_watermark, Offset::new(1));
        world.kill();
        assert_eq!(world.replica.status().end, Offset::new(1));
    }
}

#[test]
fn a_sync_alone_answers_too() {
    let mut world = World::new(true);
    let request = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    world.sync();
    assert_eq!(world.base(request), (0, false));
}

#[test]
fn a_request_that_waits_as_its_topic_turns_to_interval_is_not_told_that_it_is_on_the_disk() {
    let mut world = World::new(false);
    let first = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    world.write(2);
    assert_eq!(
        world.outcome(first),
        None,
        "an ack topic waits for the sync"
    );
    world.configure(true);
    assert_eq!(world.replies[&first].unwrap().durable, Durable::Memory);
    world.configure(false);
    let second = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    world.write(1);
    assert_eq!(world.outcome(second), None);
    world.sync();
    assert_eq!(world.replies[&second].unwrap().durable, Durable::Quorum);
}

#[test]
fn a_duplicate_waits_like_the_first_and_gets_its_offset() {
    let mut world = World::new(false);
    let first = world.one((1, 0, 0), 3);
    let again = world.one((1, 0, 0), 3);
    assert_eq!(world.outcome(again), None);
    world.sync();
    assert_eq!(
        (world.base(first), world.base(again)),
        ((0, false), (0, true))
    );
    let late = world.one((1, 0, 1), 1);
    assert_eq!(world.base(late), (1, true));
}

#[test]
fn an_early_request_waits_for_the_gap_to_close() {
    let mut world = World::new(false);
    let third = world.one((1, 0, 2), 1);
    let second = world.one((1, 0, 1), 1);
    assert!(world.replies.is_empty());
    let first = world.one((1, 0, 0), 1);
    world.sync();
    let bases = [first, second, third].map(|request| world.base(request));
    assert_eq!(bases, [(0, false), (1, false), (2, false)]);
}

#[test]
fn early_requests_find_their_order_also_where_the_sequence_wraps() {
    let mut ledger = Ledger::default();
    let last = batch(Some((1, 0, u32::MAX - 1)), 1, None);
    ledger.observe(&BatchFacts {
        base_offset: Offset::ZERO,
        leader_epoch: LeaderEpoch(0),
        append_time_ms: 0,
        record_count: 1,
        producer: last.producer(),
        request: None,
    });
    let mut world = World::asleep(facts(1, Offset::ZERO, ledger, false), false);
    world.lead(1);
    let [third, second] = [1, 0].map(|seq| world.one((1, 0, seq), 1));
    let first = world.one((1, 0, u32::MAX), 1);
    world.sync();
    let bases = [first, second, third].map(|request| world.base(request).0);
    assert_eq!(bases, [0, 1, 2]);
}

#[test]
fn waiting_for_a_gap_is_not_prolonged_by_others_of_the_producer() {
    let mut world = World::new(false);
    let early = world.one((1, 0, 9), 1);
    world.now.monotonic_ms += 600;
    world.one((1, 0, 0), 1);
    world.now.monotonic_ms += 400;
    world.step(Input::Tick);
    let expected = Refusal::OutOfOrder {
        expected: 1,
        received: 9,
    };
    assert_eq!(world.outcome(early), Some(Err(expected)));
}

#[test]
fn a_gap_that_stays_is_refused_with_both_numbers() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 1);
    world.sync();
    let early = world.one((1, 0, 5), 1);
    let stranger = world.one((2, 0, 5), 1);
    world.now.monotonic_ms += 999;
    world.step(Input::Tick);
    assert_eq!(world.outcome(early), None);
    world.now.monotonic_ms += 1;
    world.step(Input::Tick);
    let gap = Refusal::OutOfOrder {
        expected: 1,
        received: 5,
    };
    assert_eq!(world.outcome(early), Some(Err(gap)));
    let unknown = Refusal::UnknownProducer {
        producer: ProducerId(2),
    };
    assert_eq!(world.outcome(stranger), Some(Err(unknown)));
}

#[test]
fn an_older_epoch_of_a_producer_is_fenced() {
    let mut world = World::new(false);
    world.one((1, 4, 0), 1);
    let old = world.one((1, 3, 0), 1);
    assert_eq!(
        world.outcome(old),
        Some(Err(Refusal::Fenced { current: 4 }))
    );
    let newer = world.one((1, 5, 0), 1);
    world.sync();
    assert_eq!(world.base(newer), (1, false));
}

#[test]
fn of_a_request_seen_in_part_only_the_rest_is_appended() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 2);
    let whole = vec![
        batch(Some((1, 0, 0)), 2, None),
        batch(Some((1, 0, 2)), 3, None),
    ];
    let request = world.append(whole, Acks::Quorum, Some(0));
    world.sync();
    assert_eq!(
        (world.base(request), world.replica.status().end),
        ((0, false), Offset::new(5))
    );
}

#[test]
fn a_request_whose_parts_stand_apart_waits_for_the_last_of_them() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 2);
    world.append(vec![batch(None, 3, None)], Acks::Quorum, None);
    let whole = || {
        vec![
            batch(Some((1, 0, 0)), 2, None),
            batch(Some((1, 0, 2)), 3, None),
        ]
    };
    world.sync();
    let first = world.append(whole(), Acks::Quorum, None);
    let again = world.append(whole(), Acks::Quorum, None);
    assert_eq!((world.outcome(first), world.outcome(again)), (None, None));
    world.sync();
    assert_eq!(
        (world.base(first), world.base(again)),
        ((0, false), (0, true))
    );
    let ends = [first, again].map(|request| world.replies[&request].unwrap().end);
    assert_eq!(ends, [Offset::new(8); 2]);
}

#[test]
fn request_keys_are_forgotten_when_their_time_is_up() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 1, Some([9; 16]))], Acks::Quorum, None);
    world.sync();
    world.step(Input::Tick);
    assert_eq!(world.replica.ledger().len(), 1);
    world.now.monotonic_ms += AGE_MARK_EVERY_MS;
    world.step(Input::Tick);
    world.now.monotonic_ms += REQUEST_KEY_WINDOW_MS;
    world.step(Input::Tick);
    assert_eq!(world.replica.ledger().len(), 1);
    world.now.monotonic_ms += 1;
    world.step(Input::Tick);
    assert!(world.replica.ledger().is_empty());
}

fn snapshots(effects: &[Effect]) -> usize {
    let is_snapshot = |effect: &&Effect| matches!(effect, Effect::Snapshot { .. });
    effects.iter().filter(is_snapshot).count()
}

#[test]
fn what_a_start_had_to_read_counts_towards_the_next_snapshot() {
    let mut facts = facts(1, Offset::ZERO, Ledger::default(), false);
    facts.bytes_since_snapshot = SNAPSHOT_EVERY_BYTES;
    let mut world = World::asleep(facts, false);
    world.lead(1);
    world.now.monotonic_ms += SNAPSHOT_EVERY_MS;
    world.one((1, 0, 0), 1);
    world.sync();
    assert!(world.snapshot.is_some());
}

#[test]
fn a_stop_takes_a_snapshot_only_of_what_has_grown() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 1);
    world.sync();
    assert_eq!(snapshots(&world.step(Input::Stop)), 0);
    let mut facts = facts(1, Offset::ZERO, Ledger::default(), false);
    facts.bytes_since_snapshot = SNAPSHOT_AT_STOP_BYTES;
    let mut world = World::asleep(facts, false);
    world.lead(1);
    assert_eq!(snapshots(&world.step(Input::Stop)), 1);
}

#[test]
fn an_append_that_expects_another_end_changes_nothing() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 2, None)], Acks::Quorum, Some(0));
    let late = world.append(vec![batch(None, 2, None)], Acks::Quorum, Some(0));
    let refusal = Refusal::PreconditionFailed {
        end: Offset::new(2),
    };
    assert_eq!(world.outcome(late), Some(Err(refusal)));
    assert_eq!(world.replica.status().end, Offset::new(2));
}

#[test]
fn a_request_key_finds_its_first_answer_also_after_a_crash() {
    let mut world = World::new(false);
    let keyed = |count| {
        vec![
            batch(None, count, Some([9; 16])),
            batch(None, 1, Some([9; 16])),
        ]
    };
    let first = world.append(keyed(2), Acks::Quorum, None);
    let again = world.append(keyed(2), Acks::Quorum, None);
    world.sync();
    assert_eq!(
        (world.base(first), world.base(again)),
        ((0, false), (0, true))
    );
    world.crash();
    let later = world.append(keyed(2), Acks::Quorum, None);
    assert_eq!(world.base(later), (0, true));
    let other = world.append(keyed(3), Acks::Quorum, None);
    assert_eq!(world.outcome(other), Some(Err(Refusal::KeyReused)));
}

#[test]
fn a_higher_epoch_ends_what_waits_as_unknown() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    let parked = world.one((1, 0, 7), 1);
    world.step(Input::Assigned(row(2, Some(SpuId(2)))));
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let elsewhere = Refusal::NotLeader {
        leader: Some(SpuId(2)),
    };
    assert_eq!(world.outcome(parked), Some(Err(elsewhere)));
    let late = world.one((1, 0, 1), 1);
    assert_eq!(world.outcome(late), Some(Err(elsewhere)));
}

#[test]
fn a_row_of_an_older_epoch_is_ignored_and_two_leaders_in_one_epoch_stop_the_replica() {
    let mut world = World::new(false);
    world.lead(5);
    world.step(Input::Assigned(row(4, Some(SpuId(2)))));
    assert_eq!(world.replica.role(), RoleName::Leading);
    let effects = world.step(Input::Assigned(row(5, Some(SpuId(2)))));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alarm(_)))
    );
    assert_eq!(world.replica.role(), RoleName::Idle);
}

#[test]
fn with_too_few_in_sync_quorum_appends_are_refused_and_others_go_on() {
    let mut world = World::new(false);
    let mut lonely = row(2, Some(OWN));
    lonely.min_isr = 2;
    world.epoch = 2;
    world.step(Input::Assigned(lonely));
    world.step(Input::Persisted {
        epoch: LeaderEpoch(2),
    });
    let quorum = world.append(vec![batch(None, 1, None)], Acks::Quorum, None);
    let refusal = Refusal::NotEnoughReplicas {
        in_sync: 1,
        required: 2,
    };
    assert_eq!(world.outcome(quorum), Some(Err(refusal)));
    world.replica.standing.incarnation = Incarnation(2);
    let leader = world.append(vec![batch(None, 1, None)], Acks::Leader, None);
    world.sync();
    assert_eq!(world.base(leader), (0, false));
    assert_eq!(world.replica.status().high_watermark, Offset::ZERO);
}

#[test]
fn a_failed_log_ends_what_waits_and_refuses_the_rest() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    world.step(Input::LogFailed { no_space: true });
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let late = world.one((1, 0, 1), 1);
    assert_eq!(
        world.outcome(late),
        Some(Err(Refusal::LogFailed { no_space: true }))
    );
}

#[test]
fn a_deadline_is_definite_before_the_append_and_unknown_after() {
    let mut world = World::new(false);
    let waiting = world.one((1, 0, 0), 1);
    world.now.monotonic_ms += 10_000;
    world.step(Input::Tick);
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let request = RequestId(77);
    world.wanted.insert(request, Acks::Quorum);
    let deadline_ms = world.now.monotonic_ms;
    let batches = vec![batch(None, 1, None)];
    let append = Append {
        request,
        batches,
        acks: Acks::Quorum,
        expected_end: None,
        deadline_ms,
    };
    world.step(Input::Append(append));
    assert_eq!(world.outcome(request), Some(Err(Refusal::DeadlinePassed)));
}

#[test]
fn retention_keeps_the_producers_of_what_it_takes() {
    let mut world = World::new(false);
    world.one((1, 0, 0), 4);
    world.sync();
    let effects = world.step(Input::Retain { to: Offset::new(3) });
    let shape = matches!(
        effects[..],
        [
            Effect::Snapshot { .. },
            Effect::Trim { .. },
            Effect::Publish
        ]
    );
    assert!(shape, "{effects:?}");
    assert_eq!(world.replica.status().log_start, Offset::new(3));
    let again = world.one((1, 0, 0), 4);
    assert_eq!(world.base(again), (0, true));
    world.step(Input::Retain {
        to: Offset::new(99),
    });
    assert_eq!(
        world.replica.status().log_start,
        Offset::new(4),
        "never beyond what is committed"
    );
}

#[test]
fn a_damaged_replica_is_read_and_never_leads() {
    let mut facts = facts(1, Offset::new(5), Ledger::default(), false);
    (facts.intact, facts.high_watermark) = (false, Offset::new(4));
    let mut world = World::asleep(facts, false);
    let effects = world
        .replica
        .step(world.now, Input::Assigned(row(1, Some(OWN))));
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Alarm(_)))
    );
    assert_eq!(world.replica.role(), RoleName::Following);
    assert_eq!(world.replica.status().high_watermark, Offset::new(4));
    let refused = world.append(vec![batch(None, 1, None)], Acks::None, None);
    assert_eq!(world.outcome(refused), Some(Err(Refusal::Damaged)));
    let mut newer = row(1, Some(OWN));
    newer.version += 1;
    assert!(world.step(Input::Assigned(newer)).is_empty());
    assert_eq!(world.replica.role(), RoleName::Following);
}

#[test]
fn of_a_damaged_replica_nothing_is_trimmed_and_no_snapshot_hides_what_is_not_known() {
    let mut facts = facts(1, Offset::new(5), Ledger::default(), false);
    (facts.intact, facts.high_watermark) = (false, facts.end);
    facts.bytes_since_snapshot = 1 << 40;
    let mut world = World::asleep(facts, false);
    world
        .replica
        .step(world.now, Input::Assigned(row(1, Some(OWN))));
    assert!(world.step(Input::Retain { to: Offset::new(3) }).is_empty());
    assert!(world.step(Input::Stop).is_empty());
}
