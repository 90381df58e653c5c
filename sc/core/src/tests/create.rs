//! Creating topics: defaults, bounds, placement, states.

use tidegate_proto::api::topic::{
    Setting, TopicConfigRequest, TopicRequest, TopicState, WriteResult,
};
use tidegate_proto::control::{Cleanup, TopicConfig};
use tidegate_proto::error::{ErrorCode, Problem};

use super::world::{World, asking, blank, with_config};
use crate::refusal::Refusal;
use crate::status::topic_status;

fn state(world: &World, topic: &str) -> TopicState {
    topic_status(&world.model, world.topic(topic)).state
}

#[test]
fn a_topic_that_asks_for_nothing_gets_the_defaults_of_the_cluster_size() {
    for (spus, copies, min_in_sync) in [(1, 1, 1), (2, 2, 1), (3, 3, 2), (5, 3, 2)] {
        let mut world = World::new(spus);
        let decision = world.create("orders", TopicRequest::default()).unwrap();
        assert_eq!(decision.result, WriteResult::Created);
        let topic = world.topic("orders");
        assert_eq!(topic.row.partitions, 1);
        assert_eq!(topic.row.replication_factor, copies);
        assert_eq!(topic.row.effective_min_in_sync(), min_in_sync);
        assert_eq!(topic.row.config, TopicConfig::default());
        assert_eq!(topic.partitions[0].min_isr, min_in_sync);
        assert_eq!(topic.partitions[0].leader_epoch.0, 1);
        assert_eq!(state(&world, "orders"), TopicState::Provisioned);
    }
}

#[test]
fn more_copies_than_units_waits_and_is_provisioned_when_they_come() {
    let mut world = World::new(1);
    world.create("orders", asking(4, 3)).unwrap();
    assert_eq!(state(&world, "orders"), TopicState::InsufficientResources);
    assert!(
        world
            .topic("orders")
            .partitions
            .iter()
            .all(|p| !p.is_placed() && p.leader.is_none())
    );
    world.register(&blank(1));
    assert_eq!(state(&world, "orders"), TopicState::InsufficientResources);
    world.register(&blank(2));
    assert_eq!(state(&world, "orders"), TopicState::Provisioned);
    assert_eq!(world.partition("orders", 3).isr.len(), 3);
    assert_eq!(world.partition("orders", 3).min_isr, 2);
}

#[test]
fn asking_for_fewer_copies_provisions_a_topic_that_waits() {
    let mut world = World::new(1);
    world.create("orders", asking(2, 3)).unwrap();
    world.ensure("orders", asking(2, 1)).unwrap();
    assert_eq!(state(&world, "orders"), TopicState::Provisioned);
    assert_eq!(world.partition("orders", 1).min_isr, 1);
}

#[test]
fn a_name_is_made_once_and_is_free_after_a_delete() {
    let mut world = World::new(1);
    world.create("orders", TopicRequest::default()).unwrap();
    let first = world.topic("orders").row.id;
    let again = world.create("orders", TopicRequest::default());
    assert!(matches!(again, Err(Refusal::AlreadyExists(_))));
    world.delete("orders", None).unwrap();
    assert!(matches!(
        world.delete("orders", None),
        Err(Refusal::TopicNotFound(_))
    ));
    world.create("orders", TopicRequest::default()).unwrap();
    assert_ne!(world.topic("orders").row.id, first);
}

#[test]
fn names_of_the_system_are_refused() {
    let mut world = World::new(1);
    assert!(matches!(
        world.create("__groups", asking(1, 1)),
        Err(Refusal::Internal(_))
    ));
    assert!(matches!(
        world.ensure("__groups", asking(1, 1)),
        Err(Refusal::Internal(_))
    ));
    assert!(matches!(
        world.delete("__groups", None),
        Err(Refusal::Internal(_))
    ));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table, one row a bound")]
fn every_bound_is_checked_and_points_at_its_field() {
    let config = TopicConfigRequest::default;
    let rows: Vec<(&str, TopicRequest)> = vec![
        ("/partitions", asking(0, 1)),
        ("/partitions", asking(10_001, 1)),
        ("/replication_factor", asking(1, 0)),
        ("/replication_factor", asking(1, 16)),
        (
            "/min_in_sync",
            TopicRequest {
                min_in_sync: 0.into(),
                ..asking(1, 1)
            },
        ),
        (
            "/min_in_sync",
            TopicRequest {
                min_in_sync: 2.into(),
                ..asking(1, 1)
            },
        ),
        (
            "/config/retention_ms",
            with_config(TopicConfigRequest {
                retention_ms: 0.into(),
                ..config()
            }),
        ),
        (
            "/config/retention_ms",
            with_config(TopicConfigRequest {
                retention_ms: (1 << 53).into(),
                ..config()
            }),
        ),
        (
            "/config/retention_bytes",
            with_config(TopicConfigRequest {
                retention_bytes: 0.into(),
                ..config()
            }),
        ),
        (
            "/config/segment_bytes",
            with_config(TopicConfigRequest {
                segment_bytes: 1.into(),
                ..config()
            }),
        ),
        (
            "/config/segment_bytes",
            with_config(TopicConfigRequest {
                segment_bytes: (1 << 31).into(),
                ..config()
            }),
        ),
        (
            "/config/segment_ms",
            with_config(TopicConfigRequest {
                segment_ms: 99.into(),
                ..config()
            }),
        ),
        (
            "/config/max_record_bytes",
            with_config(TopicConfigRequest {
                max_record_bytes: 0.into(),
                ..config()
            }),
        ),
        (
            "/config/max_record_bytes",
            with_config(TopicConfigRequest {
                max_record_bytes: (4 << 20).into(),
                ..config()
            }),
        ),
    ];
    for (pointer, request) in rows {
        let mut world = World::new(1);
        let Err(Refusal::Invalid(faults)) = world.create("orders", request) else {
            panic!("{pointer} was let through");
        };
        let pointers: Vec<_> = faults.iter().map(|fault| &*fault.pointer).collect();
        assert_eq!(pointers, [pointer]);
    }
}

#[test]
fn all_faults_of_a_request_are_told_at_once() {
    let config = TopicConfigRequest {
        segment_ms: 1.into(),
        ..TopicConfigRequest::default()
    };
    let request = TopicRequest {
        config: config.into(),
        ..asking(0, 99)
    };
    let refusal = World::new(1).create("orders", request).unwrap_err();
    let Refusal::Invalid(faults) = &refusal else {
        panic!("{refusal}")
    };
    assert_eq!(faults.len(), 3);
    assert_eq!(Problem::from(refusal).code(), ErrorCode::InvalidParameter);
}

#[test]
fn a_compacted_topic_is_taken_with_the_time_its_tombstones_stay() {
    let config = TopicConfigRequest {
        cleanup: Cleanup::Compact.into(),
        delete_retention_ms: 5_000.into(),
        ..TopicConfigRequest::default()
    };
    let mut world = World::new(1);
    world.create("orders", with_config(config)).unwrap();
    let row = &world.model.topics["orders"].row;
    assert_eq!(row.config.cleanup, Cleanup::Compact);
    assert_eq!(row.config.delete_retention_ms, 5_000);
}

#[test]
fn null_retention_keeps_for_ever_and_other_nulls_are_the_default() {
    let config = TopicConfigRequest {
        retention_ms: Setting::Null,
        retention_bytes: Setting::Null,
        segment_bytes: Setting::Null,
        ..TopicConfigRequest::default()
    };
    let mut world = World::new(1);
    world.create("orders", with_config(config)).unwrap();
    let config = &world.topic("orders").row.config;
    assert_eq!((config.retention_ms, config.retention_bytes), (None, None));
    assert_eq!(config.segment_bytes, TopicConfig::default().segment_bytes);
}
