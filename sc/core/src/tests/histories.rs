//! Properties over generated histories: rows stay in order, loads stay even, nothing depends on chance.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tidegate_proto::api::topic::{TopicConfigRequest, TopicRequest, WriteResult};
use tidegate_proto::id::SpuId;

use super::world::{World, asking, blank, with_config};
use crate::change::Change;
use crate::model::{Model, Rows};

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u32, u16),
    Ensure(u8, u32, u16),
    Configure(u8, u64),
    Delete(u8),
    Arrive(u32),
    Restart(u32, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, partitions, copies) = (0..4_u8, 1..9_u32, 1..4_u16);
    prop_oneof![
        (topic.clone(), partitions.clone(), copies.clone())
            .prop_map(|(t, p, c)| Step::Create(t, p, c)),
        (topic.clone(), partitions, copies).prop_map(|(t, p, c)| Step::Ensure(t, p, c)),
        (topic.clone(), 100..200_u64).prop_map(|(t, ms)| Step::Configure(t, ms)),
        topic.prop_map(Step::Delete),
        (0..5_u32).prop_map(Step::Arrive),
        (0..5_u32, any::<bool>()).prop_map(|(spu, intact)| Step::Restart(spu, intact)),
    ]
}

/// Carries out one step; gives the changes it made.
fn walk(world: &mut World, step: &Step) -> Vec<Change> {
    let topic = |number: &u8| format!("topic-{number}");
    let decision = match step {
        Step::Create(t, partitions, copies) => {
            world.create(&topic(t), asking(*partitions, *copies))
        }
        Step::Ensure(t, partitions, copies) => {
            world.ensure(&topic(t), asking(*partitions, *copies))
        }
        Step::Configure(t, ms) => {
            let config = TopicConfigRequest {
                segment_ms: (*ms).into(),
                ..TopicConfigRequest::default()
            };
            world.ensure(&topic(t), with_config(config))
        }
        Step::Delete(t) => world.delete(&topic(t), None),
        Step::Arrive(spu) if world.model.spus.contains_key(&SpuId(*spu)) => return Vec::new(),
        Step::Arrive(spu) => {
            world.register(&blank(*spu));
            return Vec::new();
        }
        Step::Restart(spu, _) if !world.model.spus.contains_key(&SpuId(*spu)) => return Vec::new(),
        Step::Restart(spu, intact) => {
            let mut report = world.remembered(*spu);
            report
                .replicas
                .iter_mut()
                .for_each(|replica| replica.intact = *intact);
            world.register(&report);
            return Vec::new();
        }
    };
    decision
        .map(|decision| decision.changes)
        .unwrap_or_default()
}

fn check(model: &Model) {
    for topic in model.topics.values() {
        assert_eq!(topic.partitions.len(), topic.row.partitions as usize);
        for row in &topic.partitions {
            let replicas: BTreeSet<_> = row.replicas.iter().map(|replica| replica.spu).collect();
            assert_eq!(
                replicas.len(),
                row.replicas.len(),
                "replicas are on different units"
            );
            assert!(row.isr.iter().all(|member| replicas.contains(&member.spu)));
            assert!(
                row.leader.is_none_or(|leader| row.has_in_sync(leader)),
                "only in-sync lead"
            );
            assert!(
                row.isr
                    .iter()
                    .all(|m| m.incarnation == model.spus[&m.spu].incarnation)
            );
            assert!(row.leader.is_none() || row.leader_epoch.0 > 0);
        }
    }
}

pub(super) fn rebuilt(model: &Model) -> Model {
    let topics = || model.topics.values();
    let partitions = topics()
        .flat_map(|topic| topic.partitions.iter().rev().map(|row| (**row).clone()))
        .collect();
    Model::from_rows(
        model.cluster_id,
        model.revision,
        Rows {
            spus: model.spus.values().cloned().collect(),
            spu_groups: model.spu_groups.values().cloned().collect(),
            topics: topics().map(|topic| topic.row.clone()).collect(),
            partitions,
            operations: model.operations.values().cloned().collect(),
        },
    )
    .unwrap()
}

proptest! {
    #[test]
    fn after_any_history_the_rows_hold_together_and_rebuild_to_the_same_model(
        steps in proptest::collection::vec(step(), 1..40)
    ) {
        let mut world = World::new(1);
        let mut twin = World::new(1);
        let mut newest = std::collections::BTreeMap::new();
        for step in &steps {
            let before = world.model.clone();
            let changes = walk(&mut world, step);
            check(&world.model);
            prop_assert_eq!(&rebuilt(&world.model), &world.model);
            // Versions grow one by one, so that a compare-and-set on them sees every change.
            for change in &changes {
                let read = Change::from_event(
                    change.kind(), change.is_delete(), &change.payload().unwrap()).unwrap();
                prop_assert_eq!(&read, change);
                if let Change::PutTopic(row) = change {
                    let old = before.topics.get(&row.name).map_or(0, |topic| topic.row.version);
                    prop_assert_eq!(change.expected_version(), old);
                    // No topic is at a version that was another's of its name.
                    prop_assert!(row.version > newest.insert(row.name.clone(), row.version).unwrap_or(0));
                }
            }
            prop_assert_eq!(walk(&mut twin, step), changes);
        }
        prop_assert_eq!(twin.model, world.model);
    }

    #[test]
    fn ensure_is_idempotent_after_any_history(
        steps in proptest::collection::vec(step(), 1..20), partitions in 1..9_u32, copies in 1..4_u16
    ) {
        let mut world = World::new(2);
        for step in &steps {
            walk(&mut world, step);
        }
        if world.ensure("topic-0", asking(partitions, copies)).is_ok() {
            let again = world.ensure("topic-0", asking(partitions, copies)).unwrap();
            prop_assert_eq!(again.result, WriteResult::Unchanged);
            prop_assert!(again.changes.is_empty());
        }
    }

    #[test]
    fn placement_is_balanced_and_replicas_are_distinct(
        spus in 1..8_u32,
        topics in proptest::collection::vec((1..40_u32, 1..4_u16), 1..6),
    ) {
        let mut world = World::new(spus);
        let topics = topics.into_iter().filter(|(_, copies)| u32::from(*copies) <= spus);
        for (number, (partitions, copies)) in topics.enumerate() {
            world.create(&format!("t{number}"), asking(partitions, copies)).unwrap();
        }
        check(&world.model);
        let rows = || world.model.topics.values().flat_map(|topic| &topic.partitions);
        let spread = |counts: Vec<usize>| {
            counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0)
        };
        let holds = |spu| rows().filter(|row| row.replicas.iter().any(|r| r.spu == SpuId(spu))).count();
        let leads = |spu| rows().filter(|row| row.leader == Some(SpuId(spu))).count();
        prop_assert!(spread((0..spus).map(leads).collect()) <= 1);
        prop_assert!(spread((0..spus).map(holds).collect()) <= 2);
    }
}

proptest! {
    #[test]
    fn three_copies_are_on_three_racks_and_leaders_spread_whatever_the_racks_hold(
        racks in proptest::collection::vec(0..4_u32, 0..6), partitions in 1..30_u32
    ) {
        // At least one unit on each of three racks.
        let racks: Vec<u32> = [0, 1, 2].into_iter().chain(racks).collect();
        let mut world = World::new(u32::try_from(racks.len()).unwrap());
        for (row, rack) in world.model.spus.values_mut().zip(&racks) {
            row.rack = Some(format!("rack-{rack}"));
        }
        world.create("orders", asking(partitions, 3)).unwrap();
        let rack = |spu: SpuId| racks[spu.0 as usize];
        let mut led = vec![0_u32; racks.len()];
        for row in &world.topic("orders").partitions {
            let on: BTreeSet<u32> = row.replicas.iter().map(|own| rack(own.spu)).collect();
            prop_assert_eq!(on.len(), 3, "{:?}", row);
            led[row.leader.unwrap().0 as usize] += 1;
        }
        prop_assert!(led.iter().max().unwrap() - led.iter().min().unwrap() <= 1, "{:?}", led);
    }
}

#[test]
fn replicas_land_on_different_racks_when_there_are_enough() {
    let mut world = World::new(6);
    for (spu, row) in &mut world.model.spus {
        row.rack = Some(format!("rack-{}", spu.0 % 3));
    }
    world.create("orders", asking(24, 3)).unwrap();
    for row in &world.topic("orders").partitions {
        let racks: BTreeSet<_> = row
            .replicas
            .iter()
            .map(|replica| replica.spu.0 % 3)
            .collect();
        assert_eq!(racks.len(), 3, "{row:?}");
    }
    let request = TopicRequest::default();
    assert_eq!(
        world.ensure("orders", request).unwrap().result,
        WriteResult::Unchanged
    );
}
