//! Clients that follow changes, and those that go to storage units by themselves.

use futures_util::StreamExt as _;

use super::*;

/// The first lines of a watch.
async fn lines(server: &Server, ask: Ask, count: usize) -> Vec<String> {
    let mut request = Request::get(&ask.uri);
    for (name, value) in &ask.headers {
        request = request.header(*name, value);
    }
    let request = request.body(Body::empty()).unwrap();
    let answer = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let mut data = answer.into_body().into_data_stream();
    let mut text = Vec::new();
    for _ in 0..count {
        text.push(String::from_utf8(data.next().await.unwrap().unwrap().to_vec()).unwrap());
    }
    text
}

fn told(line: &str) -> (u64, String, String, String) {
    let entry: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
    let revision = entry["revision"].as_u64().unwrap();
    (revision, text("kind"), text("key"), text("op"))
}

#[tokio::test]
async fn every_change_is_told_in_order_by_the_names_that_clients_know() {
    let server = Server::new().await;
    let start = server.controller.model().revision;
    server.create("orders", 2).await;
    server.send(ask("DELETE", "/v1/topics/orders")).await;
    let uri = format!("/v1/watch?from_revision={start}");
    let lines = lines(&server, ask("GET", &uri), 4).await;
    let expected = [
        (start + 1, "topic", "orders", "put"),
        (start + 1, "partition", "orders/0", "put"),
        (start + 1, "partition", "orders/1", "put"),
        (start + 2, "topic", "orders", "delete"),
    ];
    for (line, (revision, kind, key, op)) in lines.iter().zip(expected) {
        let expected = (revision, kind.to_owned(), key.to_owned(), op.to_owned());
        assert_eq!(told(line), expected);
    }
    let entry = |line: &String| serde_json::from_str::<Value>(line).unwrap();
    assert_eq!(entry(&lines[0])["value"]["partitions"], 2);
    let more: Vec<_> = lines
        .iter()
        .map(|line| entry(line)["more"].clone())
        .collect();
    let (yes, no) = (Value::Bool(true), Value::Null);
    assert_eq!(more, [yes.clone(), yes, no.clone(), no], "a whole revision");
}

#[tokio::test]
async fn events_carry_the_revision_once_it_is_whole() {
    let server = Server::new().await;
    let start = server.controller.model().revision;
    server.create("orders", 1).await;
    let uri = format!("/v1/watch?from_revision={start}");
    let asked = ask("GET", &uri).header("accept", "text/event-stream");
    let events = lines(&server, asked, 2).await;
    assert!(
        events[0].starts_with("event: change\ndata: {"),
        "{}",
        events[0]
    );
    let id = format!("id: {}\nevent: change\ndata: ", start + 1);
    assert!(
        events[1].starts_with(&id) && events[1].ends_with("}\n\n"),
        "{}",
        events[1]
    );
}

#[tokio::test]
async fn what_a_credential_may_not_describe_is_passed_over_and_bookmarks_go_on() {
    let server = Server::new().await;
    let start = server.controller.model().revision;
    server.create("secret", 1).await;
    server.create("pub.news", 1).await;
    server.create("secret2", 1).await;
    let uri = format!("/v1/watch?from_revision={start}");
    // Nothing more is asked of the database, whose own time-outs would pass at once.
    tokio::time::pause();
    let lines = lines(&server, ask("GET", &uri).bearer(READER), 3).await;
    assert_eq!(told(&lines[0]).2, "pub.news");
    assert_eq!(told(&lines[1]).2, "pub.news/0");
    let (revision, kind, ..) = told(&lines[2]);
    assert_eq!((revision, kind.as_str()), (start + 3, "bookmark"));
}

#[tokio::test]
async fn the_last_entry_of_a_revision_is_the_last_that_a_credential_may_see() {
    let server = Server::new().await;
    let start = server.controller.model().revision;
    server.create("pub.news", 1).await;
    let uri = format!("/v1/watch?from_revision={start}");
    let lines = lines(&server, ask("GET", &uri).bearer(READER), 2).await;
    assert!(lines[0].ends_with("\"more\":true}\n"), "{}", lines[0]);
    assert!(!lines[1].contains("more"), "{}", lines[1]);
}

#[tokio::test]
async fn a_watch_with_a_time_ends_with_a_bookmark() {
    let server = Server::new().await;
    let start = server.controller.model().revision;
    tokio::time::pause();
    let request = Request::get("/v1/watch?timeout_ms=7000")
        .header("authorization", format!("Bearer {ADMIN}"))
        .body(Body::empty());
    let answer = server.router.clone().oneshot(request.unwrap()).await;
    let body = answer.unwrap().into_body().collect().await.unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let bookmark = format!("{{\"kind\":\"bookmark\",\"revision\":{start}}}\n");
    assert_eq!(text, bookmark.repeat(2), "one after 5 s, one at the end");
}

#[tokio::test]
async fn what_was_read_is_followed_from_the_revision_that_it_carries() {
    let server = Server::new().await;
    server.create("first", 1).await;
    let list = server.send(ask("GET", "/v1/topics")).await;
    let revision = list.headers["tidegate-revision"].to_str().unwrap();
    assert_eq!(revision, server.controller.model().revision.to_string());
    server.create("second", 1).await;
    let uri = format!("/v1/watch?from_revision={revision}");
    let lines = lines(&server, ask("GET", &uri), 1).await;
    assert_eq!(told(&lines[0]).2, "second");
}

#[tokio::test]
async fn metadata_tells_leaders_and_what_it_does_not_know() {
    let server = Server::new().await;
    server.create("pub.news", 2).await;
    server.create("secret", 1).await;
    let path = "/v1/metadata?topics=pub.news,secret,none";
    let answer = server.send(ask("GET", path).bearer(READER)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["missing"], json!(["none", "secret"]));
    let topic = &answer.body["topics"][0];
    assert_eq!(topic["name"], "pub.news");
    assert_eq!(
        topic["partitions"][1]["leader"],
        answer.body["spus"][0]["id"]
    );
    let all = (0..101).map(|number| format!("t{number}"));
    let path = format!("/v1/metadata?topics={}", all.collect::<Vec<_>>().join(","));
    let refused = server.send(ask("GET", &path)).await;
    assert_eq!(
        (refused.code(), refused.pointers()),
        ("invalid_parameter", vec!["topics"])
    );
}
