//! What answers may cost: bytes that nobody takes, headers that nobody can read.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;

use super::super::door::{ANSWER_BYTES_MIN, HIGH_WATERMARK_BYTES_MAX};
use super::Surface;

const PARTITION: &str = "/v1/topics/t/partitions/0/records";
const RECORD_BYTES: usize = 32 * 1024;
const BUDGET: usize = 32 * ANSWER_BYTES_MIN;

async fn with_records(surface: Surface, count: usize) -> Surface {
    surface.memory.create_topic("t", 1);
    for _ in 0..count {
        let answer = surface
            .post(PARTITION, "text/plain", "x".repeat(RECORD_BYTES))
            .await;
        assert_eq!(answer.status, 200);
    }
    surface
}

/// The bytes of an answer as a connection holds them that cannot write; the body itself is gone.
async fn unread(surface: &Surface, query: &str) -> Result<Bytes, (u16, String)> {
    let request = Request::get(format!("{PARTITION}{query}"));
    let response = surface.response(request.body(Body::empty()).unwrap()).await;
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after");
    let retry_after = retry_after.map_or("", |value| value.to_str().unwrap());
    let refusal = (status, retry_after.to_owned());
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    match status {
        200 => Ok(frame.into_data().unwrap()),
        _ => Err(refusal),
    }
}

#[tokio::test]
async fn answers_that_nobody_takes_get_shorter_and_then_are_refused_until_they_are_taken() {
    let surface = with_records(Surface::with_answer_bytes(BUDGET), 64).await;
    let mut held: Vec<Bytes> = Vec::new();
    let refusal = loop {
        match unread(&surface, "?max_bytes=8388608").await {
            Ok(answer) => held.push(answer),
            Err(refusal) => break refusal,
        }
        assert!(held.len() < 1_000, "answers without end");
    };
    assert_eq!(refusal, (503, "1".to_owned()));
    let total: usize = held.iter().map(Bytes::len).sum();
    assert!(total <= BUDGET, "{total} bytes are held");
    assert!(held[0].len() > BUDGET / 5, "the first one got its part");
    assert!(held[held.len() - 1].len() < held[0].len());
    let again = Bytes::clone(&held[0]);
    drop(held.remove(0));
    let still = unread(&surface, "").await;
    assert_eq!(
        still.unwrap_err().0,
        503,
        "a second handle holds them still"
    );
    drop(again);
    assert!(unread(&surface, "").await.is_ok());
    drop(held);
    assert!(unread(&surface, "").await.unwrap().len() > BUDGET / 5);
}

#[tokio::test]
async fn a_record_longer_than_its_page_is_counted_whole() {
    let surface = with_records(Surface::with_answer_bytes(BUDGET), 1).await;
    let large = surface
        .post(PARTITION, "text/plain", "y".repeat(8 * ANSWER_BYTES_MIN))
        .await;
    assert_eq!(large.status, 200);
    let mut held = Vec::new();
    while let Ok(answer) = unread(&surface, "?from=1&max_bytes=1").await {
        held.push(answer);
        assert!(held.len() < 100, "answers without end");
    }
    let total: usize = held.iter().map(Bytes::len).sum();
    assert!(total <= BUDGET && held.len() >= 3, "{}", held.len());
}

#[tokio::test]
async fn who_waits_for_records_takes_nothing_of_the_budget() {
    // Enough for one answer at a time.
    let surface = with_records(Surface::with_answer_bytes(4 * ANSWER_BYTES_MIN), 1).await;
    let path = format!("{PARTITION}?from=1&wait_ms=60000");
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(surface.get(&path))).collect();
    for waiting in &mut waiting {
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    assert_eq!(surface.get(PARTITION).await.status, 200);
    surface.post(PARTITION, "text/plain", "now").await;
    for waiting in waiting {
        assert_eq!(waiting.await.status, 200);
    }
}

#[tokio::test]
async fn who_waits_for_more_keeps_what_it_has_and_no_more() {
    let surface = with_records(Surface::with_answer_bytes(BUDGET), 1).await;
    let path = format!("{PARTITION}?min_bytes=1000000&wait_ms=60000");
    let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(surface.get(&path))).collect();
    for waiting in &mut waiting {
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    }
    assert_eq!(surface.get(PARTITION).await.status, 200);
    surface.tasks.cancel();
    for waiting in waiting {
        assert_eq!(waiting.await.status, 200);
    }
}

#[tokio::test]
async fn a_header_of_too_many_high_watermarks_is_left_out() {
    let surface = Surface::new();
    surface.memory.create_topic("wide", 1500);
    surface.memory.create_topic("narrow", 300);
    for topic in ["wide", "narrow"] {
        let path = format!("/v1/topics/{topic}/records");
        assert_eq!(surface.get(&path).await.status, 204);
        surface.post(&path, "text/plain", "x").await;
        let answer = surface.get(&path).await;
        let count = answer.json()["high_watermark"].as_object().unwrap().len();
        let header = answer.header("tidegate-high-watermark");
        assert!(header.len() <= HIGH_WATERMARK_BYTES_MAX);
        assert_eq!(
            (topic == "wide", count == 1500),
            (header.is_empty(), header.is_empty())
        );
        assert!(!answer.header("tidegate-cursor").is_empty());
        let events = Request::get(format!("/v1/topics/{topic}/events"));
        let events = surface.response(events.body(Body::empty()).unwrap()).await;
        assert_eq!(
            events.headers().contains_key("tidegate-high-watermark"),
            topic == "narrow"
        );
    }
}
