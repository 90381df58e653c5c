//! Pages of sealed segments stay what they are: over restarts, over kill -9, while the log rolls on.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tidegate_tests::http::Connection;
use tidegate_tests::server::Server;
use tidegate_tests::wait::wait_for;

const PAGES: &str = "/v1/topics/t/partitions/0/pages";
const BATCH: &str = "application/vnd.tidegate.batch";

async fn fill(connection: &mut Connection, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let value = format!("{number} {}", "x".repeat(100_000 + number * 977 % 9_000));
        let path = "/v1/topics/t/partitions/0/records";
        let answer = connection
            .post(path, "text/plain", value)
            .await
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// What a cache would hold after asking for all pages in two forms: entity tag and body by URL and form.
async fn crawl(connection: &mut Connection) -> BTreeMap<(String, &'static str), (String, Bytes)> {
    let mut kept = BTreeMap::new();
    let mut from = 0;
    loop {
        let list = connection
            .get(&format!("{PAGES}?from={from}&limit=10"))
            .await;
        let list = list.expect("an answer").json();
        for page in list["items"].as_array().expect("a list") {
            let url = page["url"].as_str().expect("a path");
            for form in [BATCH, "application/json"] {
                let headers = [("accept", form)];
                let answer = connection.send(Method::GET, url, &headers, "").await;
                let answer = answer.expect("an answer");
                assert_eq!(answer.status, 200, "{}", answer.text());
                let cache = answer.header("cache-control").expect("it may be kept");
                assert!(
                    cache.starts_with("private, max-age=31536000, immutable"),
                    "{cache}"
                );
                let tag = answer.header("etag").expect("a tag").to_owned();
                kept.insert((url.to_owned(), form), (tag, answer.body));
            }
        }
        match list["next"].as_u64() {
            Some(next) => from = next,
            None => return kept,
        }
    }
}

#[tokio::test]
async fn a_page_is_the_same_bytes_after_restarts_and_while_the_log_rolls() {
    let mut server = Server::start();
    let mut connection = server.connect().await.expect("a connection");
    let topic = json!({"partitions": 1, "config": {"segment_bytes": 8 << 20}}).to_string();
    let headers = [("content-type", "application/json")];
    let made = connection
        .send(Method::PUT, "/v1/topics/t", &headers, topic)
        .await;
    assert_eq!(made.expect("an answer").status, 201);
    fill(&mut connection, 0..60).await;
    assert!(
        crawl(&mut connection).await.is_empty(),
        "nothing is sealed yet"
    );
    fill(&mut connection, 60..100).await;
    // Segments are written a little behind the answers.
    let first = wait_for("a sealed segment", async || {
        let kept = crawl(&mut connection).await;
        (!kept.is_empty()).then_some(kept)
    })
    .await;
    assert!(first.len() > 6, "{} pages of one segment", first.len());
    for kill in [false, true] {
        if kill {
            server.kill();
        } else {
            assert!(server.stop().success(), "{}", server.log());
        }
        server.launch();
        connection = server.connect().await.expect("a connection");
        let again = crawl(&mut connection).await;
        assert!(again.len() >= first.len());
        for (key, kept) in &first {
            assert!(again.get(key) == Some(kept), "{key:?} is another page now");
        }
        let from = if kill { 180 } else { 100 };
        fill(&mut connection, from..from + 80).await;
    }
    let last = crawl(&mut connection).await;
    assert!(last.len() > first.len(), "the log has rolled");
    for ((url, form), (tag, body)) in &first {
        assert!(last.get(&(url.clone(), *form)).map(|kept| &kept.1) == Some(body));
        let headers = [("accept", *form), ("if-none-match", tag.as_str())];
        let same = connection.send(Method::GET, url, &headers, "").await;
        assert_eq!(same.expect("an answer").status, 304);
    }
}
