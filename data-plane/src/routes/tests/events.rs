//! Event streams: what is sent, resuming, and every way to end.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidegate_kit::auth::Auth;
use tidegate_proto::position::Offset;

use super::{DataPlaneConfig, Surface};

pub(super) struct Stream {
    body: Body,
    text: String,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) data: Value,
}

impl Stream {
    pub(super) async fn open(surface: &Surface, path: &str, last_id: &str) -> Self {
        let request = Request::get(path).header("last-event-id", last_id);
        let response = surface.response(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(
            response.headers()["cache-control"],
            "no-store, no-transform"
        );
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            body: response.into_body(),
            text: String::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let frame = self.body.frame().await?.unwrap();
            self.text
                .push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        let (event, rest) = self.text.split_once("\n\n").unwrap();
        let field = |name: &str| {
            let lines = event.lines().filter_map(|line| line.split_once(": "));
            lines
                .filter(|(found, _)| *found == name)
                .map(|(_, value)| value.to_owned())
                .collect::<String>()
        };
        let (id, name, data) = (field("id"), field("event"), field("data"));
        let data = serde_json::from_str(&data).unwrap();
        self.text = rest.to_owned();
        Some(Event { id, name, data })
    }

    pub(super) async fn expect(&mut self, name: &str) -> Event {
        let event = self.next().await.expect("the stream goes on");
        assert_eq!(event.name, name, "{event:?}");
        event
    }
}

async fn append(surface: &Surface, value: &str) {
    let answer = surface
        .post(
            "/v1/topics/t/records",
            "application/x-ndjson",
            value.to_owned(),
        )
        .await;
    assert_eq!(answer.status, 200);
}

const EVENTS: &str = "/v1/topics/t/events";

#[tokio::test]
async fn a_stream_sends_what_is_there_then_what_comes() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    append(&surface, "1\n2").await;
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    let event = stream.expect("records").await;
    assert_eq!(event.data["partition"], 0);
    assert_eq!(event.data["records"][1]["value"], 2);
    let caught_up = stream.expect("caught_up").await;
    assert_eq!(caught_up.data["cursor"], caught_up.id);
    assert_eq!(caught_up.id, event.id);
    append(&surface, "{\"a\": 3}").await;
    assert_eq!(
        stream.expect("records").await.data["records"][0]["value"],
        json!({"a": 3})
    );
}

#[tokio::test]
async fn a_stream_resumes_behind_the_last_id_without_gap_or_repeat() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 2);
    let mut first = Stream::open(&surface, EVENTS, "").await;
    let id = first.expect("caught_up").await.id;
    drop(first);
    append(&surface, "1").await;
    append(&surface, "2").await;
    append(&surface, "3").await;
    // A browser repeats the URL as it was; what it saw last counts more.
    for path in [EVENTS.to_owned(), format!("{EVENTS}?from=latest")] {
        let mut stream = Stream::open(&surface, &path, &id).await;
        let mut seen = Vec::new();
        let mut last = String::new();
        while seen.len() < 3 {
            let event = stream.expect("records").await;
            last = event.id;
            let records = event.data["records"].as_array().unwrap().clone();
            seen.extend(
                records
                    .iter()
                    .map(|record| record["value"].as_u64().unwrap()),
            );
        }
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3]);
        let path = format!("{EVENTS}?last_event_id={last}");
        Stream::open(&surface, &path, "")
            .await
            .expect("caught_up")
            .await;
    }
}

#[tokio::test]
async fn a_large_backlog_comes_in_frames_of_bounded_size() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    append(
        &surface,
        &format!("\"{}\"\n", "x".repeat(10_000)).repeat(50),
    )
    .await;
    let mut stream = Stream::open(&surface, &format!("{EVENTS}?from=earliest"), "").await;
    let mut offsets = Vec::new();
    while offsets.len() < 50 {
        let event = stream.expect("records").await;
        let records = event.data["records"].as_array().unwrap();
        assert!(records.len() < 10);
        offsets.extend(
            records
                .iter()
                .map(|record| record["offset"].as_u64().unwrap()),
        );
    }
    assert_eq!(offsets, (0..50).collect::<Vec<_>>());
    stream.expect("caught_up").await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_it_lives_and_where_the_ends_are() {
    let surface = Surface::near();
    surface.memory.create_topic("t", 2);
    append(&surface, "1").await;
    let mut stream = Stream::open(&surface, EVENTS, "").await;
    stream.expect("caught_up").await;
    let started = tidegate_kit::clock::monotonic();
    assert_eq!(
        stream.expect("ping").await.data,
        json!({"tails": {"0": 1, "1": 0}})
    );
    stream.expect("ping").await;
    assert_eq!(
        tidegate_kit::clock::monotonic() - started,
        Duration::from_secs(30)
    );
}

#[tokio::test]
async fn an_old_stream_says_drain_and_ends() {
    let config = DataPlaneConfig {
        age_max: Duration::ZERO,
        ..DataPlaneConfig::default()
    };
    let surface = Surface::with(Auth::dev(), config);
    surface.memory.create_topic("t", 1);
    let mut stream = Stream::open(&surface, "/v1/topics/t/events", "").await;
    let drain = stream.expect("drain").await;
    assert_eq!(drain.data["cursor"], drain.id);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_stopping_server_says_drain_and_ends_the_stream() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let mut stream = Stream::open(&surface, EVENTS, "").await;
    stream.expect("caught_up").await;
    surface.tasks.token().cancel();
    let drain = stream.expect("drain").await;
    assert_eq!(
        drain.data,
        json!({"retry_after_ms": 1000, "cursor": drain.id})
    );
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_deleted_topic_ends_the_stream_with_an_error() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let mut stream = Stream::open(&surface, EVENTS, "").await;
    stream.expect("caught_up").await;
    surface.memory.delete_topic("t");
    assert_eq!(stream.expect("error").await.data["code"], "topic_not_found");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_reader_overtaken_by_retention_is_told_where_to_go_on() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    let mut stream = Stream::open(&surface, EVENTS, "").await;
    stream.expect("caught_up").await;
    append(&surface, "1\n2").await;
    append(&surface, "3").await;
    surface.memory.trim(surface.key("t", 0), Offset::new(2));
    let error = stream.expect("error").await;
    assert_eq!(error.data["code"], "cursor_expired", "{error:?}");
    let next = error.data["next_cursor"].as_str().unwrap();
    let mut stream = Stream::open(&surface, EVENTS, next).await;
    assert_eq!(
        stream.expect("records").await.data["records"][0]["value"],
        3
    );
}

#[tokio::test]
async fn the_records_path_streams_too_from_the_earliest() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    append(&surface, "1").await;
    let request = Request::get("/v1/topics/t/records").header("accept", "text/event-stream");
    let response = surface.response(request.body(Body::empty()).unwrap()).await;
    let mut stream = Stream {
        body: response.into_body(),
        text: String::new(),
    };
    assert_eq!(
        stream.expect("records").await.data["records"][0]["value"],
        1
    );
}
