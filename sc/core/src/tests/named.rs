//! Faults that other systems had, at the control plane: a test each, named as the contract lists them.

use std::collections::BTreeSet;

use tidegate_proto::api::topic::TopicRequest;
use tidegate_proto::control::{IsrMember, SealAnswer};
use tidegate_proto::id::{OperationId, PartitionId, SpuId};
use tidegate_proto::position::{LeaderEpoch, Offset};

use super::world::{World, asking, name};
use crate::decision::{Outcome, Request};
use crate::rows::OperationState;

/// Longer than silence is borne.
const SILENCE_MS: u64 = 60_000;

fn in_sync(world: &World) -> BTreeSet<SpuId> {
    let row = world.partition("orders", 0);
    row.isr.iter().map(|member| member.spu).collect()
}

#[test]
fn r_09_an_edit_of_min_in_sync_while_few_are_in_sync_forgets_nothing_and_elects_nobody() {
    let edits = |least: u16| TopicRequest {
        min_in_sync: least.into(),
        ..TopicRequest::default()
    };
    // In every order of units that come back.
    for returns in [[0, 1, 2], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new(3);
        world.create("orders", asking(1, 3)).unwrap();
        let replicas = &world.partition("orders", 0).replicas;
        let units: Vec<u32> = replicas.iter().map(|replica| replica.spu.0).collect();
        world.die(units[2]);
        world.pass(SILENCE_MS);
        let complete = in_sync(&world);
        assert!(!complete.contains(&SpuId(units[2])));
        for unit in [units[1], units[0]] {
            world.die(unit);
            world.pass(SILENCE_MS);
        }
        assert_eq!(world.partition("orders", 0).leader, None);
        let mut known = in_sync(&world);
        for least in [2, 2, 3, 1, 2] {
            world.ensure("orders", edits(least)).unwrap();
            world.pass(SILENCE_MS);
            let now = in_sync(&world);
            assert!(
                now.is_subset(&complete) && !now.is_empty(),
                "min_in_sync {least}: {now:?}"
            );
            assert!(
                known.is_subset(&now),
                "min_in_sync {least}: {known:?} became {now:?}"
            );
            known = now;
            assert_eq!(
                world.partition("orders", 0).leader,
                None,
                "min_in_sync {least}"
            );
        }
        // The one that left the set before lacks what was acknowledged since: it leads nothing.
        for back in returns.map(|at| units[at]) {
            let report = world.remembered(back);
            world.register(&report);
            world.ensure("orders", edits(2)).unwrap();
            let leader = world.partition("orders", 0).leader;
            assert_ne!(leader, Some(SpuId(units[2])), "{returns:?}");
            let is_complete = known.contains(&SpuId(back));
            assert!(
                leader.is_some() || !is_complete,
                "{returns:?}: one that has all is back"
            );
        }
    }
}

/// What the live copies would answer to the survey that is under way, were it asked at that epoch.
fn answers(world: &World, sealed_at: LeaderEpoch) -> Request {
    let row = world.partition("orders", 0);
    let answer = |own: &crate::rows::Replica| SealAnswer {
        key: row.key(),
        member: IsrMember {
            spu: own.spu,
            incarnation: world.model.spus[&own.spu].incarnation,
        },
        replica_gen: own.replica_gen,
        sealed_at,
        last_epoch: LeaderEpoch(1),
        end: Offset::new(10),
        log_start: Offset::ZERO,
        intact: true,
        remembers: false,
        remembers_ms: 0,
    };
    Request::SealAnswers(row.replicas.iter().map(answer).collect())
}

fn recover(world: &mut World) -> OperationId {
    let request = Request::Recover {
        topic: name("orders"),
        partition: PartitionId(0),
        accept_loss: false,
        force: true,
    };
    match world.ask(&request).unwrap().outcome {
        Outcome::Operation(id) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn r_23_a_delayed_step_of_an_earlier_operation_hits_no_later_one() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let first = recover(&mut world);
    let sealed_at = world.partition("orders", 0).leader_epoch;
    let late = answers(&world, sealed_at);
    world.ask(&Request::CancelOperation { id: first }).unwrap();
    let second = recover(&mut world);
    // Answers to the first survey, and its end once more, when the second has begun.
    let before = world.partition("orders", 0).clone();
    assert!(world.ask(&late).unwrap().changes.is_empty());
    let again = world.ask(&Request::CancelOperation { id: first });
    assert!(again.is_err() || again.unwrap().changes.is_empty());
    world.pass(1);
    let now = world.partition("orders", 0);
    assert_eq!((&now.seal, now.leader), (&before.seal, None));
    assert_eq!(world.operation(second).state, OperationState::Running);
    let answered = answers(&world, world.partition("orders", 0).leader_epoch);
    world.ask(&answered).unwrap();
    assert!(world.partition("orders", 0).leader.is_some());
}
