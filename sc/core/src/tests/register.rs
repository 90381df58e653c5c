//! Registration: incarnations, epochs, and which replicas keep their place.

use tidegate_proto::api::topic::{TopicConfigRequest, TopicRequest};
use tidegate_proto::control::{Durability, Register};
use tidegate_proto::id::{AttemptId, Incarnation, SpuId, StorageId};
use tidegate_proto::position::LeaderEpoch;
use uuid::Uuid;

use super::world::{World, asking, blank, with_config};

fn alone() -> World {
    let mut world = World::new(1);
    world.create("orders", asking(1, 1)).unwrap();
    world
}

#[test]
fn an_intact_replica_keeps_its_place_and_leads_in_a_new_epoch() {
    let mut world = alone();
    let before = world.partition("orders", 0).clone();
    let incarnation = world.register(&world.remembered(0));
    let after = world.partition("orders", 0);
    assert!(incarnation > before.isr[0].incarnation);
    assert_eq!(after.leader, Some(SpuId(0)));
    assert_eq!(after.leader_epoch.0, before.leader_epoch.0 + 1);
    assert_eq!(after.isr[0].incarnation, incarnation);
    assert_eq!(after.version, before.version + 1);
    assert!(after.replicas[0].joined);
}

#[test]
fn a_replica_that_is_not_intact_leaves_even_the_last_in_sync_set() {
    let mut world = alone();
    let mut report = world.remembered(0);
    report.replicas[0].intact = false;
    world.register(&report);
    let row = world.partition("orders", 0).clone();
    assert_eq!((row.leader, row.isr.len()), (None, 0));
    assert_eq!(row.leader_epoch.0, 2);
    world.register(&report);
    let again = world.partition("orders", 0);
    assert_eq!(again.leader, None, "nothing is elected uncleanly");
    assert_eq!(again.leader_epoch, row.leader_epoch);
}

#[test]
fn a_unit_that_died_before_writing_down_its_incarnation_is_still_current() {
    let mut world = alone();
    world.register(&world.remembered(0));
    // Granted twice, never written down: the disk still holds the one before.
    let report = world.remembered(0);
    world.register(&report);
    world.register(&report);
    world.register(&report);
    assert_eq!(world.partition("orders", 0).leader, Some(SpuId(0)));
}

#[test]
fn a_unit_killed_before_its_first_incarnation_was_written_down_is_still_current() {
    let mut world = alone();
    let report = Register {
        last_incarnation: None,
        ..world.remembered(0)
    };
    world.register(&report);
    assert_eq!(world.partition("orders", 0).leader, Some(SpuId(0)));
}

#[test]
fn a_disk_from_an_earlier_time_loses_every_place() {
    let mut world = alone();
    let old = world.remembered(0);
    world.register(&old);
    world.register(&world.remembered(0));
    world.register(&old);
    assert_eq!(world.partition("orders", 0).leader, None);
    let mut world = alone();
    world.register(&world.remembered(0));
    world.register(&Register {
        last_incarnation: None,
        ..world.remembered(0)
    });
    assert_eq!(
        world.partition("orders", 0).leader,
        None,
        "a disk that forgot everything"
    );
}

/// The report of a directory that asks under `attempt` and was granted `granted` last.
fn asking_under(world: &World, attempt: u128, granted: Option<u128>) -> Register {
    let id = |number| AttemptId(Uuid::from_u128(number));
    Register {
        attempt: Some(id(attempt)),
        granted: granted.map(id),
        ..world.remembered(0)
    }
}

#[test]
fn a_disk_of_one_registration_before_loses_every_place() {
    let mut world = alone();
    let first = asking_under(&world, 1, None);
    world.register(&first);
    let backup = asking_under(&world, 3, Some(1));
    let second = asking_under(&world, 2, Some(1));
    world.register(&second);
    // It served under the second; then the copy that was made before is put back.
    world.register(&backup);
    assert_eq!(world.partition("orders", 0).leader, None);
}

#[test]
fn a_unit_that_died_before_it_wrote_down_what_it_was_granted_is_current() {
    let mut world = alone();
    let first = asking_under(&world, 1, None);
    world.register(&first);
    let second = asking_under(&world, 2, Some(1));
    for _ in 0..3 {
        world.register(&second);
    }
    let third = asking_under(&world, 3, Some(2));
    world.register(&third);
    assert_eq!(world.partition("orders", 0).leader, Some(SpuId(0)));
    // A version that tells of no attempts is judged by what it can tell, and the next one again by both.
    world.register(&world.remembered(0));
    let fourth = asking_under(&world, 4, Some(3));
    world.register(&fourth);
    assert_eq!(world.partition("orders", 0).leader, Some(SpuId(0)));
}

#[test]
fn another_disk_under_an_old_id_joins_as_a_new_replica() {
    let mut world = alone();
    let before = world.partition("orders", 0).replicas[0].replica_gen;
    let other = StorageId(Uuid::from_u128(9));
    world.register(&Register {
        storage_id: other,
        ..blank(0)
    });
    let row = world.partition("orders", 0);
    assert_eq!((row.leader, row.isr.len()), (None, 0));
    assert_ne!(row.replicas[0].replica_gen, before);
}

#[test]
fn a_replica_that_was_never_made_is_new_and_one_that_was_seen_is_lost() {
    let mut world = alone();
    let missing = Register {
        replicas: Vec::new(),
        ..world.remembered(0)
    };
    world.register(&missing);
    assert_eq!(
        world.partition("orders", 0).leader,
        Some(SpuId(0)),
        "assigned, not yet made"
    );
    world.register(&world.remembered(0));
    let missing = Register {
        replicas: Vec::new(),
        ..world.remembered(0)
    };
    world.register(&missing);
    assert_eq!(
        world.partition("orders", 0).leader,
        None,
        "was there, is gone"
    );
}

#[test]
fn the_new_epoch_is_above_what_the_replica_accepted() {
    let mut world = alone();
    let mut report = world.remembered(0);
    report.replicas[0].leader_epoch = LeaderEpoch(40);
    world.register(&report);
    assert_eq!(world.partition("orders", 0).leader_epoch, LeaderEpoch(41));
}

#[test]
fn incarnations_grow_even_when_the_disk_is_ahead_of_the_store() {
    let mut world = World::new(1);
    let report = Register {
        last_incarnation: Some(Incarnation(90)),
        ..blank(0)
    };
    assert_eq!(world.register(&report), Incarnation(91));
    let report = Register {
        last_incarnation: Some(Incarnation(91)),
        ..blank(0)
    };
    assert_eq!(world.register(&report), Incarnation(92));
}

#[test]
fn another_live_in_sync_replica_takes_over_from_one_that_is_not_intact() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let leader = world.partition("orders", 0).leader.unwrap();
    let mut report = world.remembered(leader.0);
    report.replicas[0].intact = false;
    world.register(&report);
    let row = world.partition("orders", 0);
    assert!(row.leader.is_some_and(|spu| spu != leader));
    assert_eq!(row.isr.len(), 2);
    assert!(!row.has_in_sync(leader));
    assert_eq!(row.leader_epoch.0, 2);
}

/// Partitions with that many copies each, synced before they are acknowledged or not.
fn with_durability(copies: u16, durability: Durability) -> World {
    let mut world = World::new(3);
    let config = TopicConfigRequest {
        durability: durability.into(),
        ..TopicConfigRequest::default()
    };
    let request = TopicRequest {
        replication_factor: copies.into(),
        ..with_config(config)
    };
    world.create("orders", request).unwrap();
    world
}

#[test]
fn a_power_loss_takes_the_place_of_a_copy_that_has_not_heard_that_its_topic_waits_for_disks() {
    for (has_heard, stays) in [(false, false), (true, true)] {
        let mut world = with_durability(3, Durability::Interval);
        let leader = world.partition("orders", 0).leader.unwrap();
        let early = world.remembered(leader.0);
        let config = TopicConfigRequest {
            durability: Durability::Ack.into(),
            ..TopicConfigRequest::default()
        };
        let request = TopicRequest {
            replication_factor: 3.into(),
            ..with_config(config)
        };
        world.ensure("orders", request).unwrap();
        let row = world.partition("orders", 0);
        assert_eq!((row.leader, row.leader_epoch.0), (Some(leader), 2));
        let report = if has_heard {
            world.remembered(leader.0)
        } else {
            early
        };
        world.register(&Register {
            same_boot: false,
            ..report
        });
        let row = world.partition("orders", 0);
        assert_eq!(row.has_in_sync(leader), stays, "{has_heard}");
        assert_eq!(row.leader == Some(leader), stays, "{has_heard}");
    }
}

#[test]
fn a_change_of_durability_begins_an_epoch_of_copies_and_leaves_a_single_one_alone() {
    for (copies, before, after, epoch) in [
        (3, Durability::Ack, Durability::Interval, 2),
        (3, Durability::Interval, Durability::Ack, 2),
        (3, Durability::Ack, Durability::Ack, 1),
        (1, Durability::Interval, Durability::Ack, 1),
    ] {
        let mut world = with_durability(copies, before);
        let leader = world.partition("orders", 0).leader;
        let config = TopicConfigRequest {
            durability: after.into(),
            ..TopicConfigRequest::default()
        };
        world.ensure("orders", with_config(config)).unwrap();
        let row = world.partition("orders", 0);
        let what = format!("{copies} {before:?} {after:?}");
        assert_eq!((row.leader, row.leader_epoch.0), (leader, epoch), "{what}");
    }
}

#[test]
fn a_power_loss_takes_the_place_of_a_copy_that_was_not_synced_while_others_are_there() {
    for (copies, durability, same_boot, stays) in [
        (3, Durability::Interval, false, false),
        (3, Durability::Interval, true, true),
        (3, Durability::Ack, false, true),
        (1, Durability::Interval, false, true),
    ] {
        let mut world = with_durability(copies, durability);
        let leader = world.partition("orders", 0).leader.unwrap();
        let report = world.remembered(leader.0);
        world.register(&Register {
            same_boot,
            ..report
        });
        let row = world.partition("orders", 0);
        let what = format!("{copies} {durability:?} {same_boot}");
        assert_eq!(row.has_in_sync(leader), stays, "{what}");
        assert_eq!(row.leader == Some(leader), stays, "{what}");
        assert_eq!(row.leader_epoch.0, 2, "{what}");
    }
}
