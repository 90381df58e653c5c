//! Pages, places, waiting, and what happens when a place is gone.

use std::time::Duration;

use serde_json::json;
use tidegate_proto::position::Offset;

use super::Surface;

const RECORDS: &str = "/v1/topics/t/records";
const PARTITION: &str = "/v1/topics/t/partitions/0/records";

async fn with_records(partitions: u32, each: u64) -> Surface {
    filled(Surface::new(), partitions, each).await
}

async fn filled(surface: Surface, partitions: u32, each: u64) -> Surface {
    surface.memory.create_topic("t", partitions);
    for partition in 0..partitions {
        for n in 0..each {
            let path = format!("/v1/topics/t/partitions/{partition}/records");
            let body = format!(r#"{{"records":[{{"value":{n},"timestamp":{}}}]}}"#, n * 10);
            assert_eq!(surface.post_json(&path, &body).await.status, 200);
        }
    }
    surface
}

fn offsets(answer: &super::Answer) -> Vec<u64> {
    let records = answer.json()["records"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    records
        .iter()
        .map(|record| record["offset"].as_u64().unwrap())
        .collect()
}

#[tokio::test]
async fn a_start_is_a_word_a_number_a_distance_or_a_time() {
    let surface = with_records(1, 5).await;
    let cases: &[(&str, &[u64])] = &[
        ("", &[0, 1, 2, 3, 4]),
        ("?from=earliest", &[0, 1, 2, 3, 4]),
        ("?from=3", &[3, 4]),
        ("?from=-2", &[3, 4]),
        ("?from=-99", &[0, 1, 2, 3, 4]),
        ("?from=@25", &[3, 4]),
        ("?from=@-5", &[0, 1, 2, 3, 4]),
        ("?max_records=2", &[0, 1]),
        ("?max_bytes=1", &[0]),
    ];
    for (query, expected) in cases {
        let answer = surface.get(&format!("{PARTITION}{query}")).await;
        assert_eq!(offsets(&answer), *expected, "{query}");
    }
    for query in ["?from=latest", "?from=5", "?from=@999"] {
        let answer = surface.get(&format!("{PARTITION}{query}")).await;
        assert_eq!(answer.status, 204, "{query}");
        assert_eq!(answer.header("tidegate-high-watermark"), "5");
        assert!(!answer.header("tidegate-cursor").is_empty());
    }
}

#[tokio::test]
async fn pages_follow_each_other_by_cursor_without_gap_or_repeat() {
    let surface = with_records(3, 7).await;
    let mut seen = Vec::new();
    let mut path = format!("{RECORDS}?max_records=4");
    loop {
        let answer = surface.get(&path).await;
        path = format!(
            "{RECORDS}?max_records=4&cursor={}",
            answer.header("tidegate-cursor")
        );
        if answer.status == 204 {
            break;
        }
        assert_eq!(
            answer.json()["high_watermark"],
            json!({"0": 7, "1": 7, "2": 7})
        );
        assert_eq!(answer.json()["cursor"], answer.header("tidegate-cursor"));
        for record in answer.json()["records"].as_array().unwrap() {
            seen.push((
                record["partition"].as_u64().unwrap(),
                record["offset"].as_u64().unwrap(),
            ));
        }
    }
    let in_order = |p| {
        seen.iter()
            .filter(|(q, _)| *q == p)
            .map(|(_, o)| *o)
            .collect::<Vec<_>>()
    };
    for partition in 0..3 {
        assert_eq!(in_order(partition), (0..7).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn several_cursors_are_merged_and_partitions_chosen() {
    let surface = with_records(3, 2).await;
    let zero = surface.get("/v1/topics/t/partitions/0/records").await;
    let one = surface.get("/v1/topics/t/partitions/1/records").await;
    let (zero, one) = (
        zero.header("tidegate-cursor"),
        one.header("tidegate-cursor"),
    );
    let answer = surface
        .get(&format!("{RECORDS}?cursor={zero}&cursor={one}"))
        .await
        .json();
    let left: Vec<_> = answer["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["partition"])
        .collect();
    assert_eq!(left, [2, 2]);
    let answer = surface.get(&format!("{RECORDS}?partitions=2")).await.json();
    assert_eq!(answer["high_watermark"], 2);
    assert_eq!(answer["records"].as_array().unwrap().len(), 2);
    let answer = surface
        .get(&format!("{RECORDS}?partitions=1&from=1"))
        .await
        .json();
    assert_eq!(answer["records"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_when_records_come() {
    let surface = filled(Surface::near(), 2, 0).await;
    let poll = surface.get("/v1/topics/t/records?wait_ms=60000");
    let append = async {
        tokio::time::advance(Duration::from_millis(5)).await;
        surface
            .post("/v1/topics/t/partitions/1/records", "text/plain", "x")
            .await
    };
    let started = tidegate_kit::clock::monotonic();
    let (answer, _) = tokio::join!(poll, append);
    assert_eq!(offsets(&answer), [0]);
    assert!((tidegate_kit::clock::monotonic() - started) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_empty_at_its_deadline() {
    let surface = filled(Surface::near(), 1, 1).await;
    let started = tidegate_kit::clock::monotonic();
    let answer = surface
        .get(&format!("{PARTITION}?from=latest&wait_ms=700"))
        .await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        (tidegate_kit::clock::monotonic() - started).as_millis(),
        700
    );
    let answer = surface
        .get(&format!("{PARTITION}?min_bytes=9999&wait_ms=700"))
        .await;
    assert_eq!(offsets(&answer), [0]);
    assert_eq!(
        (tidegate_kit::clock::monotonic() - started).as_millis(),
        1400
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_ends_when_the_server_stops_or_the_topic_goes() {
    let surface = filled(Surface::near(), 1, 0).await;
    let gone = async {
        tokio::time::advance(Duration::from_millis(5)).await;
        surface.memory.delete_topic("t");
    };
    let (answer, ()) = tokio::join!(surface.get("/v1/topics/t/records?wait_ms=60000"), gone);
    assert_eq!(answer.refusal(), (404, "topic_not_found".to_owned()));
    let surface = filled(Surface::near(), 1, 0).await;
    let stop = async {
        tokio::time::advance(Duration::from_millis(5)).await;
        surface.tasks.token().cancel();
    };
    let (answer, ()) = tokio::join!(surface.get("/v1/topics/t/records?wait_ms=60000"), stop);
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn a_number_outside_the_log_is_told_its_bounds() {
    let surface = with_records(1, 5).await;
    surface.memory.trim(surface.key("t", 0), Offset::new(2));
    for from in [1, 6] {
        let answer = surface.get(&format!("{PARTITION}?from={from}")).await;
        assert_eq!(answer.refusal(), (416, "offset_out_of_range".to_owned()));
        let problem = answer.json();
        assert_eq!(
            (&problem["log_start"], &problem["end"]),
            (&json!(2), &json!(5))
        );
    }
    assert_eq!(offsets(&surface.get(PARTITION).await), [2, 3, 4]);
}

#[tokio::test]
async fn a_cursor_that_was_cut_off_names_the_next_one() {
    let surface = with_records(2, 5).await;
    let old = surface.get(&format!("{RECORDS}?max_records=1")).await;
    let old = old.header("tidegate-cursor");
    for partition in 0..2 {
        surface
            .memory
            .trim(surface.key("t", partition), Offset::new(3));
    }
    let answer = surface.get(&format!("{RECORDS}?cursor={old}")).await;
    assert_eq!(answer.refusal(), (410, "cursor_expired".to_owned()));
    let next = answer.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        offsets(&surface.get(&format!("{RECORDS}?cursor={next}")).await).len(),
        4
    );
}

#[tokio::test]
async fn a_cursor_of_a_deleted_topic_is_not_taken_for_its_successor() {
    let surface = with_records(1, 2).await;
    let old = surface.get(RECORDS).await;
    surface.memory.delete_topic("t");
    surface.memory.create_topic("t", 1);
    let path = format!("{RECORDS}?cursor={}", old.header("tidegate-cursor"));
    let answer = surface.get(&path).await;
    assert_eq!(answer.refusal(), (410, "cursor_expired".to_owned()));
    let next = answer.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(
        surface
            .get(&format!("{RECORDS}?cursor={next}"))
            .await
            .status,
        204
    );
}

#[tokio::test]
async fn line_breaks_inside_json_become_spaces_only_where_lines_count() {
    let surface = with_records(1, 0).await;
    surface
        .post_json(RECORDS, "{\"records\":[{\"value\":{\n\"a\":\r\n1}}]}")
        .await;
    assert!(
        surface
            .get(RECORDS)
            .await
            .text()
            .contains("\"value\":{\n\"a\":\r\n1}")
    );
    let line = surface.get_as(RECORDS, "application/x-ndjson").await;
    assert!(line.text().contains("\"value\":{ \"a\":  1}"), "{line:?}");
    assert_eq!(line.text().lines().count(), 1);
}

#[tokio::test]
async fn offsets_are_told_with_the_offset_of_a_moment() {
    let surface = with_records(1, 5).await;
    let path = "/v1/topics/t/partitions/0/offsets";
    let expected = json!({"log_start": 0, "high_watermark": 5, "end": 5, "leader_epoch": 1});
    assert_eq!(surface.get(path).await.json(), expected);
    let at = |answer: super::Answer| answer.json()["offset"].clone();
    assert_eq!(at(surface.get(&format!("{path}?at=15")).await), 2);
    assert_eq!(
        at(surface
            .get(&format!("{path}?at=1970-01-01T00:00:00.041Z"))
            .await),
        5
    );
}
