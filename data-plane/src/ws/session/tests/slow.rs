//! Subscriptions that fall behind, and what they asked for then.

use std::time::Duration;

use serde_json::json;
use tidegate_proto::api::socket::CloseCode;
use tidegate_proto::id::PartitionId;

use super::world::World;
use crate::ws::effect::Input;

/// Has kept up with 10 records, then has no credit for 1,000 more.
fn behind(on_slow: &str) -> World {
    let mut world = World::new(1, 10, 10);
    world.append(0, 10);
    let credit = json!({"records": 10});
    world.granted = Some((10, i64::MAX));
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest", "credit": credit, "on_slow": on_slow}));
    world.run();
    tick(&mut world, 5);
    tick(&mut world, 10);
    world.append(0, 1_000);
    world.run();
    assert_eq!(world.expected[&PartitionId(0)], 10);
    tick(&mut world, 15);
    assert_eq!(world.closed, None, "it was told of a moment ago");
    world
}

fn tick(world: &mut World, second: u64) {
    world.input_at(Duration::from_secs(second), Input::Tick);
    world.run();
}

fn grant(world: &mut World, records: u64) {
    if let Some((left, _)) = &mut world.granted {
        *left += records as i64;
    }
    world.say(json!({"op": "credit", "topic": "t", "records": records}));
    world.run();
}

#[test]
fn one_that_blocks_gets_everything_late() {
    let mut world = behind("block");
    tick(&mut world, 20);
    grant(&mut world, 10_000);
    assert!(world.caught_up());
    assert!(!world.evs().contains(&"gap"));
}

#[test]
fn one_that_drops_goes_on_at_the_end_and_is_told_what_it_missed() {
    let mut world = behind("drop");
    tick(&mut world, 20);
    let gap = json!({"ev": "gap", "topic": "t", "partition": 0, "from": 10, "to": 1010, "reason": "slow"});
    assert!(world.sent.contains(&gap), "{:?}", world.sent);
    world.append(0, 5);
    grant(&mut world, 10_000);
    assert!(world.caught_up());
}

#[test]
fn one_that_samples_gets_an_even_part() {
    let mut world = behind("sample");
    tick(&mut world, 20);
    grant(&mut world, 10_000);
    assert!(world.caught_up());
    let gaps = world.evs().iter().filter(|ev| **ev == "gap").count();
    assert!((5..=8).contains(&gaps), "{gaps}");
}

#[test]
fn one_that_wants_the_latest_reads_so_until_it_has_caught_up() {
    let mut world = behind("latest_per_key");
    assert!(!world.wants_latest);
    tick(&mut world, 20);
    grant(&mut world, 10_000);
    assert!(world.wants_latest && world.caught_up());
    tick(&mut world, 25);
    world.wants_latest = false;
    world.append(0, 10);
    world.run();
    assert!(world.caught_up() && !world.wants_latest);
}

#[test]
fn one_that_disconnects_is_closed_as_slow() {
    let mut world = behind("disconnect");
    tick(&mut world, 20);
    assert_eq!(world.closed, Some(CloseCode::SlowConsumer));
}

#[test]
fn who_reads_the_past_or_pauses_is_not_slow() {
    let mut world = World::new(1, 10, 10);
    world.append(0, 1_000);
    let credit = json!({"records": 10});
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest", "credit": credit, "on_slow": "disconnect"}));
    world.run();
    for second in [5, 10, 15, 20, 25] {
        tick(&mut world, second);
    }
    assert_eq!(world.closed, None, "it never was at the end");

    let mut world = behind("disconnect");
    world.say(json!({"op": "pause", "topic": "t"}));
    for second in [20, 25, 30] {
        tick(&mut world, second);
    }
    world.say(json!({"op": "resume", "topic": "t"}));
    tick(&mut world, 35);
    assert_eq!(world.closed, None);
}
