//! `If-Match` and pages.

use super::*;

#[tokio::test]
async fn if_match_makes_a_write_conditional() {
    let server = Server::new().await;
    let version = server.create("orders", 1).await.body["version"].clone();
    let (alone, among) = (format!("\"{version}\""), format!("\"77\", \"{version}\""));
    let weak = format!("W/\"{version}\"");
    // What `If-Match` says, whether the write to that version goes through, and the code if not.
    let rows = [
        (alone.as_str(), 200, ""),
        ("*", 200, ""),
        (among.as_str(), 200, ""),
        ("\"88\"", 412, "precondition_failed"),
        ("\"77\",\"88\"", 412, "precondition_failed"),
        (weak.as_str(), 412, "precondition_failed"),
        ("\"abc\"", 412, "precondition_failed"),
        ("\"\"", 412, "precondition_failed"),
        ("1", 400, "invalid_parameter"),
        ("\"1", 400, "invalid_parameter"),
        ("\"", 400, "invalid_parameter"),
        ("\"1\" \"2\"", 400, "invalid_parameter"),
        ("", 400, "invalid_parameter"),
    ];
    for (if_match, status, code) in rows {
        let put = ask("PUT", "/v1/topics/orders")
            .header("if-match", if_match)
            .json(&json!({}));
        let answer = server.send(put).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (status, code),
            "{if_match}"
        );
        if status == 412 {
            assert_eq!(
                answer.body["version"], version,
                "the actual version is told"
            );
        }
        if status == 400 {
            assert_eq!(answer.pointers(), ["If-Match"]);
        }
    }
}

#[tokio::test]
async fn what_does_not_exist_matches_nothing() {
    let server = Server::new().await;
    for method in ["PUT", "DELETE"] {
        let request = ask(method, "/v1/topics/orders")
            .header("if-match", "*")
            .json(&json!({}));
        assert_eq!(server.send(request).await.code(), "precondition_failed");
    }
    assert_eq!(
        server.send(ask("GET", "/v1/topics/orders")).await.status,
        404
    );
}

#[tokio::test]
async fn a_conditional_delete_spares_what_has_changed() {
    let server = Server::new().await;
    let made = server.create("orders", 1).await;
    let more = json!({ "partitions": 2 });
    let put = ask("PUT", "/v1/topics/orders").json(&more);
    let altered = server.send(put).await;
    let delete = |etag: &str| ask("DELETE", "/v1/topics/orders").header("if-match", etag);
    let stale = delete(made.header("etag"));
    assert_eq!(server.send(stale).await.status, 412);
    let current = delete(altered.header("etag"));
    assert_eq!(server.send(current).await.status, 204);
    // Whoever read the one that is gone does not hit the next of its name.
    server.create("orders", 1).await;
    for gone in [&made, &altered] {
        let refused = server.send(delete(gone.header("etag"))).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (412, "precondition_failed")
        );
    }
}

async fn walk(server: &Server, list: &str, limit: usize, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = String::new();
    for _ in 0..100 {
        let page = server
            .send(ask("GET", &format!("{list}?limit={limit}{next}")))
            .await;
        assert_eq!(page.status, 200, "{}", page.body);
        let items = page.body["items"].as_array().unwrap();
        assert!(items.len() <= limit);
        found.extend(items.iter().map(|item| item[key].to_string()));
        match page.body["next"].as_str() {
            Some(after) => next = format!("&next={after}"),
            None => return found,
        }
    }
    panic!("the pages do not end");
}

#[tokio::test]
async fn pages_cover_a_list_once_whatever_their_size() {
    let server = Server::new().await;
    let expected: Vec<String> = (0..7).map(|n| format!("\"t{n}\"")).collect();
    for n in (0..7).rev() {
        server.create(&format!("t{n}"), 5).await;
    }
    for limit in [1, 2, 3, 6, 7, 8, 1000] {
        assert_eq!(
            walk(&server, "/v1/topics", limit, "name").await,
            expected,
            "{limit}"
        );
        let partitions = walk(&server, "/v1/topics/t3/partitions", limit, "partition").await;
        assert_eq!(partitions, ["0", "1", "2", "3", "4"], "{limit}");
    }
    assert_eq!(walk(&server, "/v1/spus", 1, "id").await, ["0"]);
    // A full last page has no next one.
    let page = server.send(ask("GET", "/v1/topics?limit=7")).await;
    assert_eq!(page.body["next"], Value::Null);
}

#[tokio::test]
async fn a_page_goes_on_after_its_last_item_is_gone() {
    let server = Server::new().await;
    for name in ["a", "b", "c", "d"] {
        server.create(name, 1).await;
    }
    let page = server.send(ask("GET", "/v1/topics?limit=2")).await;
    let next = page.body["next"].as_str().unwrap().to_owned();
    server.send(ask("DELETE", "/v1/topics/b")).await;
    server.create("aa", 1).await;
    let page = server
        .send(ask("GET", &format!("/v1/topics?limit=2&next={next}")))
        .await;
    let names: Vec<_> = page.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| &t["name"])
        .collect();
    assert_eq!(names, ["c", "d"]);
}
