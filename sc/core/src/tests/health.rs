//! What is shown of copies and partitions while units die and come back.

use tidegate_proto::api::topic::CopyState;
use tidegate_proto::control::Loss;
use tidegate_proto::id::{PartitionId, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset};

use super::world::{World, asking, name};
use crate::decision::Request;
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

#[test]
fn a_loss_that_was_accepted_stays_in_the_row_with_where_it_begins() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let row = world.partition("orders", 0);
    let units: Vec<u32> = row.replicas.iter().map(|replica| replica.spu.0).collect();
    world.logs.insert(row.key(), (0, 7));
    for unit in [units[2], units[1], units[0]] {
        world.die(unit);
        world.pass(SILENCE_MS);
    }
    let report = world.remembered(units[2]);
    world.register(&report);
    world
        .ask(&Request::Recover {
            topic: name("orders"),
            partition: PartitionId(0),
            accept_loss: true,
            force: false,
        })
        .unwrap();
    world.settle();
    let row = world.partition("orders", 0);
    let loss = Loss {
        before: row.leader_epoch,
        from: Offset::new(7),
    };
    assert_eq!((row.leader, row.recovery_gen), (Some(SpuId(units[2])), 1));
    assert_eq!(row.losses, [loss]);
    let spec = row.spec();
    let before = LeaderEpoch(loss.before.0 - 1);
    assert_eq!(spec.kept_before(Offset::new(9), before), Some(loss.from));
    assert_eq!(spec.kept_before(Offset::new(7), before), None);
    assert_eq!(spec.kept_before(Offset::new(9), loss.before), None);
}
