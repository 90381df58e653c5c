//! Partitions that cannot be reached, beside others that can.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{PartitionId, SpuId};
use tokio::time::timeout;

use super::Surface;
use super::events::Stream;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(10);

/// Nobody waits for it to pass.
pub(super) fn gone() -> Problem {
    Problem::new(ErrorCode::Unavailable, "its unit burned down").retryable(false)
}

#[tokio::test]
async fn records_without_a_key_go_where_somebody_takes_them() {
    let surface = Surface::near();
    surface.memory.create_topic("t", 3);
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    let mut taken = Vec::new();
    for number in 0..6 {
        let path = "/v1/topics/t/records";
        let answer = match number % 3 {
            0 => surface.post(path, "text/plain", "one").await,
            1 => {
                surface
                    .post_json(path, r#"{"records":[{"value":1}]}"#)
                    .await
            }
            _ => surface.post(path, "application/x-ndjson", "1\n2\n").await,
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        taken.push(answer.json()["partitions"][0]["partition"].clone());
    }
    assert_eq!(taken, [0, 2, 0, 2, 0, 2]);
}

#[tokio::test]
async fn when_all_partitions_are_away_the_refusal_is_that_of_one_of_them() {
    let surface = Surface::near();
    surface.memory.create_topic("t", 2);
    for partition in [0, 1] {
        surface
            .memory
            .take_away(surface.key("t", partition), Some(gone()));
    }
    let answer = surface
        .post("/v1/topics/t/records", "text/plain", "one")
        .await;
    assert_eq!(answer.refusal(), (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_done_at_a_partition_names_it_and_says_why() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 3);
    surface.memory.take_away(surface.key("t", 2), Some(gone()));
    let path = "/v1/topics/t/partitions/2/records";
    let mut told = vec![
        surface.post(path, "text/plain", "one").await.json(),
        surface.get(path).await.json(),
        surface
            .get("/v1/topics/t/partitions/2/offsets")
            .await
            .json(),
        surface.get("/v1/topics/t/partitions/2/pages").await.json(),
        surface.get(&format!("{path}?from=latest")).await.json(),
        surface
            .get("/v1/topics/t/records?partitions=2")
            .await
            .json(),
        surface.get("/v1/topics/t/events?partitions=2").await.json(),
    ];
    let records = r#"{"records":[{"partition":0,"value":1},{"partition":2,"value":2}]}"#;
    let answer = surface.post_json("/v1/topics/t/records", records).await;
    assert_eq!(answer.status, 207, "{}", answer.text());
    told.push(answer.json()["results"][1]["error"].clone());
    for problem in told {
        assert_eq!(
            (
                &problem["topic"],
                &problem["partition"],
                &problem["side_effects"]
            ),
            (&json!("t"), &json!(2), &json!("none")),
            "{problem}"
        );
        let detail = problem["detail"].as_str().unwrap();
        assert_eq!(detail, "partition 2 of `t`: its unit burned down");
    }
    assert!(
        surface
            .get("/v1/topics/t/partitions/1/offsets")
            .await
            .json()["topic"]
            == Value::Null
    );
}

/// Three partitions of which each has one record; the second is away.
async fn two_of_three() -> Surface {
    let surface = Surface::new();
    surface.memory.create_topic("t", 3);
    for partition in 0..3 {
        let path = format!("/v1/topics/t/partitions/{partition}/records");
        let answer = surface
            .post_json(
                &path,
                &json!({"records": [{"value": partition}]}).to_string(),
            )
            .await;
        assert_eq!(answer.status, 200);
    }
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    surface
}

fn values(records: &Value) -> Vec<u64> {
    let records = records.as_array().unwrap().iter();
    let mut found: Vec<_> = records
        .map(|record| record["value"].as_u64().unwrap())
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn a_page_of_several_partitions_goes_on_without_one_and_says_so() {
    let surface = two_of_three().await;
    let path = "/v1/topics/t/records";
    let page = surface.get(&format!("{path}?from=earliest")).await;
    assert_eq!(
        (page.status.as_u16(), page.header("tidegate-away")),
        (200, "1")
    );
    let page = page.json();
    assert_eq!(values(&page["records"]), [0, 2]);
    assert_eq!(page["away"]["partitions"], json!([1]));
    assert_eq!(page["away"]["error"]["partition"], 1);
    let cursor = page["cursor"].as_str().unwrap();
    let next = surface.get(&format!("{path}?cursor={cursor}")).await;
    assert_eq!(
        (next.status.as_u16(), next.header("tidegate-away")),
        (204, "1")
    );
    // It is not forgotten: where nothing of it was read, it begins with its first record.
    surface.memory.take_away(surface.key("t", 1), None);
    let path = format!("{path}?cursor={cursor}");
    let next = async {
        loop {
            // A door in between may take a moment to find out.
            let next = surface.get(&path).await;
            if next.header("tidegate-away").is_empty() {
                break next;
            }
            tokio::task::yield_now().await;
        }
    };
    let next = timeout(LONG, next).await.unwrap();
    assert_eq!(values(&next.json()["records"]), [1]);
    assert_eq!(next.json()["away"], Value::Null);
}

#[tokio::test]
async fn cursors_keep_the_place_of_a_partition_that_is_away() {
    let surface = two_of_three().await;
    let path = "/v1/topics/t/records";
    surface.memory.take_away(surface.key("t", 1), None);
    let all = surface.get(&format!("{path}?from=earliest")).await.json();
    assert_eq!(values(&all["records"]), [0, 1, 2]);
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    let cursor = all["cursor"].as_str().unwrap();
    let page = surface.get(&format!("{path}?cursor={cursor}")).await;
    assert_eq!(
        (page.status.as_u16(), page.header("tidegate-cursor")),
        (204, cursor)
    );
    // All of them away is nothing to go on with.
    for partition in [0, 2] {
        surface
            .memory
            .take_away(surface.key("t", partition), Some(gone()));
    }
    let refused = surface.get(&format!("{path}?cursor={cursor}")).await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
    assert_eq!(refused.json()["partition"], 0);
}

#[tokio::test]
async fn an_event_stream_goes_on_without_a_partition_until_it_is_back() {
    let surface = two_of_three().await;
    let path = "/v1/topics/t/events?from=earliest";
    let mut stream = Stream::open(&surface, path, "").await;
    let away = stream.expect("away").await.data;
    assert_eq!(
        (&away["partitions"], &away["error"]["partition"]),
        (&json!([1]), &json!(1))
    );
    for _ in 0..2 {
        assert_ne!(stream.expect("records").await.data["partition"], 1);
    }
    let id = stream.expect("caught_up").await.id;
    surface.memory.take_away(surface.key("t", 1), None);
    assert_eq!(stream.expect("back").await.data["partitions"], json!([1]));
    let back = stream.expect("records").await;
    assert_eq!(
        (&back.data["partition"], values(&back.data["records"])),
        (&json!(1), vec![1])
    );
    stream.expect("caught_up").await;
    // Whoever goes on from before that misses nothing either.
    let mut again = Stream::open(&surface, "/v1/topics/t/events", &id).await;
    assert_eq!(again.expect("records").await.data["partition"], 1);
}

#[tokio::test]
async fn a_stream_that_has_caught_up_hears_that_nobody_leads_a_partition_any_more() {
    let surface = Surface::new();
    let topic = surface.memory.create_topic("t", 2);
    let mut stream = Stream::open(&surface, "/v1/topics/t/events?from=latest", "").await;
    stream.expect("caught_up").await;
    surface
        .memory
        .shut_out(&topic, PartitionId(0), SpuId(9), true);
    let away = stream.expect("away").await.data;
    assert_eq!(away["partitions"], json!([0]));
    let why = "partition 0 of `t`: nobody leads it: storage unit 9 has its copy and is offline";
    assert_eq!(away["error"]["detail"], why);
    let path = "/v1/topics/t/partitions/1/records";
    assert_eq!(surface.post(path, "text/plain", "one").await.status, 200);
    assert_eq!(stream.expect("records").await.data["partition"], 1);
    surface
        .memory
        .shut_out(&topic, PartitionId(0), SpuId(9), false);
    assert_eq!(stream.expect("back").await.data["partitions"], json!([0]));
    stream.expect("caught_up").await;
    let path = "/v1/topics/t/partitions/0/records";
    assert_eq!(surface.post(path, "text/plain", "one").await.status, 200);
    assert_eq!(stream.expect("records").await.data["partition"], 0);
}

#[tokio::test]
async fn whoever_wants_the_latest_of_a_partition_that_is_away_gets_what_is_written_when_it_is_back()
{
    let surface = Surface::near();
    surface.memory.create_topic("t", 2);
    let path = "/v1/topics/t/partitions/1/records";
    let before = r#"{"records":[{"value":"before","timestamp":1}]}"#;
    assert_eq!(surface.post_json(path, before).await.status, 200);
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    let mut stream = Stream::open(&surface, "/v1/topics/t/events?from=latest", "").await;
    stream.expect("away").await;
    stream.expect("caught_up").await;
    surface.memory.take_away(surface.key("t", 1), None);
    // Before the stream may have noticed.
    let records = json!({"records": [{"value": "after", "timestamp": 4_000_000_000_000_u64}]});
    let answer = surface.post_json(path, &records.to_string()).await;
    assert_eq!(answer.status, 200);
    stream.expect("back").await;
    let records = stream.expect("records").await.data;
    assert_eq!(records["records"][0]["value"], "after");
}

/// Two partitions; the second is away and has two records of long ago.
async fn second_is_away() -> Surface {
    let surface = Surface::near();
    surface.memory.create_topic("t", 2);
    for value in ["old", "older than all"] {
        let before = json!({"records": [{"value": value, "timestamp": 1}]}).to_string();
        let path = "/v1/topics/t/partitions/1/records";
        assert_eq!(surface.post_json(path, &before).await.status, 200);
    }
    surface.memory.take_away(surface.key("t", 1), Some(gone()));
    surface
}

/// It is back, and has one more record.
async fn second_comes_back(surface: &Surface) {
    surface.memory.take_away(surface.key("t", 1), None);
    let after = json!({"records": [{"value": "new", "timestamp": 4_000_000_000_000_u64}]});
    let path = "/v1/topics/t/partitions/1/records";
    assert_eq!(
        surface.post_json(path, &after.to_string()).await.status,
        200
    );
}

#[tokio::test]
async fn whoever_began_at_the_end_while_a_partition_was_away_goes_on_from_there() {
    for (from, wanted) in [
        ("latest", json!(["new"])),
        ("@2", json!(["new"])),
        ("-1", json!(["older than all", "new"])),
        ("earliest", json!(["old", "older than all", "new"])),
    ] {
        let surface = second_is_away().await;
        let path = "/v1/topics/t/records";
        let mut cursor = from.to_owned();
        // The second page is one that keeps what the first one noted.
        for start in ["from", "cursor"] {
            let page = surface.get(&format!("{path}?{start}={cursor}")).await;
            assert_eq!(
                (page.status.as_u16(), page.header("tidegate-away")),
                (204, "1")
            );
            cursor = page.header("tidegate-cursor").to_owned();
        }
        second_comes_back(&surface).await;
        let path = format!("{path}?wait_ms=60000&cursor={cursor}");
        let page = surface.get(&path).await.json();
        let records = page["records"].as_array().unwrap().iter();
        let values: Vec<_> = records.map(|record| record["value"].clone()).collect();
        assert_eq!(json!(values), wanted, "from {from}");
    }
}

#[tokio::test]
async fn an_event_stream_taken_up_again_begins_where_the_first_one_was_to() {
    let surface = second_is_away().await;
    let path = "/v1/topics/t/events";
    let mut stream = Stream::open(&surface, &format!("{path}?from=latest"), "").await;
    stream.expect("away").await;
    let id = stream.expect("caught_up").await.id;
    drop(stream);
    second_comes_back(&surface).await;
    let mut again = Stream::open(&surface, path, &id).await;
    let records = again.expect("records").await.data["records"].clone();
    assert_eq!(records[0]["value"], "new");
}

#[tokio::test]
async fn a_page_that_waits_takes_the_records_of_a_partition_that_comes_back_meanwhile() {
    let surface = second_is_away().await;
    let path = "/v1/topics/t/records?from=latest";
    let page = surface.get(path).await;
    let cursor = page.header("tidegate-cursor").to_owned();
    let path = format!("/v1/topics/t/records?wait_ms=60000&cursor={cursor}");
    let (page, ()) = tokio::join!(surface.get(&path), second_comes_back(&surface));
    assert_eq!(page.json()["records"][0]["value"], "new");
    assert_eq!(page.header("tidegate-away"), "");
}
