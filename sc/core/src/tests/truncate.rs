//! Giving up old records: what is noted, what is refused, and that it never goes back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;
use tidegate_proto::api::topic::WriteResult;
use tidegate_proto::api::truncate::TruncatePartition;
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{LeaderEpoch, Offset};

use super::world::{World, asking, blank, name};
use crate::decision::{Decision, IfMatch, Request, TruncateWrite};
use crate::refusal::Refusal;
use crate::rows::PartitionRow;

fn truncate(
    world: &mut World,
    items: &[(u32, u64)],
    if_match: Option<IfMatch>,
) -> Result<Decision, Refusal> {
    let item = |(partition, before): &(u32, u64)| TruncatePartition {
        partition: PartitionId(*partition),
        before_offset: Offset::new(*before),
    };
    world.ask(&Request::TruncateTopic(TruncateWrite {
        name: name("orders"),
        partitions: items.iter().map(item).collect(),
        leader_epochs: None,
        if_match,
    }))
}

#[test]
fn what_one_leader_said_is_committed_does_not_count_under_the_next() {
    let mut world = World::new(1);
    world.create("orders", asking(2, 1)).unwrap();
    let asked = world.partition("orders", 0).leader_epoch;
    let request_after = |before, asked: &[LeaderEpoch]| {
        let leader_epochs = asked.iter().map(|epoch| (PartitionId(0), *epoch)).collect();
        Request::TruncateTopic(TruncateWrite {
            name: name("orders"),
            partitions: vec![TruncatePartition {
                partition: PartitionId(0),
                before_offset: Offset::new(before),
            }],
            leader_epochs: Some(leader_epochs),
            if_match: None,
        })
    };
    let request = |before| request_after(before, &[asked]);
    // Nor does what nobody was asked about, as when the topic was not there yet.
    let unasked = world.ask(&request_after(7, &[]));
    assert!(matches!(unasked, Err(Refusal::LeaderChanged { .. })));
    assert_eq!(world.ask(&request(7)).unwrap().result, WriteResult::Updated);
    world.register(&blank(0));
    assert!(world.partition("orders", 0).leader_epoch > asked);
    let refused = world.ask(&request(9));
    assert!(matches!(refused, Err(Refusal::LeaderChanged { .. })));
    assert_eq!(world.partition("orders", 0).truncate_before, Offset::new(7));
    // What was given up already is not asked for again.
    assert_eq!(world.ask(&request(7)).unwrap(), Decision::unchanged());
}

#[test]
fn what_is_given_up_is_in_the_row_and_in_the_topology_and_asking_again_changes_nothing() {
    let mut world = World::new(1);
    world.create("orders", asking(3, 1)).unwrap();
    let decision = truncate(&mut world, &[(2, 7), (0, 0)], None).unwrap();
    assert_eq!(decision.result, WriteResult::Updated);
    let changes = serde_json::to_value(&decision.differences).unwrap();
    let expected = json!([{ "path": "/partitions/2/truncate_before", "from": 0, "to": 7 }]);
    assert_eq!(changes, expected);
    let row = world.partition("orders", 2).clone();
    assert_eq!((row.truncate_before, row.version), (Offset::new(7), 2));
    let topology = world.model.topology();
    let spec = topology.topic(&name("orders")).unwrap();
    assert_eq!(spec.partitions[2].truncate_before, Offset::new(7));
    let row = &world.topic("orders").row;
    assert_eq!(spec.version, row.first_version, "the topic is as it was");
    for items in [[(2, 7), (0, 0)], [(2, 3), (1, 0)]] {
        let again = truncate(&mut world, &items, None).unwrap();
        assert_eq!(again, Decision::unchanged());
    }
}

#[test]
fn what_makes_no_sense_is_refused_whole() {
    let mut world = World::new(1);
    let nothing = truncate(&mut world, &[(0, 1)], None);
    assert!(matches!(nothing, Err(Refusal::TopicNotFound(_))));
    world.create("orders", asking(2, 1)).unwrap();
    let before = world.model.clone();
    let many: Vec<(u32, u64)> = (0..10_001).map(|number| (number, 1)).collect();
    let absent = truncate(&mut world, &[(0, 1), (2, 1)], None);
    assert!(matches!(
        absent,
        Err(Refusal::PartitionNotFound { count: 2, .. })
    ));
    let twice = truncate(&mut world, &[(0, 1), (1, 1), (0, 2)], None);
    assert!(matches!(twice, Err(Refusal::PartitionTwice { at: 2, .. })));
    let large = truncate(&mut world, &[(0, 1 << 53)], None);
    assert!(matches!(large, Err(Refusal::OffsetTooLarge { at: 0 })));
    for items in [&[][..], &many] {
        let refused = truncate(&mut world, items, None);
        assert!(matches!(refused, Err(Refusal::Invalid(_))));
    }
    let stale = truncate(&mut world, &[(0, 1)], Some(IfMatch::Versions(vec![9])));
    assert!(matches!(stale, Err(Refusal::VersionDiffers { .. })));
    assert_eq!(world.model, before);
}

#[test]
fn a_row_that_was_written_before_there_was_truncation_is_read() {
    let mut world = World::new(1);
    world.create("orders", asking(1, 1)).unwrap();
    let row = world.partition("orders", 0).clone();
    let mut old = serde_json::to_value(&row).unwrap();
    old.as_object_mut()
        .unwrap()
        .remove("truncate_before")
        .unwrap();
    assert_eq!(serde_json::from_value::<PartitionRow>(old).unwrap(), row);
}

proptest! {
    #[test]
    fn what_was_given_up_never_comes_back(
        steps in proptest::collection::vec((0..3_u32, 0..20_u64, 0..4_u8), 1..40)
    ) {
        let mut world = World::new(1);
        world.create("orders", asking(3, 1)).unwrap();
        let mut highest: BTreeMap<u32, u64> = BTreeMap::new();
        for (partition, before, kind) in steps {
            match kind {
                0 => drop(world.register(&blank(0))),
                1 => drop(world.ensure("orders", asking(3 + partition, 1))),
                _ => {
                    truncate(&mut world, &[(partition, before)], None).unwrap();
                    let kept = highest.entry(partition).or_default();
                    *kept = before.max(*kept);
                }
            }
            for row in &world.topic("orders").partitions {
                let expected = highest.get(&row.partition.0).copied().unwrap_or_default();
                prop_assert_eq!(row.truncate_before.get(), expected);
            }
        }
    }
}
