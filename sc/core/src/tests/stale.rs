//! Several controllers decide on states that are out of date; the store's check lets only those through
//! that fit, and whatever it lets through keeps all invariants.

use proptest::prelude::*;

use super::cluster::{Event, ask, event, happen, request};
use super::world::World;
use crate::invariant::{check_state, check_step};
use crate::model::Model;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn what_was_decided_on_an_old_state_is_made_only_if_it_fits_and_then_breaks_nothing(
        spus in 2..5_u32,
        events in proptest::collection::vec(event(), 1..30),
        late in ask(),
        meanwhile in proptest::collection::vec(event(), 0..4),
    ) {
        let mut world = World::new(spus);
        for event in &events {
            happen(&mut world, event);
        }
        let old = world.model.clone();
        let request = request(&world, &late);
        let decided = world.decide(&request);
        let due = world.due();
        for event in &meanwhile {
            happen(&mut world, event);
        }
        let Ok(decision) = decided else { return Ok(()) };
        let touched = touched(&old, &world.model);
        let moved = old.revision != world.model.revision;
        for (changes, guards, whole_state) in [
            (decision.changes, decision.guards, decision.whole_state),
            (due.changes, due.guards, false),
        ] {
            let fits = world.model.accepts(&changes, &guards) && !(whole_state && moved);
            let collides = changes.iter().any(|change| touched.contains(&(change.kind(), change.row_key())));
            prop_assert!(!(fits && collides), "two deciders both changed a row");
            if fits && !changes.is_empty() {
                let before = world.model.clone();
                world.model.commit(before.revision + 1, &changes);
                check_state(&world.model).unwrap();
                check_step(&before, &world.model).unwrap();
                break;
            }
        }
    }
}

/// Rows that are not as they were.
fn touched(old: &Model, new: &Model) -> std::collections::BTreeSet<(crate::change::Kind, String)> {
    use crate::change::{Change, Kind};
    let puts = |model: &Model| {
        let spus = model.spus.values().cloned().map(Change::PutSpu);
        let topics = model
            .topics
            .values()
            .map(|topic| Change::PutTopic(topic.row.clone()));
        let rows = model.topics.values().flat_map(|topic| &topic.partitions);
        let rows = rows.map(|row| Change::PutPartition((**row).clone()));
        let operations = model.operations.values().cloned().map(Change::PutOperation);
        let all: Vec<Change> = spus.chain(topics).chain(rows).chain(operations).collect();
        all
    };
    let before = puts(old);
    let after = puts(new);
    let key = |change: &Change| -> (Kind, String) { (change.kind(), change.row_key()) };
    let changed = after
        .iter()
        .filter(|change| !before.contains(change))
        .map(key);
    let gone = before
        .iter()
        .filter(|change| !after.iter().any(|other| key(other) == key(change)));
    changed.chain(gone.map(key)).collect()
}

#[test]
fn a_copy_that_was_emptied_meanwhile_is_not_let_into_the_in_sync_set() {
    use super::world::asking;
    use crate::decision::Request;
    use tidegate_proto::control::{IsrCandidate, IsrMember, IsrProposal};
    use tidegate_proto::id::SpuId;
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    let row = world.partition("orders", 0).clone();
    let leader = row.leader.unwrap();
    let other = row
        .replicas
        .iter()
        .find(|own| own.spu != leader)
        .unwrap()
        .spu;
    happen(&mut world, &Event::Leave(other.0));
    world.register(&{
        let mut report = world.remembered(other.0);
        report.replicas[0].intact = false;
        report
    });
    // It catches up, and the leader proposes it; the answer is late.
    let row = world.partition("orders", 0).clone();
    assert!(!row.has_in_sync(other));
    let member = |world: &World, spu: SpuId| IsrMember {
        spu,
        incarnation: world.model.spus[&spu].incarnation,
    };
    let isr = row.replicas.iter().map(|own| IsrCandidate {
        member: member(&world, own.spu),
        replica_gen: own.replica_gen,
    });
    let request = Request::ChangeIsr {
        leader,
        incarnation: member(&world, leader).incarnation,
        proposals: vec![IsrProposal {
            key: row.key(),
            leader_epoch: row.leader_epoch,
            version: row.version,
            isr: isr.collect(),
        }],
    };
    let late = world.decide(&request);
    let late = late.unwrap();
    assert!(world.model.accepts(&late.changes, &late.guards));
    // Its unit restarts, so it may hold less than it did: the partition's row is the same as before.
    world.register(&{
        let mut report = world.remembered(other.0);
        report.replicas[0].intact = false;
        report
    });
    assert_eq!(*world.partition("orders", 0), row);
    assert!(!world.model.accepts(&late.changes, &late.guards));
}
