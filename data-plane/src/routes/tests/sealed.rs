//! Pages of sealed segments: found, read, kept by caches, refused.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use tidegate_kit::auth::Auth;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::{Cleanup, TopicConfig};
use tidegate_proto::position::Offset;

use super::{Answer, DataPlaneConfig, Surface, post};

const PAGES: &str = "/v1/topics/t/partitions/0/pages";
const BATCH: &str = "application/vnd.tidegate.batch";
const FORMS: [&str; 3] = [BATCH, "application/json", "application/x-ndjson"];

/// Appends values of about 64 KiB, one to a batch.
async fn fill(surface: &Surface, count: usize) {
    for number in 0..count {
        let value = format!("{number} {}", "x".repeat(60_000 + number * 977 % 9_000));
        let path = "/v1/topics/t/partitions/0/records";
        let answer = surface.post(path, "text/plain", value).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

async fn list(surface: &Surface, query: &str) -> Value {
    let answer = surface.get(&format!("{PAGES}{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()
}

fn pages(list: &Value) -> Vec<(u64, u64, String)> {
    let items = list["items"].as_array().unwrap().iter();
    let number = |value: &Value| value.as_u64().unwrap();
    items
        .map(|page| {
            let url = page["url"].as_str().unwrap().to_owned();
            (number(&page["base_offset"]), number(&page["end"]), url)
        })
        .collect()
}

async fn ask(surface: &Surface, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    surface.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn pages_follow_each_other_and_hold_the_records() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    fill(&surface, 200).await;
    let whole = list(&surface, "").await;
    assert_eq!(
        (&whole["sealed_end"], &whole["next"]),
        (&json!(200), &Value::Null)
    );
    let all = pages(&whole);
    assert!(
        (8..64).contains(&all.len()),
        "{} pages of 12 MiB",
        all.len()
    );
    for (one, other) in all.iter().zip(&all[1..]) {
        assert_eq!(one.1, other.0, "a hole between two pages");
    }
    // In small lists, and from any place on, the pages are the same.
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some(next) = {
        let part = list(&surface, &format!("?limit=3&from={from}")).await;
        found.extend(pages(&part));
        part["next"].as_u64()
    } {
        from = next;
    }
    assert_eq!(found, all);
    assert_eq!(
        pages(&list(&surface, &format!("?from={}", all[2].0)).await),
        all[2..]
    );
    assert_eq!(
        pages(&list(&surface, &format!("?from={}", all[2].0 + 1)).await),
        all[3..]
    );

    for (base, end, url) in &all {
        let json = surface.get(url).await.json();
        let range = (json["base_offset"].as_u64(), json["end"].as_u64());
        assert_eq!(range, (Some(*base), Some(*end)));
        let offsets: Vec<u64> = json["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|record| record["offset"].as_u64().unwrap())
            .collect();
        assert_eq!(offsets, (*base..*end).collect::<Vec<_>>());
        let lines = surface.get_as(url, "application/x-ndjson").await;
        assert_eq!(lines.text().lines().count() as u64, end - base);
        let mut body = surface.get_as(url, BATCH).await.body;
        let mut next = *base;
        while !body.is_empty() {
            let batch = Batch::decode(&mut body).unwrap();
            assert_eq!(batch.placement.base_offset.get(), next);
            next = batch.next_offset().get();
        }
        assert_eq!(next, *end);
    }
}

#[tokio::test]
async fn a_cache_may_keep_a_page_and_ask_whether_it_is_still_good() {
    let surface = Surface::new();
    surface.memory.create_topic("t", 1);
    fill(&surface, 40).await;
    let (_, _, url) = pages(&list(&surface, "").await).remove(0);
    let mut tags = Vec::new();
    for form in FORMS {
        let first = ask(&surface, Method::GET, &url, &[("accept", form)]).await;
        assert_eq!(first.header("content-type"), form);
        let kept = "public, max-age=31536000, immutable, no-transform";
        assert_eq!(first.header("cache-control"), kept);
        assert_eq!(first.header("vary"), "accept");
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag}");

        let second = ask(&surface, Method::GET, &url, &[("accept", form)]).await;
        assert_eq!((&second.body, second.header("etag")), (&first.body, &*tag));
        let head = ask(&surface, Method::HEAD, &url, &[("accept", form)]).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), first.body.len().to_string());
        assert_eq!(head.header("etag"), tag);
        for known in [tag.clone(), format!("\"other\", W/{tag}"), "*".to_owned()] {
            let headers = [("accept", form), ("if-none-match", known.as_str())];
            let same = ask(&surface, Method::GET, &url, &headers).await;
            assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
            assert_eq!(
                (same.header("etag"), same.header("cache-control")),
                (&*tag, kept)
            );
        }
        let headers = [("accept", form), ("if-none-match", "\"other\"")];
        let other = ask(&surface, Method::GET, &url, &headers).await;
        assert_eq!(other.status, 200);
        tags.push(tag);
    }
}

#[tokio::test]
async fn a_page_that_was_asked_for_with_a_token_is_for_its_bearer_alone_unless_told_otherwise() {
    for (shared_pages, scope) in [(false, "private, "), (true, "public, ")] {
        let config = DataPlaneConfig {
            shared_pages,
            ..DataPlaneConfig::default()
        };
        let surface = Surface::with(Auth::with_token("secret"), config);
        surface.memory.create_topic("t", 1);
        let bearer = ("authorization", "Bearer secret");
        let mut url = None;
        for _ in 0..30 {
            let path = "/v1/topics/t/partitions/0/records";
            let request = post(path, "text/plain", &[bearer], "x".repeat(60_000));
            assert_eq!(surface.send(request).await.status, 200);
        }
        let listed = ask(&surface, Method::GET, PAGES, &[bearer]).await.json();
        url.get_or_insert_with(|| pages(&listed).remove(0).2);
        let page = ask(&surface, Method::GET, &url.unwrap(), &[bearer]).await;
        assert_eq!(page.status, 200);
        assert!(page.header("cache-control").starts_with(scope), "{page:?}");
        assert_eq!(
            surface.get(PAGES).await.refusal(),
            (401, "unauthenticated".into())
        );
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn what_is_no_page_is_refused_and_never_kept() {
    let surface = Surface::new();
    let id = surface.memory.create_topic("t", 1).id;
    let compacted = TopicConfig {
        cleanup: Cleanup::Compact,
        ..TopicConfig::default()
    };
    let other = surface.memory.create_topic_with("kept", 1, compacted).id;
    fill(&surface, 60).await;
    let all = pages(&list(&surface, "").await);
    let (base, end, _) = all[1];
    let rows = [
        (400, "invalid_parameter", format!("{PAGES}/nonsense")),
        (
            400,
            "invalid_parameter",
            format!("{PAGES}/{id}.{base}-{}", end + 1),
        ),
        (
            400,
            "invalid_parameter",
            format!("{PAGES}/{id}.{}-{end}", base + 1),
        ),
        (
            400,
            "invalid_parameter",
            format!("{PAGES}/{id}.{base}-{}", all[2].1),
        ),
        (
            400,
            "invalid_parameter",
            format!("{PAGES}/{id}.0{base}-{end}"),
        ),
        (
            400,
            "unknown_field",
            format!("{PAGES}/{id}.{base}-{end}?from=1"),
        ),
        (400, "unknown_field", format!("{PAGES}?wait_ms=1")),
        (400, "invalid_parameter", format!("{PAGES}?limit=65")),
        (400, "invalid_parameter", format!("{PAGES}?from=-1")),
        (
            400,
            "invalid_parameter",
            format!("{PAGES}?from=18446744073709551615"),
        ),
        (
            400,
            "invalid_parameter",
            "/v1/topics/kept/partitions/0/pages".to_owned(),
        ),
        (
            400,
            "invalid_parameter",
            format!("/v1/topics/kept/partitions/0/pages/{other}.0-1"),
        ),
        (
            404,
            "topic_not_found",
            format!("{PAGES}/{other}.{base}-{end}"),
        ),
        (
            404,
            "topic_not_found",
            "/v1/topics/none/partitions/0/pages".to_owned(),
        ),
        (
            404,
            "partition_not_found",
            "/v1/topics/t/partitions/1/pages".to_owned(),
        ),
        (
            416,
            "offset_out_of_range",
            format!("{PAGES}/{id}.{base}-61"),
        ),
    ];
    for (status, code, path) in rows {
        let answer = surface.get(&path).await;
        assert_eq!(
            answer.refusal(),
            (status, code.to_owned()),
            "{path}: {answer:?}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
    let good = format!("{PAGES}/{id}.{base}-{end}");
    let events = surface.get_as(&good, "text/event-stream").await;
    assert_eq!(events.refusal(), (406, "not_acceptable".into()));
    assert_eq!(surface.get(&good).await.status, 200);

    surface
        .memory
        .trim(surface.key("t", 0), Offset::new(base + 1));
    let gone = surface.get(&good).await;
    assert_eq!(gone.refusal(), (410, "log_truncated".into()));
    assert_eq!(gone.header("cache-control"), "no-store");
    assert_eq!(
        pages(&list(&surface, "").await),
        all[2..],
        "no boundary has moved"
    );
}
