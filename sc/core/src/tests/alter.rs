//! Changing topics: what stays, what goes back, preconditions, and what is told about it.

use serde_json::json;
use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest, WriteResult};
use tidegate_proto::control::TopicConfig;

use super::world::{World, asking, with_config};
use crate::change::Change;
use crate::decision::IfMatch;
use crate::refusal::Refusal;
use crate::rows::TopicRow;

#[test]
fn ensuring_twice_changes_nothing_the_second_time() {
    let mut world = World::new(3);
    assert_eq!(
        world.ensure("orders", asking(6, 2)).unwrap().result,
        WriteResult::Created
    );
    let before = world.model.clone();
    for request in [
        asking(6, 2),
        TopicRequest::default(),
        with_config(TopicConfigRequest::default()),
    ] {
        let again = world.ensure("orders", request).unwrap();
        assert_eq!(again.result, WriteResult::Unchanged);
        assert!(again.changes.is_empty() && again.differences.is_empty());
    }
    assert_eq!(world.model, before);
}

#[test]
fn absent_fields_stay_and_null_goes_back_to_the_default() {
    let mut world = World::new(1);
    let config = TopicConfigRequest {
        segment_ms: 5_000.into(),
        max_record_bytes: 1_000.into(),
        ..TopicConfigRequest::default()
    };
    world.create("orders", with_config(config)).unwrap();
    let config = TopicConfigRequest {
        segment_ms: Setting::Null,
        ..TopicConfigRequest::default()
    };
    world.ensure("orders", with_config(config)).unwrap();
    let row = &world.topic("orders").row;
    assert_eq!(row.config.segment_ms, TopicConfig::default().segment_ms);
    assert_eq!(row.config.max_record_bytes, 1_000);
    assert_eq!(row.version, row.first_version + 1);
    let all_back = TopicRequest {
        config: Setting::Null,
        ..TopicRequest::default()
    };
    world.ensure("orders", all_back).unwrap();
    assert_eq!(world.topic("orders").row.config, TopicConfig::default());
}

#[test]
fn partitions_are_added_and_never_taken() {
    let mut world = World::new(1);
    world.create("orders", asking(2, 1)).unwrap();
    let kept = world.partition("orders", 1).clone();
    let decision = world.ensure("orders", asking(5, 1)).unwrap();
    assert_eq!(decision.result, WriteResult::Updated);
    assert_eq!(
        decision.changes.len(),
        1 + 3,
        "the topic and the new partitions alone"
    );
    assert_eq!(world.topic("orders").partitions.len(), 5);
    assert_eq!(world.partition("orders", 1), &kept);
    assert!(world.partition("orders", 4).leader.is_some());
    for fewer in [Setting::Value(4), Setting::Null] {
        let request = TopicRequest {
            partitions: fewer,
            ..TopicRequest::default()
        };
        assert!(matches!(
            world.ensure("orders", request),
            Err(Refusal::Invalid(_))
        ));
    }
}

#[test]
fn if_match_lets_through_the_version_that_was_read_and_no_other() {
    let mut world = World::new(1);
    let if_match = |versions: &[u64]| Some(IfMatch::Versions(versions.to_vec()));
    let absent = world.ensure_if("orders", asking(1, 1), Some(IfMatch::Any));
    assert!(matches!(absent, Err(Refusal::NothingToMatch(_))));
    world.create("orders", asking(1, 1)).unwrap();
    let first = world.topic("orders").row.version;
    let stale = world.ensure_if("orders", asking(2, 1), if_match(&[first + 6]));
    let differs =
        |found| matches!(found, Err(Refusal::VersionDiffers { version, .. }) if version == first);
    assert!(differs(stale));
    world
        .ensure_if("orders", asking(2, 1), if_match(&[first + 8, first]))
        .unwrap();
    world
        .ensure_if("orders", asking(3, 1), Some(IfMatch::Any))
        .unwrap();
    assert!(matches!(
        world.delete("orders", if_match(&[first + 1])),
        Err(Refusal::VersionDiffers { .. })
    ));
    world.delete("orders", if_match(&[first + 2])).unwrap();
    assert!(matches!(
        world.delete("orders", if_match(&[first + 2])),
        Err(Refusal::NothingToMatch(_))
    ));
}

#[test]
fn a_topic_made_again_is_at_no_version_that_one_of_its_name_had() {
    let mut world = World::new(1);
    let mut newest = 0;
    for partitions in [1, 4, 2] {
        world.create("orders", asking(1, 1)).unwrap();
        for more in 2..=partitions {
            world.ensure("orders", asking(more, 1)).unwrap();
        }
        let row = world.topic("orders").row.clone();
        assert!(row.first_version > newest, "{row:?}");
        assert_eq!(row.version, row.first_version + u64::from(partitions) - 1);
        newest = row.version;
        world.delete("orders", None).unwrap();
    }
    // Before topics had this, each of them began with 1.
    let id = "018f0000-0000-7000-8000-000000000001";
    let old = json!({ "id": id, "name": "old", "version": 3, "partitions": 1,
        "replication_factor": 1, "min_in_sync": null, "placement": "computed",
        "config": TopicConfig::default(),
        "created_at_ms": 0, "updated_at_ms": 0 });
    let old: TopicRow = serde_json::from_value(old).unwrap();
    assert_eq!(Change::PutTopic(old).expected_version(), 2);
}

#[test]
fn min_in_sync_follows_the_copies_unless_it_was_set_and_the_rows_follow_it() {
    let mut world = World::new(3);
    world.create("orders", asking(1, 3)).unwrap();
    assert_eq!(world.partition("orders", 0).min_isr, 2);
    let set = |min_in_sync| TopicRequest {
        min_in_sync,
        ..TopicRequest::default()
    };
    world.ensure("orders", set(Setting::Value(3))).unwrap();
    assert_eq!(world.partition("orders", 0).min_isr, 3);
    world.ensure("orders", set(Setting::Null)).unwrap();
    assert_eq!(world.partition("orders", 0).min_isr, 2);
}

#[test]
fn raising_min_in_sync_waits_for_a_row_that_reaches_it() {
    let mut world = World::new(1);
    world.create("orders", asking(1, 1)).unwrap();
    let request = TopicRequest {
        min_in_sync: 2.into(),
        ..asking(1, 3)
    };
    world.ensure("orders", request).unwrap();
    assert_eq!(world.topic("orders").row.effective_min_in_sync(), 2);
    assert_eq!(world.partition("orders", 0).min_isr, 1, "writes go on");
}

#[test]
fn differences_name_each_field_with_old_and_new() {
    let mut world = World::new(1);
    let made = world.create("orders", asking(2, 1)).unwrap();
    let paths: Vec<_> = made.differences.iter().map(|d| d.path.as_str()).collect();
    assert_eq!(paths, ["", "/assignment/0", "/assignment/1"]);
    assert_eq!(
        (made.differences[0].path.as_str(), &made.differences[0].from),
        ("", &json!(null))
    );
    let config = TopicConfigRequest {
        retention_ms: 9.into(),
        ..TopicConfigRequest::default()
    };
    let request = TopicRequest {
        config: config.into(),
        ..asking(3, 1)
    };
    let changed = world.ensure("orders", request).unwrap();
    let told: Vec<_> = changed
        .differences
        .into_iter()
        .map(|change| (change.path, change.from, change.to))
        .collect();
    assert_eq!(
        told,
        [
            (
                "/config/retention_ms".to_owned(),
                json!(604_800_000),
                json!(9)
            ),
            ("/partitions".to_owned(), json!(2), json!(3)),
            ("/assignment/2".to_owned(), json!(null), json!([0])),
        ]
    );
}
