//! Partitions that cannot be reached, beside others that can.

use serde_json::{Value, json};
use tidegate_proto::error::{ErrorCode, Problem};

use super::Surface;

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
