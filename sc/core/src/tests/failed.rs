//! Replicas that fail while their unit runs: who leads then, who is relied on, and how they come back.

use tidegate_proto::api::topic::Setting;
use tidegate_proto::control::{
    FailedReplica, IsrCandidate, IsrMember, IsrOutcome, IsrRefusal, SealAnswer,
};
use tidegate_proto::id::{PartitionId, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset};
use uuid::Uuid;

use super::world::{World, asking};
use crate::decision::Request;
use crate::health::{copy_state, is_below_min_in_sync, partition_reason};
use crate::refusal::Refusal;
use crate::rows::PartitionRow;
use crate::rule::{Rule, without};

/// One partition with so many copies, and what its minimum is.
fn world(copies: u16, min_in_sync: u16) -> World {
    let mut world = World::new(u32::from(copies));
    let mut request = asking(1, copies);
    request.min_in_sync = Setting::Value(min_in_sync);
    world.create("orders", request).unwrap();
    world.settle();
    world
}

fn row(world: &World) -> PartitionRow {
    world.partition("orders", 0).clone()
}

/// What that unit says of its copy now.
fn failing(world: &World, spu: SpuId, intact: bool) -> Request {
    let row = row(world);
    Request::Failed {
        spu,
        incarnation: world.model.spus[&spu].incarnation,
        replicas: vec![FailedReplica {
            key: row.key(),
            replica_gen: row.replica(spu).unwrap().replica_gen,
            leader_epoch: row.leader_epoch,
            intact,
        }],
    }
}

fn members(row: &PartitionRow) -> Vec<SpuId> {
    row.isr.iter().map(|member| member.spu).collect()
}

#[test]
fn another_leads_when_the_leaders_log_fails_and_the_failed_one_is_not_elected_again() {
    let mut world = world(2, 2);
    let before = row(&world);
    let (led, other) = (before.replicas[0].spu, before.replicas[1].spu);
    let report = failing(&world, led, true);
    world.ask(&report).unwrap();
    let after = row(&world);
    assert_eq!(after.leader, Some(other));
    assert!(after.leader_epoch > before.leader_epoch);
    // It is complete, and nothing is committed without it: I1 keeps it.
    assert_eq!(members(&after), [led, other]);
    assert!(is_below_min_in_sync(&world.model, &after));
    // Said again, it changes nothing.
    world.ask(&report).unwrap();
    assert_eq!(row(&world), after);
    // The leader's unit dies: the failed one is alive and in sync, and is not to lead.
    world.die(other.0);
    world.pass(60_000);
    assert_eq!(row(&world).leader, None);
    let reason = partition_reason(&world.model, world.topic("orders"), &row(&world)).unwrap();
    assert!(reason.contains("its log failed"), "{reason}");
    // Started anew it has what is committed, and leads.
    world.register(&world.remembered(led.0));
    assert_eq!(row(&world).leader, Some(led));
    world.register(&world.remembered(other.0));
    world.settle();
    assert_eq!(row(&world).isr.len(), 2);
}

#[test]
fn without_the_rule_the_failed_one_would_be_elected_again() {
    let mut world = world(2, 2);
    let led = row(&world).replicas[0].spu;
    let report = failing(&world, led, true);
    without(&[Rule::FailedLeadsNot], || world.ask(&report)).unwrap();
    assert_eq!(row(&world).leader, Some(led));
}

#[test]
fn what_may_have_lost_something_leaves_the_set_whatever_its_size() {
    let mut world = world(2, 2);
    let before = row(&world);
    let (led, other) = (before.replicas[0].spu, before.replicas[1].spu);
    world.ask(&failing(&world, led, false)).unwrap();
    let after = row(&world);
    assert_eq!((after.leader, members(&after)), (Some(other), vec![other]));
    assert!(!after.replica(led).unwrap().vouched);
    // The last one too: nobody leads, and nobody is elected uncleanly.
    world.ask(&failing(&world, other, false)).unwrap();
    let after = row(&world);
    assert_eq!((after.leader, members(&after)), (None, vec![]));
}

#[test]
fn the_last_complete_copy_stays_in_sync_and_leads_when_its_unit_starts_anew() {
    let mut world = world(3, 1);
    for spu in [0, 1, 2] {
        let report = failing(&world, SpuId(spu), true);
        world.ask(&report).unwrap();
    }
    let after = row(&world);
    assert_eq!((after.leader, after.isr.len()), (None, 1));
    let last = after.isr[0].spu;
    world.pass(60_000);
    assert_eq!(row(&world).leader, None, "alive, and not able to lead");
    world.register(&world.remembered(last.0));
    assert_eq!(row(&world).leader, Some(last));
}

#[test]
fn a_recovery_that_accepts_loss_waits_for_no_failed_copy() {
    let mut world = world(3, 1);
    for spu in [0, 1, 2] {
        let report = failing(&world, SpuId(spu), true);
        world.ask(&report).unwrap();
    }
    // One of those that are not in sync starts anew and can be asked.
    let last = row(&world).isr[0].spu;
    let other = SpuId((0..3).find(|spu| *spu != last.0).unwrap());
    world.register(&world.remembered(other.0));
    assert_eq!(row(&world).leader, None);
    let recover = Request::Recover {
        topic: super::world::name("orders"),
        partition: PartitionId(0),
        accept_loss: true,
        force: false,
    };
    world.ask(&recover).unwrap();
    let row = row(&world);
    let answer = SealAnswer {
        key: row.key(),
        member: IsrMember {
            spu: other,
            incarnation: world.model.spus[&other].incarnation,
        },
        replica_gen: row.replica(other).unwrap().replica_gen,
        sealed_at: row.leader_epoch,
        last_epoch: LeaderEpoch(1),
        end: Offset::new(5),
        log_start: Offset::ZERO,
        intact: true,
        remembers: false,
        remembers_ms: 0,
    };
    world.ask(&Request::SealAnswers(vec![answer])).unwrap();
    assert_eq!(world.partition("orders", 0).leader, Some(other));
}

#[test]
fn a_failed_follower_is_left_out_and_not_added_until_its_unit_starts_anew() {
    let mut world = world(3, 2);
    let before = row(&world);
    let (led, failed) = (before.replicas[0].spu, before.replicas[2].spu);
    let report = failing(&world, failed, true);
    world.ask(&report).unwrap();
    let after = row(&world);
    assert_eq!((after.leader, after.isr.len()), (Some(led), 2));
    assert_eq!(after.leader_epoch, before.leader_epoch);
    let (_, reason) = copy_state(&world.model, &after, failed, Some(false));
    assert!(reason.unwrap().contains("its log failed"));
    let propose = |world: &mut World| {
        let row = row(world);
        let isr = row.replicas.iter().map(|replica| IsrCandidate {
            member: IsrMember {
                spu: replica.spu,
                incarnation: world.model.spus[&replica.spu].incarnation,
            },
            replica_gen: replica.replica_gen,
        });
        let isr = isr.collect();
        world.propose(before.isr[0], &row, isr).unwrap()[0]
    };
    let version = after.version;
    let reason = IsrRefusal::NotCurrent;
    assert_eq!(propose(&mut world), IsrOutcome::Refused { reason, version });
    let early = report;
    world.register(&world.remembered(failed.0));
    assert!(matches!(propose(&mut world), IsrOutcome::Accepted { .. }));
    // What it said before it was started anew comes late.
    let late = world.ask(&early).unwrap_err();
    assert!(matches!(late, Refusal::SpuSuperseded(_)), "{late:?}");
    assert_eq!(row(&world).isr.len(), 3);
}

#[test]
fn a_report_of_a_copy_that_was_replaced_changes_nothing() {
    let mut world = world(2, 1);
    let before = row(&world);
    let spu = before.replicas[1].spu;
    let Request::Failed {
        incarnation,
        mut replicas,
        ..
    } = failing(&world, spu, false)
    else {
        unreachable!()
    };
    replicas[0].replica_gen = ReplicaGen(Uuid::from_u128(7));
    let report = Request::Failed {
        spu,
        incarnation,
        replicas,
    };
    world.ask(&report).unwrap();
    assert_eq!(row(&world), before);
}

#[test]
fn an_only_copy_goes_on_being_read() {
    let mut world = world(1, 1);
    let before = row(&world);
    let spu = before.replicas[0].spu;
    world.ask(&failing(&world, spu, true)).unwrap();
    world.pass(60_000);
    let after = row(&world);
    assert_eq!((after.leader, &after.isr), (Some(spu), &before.isr));
    let reason = partition_reason(&world.model, world.topic("orders"), &after).unwrap();
    assert!(reason.contains("read, and not written"), "{reason}");
}

#[test]
fn the_new_leaders_epoch_is_above_what_the_failed_one_accepted() {
    let mut world = world(2, 1);
    let led = row(&world).leader.unwrap();
    let Request::Failed {
        spu,
        incarnation,
        mut replicas,
    } = failing(&world, led, true)
    else {
        unreachable!()
    };
    replicas[0].leader_epoch = LeaderEpoch(40);
    let report = Request::Failed {
        spu,
        incarnation,
        replicas,
    };
    world.ask(&report).unwrap();
    assert_eq!(row(&world).leader_epoch, LeaderEpoch(41));
}
