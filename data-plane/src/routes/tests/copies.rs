//! Pages that any copy may answer.

use std::time::Duration;

use serde_json::json;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::time::timeout;

use super::{Answer, Surface};

const PARTITION: &str = "/v1/topics/t/partitions/0/records";

async fn append(surface: &Surface, values: std::ops::Range<u64>) {
    for value in values {
        let records = json!({"records": [{"value": value}]}).to_string();
        assert_eq!(surface.post_json(PARTITION, &records).await.status, 200);
    }
}

/// A leader with five records, and a copy that has three of them.
async fn with_a_slow_copy() -> Surface {
    let surface = Surface::near();
    surface.memory.create_topic("t", 1);
    append(&surface, 0..3).await;
    surface.memory.copy(surface.key("t", 0));
    append(&surface, 3..5).await;
    surface
}

fn count(answer: &Answer) -> usize {
    match answer.status.as_u16() {
        204 => 0,
        _ => answer.json()["records"].as_array().unwrap().len(),
    }
}

async fn read(surface: &Surface, query: &str) -> Answer {
    let answer = surface.get(&format!("{PARTITION}?{query}")).await;
    assert!(
        matches!(answer.status.as_u16(), 200 | 204),
        "{}",
        answer.text()
    );
    answer
}

#[tokio::test]
async fn a_page_comes_from_any_copy_only_when_it_is_asked_for() {
    let surface = with_a_slow_copy().await;
    assert_eq!(count(&read(&surface, "").await), 5);
    assert_eq!(count(&read(&surface, "replica=leader").await), 5);
    let of_copy = read(&surface, "replica=any").await;
    assert_eq!(count(&of_copy), 3);
    assert_eq!(of_copy.header("tidegate-high-watermark"), "3");
    let events = surface
        .get_as(&format!("{PARTITION}?replica=any"), "text/event-stream")
        .await;
    assert_eq!(events.refusal(), (400, "invalid_parameter".to_owned()));
    let other = surface.get(&format!("{PARTITION}?replica=2")).await;
    assert_eq!(other.refusal(), (400, "invalid_parameter".to_owned()));
}

#[tokio::test]
async fn a_reader_who_is_further_than_the_copy_goes_on_at_the_leader_and_never_back() {
    let surface = with_a_slow_copy().await;
    let ahead = read(&surface, "max_records=4").await;
    let cursor = ahead.header("tidegate-cursor").to_owned();
    let next = read(&surface, &format!("replica=any&cursor={cursor}")).await;
    assert_eq!(count(&next), 1);
    assert_eq!(next.json()["records"][0]["offset"], 4);
    // A number beyond the copy is the leader's to judge.
    assert_eq!(count(&read(&surface, "replica=any&from=5").await), 0);
    let beyond = surface
        .get(&format!("{PARTITION}?replica=any&from=6"))
        .await;
    assert_eq!(beyond.refusal(), (416, "offset_out_of_range".to_owned()));
}

#[tokio::test]
async fn while_the_leader_is_away_there_is_what_the_copy_has_and_nothing_new_beyond() {
    let surface = with_a_slow_copy().await;
    let ahead = read(&surface, "max_records=4").await;
    let cursor = ahead.header("tidegate-cursor").to_owned();
    let away = Problem::new(ErrorCode::NotLeader, "nobody leads it");
    surface
        .memory
        .take_away(surface.key("t", 0), Some(away.clone()));
    let refused = surface.get(PARTITION).await;
    assert_eq!(refused.refusal(), (503, "not_leader".to_owned()));
    assert_eq!(count(&read(&surface, "replica=any").await), 3);
    let query = format!("replica=any&wait_ms=300&cursor={cursor}");
    let waited = read(&surface, &query);
    let waited = timeout(Duration::from_secs(10), waited).await.unwrap();
    assert_eq!(waited.status, 204);
    let kept = waited.header("tidegate-cursor").to_owned();
    surface.memory.take_away(surface.key("t", 0), None);
    assert_eq!(count(&read(&surface, &format!("cursor={kept}")).await), 1);
}

#[tokio::test]
async fn who_waits_for_any_copy_gets_what_comes_there() {
    let surface = with_a_slow_copy().await;
    let first = read(&surface, "replica=any").await;
    let cursor = first.header("tidegate-cursor").to_owned();
    let query = format!("replica=any&wait_ms=20000&cursor={cursor}");
    let (page, ()) = tokio::join!(read(&surface, &query), async {
        surface.memory.copy(surface.key("t", 0));
    });
    assert_eq!(count(&page), 2);
}
