//! Partitions that cannot be read for now, and what a client hears when they are back.

use std::time::Duration;

use serde_json::json;
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::Offset;

use super::world::World;
use crate::ws::effect::Input;
use crate::ws::limits::{AHEAD_BYTES_MAX, CHUNK_BYTES};

/// Delivers and flushes for so many rounds: with partitions away there is always a next try.
fn go_on(world: &mut World, rounds: usize) {
    for _ in 0..rounds {
        world.deliver(0);
        world.flush();
    }
}

fn tick(world: &mut World, second: u64) {
    world.input_at(Duration::from_secs(second), Input::Tick);
}

fn subscribe(world: &mut World) {
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest"}));
}

#[test]
fn however_many_partitions_are_away_the_others_are_read() {
    let away = u32::try_from(AHEAD_BYTES_MAX / CHUNK_BYTES).unwrap() + 1;
    let mut world = World::new(away + 1, 4, 10);
    for partition in 0..away {
        world.append(partition, 10);
        world.away.insert(PartitionId(partition));
    }
    world.append(away, 10);
    subscribe(&mut world);
    go_on(&mut world, 40);
    assert_eq!(world.expected[&PartitionId(away)], 10);
    world.away.clear();
    world.run();
    assert!(world.caught_up());
}

#[test]
fn a_subscription_has_caught_up_without_what_is_away_and_again_when_it_is_back() {
    let mut world = World::new(2, 4, 10);
    world.append(0, 4);
    world.append(1, 4);
    world.away.insert(PartitionId(1));
    subscribe(&mut world);
    go_on(&mut world, 10);
    assert_eq!(world.evs(), ["subscribed", "away", "caught_up"]);
    world.away.clear();
    world.run();
    assert_eq!(
        world.evs(),
        ["subscribed", "away", "caught_up", "back", "caught_up"]
    );
    assert!(world.caught_up());
}

#[test]
fn a_partition_that_comes_back_shorter_leaves_a_gap() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    subscribe(&mut world);
    world.run();
    world.recover(0, 6);
    world.run();
    let gap = json!({"ev": "gap", "topic": "t", "partition": 0, "from": 10, "to": 6, "reason": "truncation"});
    assert_eq!(*world.last(), gap);
    world.append(0, 8);
    world.run();
    assert!(world.caught_up());
}

#[test]
fn a_new_leader_that_only_knows_less_of_what_is_committed_leaves_none() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    subscribe(&mut world);
    world.run();
    let mut behind = world.tail(PartitionId(0));
    behind.leader_epoch.0 += 1;
    behind.high_watermark = Offset::new(6);
    world.tell(PartitionId(0), behind);
    world.run();
    assert_eq!(world.evs(), ["subscribed", "caught_up"]);
}

#[test]
fn a_partition_is_told_to_be_back_also_where_its_place_is_gone() {
    let mut world = World::new(1, 4, 10);
    world.append(0, 10);
    subscribe(&mut world);
    world.run();
    world.away.insert(PartitionId(0));
    world.append(0, 10);
    go_on(&mut world, 4);
    assert_eq!(world.last()["ev"], "away");
    world.away.clear();
    world.recover(0, 6);
    world.run();
    assert_eq!(
        world.evs(),
        [
            "subscribed",
            "caught_up",
            "away",
            "back",
            "gap",
            "caught_up"
        ]
    );
}

#[test]
fn a_partition_is_told_to_be_back_also_where_its_records_were_left_out() {
    let mut world = World::new(1, 4, 10);
    world.say(json!({"op": "subscribe", "topic": "t", "from": "earliest", "on_slow": "drop"}));
    world.run();
    tick(&mut world, 5);
    tick(&mut world, 10);
    world.away.insert(PartitionId(0));
    world.append(0, 10);
    go_on(&mut world, 4);
    tick(&mut world, 15);
    tick(&mut world, 19);
    assert_eq!(world.last()["reason"], "slow");
    go_on(&mut world, 4);
    world.away.clear();
    world.run();
    assert_eq!(
        world.evs(),
        [
            "subscribed",
            "caught_up",
            "away",
            "gap",
            "back",
            "caught_up"
        ]
    );
}
