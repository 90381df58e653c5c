//! Partitions that were away, and what a reader finds of them when they are back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, SpuId};
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::position::Offset;

use super::Surface;
use super::away::gone;
use super::events::Stream;

const EVENTS: &str = "/v1/topics/t/events";

async fn append(surface: &Surface, partition: u32, value: &str) {
    let path = format!("/v1/topics/t/partitions/{partition}/records");
    let records = json!({"records": [{"value": value}]}).to_string();
    assert_eq!(surface.post_json(&path, &records).await.status, 200);
}

/// Two partitions, of which the first has one record and the second three.
async fn one_and_three() -> (Surface, Arc<TopicSpec>) {
    let surface = Surface::near();
    let topic = surface.memory.create_topic("t", 2);
    for (partition, value) in [(0, "a"), (1, "b"), (1, "c"), (1, "d")] {
        append(&surface, partition, value).await;
    }
    (surface, topic)
}

async fn expect_caught_up(stream: &mut Stream) -> String {
    loop {
        let event = stream.next().await.expect("the stream goes on");
        if event.name == "caught_up" {
            return event.id;
        }
        assert_eq!(event.name, "records", "{event:?}");
    }
}

#[tokio::test]
async fn a_stream_ends_where_a_partition_that_it_waits_for_will_never_be_back() {
    let (surface, _topic) = one_and_three().await;
    let second = surface.key("t", 1);
    surface.memory.take_away(second, Some(gone()));
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    stream.expect("away").await;
    expect_caught_up(&mut stream).await;
    let never = Problem::new(ErrorCode::PartitionNotFound, "it was given up");
    surface.memory.take_away(second, Some(never));
    let error = stream.expect("error").await.data;
    assert_eq!(
        (&error["code"], &error["partition"]),
        (&json!("partition_not_found"), &json!(1))
    );
    surface.memory.take_away(second, None);
}

#[tokio::test]
async fn a_stream_ends_where_a_partition_comes_back_shorter_than_what_it_showed() {
    let (surface, topic) = one_and_three().await;
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    expect_caught_up(&mut stream).await;
    let shut_out = |is_out| {
        let second = PartitionId(1);
        surface.memory.shut_out(&topic, second, SpuId(9), is_out);
    };
    shut_out(true);
    stream.expect("away").await;
    surface.memory.cut_off(surface.key("t", 1), Offset::new(1));
    shut_out(false);
    stream.expect("back").await;
    let error = stream.expect("error").await.data;
    assert_eq!(
        (&error["code"], &error["partition"], &error["end"]),
        (&json!("log_truncated"), &json!(1), &json!(1))
    );
    // Whoever goes on gets what is new, and nothing of the other partition again.
    append(&surface, 1, "e").await;
    let id = error["next_cursor"].as_str().unwrap();
    let mut stream = Stream::open(&surface, EVENTS, id).await;
    let records = stream.expect("records").await.data;
    assert_eq!(records["records"][0]["value"], "e");
    stream.expect("caught_up").await;
}

#[tokio::test]
async fn a_stream_that_waits_ends_where_the_next_leader_has_less_than_it_showed() {
    let (surface, _) = one_and_three().await;
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    expect_caught_up(&mut stream).await;
    surface.memory.cut_off(surface.key("t", 1), Offset::new(3));
    append(&surface, 1, "e").await;
    // As much as was shown is no loss.
    let records = stream.expect("records").await.data;
    assert_eq!(records["records"][0]["value"], "e");
    surface.memory.cut_off(surface.key("t", 1), Offset::new(2));
    let error = stream.expect("error").await.data;
    assert_eq!(error["code"], "log_truncated");
}

#[tokio::test]
async fn the_cursor_behind_a_gap_keeps_the_places_of_partitions_that_are_away() {
    let (surface, topic) = one_and_three().await;
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    expect_caught_up(&mut stream).await;
    let first = PartitionId(0);
    surface.memory.shut_out(&topic, first, SpuId(9), true);
    stream.expect("away").await;
    surface.memory.cut_off(surface.key("t", 1), Offset::new(2));
    let error = stream.expect("error").await.data;
    surface.memory.shut_out(&topic, first, SpuId(9), false);
    let id = error["next_cursor"].as_str().unwrap();
    let mut stream = Stream::open(&surface, EVENTS, id).await;
    stream.expect("caught_up").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_behind_takes_a_partition_up_as_soon_as_it_is_back() {
    let surface = Surface::near();
    surface.memory.create_topic("t", 2);
    append(&surface, 1, "late").await;
    let long = "x".repeat(FRAME_BYTES_TARGET);
    for _ in 0..8 {
        append(&surface, 0, &long).await;
    }
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    stream.expect("away").await;
    stream.expect("records").await;
    surface.memory.take_away(surface.key("t", 1), None);
    tokio::time::advance(Duration::from_secs(2)).await;
    stream.expect("back").await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let records = stream.expect("records").await.data;
        seen.push(records["partition"].as_u64().unwrap());
    }
    assert!(seen.contains(&1), "{seen:?}");
}

#[tokio::test]
async fn who_was_beyond_what_an_operator_gave_up_is_told_also_when_there_are_other_records_by_then()
{
    let (surface, topic) = one_and_three().await;
    let read = async |query: &str| {
        let path = format!("/v1/topics/t/partitions/1/records?{query}");
        surface.get(&path).await
    };
    let all = read("from=earliest")
        .await
        .header("tidegate-cursor")
        .to_owned();
    let first = read("max_records=1")
        .await
        .header("tidegate-cursor")
        .to_owned();
    surface
        .memory
        .give_up(&topic, PartitionId(1), Offset::new(1));
    for value in ["x", "y", "z"] {
        append(&surface, 1, value).await;
    }
    let told = read(&format!("cursor={all}")).await;
    assert_eq!(told.refusal(), (410, "log_truncated".to_owned()));
    let next = told.json()["next_cursor"].as_str().unwrap().to_owned();
    for cursor in [next, first] {
        let page = read(&format!("cursor={cursor}")).await.json();
        let records = page["records"].as_array().unwrap().iter();
        let values: Vec<_> = records.map(|record| record["value"].clone()).collect();
        assert_eq!(values, ["x", "y", "z"]);
    }
}
