//! Topics from creation to deletion, as a client sees them.

use super::*;

#[tokio::test]
async fn a_topic_is_created_described_changed_and_deleted() {
    let server = Server::new().await;
    let made = server.create("orders", 2).await;
    assert_eq!(made.header("tidegate-result"), "created");
    assert_eq!(made.header("location"), "/v1/topics/orders");
    let version = made.body["version"].as_u64().unwrap();
    assert_eq!(made.header("etag"), format!("\"{version}\""));
    assert_eq!(made.body["status"], json!({ "state": "provisioned" }));
    assert_eq!(
        made.body["config"],
        json!({
            "retention_ms": 604_800_000, "retention_bytes": null, "segment_bytes": 67_108_864,
            "segment_ms": 86_400_000, "durability": "ack", "acks": "quorum",
            "compression": "producer", "cleanup": "delete", "delete_retention_ms": 86_400_000, "max_record_bytes": 1_048_576,
            "timestamp": "create"
        })
    );
    for (field, value) in [
        ("partitions", 2),
        ("replication_factor", 1),
        ("min_in_sync", 1),
    ] {
        assert_eq!(made.body[field], value, "{field}");
    }
    let read = server.send(ask("GET", "/v1/topics/orders")).await;
    assert_eq!((read.status.as_u16(), &read.body), (200, &made.body));
    assert_eq!(read.header("etag"), made.header("etag"));

    let change = json!({ "partitions": 4, "config": { "retention_ms": null, "acks": "leader" } });
    let changed = server
        .send(ask("PUT", "/v1/topics/orders").json(&change))
        .await;
    assert_eq!(
        (changed.status.as_u16(), changed.header("tidegate-result")),
        (200, "updated")
    );
    assert_eq!(changed.header("etag"), format!("\"{}\"", version + 1));
    assert_eq!(changed.body["partitions"], 4);
    assert_eq!(changed.body["config"]["retention_ms"], Value::Null);
    assert_eq!(changed.body["config"]["acks"], "leader");
    assert_eq!(changed.body["id"], made.body["id"]);

    let gone = server.send(ask("DELETE", "/v1/topics/orders")).await;
    assert_eq!(
        (gone.status.as_u16(), gone.header("tidegate-result")),
        (204, "deleted")
    );
    assert_eq!(
        server.send(ask("GET", "/v1/topics/orders")).await.code(),
        "topic_not_found"
    );
    let again = server.create("orders", 1).await;
    assert_ne!(again.body["id"], made.body["id"]);
}

#[tokio::test]
async fn put_creates_then_leaves_alone_what_is_as_asked() {
    let server = Server::new().await;
    let body = json!({ "name": "orders", "partitions": 3, "config": { "compression": "zstd" } });
    let put = || server.send(ask("PUT", "/v1/topics/orders").json(&body));
    let made = put().await;
    assert_eq!(
        (made.status.as_u16(), made.header("tidegate-result")),
        (201, "created")
    );
    let revision = server.controller.model().revision;
    let again = put().await;
    assert_eq!(
        (again.status.as_u16(), again.header("tidegate-result")),
        (200, "unchanged")
    );
    assert_eq!(again.body, made.body);
    // What GET gives as config can be PUT again and changes nothing.
    let whole = json!({ "config": made.body["config"] });
    let again = server
        .send(ask("PUT", "/v1/topics/orders").json(&whole))
        .await;
    assert_eq!(again.header("tidegate-result"), "unchanged");
    let nothing = server
        .send(ask("PUT", "/v1/topics/orders").json(&json!({})))
        .await;
    assert_eq!(nothing.header("tidegate-result"), "unchanged");
    assert_eq!(server.controller.model().revision, revision);
}

#[tokio::test]
async fn null_puts_settings_back() {
    let server = Server::new().await;
    let body =
        json!({ "config": { "acks": "none", "segment_ms": 5000, "durability": "interval" } });
    server
        .send(ask("PUT", "/v1/topics/orders").json(&body))
        .await;
    let one = json!({ "config": { "acks": null } });
    let after = server
        .send(ask("PUT", "/v1/topics/orders").json(&one))
        .await;
    assert_eq!(after.body["config"]["acks"], "quorum");
    assert_eq!(after.body["config"]["segment_ms"], 5000);
    let all = json!({ "config": null });
    let after = server
        .send(ask("PUT", "/v1/topics/orders").json(&all))
        .await;
    assert_eq!(after.body["config"]["segment_ms"], 86_400_000);
    assert_eq!(after.body["config"]["durability"], "ack");
}

#[tokio::test]
async fn a_dry_run_tells_and_does_nothing() {
    let server = Server::new().await;
    let body = json!({ "name": "orders", "partitions": 2 });
    let made = server
        .send(ask("POST", "/v1/topics?dry_run=true").json(&body))
        .await;
    assert_eq!(
        (made.status.as_u16(), &made.body["result"]),
        (200, &json!("created"))
    );
    assert_eq!(made.body["changes"][0]["path"], "");
    assert_eq!(made.body["changes"][0]["to"]["partitions"], 2);
    assert_eq!(made.header("tidegate-result"), "");
    assert_eq!(
        server.send(ask("GET", "/v1/topics/orders")).await.status,
        404
    );

    server.create("orders", 2).await;
    let revision = server.controller.model().revision;
    let change = json!({ "partitions": 3, "config": { "segment_ms": 1000 } });
    let told = server
        .send(ask("PUT", "/v1/topics/orders?dry_run=true").json(&change))
        .await;
    assert_eq!(
        told.body,
        json!({ "result": "updated", "changes": [
            { "path": "/config/segment_ms", "from": 86_400_000, "to": 1000 },
            { "path": "/partitions", "from": 2, "to": 3 },
            { "path": "/assignment/2", "from": null, "to": [0] }
        ] })
    );
    let told = server
        .send(ask("PUT", "/v1/topics/orders?dry_run=true").json(&json!({})))
        .await;
    assert_eq!(told.body, json!({ "result": "unchanged", "changes": [] }));
    let told = server
        .send(ask("DELETE", "/v1/topics/orders?dry_run=true"))
        .await;
    assert_eq!(
        (told.status.as_u16(), &told.body["result"]),
        (200, &json!("deleted"))
    );
    // A dry run refuses what the real thing would refuse.
    let refused = server
        .send(ask("POST", "/v1/topics?dry_run=true").json(&body))
        .await;
    assert_eq!(refused.code(), "already_exists");
    assert_eq!(server.controller.model().revision, revision);
}

#[tokio::test]
async fn a_topic_that_needs_more_units_is_accepted_and_says_what_it_waits_for() {
    let server = Server::new().await;
    let body = json!({ "name": "orders", "replication_factor": 3 });
    let made = server.send(ask("POST", "/v1/topics").json(&body)).await;
    assert_eq!(made.status, 201);
    assert_eq!(made.body["status"]["state"], "insufficient_resources");
    let reason = made.body["status"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("3 copies") && reason.contains("1 storage units"),
        "{reason}"
    );
    let one = json!({ "replication_factor": 1 });
    let fixed = server
        .send(ask("PUT", "/v1/topics/orders").json(&one))
        .await;
    assert_eq!(fixed.body["status"], json!({ "state": "provisioned" }));
}

#[tokio::test]
async fn topics_and_identity_survive_a_restart() {
    let server = Server::new().await;
    server.create("orders", 3).await;
    let before = server.controller.model();
    let topic = server.send(ask("GET", "/v1/topics/orders")).await.body;
    let server = server.restart().await;
    assert_eq!(server.controller.model(), before);
    assert_eq!(
        server.send(ask("GET", "/v1/topics/orders")).await.body,
        topic
    );
    server.tasks.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn the_topology_is_published_before_the_answer() {
    let server = Server::new().await;
    let topology = server.controller.topology();
    for partitions in 1..20_u32 {
        let body = json!({ "partitions": partitions });
        server
            .send(ask("PUT", "/v1/topics/orders").json(&body))
            .await;
        let seen = topology.borrow().clone();
        let topic = seen.topics.values().next().unwrap();
        assert_eq!(topic.partitions.len(), partitions as usize);
        assert_eq!(topic.partitions[0].leader, Some(SpuId(0)));
    }
}

#[tokio::test]
async fn a_change_whose_client_has_gone_is_finished() {
    let server = Server::new().await;
    let mut topology = server.controller.topology();
    let body = json!({ "name": "orders" }).to_string();
    let request = Request::post("/v1/topics")
        .header("authorization", format!("Bearer {ADMIN}"))
        .header("content-type", "application/json")
        .body(Body::from(body))
        .unwrap();
    let mut call = Box::pin(server.router.clone().oneshot(request));
    // Polled until the command is queued, then dropped, as a server does when a client hangs up.
    for _ in 0..3 {
        let _ = polled_once(&mut call).await;
    }
    drop(call);
    tokio::time::timeout(
        Duration::from_secs(10),
        topology.wait_for(|t| !t.topics.is_empty()),
    )
    .await
    .unwrap()
    .unwrap();
}

/// Polls once without waiting.
async fn polled_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        use std::task::Poll;
        Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test]
async fn concurrent_writers_lose_no_update() {
    let server = Arc::new(Server::new().await);
    let made = server.create("orders", 1).await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let server = Arc::clone(&server);
        writers.spawn(async move {
            for _ in 0..5 {
                // Read, add one, write only if nobody was faster; again until it works.
                loop {
                    let read = server.send(ask("GET", "/v1/topics/orders")).await;
                    let more =
                        json!({ "partitions": read.body["partitions"].as_u64().unwrap() + 1 });
                    let put =
                        ask("PUT", "/v1/topics/orders").header("if-match", read.header("etag"));
                    let written = server.send(put.json(&more)).await;
                    if written.status == 200 {
                        break;
                    }
                    assert_eq!(written.code(), "precondition_failed");
                }
            }
        });
    }
    writers.join_all().await;
    let read = server.send(ask("GET", "/v1/topics/orders")).await;
    let number = |answer: &Answer, field: &str| answer.body[field].as_u64().unwrap();
    assert_eq!(number(&read, "partitions"), 41);
    assert_eq!(number(&read, "version"), number(&made, "version") + 40);
}
