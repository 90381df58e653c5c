//! What is shown of copies and partitions while units die and come back.

use tidegate_proto::api::topic::CopyState;
use tidegate_proto::id::SpuId;

use super::world::{World, asking};
use crate::health::{HealthCounts, copy_state, partition_reason};

/// Longer than silence is borne.
const SILENCE_MS: u64 = 60_000;

fn states(world: &World, follows: Option<bool>) -> Vec<CopyState> {
    let row = world.partition("orders", 0);
    let replicas = row.replicas.iter();
    let states = replicas.map(|replica| copy_state(&world.model, row, replica.spu, follows).0);
    states.collect()
}

fn reason(world: &World) -> Option<String> {
    let (topic, row) = (world.topic("orders"), world.partition("orders", 0));
    partition_reason(&world.model, topic, row)
}

fn counts(world: &World) -> (u64, u64, u64) {
    let counts = HealthCounts::of(&world.model);
    (
        counts.offline,
        counts.under_replicated,
        counts.below_min_in_sync,
    )
}

#[test]
fn a_partition_goes_from_whole_to_short_to_offline_and_says_why() {
    use CopyState::{CatchingUp, Detached, InSync, Leading, Offline};
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    assert_eq!(states(&world, None), [Leading, InSync, InSync]);
    assert_eq!((reason(&world), counts(&world)), (None, (0, 0, 0)));

    let replicas = &world.partition("orders", 0).replicas;
    let units: Vec<u32> = replicas.iter().map(|replica| replica.spu.0).collect();
    world.die(units[2]);
    world.pass(SILENCE_MS);
    assert_eq!(states(&world, None), [Leading, InSync, Offline]);
    assert_eq!(reason(&world).unwrap(), "2 of 3 copies are in sync");
    assert_eq!(counts(&world), (0, 1, 0));

    world.die(units[1]);
    world.pass(SILENCE_MS);
    assert_eq!(states(&world, None), [Leading, Offline, Offline]);
    let expected = "1 of the 2 copies that acks=quorum needs are in sync and at hand";
    assert_eq!(reason(&world).unwrap(), expected);
    assert_eq!(counts(&world), (0, 1, 1));

    world.die(units[0]);
    world.pass(SILENCE_MS);
    assert_eq!(states(&world, None), [Offline; 3]);
    assert!(
        reason(&world)
            .unwrap()
            .starts_with("none of the storage units")
    );
    assert_eq!(counts(&world), (1, 1, 1));

    // The one that left the set is back first: it may not lead.
    let report = world.remembered(units[2]);
    world.register(&report);
    assert_eq!(states(&world, Some(true)), [Offline, Offline, Detached]);
    assert_eq!(counts(&world), (1, 1, 1));
    let report = world.remembered(units[0]);
    world.register(&report);
    assert_eq!(states(&world, Some(true)), [Leading, Offline, CatchingUp]);
    assert_eq!(states(&world, Some(false)), [Leading, Offline, Detached]);
    assert_eq!(counts(&world), (0, 1, 1));
}

#[test]
fn what_has_no_place_is_neither_short_nor_offline() {
    let mut world = World::new(1);
    world.create("orders", asking(2, 3)).unwrap();
    assert!(reason(&world).unwrap().contains("no storage unit"));
    assert_eq!(counts(&world), (0, 0, 0));
    let row = world.partition("orders", 0);
    let (state, reason) = copy_state(&world.model, row, SpuId(9), None);
    assert_eq!(state, CopyState::Offline);
    assert_eq!(reason.unwrap(), "storage unit 9 was removed");
}
