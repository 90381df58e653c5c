//! Moves, drains, recoveries and failures of units, one story each.

use std::collections::BTreeSet;

use tidegate_proto::control::Register;
use tidegate_proto::id::{OperationId, PartitionId, SpuId, StorageId};

use super::world::{World, asking, blank, name};
use crate::decision::{Decision, MoveTerms, Outcome, Request, Target};
use crate::health::partition_reason;
use crate::refusal::Refusal;
use crate::rows::{OperationState, Throttle};
use crate::rule::{Rule, without};

fn operation(decision: &Decision) -> OperationId {
    match decision.outcome {
        Outcome::Operation(id) => id,
        ref other => panic!("{other:?}"),
    }
}

fn target(partition: u32, units: &[u32]) -> Target {
    Target {
        topic: name("orders"),
        partition: PartitionId(partition),
        replicas: units.iter().copied().map(SpuId).collect(),
    }
}

fn reassign(
    world: &mut World,
    targets: Vec<Target>,
    terms: MoveTerms,
) -> Result<Decision, Refusal> {
    world.ask(&Request::Reassign { targets, terms })
}

fn everything_empty(world: &World) -> MoveTerms {
    let rows = world
        .model
        .topics
        .values()
        .flat_map(|topic| &topic.partitions);
    MoveTerms {
        empty: rows.map(|row| row.key()).collect(),
        ..MoveTerms::default()
    }
}

#[test]
fn a_silent_unit_is_shut_out_after_the_time_out_and_others_lead_in_one_transaction() {
    let mut world = World::new(3);
    world.create("orders", asking(30, 3)).unwrap();
    world.die(0);
    world.pass(5_999);
    assert!(!world.model.spus[&SpuId(0)].fenced);
    world.monotonic_ms += 1;
    let due = world.due();
    assert_eq!(due.fenced, [SpuId(0)]);
    world.commit(&due.changes, &due.guards);
    assert!(world.model.spus[&SpuId(0)].fenced);
    assert_eq!(world.model.led_by(SpuId(0)).count(), 0);
    for row in &world.topic("orders").partitions {
        assert_eq!(row.isr.len(), 2);
        assert!(row.leader.is_some());
    }
    // Only registering brings it back.
    world.alive.insert(SpuId(0));
    world.pass(60_000);
    assert!(world.model.spus[&SpuId(0)].fenced);
    world.register(&world.remembered(0));
    assert!(!world.model.spus[&SpuId(0)].fenced);
}

#[test]
fn the_in_sync_set_stays_at_its_floor_when_units_die_and_the_partition_is_offline() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    for spu in 0..3 {
        world.die(spu);
    }
    world.pass(7_000);
    let row = world.partition("orders", 0);
    assert_eq!((row.leader, row.isr.len()), (None, 2));
    // Whoever of those comes back whole leads again.
    let back = row.isr[0].spu;
    world.register(&world.remembered(back.0));
    assert_eq!(world.partition("orders", 0).leader, Some(back));
}

#[test]
fn a_copy_is_added_before_one_is_removed_and_the_wish_ends_in_its_order() {
    let mut world = World::new(5);
    world.create("orders", asking(1, 3)).unwrap();
    let terms = MoveTerms::default();
    let id = operation(&reassign(&mut world, vec![target(0, &[4, 3, 1])], terms).unwrap());
    let mut seen = BTreeSet::new();
    while !world.operation(id).state.is_ended() {
        world.pass(1);
        let row = world.partition("orders", 0);
        assert!(row.isr.len() >= 3 - 1, "{row:?}");
        seen.insert(row.replicas.len());
        world.follow();
    }
    assert!(seen.contains(&4) && !seen.contains(&5), "{seen:?}");
    let row = world.partition("orders", 0);
    let units: Vec<u32> = row.replicas.iter().map(|own| own.spu.0).collect();
    assert_eq!((units, row.leader), (vec![4, 3, 1], Some(SpuId(4))));
    let row = world.operation(id);
    assert_eq!((row.state, row.progress.done), (OperationState::Done, 1));
}

#[test]
fn a_cancelled_move_leaves_as_many_copies_as_before() {
    for steps in 0..8 {
        let mut world = World::new(6);
        world.create("orders", asking(2, 3)).unwrap();
        let targets = vec![target(0, &[5, 4, 3]), target(1, &[5, 4, 3])];
        let id = operation(&reassign(&mut world, targets, MoveTerms::default()).unwrap());
        for _ in 0..steps {
            let due = world.due();
            world.commit(&due.changes, &due.guards);
            world.follow();
        }
        world.ask(&Request::CancelOperation { id }).unwrap();
        world.settle();
        assert!(world.operation(id).state.is_ended());
        for row in &world.topic("orders").partitions {
            assert_eq!(
                (row.replicas.len(), row.isr.len()),
                (3, 3),
                "after {steps} steps"
            );
            assert!(row.moving.is_none());
        }
    }
}

#[test]
fn no_more_copies_are_begun_at_once_than_the_throttle_allows() {
    let mut world = World::new(2);
    world.create("orders", asking(40, 1)).unwrap();
    world.register(&blank(2));
    let throttle = Some(Throttle {
        partitions_at_once: 3,
        bytes_per_second: None,
    });
    let terms = MoveTerms {
        throttle,
        force: true,
        ..MoveTerms::default()
    };
    let id = operation(&world.ask(&Request::Rebalance { terms }).unwrap());
    while !world.operation(id).state.is_ended() {
        world.pass(1);
        let copying = world.topic("orders").partitions.iter();
        assert!(copying.filter(|row| row.replicas.len() > 1).count() <= 3);
        assert!(world.follow() || world.operation(id).state.is_ended());
    }
    assert_eq!(world.operation(id).state, OperationState::Done);
    let loads: Vec<u64> = (0..3).map(|spu| world.model.load(SpuId(spu)).0).collect();
    assert!(
        loads.iter().all(|load| (13..=14).contains(load)),
        "{loads:?}"
    );
    assert_eq!(
        world.operation(id).progress.total,
        13,
        "no more moves than needed"
    );
}

#[test]
fn a_drained_unit_leads_and_holds_nothing_and_can_be_removed_for_good() {
    let mut world = World::new(4);
    world.create("orders", asking(12, 3)).unwrap();
    let spu = SpuId(1);
    assert!(matches!(
        world.ask(&Request::RemoveSpu {
            spu,
            if_match: None
        }),
        Err(Refusal::Conflict(_))
    ));
    let terms = MoveTerms::default();
    let id = operation(&world.ask(&Request::DrainSpu { spu, terms }).unwrap());
    assert_eq!(world.model.load(spu).1, 0, "it stops leading at once");
    world.settle();
    assert_eq!(world.operation(id).state, OperationState::Done);
    assert_eq!(world.model.load(spu), (0, 0));
    world.die(1);
    world
        .ask(&Request::RemoveSpu {
            spu,
            if_match: None,
        })
        .unwrap();
    assert!(world.model.spu(spu).is_none());
    // Its old disk is not taken back, an empty one is, and goes on with its numbers.
    let before = world.model.spus[&spu].incarnation;
    let mut old = blank(1);
    old.last_incarnation = Some(before);
    assert_eq!(
        world.ask(&Request::Register(old)),
        Err(Refusal::SpuNotEntered(spu))
    );
    assert!(world.register(&blank(1)) > before);
}

#[test]
fn a_drain_without_room_elsewhere_is_refused() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let request = Request::DrainSpu {
        spu: SpuId(0),
        terms: MoveTerms::default(),
    };
    assert!(matches!(world.ask(&request), Err(Refusal::Conflict(_))));
    assert!(!world.model.spus[&SpuId(0)].draining);
}

#[test]
fn a_single_copy_moves_when_it_is_empty_and_is_refused_when_it_may_hold_records() {
    let mut world = World::new(2);
    world.create("orders", asking(1, 1)).unwrap();
    let from = world.partition("orders", 0).leader.unwrap();
    let to = 1 - from.0;
    let wish = vec![target(0, &[to])];
    let refused = reassign(&mut world, wish.clone(), MoveTerms::default());
    assert!(matches!(refused, Err(Refusal::Conflict(_))));
    let terms = everything_empty(&world);
    let id = operation(&reassign(&mut world, wish, terms).unwrap());
    let epoch = world.partition("orders", 0).leader_epoch;
    world.settle();
    let row = world.partition("orders", 0);
    assert_eq!(row.leader, Some(SpuId(to)));
    assert_eq!(
        row.leader_epoch.0,
        epoch.0 + 2,
        "closed in one epoch, opened in the next"
    );
    assert_eq!(world.operation(id).state, OperationState::Done);
}

#[test]
fn units_of_a_new_rack_get_a_copy_of_everything() {
    let mut world = World::new(4);
    for (spu, row) in &mut world.model.spus {
        row.rack = Some(format!("rack-{}", spu.0 % 2));
    }
    world.create("orders", asking(12, 2)).unwrap();
    world.create("more", asking(12, 3)).unwrap();
    for spu in [4, 5] {
        let mut report = blank(spu);
        report.site.rack = Some("rack-new".to_owned());
        world.register(&report);
    }
    let terms = MoveTerms::default();
    let id = operation(&world.ask(&Request::Rebalance { terms }).unwrap());
    world.settle();
    assert_eq!(world.operation(id).state, OperationState::Done);
    let rack = |spu: SpuId| world.model.spus[&spu].rack.clone();
    for row in &world.topic("more").partitions {
        let racks: BTreeSet<_> = row.replicas.iter().map(|own| rack(own.spu)).collect();
        assert_eq!(racks.len(), 3);
    }
    let leads: Vec<u64> = (0..6).map(|spu| world.model.load(SpuId(spu)).1).collect();
    assert!(leads.iter().all(|count| *count == 4), "{leads:?}");
    let again = world
        .ask(&Request::Rebalance {
            terms: MoveTerms::default(),
        })
        .unwrap();
    assert!(again.changes.is_empty(), "an even cluster is left alone");
}

#[test]
fn a_survey_that_proves_too_little_ends_with_a_member_of_the_in_sync_set_that_came_back() {
    for accept_loss in [false, true] {
        let mut world = World::new(3);
        world.create("orders", asking(1, 3)).unwrap();
        for spu in 0..2 {
            let mut report = world.remembered(spu);
            report.replicas[0].intact = false;
            world.register(&report);
        }
        world.die(2);
        world.pass(60_000);
        let row = world.partition("orders", 0);
        assert_eq!((row.leader, row.isr.len()), (None, 1));
        let recover = Request::Recover {
            topic: name("orders"),
            partition: PartitionId(0),
            accept_loss,
            force: false,
        };
        let id = operation(&world.ask(&recover).unwrap());
        world.register(&world.remembered(2));
        let row = world.partition("orders", 0);
        let answer = |own: &crate::rows::Replica| tidegate_proto::control::SealAnswer {
            key: row.key(),
            member: tidegate_proto::control::IsrMember {
                spu: own.spu,
                incarnation: world.model.spus[&own.spu].incarnation,
            },
            replica_gen: own.replica_gen,
            sealed_at: row.leader_epoch,
            // Others have more, of which nothing is known.
            last_epoch: tidegate_proto::position::LeaderEpoch(3 - u64::from(own.spu.0)),
            end: tidegate_proto::position::Offset::new(5),
            log_start: tidegate_proto::position::Offset::ZERO,
            intact: true,
            remembers: false,
            remembers_ms: 0,
        };
        let request = Request::SealAnswers(row.replicas.iter().map(answer).collect());
        world.ask(&request).unwrap();
        world.pass(1);
        let row = world.partition("orders", 0);
        assert_eq!((row.leader, row.recovery_gen), (Some(SpuId(2)), 0));
        assert_eq!(world.operation(id).state, OperationState::Done);
    }
}

#[test]
fn a_partition_whose_copies_all_lost_something_is_led_by_the_longest_only_when_loss_is_accepted() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    for spu in 0..3 {
        let mut report = world.remembered(spu);
        report.replicas[0].intact = false;
        world.register(&report);
    }
    assert!(world.partition("orders", 0).isr.is_empty());
    let recover = |accept_loss| Request::Recover {
        topic: name("orders"),
        partition: PartitionId(0),
        accept_loss,
        force: false,
    };
    let id = operation(&world.ask(&recover(false)).unwrap());
    let answers = |world: &World| {
        let row = world.partition("orders", 0);
        let answer = |own: &crate::rows::Replica| tidegate_proto::control::SealAnswer {
            key: row.key(),
            member: tidegate_proto::control::IsrMember {
                spu: own.spu,
                incarnation: world.model.spus[&own.spu].incarnation,
            },
            replica_gen: own.replica_gen,
            sealed_at: row.leader_epoch,
            last_epoch: tidegate_proto::position::LeaderEpoch(2),
            end: tidegate_proto::position::Offset::new(u64::from(own.spu.0)),
            log_start: tidegate_proto::position::Offset::ZERO,
            intact: false,
            remembers: false,
            remembers_ms: 0,
        };
        Request::SealAnswers(row.replicas.iter().map(answer).collect())
    };
    let request = answers(&world);
    world.ask(&request).unwrap();
    assert_eq!(
        world.partition("orders", 0).leader,
        None,
        "nothing is given up unasked"
    );
    // All have answered, and nothing more comes by itself: that is said where somebody looks.
    world.pass(1);
    let row = world.partition("orders", 0);
    let reason = partition_reason(&world.model, world.topic("orders"), row).unwrap();
    assert!(reason.contains("3 answered, 0 of them count"), "{reason}");
    assert!(reason.ends_with("accept the loss or wait"), "{reason}");
    let waits = world.operation(id).reason.clone().unwrap();
    assert!(
        waits.contains("that of 2 does not count: its copy is damaged"),
        "{waits}"
    );
    world.ask(&Request::CancelOperation { id }).unwrap();
    world.ask(&recover(true)).unwrap();
    let request = answers(&world);
    world.ask(&request).unwrap();
    let row = world.partition("orders", 0);
    assert_eq!((row.leader, row.recovery_gen), (Some(SpuId(2)), 1));
}

#[test]
fn the_replication_factor_of_a_live_topic_is_raised_and_lowered() {
    let mut world = World::new(3);
    world.create("orders", asking(6, 1)).unwrap();
    let request = |copies: u16| tidegate_proto::api::topic::TopicRequest {
        replication_factor: copies.into(),
        ..Default::default()
    };
    world.ensure("orders", request(3)).unwrap();
    world.settle();
    for row in &world.topic("orders").partitions {
        assert_eq!((row.replicas.len(), row.isr.len(), row.min_isr), (3, 3, 2));
    }
    world.ensure("orders", request(2)).unwrap();
    world.settle();
    for row in &world.topic("orders").partitions {
        assert_eq!((row.replicas.len(), row.isr.len(), row.min_isr), (2, 2, 1));
        assert!(row.leader.is_some());
    }
}

/// Two of three copies answer, of which one is on a disk that was replaced.
fn surveyed_with_a_wiped_copy() -> World {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let wiped = Register {
        storage_id: StorageId(uuid::Uuid::from_u128(77)),
        last_incarnation: None,
        replicas: Vec::new(),
        ..world.remembered(1)
    };
    world.register(&wiped);
    // It made its copy anew meanwhile, empty and whole, and tells so.
    let report = world.remembered(1);
    assert!(report.replicas[0].intact);
    world.register(&report);
    world.die(2);
    let request = Request::Recover {
        topic: name("orders"),
        partition: PartitionId(0),
        accept_loss: false,
        force: true,
    };
    world.ask(&request).unwrap();
    world.follow();
    world
}

#[test]
fn a_recovery_does_not_count_a_copy_that_was_never_in_sync() {
    let mut world = surveyed_with_a_wiped_copy();
    let row = world.partition("orders", 0);
    assert_eq!(row.seal.as_ref().unwrap().answers.len(), 2);
    assert_eq!(row.leader, None);
    let reason = partition_reason(&world.model, world.topic("orders"), row).unwrap();
    let expected = "2 answered, 1 of them count, 2 are needed; that of 1 does not count: its copy was not known";
    assert!(reason.contains(expected), "{reason}");
    let report = world.remembered(2);
    world.register(&report);
    world.follow();
    assert!(world.partition("orders", 0).leader.is_some());
    let careless = without(&[Rule::SurveyVouched], surveyed_with_a_wiped_copy);
    assert!(careless.partition("orders", 0).leader.is_some());
}
