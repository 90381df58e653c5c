//! Storage units and their groups, as an operator sees them.

use super::*;

#[tokio::test]
async fn a_custom_unit_is_registered_described_changed_and_removed() {
    let server = Server::new().await;
    let body = json!({ "id": 7, "rack": "a", "labels": { "disk": "nvme" } });
    let made = server.send(ask("POST", "/v1/spus").json(&body)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.header("location"), "/v1/spus/7");
    assert_eq!(made.header("etag"), "\"1\"");
    assert_eq!(made.body["kind"], "custom");
    assert_eq!(made.body["group"], Value::Null);
    let status = json!({ "state": "offline", "reason": "it has not registered yet" });
    assert_eq!(made.body["status"], status);
    let read = server.send(ask("GET", "/v1/spus/7")).await;
    assert_eq!((read.header("etag"), &read.body), ("\"1\"", &made.body));
    let twice = server.send(ask("POST", "/v1/spus").json(&body)).await;
    assert_eq!(twice.code(), "already_exists");

    let put = |body: Value| server.send(ask("PUT", "/v1/spus/7").json(&body));
    let changed = put(json!({ "rack": null, "site": "fra1" })).await;
    assert_eq!(changed.header("tidegate-result"), "updated");
    assert_eq!(changed.body["rack"], Value::Null);
    assert_eq!(changed.body["site"], "fra1");
    assert_eq!(changed.body["labels"], body["labels"], "absent stays");
    assert_eq!(
        put(json!({ "site": "fra1" }))
            .await
            .header("tidegate-result"),
        "unchanged"
    );
    let stale = ask("DELETE", "/v1/spus/7").header("if-match", "\"1\"");
    let stale = server.send(stale).await;
    assert_eq!(
        (stale.code(), &stale.body["version"]),
        ("precondition_failed", &json!(2))
    );
    let gone = server
        .send(ask("DELETE", "/v1/spus/7").header("if-match", "\"2\""))
        .await;
    assert_eq!(
        (gone.status.as_u16(), gone.header("tidegate-result")),
        (204, "deleted")
    );
    assert_eq!(
        server.send(ask("GET", "/v1/spus/7")).await.code(),
        "spu_not_found"
    );
    // The id comes back as another unit, whose versions go on.
    let again = put(json!({})).await;
    assert_eq!(again.status, 201, "{}", again.body);
    assert_eq!(again.body["labels"], json!({}));
    assert!(again.body["version"].as_u64() > Some(2), "{}", again.body);
}

#[tokio::test]
async fn a_unit_that_holds_partitions_is_not_removed_and_the_answer_says_what_to_do() {
    let server = Server::new().await;
    server.create("orders", 3).await;
    let refused = server.send(ask("DELETE", "/v1/spus/0")).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "conflict"));
    let detail = refused.body["detail"].as_str().unwrap();
    assert_eq!(detail, "storage unit 0 holds 3 partitions; drain it first");
    let of_default = server.send(ask("GET", "/v1/spus/0")).await;
    assert_eq!(of_default.body["kind"], "managed");
    assert_eq!(of_default.body["group"], "default");
}

#[tokio::test]
async fn a_group_has_a_range_of_ids_of_its_own() {
    let server = Server::new().await;
    let make = |name: &str, more: Value| {
        let mut body = json!({ "name": name, "replicas": 3 });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask("POST", "/v1/spu-groups").json(&body)
    };
    let first = server
        .send(make("hot", json!({ "racks": ["a", "b"] })))
        .await;
    assert_eq!(first.status, 201, "{}", first.body);
    assert_eq!(first.header("location"), "/v1/spu-groups/hot");
    assert_eq!(first.body["first_id"], 1, "after the unit that is there");
    assert_eq!(first.body["units"], 0);
    let second = server.send(make("cold", json!({}))).await;
    assert_eq!(second.body["first_id"], 4, "after the other group");
    let overlaps = server.send(make("third", json!({ "first_id": 3 }))).await;
    assert_eq!(overlaps.pointers(), ["/first_id", "/first_id"]);
    let twice = server.send(make("hot", json!({}))).await;
    assert_eq!(twice.code(), "already_exists");

    let put = |body: Value| server.send(ask("PUT", "/v1/spu-groups/hot").json(&body));
    assert_eq!(
        put(json!({ "replicas": 3 }))
            .await
            .header("tidegate-result"),
        "unchanged"
    );
    let changed = put(json!({ "replicas": 2, "racks": null })).await;
    assert_eq!(changed.header("tidegate-result"), "updated");
    assert_eq!(changed.body["racks"], json!([]));
    assert_eq!(changed.header("etag"), "\"2\"");
    let list = server.send(ask("GET", "/v1/spu-groups?limit=1")).await;
    assert_eq!(list.body["items"][0]["name"], "cold");
    assert_eq!(list.body["next"], "cold");
    let stale = ask("DELETE", "/v1/spu-groups/hot").header("if-match", "\"1\"");
    assert_eq!(server.send(stale).await.code(), "precondition_failed");
    assert_eq!(
        server
            .send(ask("DELETE", "/v1/spu-groups/hot"))
            .await
            .status,
        204
    );
    assert_eq!(
        server.send(ask("GET", "/v1/spu-groups/hot")).await.code(),
        "spu_group_not_found"
    );
}

#[tokio::test]
async fn a_dry_run_about_units_tells_what_would_change_and_changes_nothing() {
    let server = Server::new().await;
    let before = server.controller.model();
    let put = ask("PUT", "/v1/spus/0?dry_run=true")
        .json(&json!({ "rack": "a", "labels": { "a/b": "x" } }));
    let told = server.send(put).await;
    assert_eq!(
        told.body,
        json!({ "result": "updated", "changes": [
            { "path": "/labels/a~1b", "from": null, "to": "x" },
            { "path": "/rack", "from": null, "to": "a" },
        ] })
    );
    let make =
        ask("POST", "/v1/spu-groups?dry_run=true").json(&json!({ "name": "hot", "replicas": 2 }));
    let told = server.send(make).await;
    assert_eq!(told.body["result"], "created");
    assert_eq!(told.body["changes"][0]["to"]["first_id"], 1);
    assert_eq!(server.controller.model(), before);
}
