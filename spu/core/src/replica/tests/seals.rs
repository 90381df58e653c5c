//! Copies that nobody leads and that are asked what they hold, and copies that begin where those ended.

use super::*;
use crate::limits::PRODUCER_IDLE_MS_WHEN_FULL;

fn at(epoch: u64) -> LeaderEpoch {
    LeaderEpoch(epoch)
}

#[test]
fn a_sealed_copy_tells_what_it_holds_when_its_epoch_and_all_records_are_durable() {
    let mut world = World::new(false);
    let waiting = world.append(vec![batch(None, 3, None)], Acks::Quorum, None);
    world.step(Input::Assigned(row(2, None)));
    assert_eq!(world.outcome(waiting), Some(Err(Refusal::OutcomeUnknown)));
    let late = world.append(vec![batch(None, 1, None)], Acks::None, None);
    let refusal = Refusal::NotLeader { leader: None };
    assert_eq!(world.outcome(late), Some(Err(refusal)));
    let now = world.now;
    assert!(world.replica.awaits_epoch());
    assert_eq!(world.replica.survey(now, at(2)), None);
    world.step(Input::Persisted { epoch: at(2) });
    assert_eq!(
        world.replica.survey(now, at(2)),
        None,
        "records are under way"
    );
    world.sync();
    let found = world.replica.survey(now, at(2)).unwrap();
    assert_eq!((found.log_start.get(), found.end.get()), (0, 3));
    assert_eq!((found.epoch, found.last_epoch), (at(2), at(1)));
    assert!(found.intact && found.remembers_ms == 0);
    assert_eq!(world.replica.survey(now, at(1)), None);
    assert_eq!(world.replica.survey(now, at(3)), None);
    // Somebody leads again: what was found is not true any more.
    world.lead(3);
    assert_eq!(world.replica.survey(now, at(2)), None);
    assert_eq!(world.replica.survey(now, at(3)), None);
}

#[test]
fn what_producers_sent_is_told_until_none_of_it_can_come_again() {
    let mut world = World::new(false);
    world.one((7, 0, 0), 1);
    world.sync();
    world.step(Input::Assigned(row(2, None)));
    world.step(Input::Persisted { epoch: at(2) });
    let mut now = world.now;
    let mut remembers_ms = |now| world.replica.survey(now, at(2)).unwrap().remembers_ms;
    assert_eq!(remembers_ms(now), PRODUCER_IDLE_MS_WHEN_FULL + 1);
    now.wall_ms += PRODUCER_IDLE_MS_WHEN_FULL as i64;
    assert_eq!(remembers_ms(now), 1);
    now.wall_ms += 1;
    assert_eq!(remembers_ms(now), 0);
}

#[test]
fn a_new_copy_begins_where_the_one_before_ended() {
    let mut world = World::asleep(facts(1, Offset::ZERO, Ledger::default(), false), false);
    let begins_at = Offset::new(40);
    let named = Assignment {
        begins_at,
        ..row(1, Some(OWN))
    };
    let effects = world.replica.step(world.now, Input::Assigned(named));
    assert!(matches!(effects[0], Effect::Trim { to } if to == begins_at));
    let status = world.replica.status();
    assert_eq!((status.log_start, status.end), (begins_at, begins_at));
    assert_eq!(status.durable_end, Offset::ZERO, "not before the round is");
    let durable = durable(begins_at);
    world.replica.step(world.now, durable);
    world
        .replica
        .step(world.now, Input::Persisted { epoch: at(1) });
    assert_eq!(world.replica.status().high_watermark, begins_at);
    // Once it holds more, the row says nothing new.
    let again = Assignment {
        begins_at,
        ..row(2, Some(OWN))
    };
    let effects = world.replica.step(world.now, Input::Assigned(again));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Trim { .. }))
    );
}

#[test]
fn a_copy_with_records_that_ends_too_early_does_not_lead() {
    let mut world = World::new(false);
    world.append(vec![batch(None, 3, None)], Acks::None, None);
    world.sync();
    let named = Assignment {
        begins_at: Offset::new(40),
        ..row(2, Some(OWN))
    };
    let effects = world.step(Input::Assigned(named));
    assert!(matches!(effects[0], Effect::Alarm(_)));
    assert_eq!(world.replica.role(), RoleName::Following);
    assert_eq!(world.replica.status().end, Offset::new(3));
}
