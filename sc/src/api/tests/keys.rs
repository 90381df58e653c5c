//! `Idempotency-Key`: the repeat of a request gets the first answer and does nothing.

use super::*;

fn keyed(method: &str, path: &str, key: &str, body: &Value) -> Ask {
    ask(method, path).header("idempotency-key", key).json(body)
}

#[tokio::test]
async fn a_repeat_gets_the_first_answer_whatever_happened_since() {
    let server = Server::new().await;
    let body = json!({ "name": "orders", "partitions": 2 });
    let create = || server.send(keyed("POST", "/v1/topics", "k1", &body));
    let first = create().await;
    assert_eq!(
        (first.status.as_u16(), first.header("tidegate-duplicate")),
        (201, "")
    );
    let change = ask("PUT", "/v1/topics/orders").json(&json!({ "partitions": 5 }));
    assert_eq!(server.send(change).await.status, 200);
    for is_full in [false, true] {
        server.statuses.is_full.store(is_full, Ordering::Relaxed);
        let again = create().await;
        assert_eq!((again.status, &again.body), (first.status, &first.body));
        assert_eq!(again.header("tidegate-duplicate"), "true");
        for header in ["etag", "location", "tidegate-result", "content-type"] {
            assert_eq!(again.header(header), first.header(header), "{header}");
        }
    }
    assert_eq!(
        server.send(ask("DELETE", "/v1/topics/orders")).await.status,
        204
    );
    assert_eq!(create().await.status, 201, "and does not make it again");
    assert!(server.controller.model().topics.is_empty());
}

#[tokio::test]
async fn a_key_is_for_one_request_of_one_principal() {
    let server = Server::new().await;
    let body = json!({ "name": "orders" });
    server.send(keyed("POST", "/v1/topics", "k1", &body)).await;
    let others = [
        keyed("POST", "/v1/topics", "k1", &json!({ "name": "other" })),
        keyed("PUT", "/v1/topics/orders", "k1", &body),
        keyed("PUT", "/v1/topics/other", "k1", &json!({})),
        keyed("PUT", "/v1/topics/orders", "k1", &body).header("if-match", "*"),
    ];
    for other in others {
        let refused = server.send(other).await;
        assert_eq!(
            (
                refused.status.as_u16(),
                refused.code(),
                &refused.body["side_effects"]
            ),
            (409, "idempotency_key_reused", &json!("none"))
        );
    }
    let stranger = keyed("POST", "/v1/topics", "k1", &body).bearer(READER);
    assert_eq!(server.send(stranger).await.code(), "forbidden");
    let other_key = keyed("POST", "/v1/topics", "k2", &body);
    assert_eq!(server.send(other_key).await.code(), "already_exists");
}

#[tokio::test]
async fn what_changed_nothing_is_remembered_and_what_was_refused_too() {
    let server = Server::new().await;
    let put = |key: &str, path: &str| server.send(keyed("PUT", path, key, &json!({})));
    server.create("orders", 1).await;
    let unchanged = put("k1", "/v1/topics/orders").await;
    assert_eq!(unchanged.header("tidegate-result"), "unchanged");
    server.send(ask("DELETE", "/v1/topics/orders")).await;
    let again = put("k1", "/v1/topics/orders").await;
    assert_eq!(again.header("tidegate-result"), "unchanged");
    assert_eq!(again.body, unchanged.body);

    let delete = || keyed("DELETE", "/v1/topics/late", "k2", &json!({}));
    assert_eq!(server.send(delete()).await.code(), "topic_not_found");
    server.create("late", 1).await;
    let again = server.send(delete()).await;
    assert_eq!(
        (again.code(), again.header("tidegate-duplicate")),
        ("topic_not_found", "true"),
        "a copy that was under way must not do what its sender was told is not done"
    );
    assert_eq!(again.body["side_effects"], "none");
    assert_eq!(server.controller.model().topics.len(), 1);

    let dry = || {
        keyed(
            "POST",
            "/v1/topics?dry_run=true",
            "k3",
            &json!({ "name": "dry" }),
        )
    };
    server.send(dry()).await;
    assert_eq!(
        server.send(dry()).await.header("tidegate-duplicate"),
        "",
        "nothing was done"
    );
}

#[tokio::test]
async fn what_is_refused_before_the_change_is_tried_is_remembered_too() {
    let server = Server::new().await;
    let body = json!({ "partitions": [{ "partition": 0, "before_offset": 9 }] });
    let truncate = || keyed("POST", "/v1/topics/late/truncate", "k1", &body);
    let alter = || {
        keyed("PUT", "/v1/topics/late", "k2", &json!({ "partitions": 3 })).header("if-match", "*")
    };
    server.statuses.is_full.store(true, Ordering::Relaxed);
    assert_eq!(server.send(truncate()).await.code(), "topic_not_found");
    assert_eq!(server.send(alter()).await.code(), "precondition_failed");
    server.statuses.is_full.store(false, Ordering::Relaxed);
    server.create("late", 1).await;
    for (late, code) in [
        (truncate(), "topic_not_found"),
        (alter(), "precondition_failed"),
    ] {
        let again = server.send(late).await;
        let told = (again.code(), again.header("tidegate-duplicate"));
        assert_eq!(told, (code, "true"));
    }
    let model = server.controller.model();
    let late = &model.topics.values().next().unwrap().partitions;
    assert_eq!((late.len(), late[0].truncate_before.get()), (1, 0));
}

#[tokio::test]
async fn a_refusal_that_is_worth_a_retry_is_not_kept() {
    let server = Server::new().await;
    server.statuses.is_full.store(true, Ordering::Relaxed);
    let body = json!({ "name": "orders" });
    let create = || server.send(keyed("POST", "/v1/topics", "k1", &body));
    assert_eq!(create().await.code(), "disk_full");
    server.statuses.is_full.store(false, Ordering::Relaxed);
    let made = create().await;
    assert_eq!(
        (made.status.as_u16(), made.header("tidegate-duplicate")),
        (201, "")
    );
}

#[tokio::test]
async fn twins_at_the_same_time_get_one_answer() {
    let server = Server::new().await;
    let body = json!({ "name": "orders" });
    let twin = || server.send(keyed("POST", "/v1/topics", "k1", &body));
    let (a, b, c) = tokio::join!(twin(), twin(), twin());
    assert!([&a, &b, &c].iter().all(|answer| answer.status == 201));
    assert!(a.body == b.body && b.body == c.body);
    let repeats = [&a, &b, &c]
        .iter()
        .filter(|x| x.header("tidegate-duplicate") == "true")
        .count();
    assert_eq!(repeats, 2);
}

#[tokio::test]
async fn answers_survive_a_restart() {
    let server = Server::new().await;
    let body = json!({ "name": "orders" });
    let first = server.send(keyed("POST", "/v1/topics", "k1", &body)).await;
    let server = server.restart().await;
    let again = server.send(keyed("POST", "/v1/topics", "k1", &body)).await;
    assert_eq!((again.status.as_u16(), &again.body), (201, &first.body));
}

#[tokio::test]
async fn bad_keys_are_refused() {
    let server = Server::new().await;
    for key in [String::new(), "k".repeat(256), "ä".to_owned()] {
        let refused = server
            .send(keyed("POST", "/v1/topics", &key, &json!({ "name": "a" })))
            .await;
        assert_eq!(
            (refused.code(), refused.pointers()),
            ("invalid_parameter", vec!["Idempotency-Key"])
        );
    }
    assert!(server.controller.model().topics.is_empty());
}
