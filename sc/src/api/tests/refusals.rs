//! A table of bad requests: status, code and the place that is named. Nothing may change by any.

use super::*;

/// A row: status, code, pointer (`-` = not looked at), method, path, body (none = no body). `{long}` is
/// a name of 201 characters, `{empty}` a body of no bytes.
const TABLE: &str = r#"
400 malformed_json - POST /v1/topics {empty}
400 malformed_json - POST /v1/topics {
400 malformed_json - POST /v1/topics {"name":"a"} x
400 malformed_json - POST /v1/topics {"name":"a",}
400 malformed_json - POST /v1/topics nul
400 invalid_parameter - POST /v1/topics null
400 invalid_parameter - POST /v1/topics 7
400 invalid_parameter - POST /v1/topics "orders"
400 invalid_parameter /name POST /v1/topics {}
400 invalid_parameter /name POST /v1/topics {"name":null}
400 invalid_parameter /name POST /v1/topics {"name":7}
400 invalid_name /name POST /v1/topics {"name":""}
400 invalid_name /name POST /v1/topics {"name":"Orders"}
400 invalid_name /name POST /v1/topics {"name":".a"}
400 invalid_name /name POST /v1/topics {"name":"-a"}
400 invalid_name /name POST /v1/topics {"name":"a/b"}
400 invalid_name /name POST /v1/topics {"name":"a b"}
400 invalid_name /name POST /v1/topics {"name":"café"}
403 forbidden - POST /v1/topics {"name":"__groups"}
403 forbidden - PUT /v1/topics/__groups {}
403 forbidden - DELETE /v1/topics/__groups
400 invalid_name topic PUT /v1/topics/Orders {}
400 invalid_name topic PUT /v1/topics/a%20b {}
400 invalid_name topic PUT /v1/topics/a%2Fb {}
400 invalid_parameter topic GET /v1/topics/%FF
400 invalid_name topic GET /v1/topics/{long}
400 invalid_parameter /name PUT /v1/topics/kept {"name":"other"}
400 unknown_field /partition PUT /v1/topics/kept {"partition":2}
400 unknown_field /version PUT /v1/topics/kept {"version":1}
400 unknown_field /config/retention PUT /v1/topics/kept {"config":{"retention":1}}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":"3"}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":1.5}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":-1}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":0}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":10001}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":1e99}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":2}
400 invalid_parameter /partitions PUT /v1/topics/kept {"partitions":null}
400 invalid_parameter /replication_factor PUT /v1/topics/a {"replication_factor":0}
400 invalid_parameter /replication_factor PUT /v1/topics/a {"replication_factor":16}
400 invalid_parameter /replication_factor PUT /v1/topics/a {"replication_factor":70000}
400 invalid_parameter /min_in_sync PUT /v1/topics/a {"min_in_sync":0}
400 invalid_parameter /min_in_sync PUT /v1/topics/a {"min_in_sync":2}
400 invalid_parameter /placement PUT /v1/topics/a {"placement":"best"}
400 invalid_parameter /placement PUT /v1/topics/a {"placement":{}}
400 invalid_parameter /config/acks PUT /v1/topics/a {"config":{"acks":{"leader":null}}}
400 invalid_parameter /config/acks PUT /v1/topics/a {"config":{"acks":1}}
400 invalid_parameter /config PUT /v1/topics/a {"config":7}
400 invalid_parameter /config/retention_ms PUT /v1/topics/a {"config":{"retention_ms":0}}
400 invalid_parameter /config/retention_ms PUT /v1/topics/a {"config":{"retention_ms":"7d"}}
400 invalid_parameter /config/retention_ms PUT /v1/topics/a {"config":{"retention_ms":9007199254740992}}
400 invalid_parameter /config/retention_bytes PUT /v1/topics/a {"config":{"retention_bytes":-5}}
400 invalid_parameter /config/segment_bytes PUT /v1/topics/a {"config":{"segment_bytes":1}}
400 invalid_parameter /config/segment_ms PUT /v1/topics/a {"config":{"segment_ms":1}}
400 invalid_parameter /config/durability PUT /v1/topics/a {"config":{"durability":"fsync"}}
400 invalid_parameter /config/acks PUT /v1/topics/a {"config":{"acks":"all"}}
400 invalid_parameter /config/compression PUT /v1/topics/a {"config":{"compression":"brotli"}}
400 invalid_parameter /config/cleanup PUT /v1/topics/a {"config":{"cleanup":"both"}}
400 invalid_parameter /config/delete_retention_ms PUT /v1/topics/a {"config":{"delete_retention_ms":9007199254740992}}
400 invalid_parameter /config/max_record_bytes PUT /v1/topics/a {"config":{"max_record_bytes":0}}
400 invalid_parameter /config/max_record_bytes PUT /v1/topics/a {"config":{"max_record_bytes":99999999}}
400 invalid_parameter /config/timestamp PUT /v1/topics/a {"config":{"timestamp":"now"}}
400 invalid_parameter /assignment PUT /v1/topics/a {"placement":"manual"}
400 invalid_parameter /assignment PUT /v1/topics/a {"assignment":[[0]]}
400 invalid_parameter /assignment/0 PUT /v1/topics/a {"placement":"manual","assignment":[[7]],"partitions":1,"replication_factor":1}

409 already_exists - POST /v1/topics {"name":"kept"}
404 topic_not_found - GET /v1/topics/none
404 topic_not_found - DELETE /v1/topics/none
404 topic_not_found - GET /v1/topics/none/partitions
404 topic_not_found - GET /v1/topics/none/partitions/0
404 partition_not_found - GET /v1/topics/kept/partitions/3
404 partition_not_found - GET /v1/topics/kept/partitions/4294967295
400 invalid_parameter partition GET /v1/topics/kept/partitions/-1
400 invalid_parameter partition GET /v1/topics/kept/partitions/first
400 invalid_parameter partition GET /v1/topics/kept/partitions/4294967296
400 invalid_parameter limit GET /v1/topics?limit=0
400 invalid_parameter limit GET /v1/topics?limit=1001
400 invalid_parameter limit GET /v1/topics?limit=-1
400 invalid_parameter limit GET /v1/topics?limit=ten
400 invalid_parameter next GET /v1/topics?next=A%20B
400 invalid_parameter offset GET /v1/topics?offset=3
400 invalid_parameter next GET /v1/topics/kept/partitions?next=x
400 invalid_parameter next GET /v1/spus?next=x
400 invalid_parameter dry_run PUT /v1/topics/kept?dry_run=maybe {}
400 invalid_parameter dryrun PUT /v1/topics/kept?dryrun=true {}
405 method_not_allowed - PATCH /v1/topics/kept {}
405 method_not_allowed - PUT /v1/topics {}
405 method_not_allowed - DELETE /v1/cluster
404 route_not_found - GET /v1/topic
404 route_not_found - GET /v1/topics/
400 invalid_parameter /id POST /v1/spus {}
400 invalid_parameter /id POST /v1/spus {"id":"one"}
400 invalid_parameter /id POST /v1/spus {"id":4294967296}
400 invalid_parameter /id PUT /v1/spus/3 {"id":4}
400 invalid_parameter /rack POST /v1/spus {"id":3,"rack":""}
400 invalid_parameter /rack PUT /v1/spus/0 {"rack":7}
400 invalid_parameter /site PUT /v1/spus/0 {"site":""}
400 invalid_parameter /labels/disk PUT /v1/spus/0 {"labels":{"disk":""}}
400 invalid_parameter /labels PUT /v1/spus/0 {"labels":{"":"x"}}
400 unknown_field /address PUT /v1/spus/0 {"address":"x"}
400 invalid_parameter spu GET /v1/spus/first
400 invalid_parameter spu GET /v1/spus/-1
404 spu_not_found - GET /v1/spus/3
404 spu_not_found - DELETE /v1/spus/3
409 already_exists - POST /v1/spus {"id":0}
409 conflict - DELETE /v1/spus/0
405 method_not_allowed - POST /v1/spus/0 {}
400 invalid_parameter /name POST /v1/spu-groups {"replicas":1}
400 invalid_name /name POST /v1/spu-groups {"name":"A","replicas":1}
400 invalid_parameter /replicas POST /v1/spu-groups {"name":"a"}
400 invalid_parameter /replicas PUT /v1/spu-groups/a {}
400 invalid_parameter /replicas PUT /v1/spu-groups/a {"replicas":null}
400 invalid_parameter /replicas PUT /v1/spu-groups/a {"replicas":0}
400 invalid_parameter /replicas PUT /v1/spu-groups/a {"replicas":1001}
400 invalid_parameter /first_id PUT /v1/spu-groups/a {"replicas":10,"first_id":4294967290}
400 invalid_parameter /racks/1 PUT /v1/spu-groups/a {"replicas":1,"racks":["a",""]}
400 invalid_parameter /replicas PUT /v1/spu-groups/default {"replicas":1,"first_id":5}
400 invalid_parameter /name PUT /v1/spu-groups/a {"name":"b","replicas":1}
404 spu_group_not_found - GET /v1/spu-groups/none
404 spu_group_not_found - DELETE /v1/spu-groups/none
400 invalid_parameter /partitions POST /v1/topics/kept/truncate {"partitions":[]}
400 unknown_field /partition POST /v1/topics/kept/truncate {"partition":0}
400 unknown_field /partitions/0/offset POST /v1/topics/kept/truncate {"partitions":[{"partition":0,"before_offset":1,"offset":1}]}
400 invalid_parameter /partitions/0/before_offset POST /v1/topics/kept/truncate {"partitions":[{"partition":0,"before_offset":-1}]}
400 invalid_parameter /partitions/0/before_offset POST /v1/topics/kept/truncate {"partitions":[{"partition":0,"before_offset":9007199254740992}]}
400 invalid_parameter /partitions/1/partition POST /v1/topics/kept/truncate {"partitions":[{"partition":0,"before_offset":1},{"partition":0,"before_offset":2}]}
404 topic_not_found - POST /v1/topics/none/truncate {"partitions":[{"partition":0,"before_offset":1}]}
404 partition_not_found - POST /v1/topics/kept/truncate {"partitions":[{"partition":3,"before_offset":1}]}
416 offset_out_of_range /partitions/1/before_offset POST /v1/topics/kept/truncate {"partitions":[{"partition":1,"before_offset":0},{"partition":0,"before_offset":10}]}
403 forbidden - POST /v1/topics/__groups/truncate {"partitions":[{"partition":0,"before_offset":1}]}
503 unavailable - POST /v1/topics/kept/truncate {"partitions":[{"partition":1,"before_offset":1}]}
405 method_not_allowed - PUT /v1/topics/kept/truncate {}
400 invalid_parameter /replicas POST /v1/topics/kept/partitions/0/reassign {}
400 invalid_parameter /replicas POST /v1/topics/kept/partitions/0/reassign {"replicas":[]}
400 invalid_parameter /replicas POST /v1/topics/kept/partitions/0/reassign {"replicas":[0,1]}
400 invalid_parameter /replicas POST /v1/topics/kept/partitions/0/reassign {"replicas":[1]}
400 invalid_parameter /replicas POST /v1/topics/kept/partitions/0/reassign {"replicas":"0"}
400 invalid_parameter /replicas/0 POST /v1/topics/kept/partitions/0/reassign {"replicas":[-1]}
400 unknown_field /units POST /v1/topics/kept/partitions/0/reassign {"units":[0]}
400 unknown_field /throttle/speed POST /v1/rebalance {"throttle":{"partitions_at_once":1,"speed":1}}
404 topic_not_found - POST /v1/topics/none/partitions/0/reassign {"replicas":[0]}
404 partition_not_found - POST /v1/topics/kept/partitions/9/reassign {"replicas":[0]}
404 topic_not_found - POST /v1/topics/none/partitions/0/elect
404 partition_not_found - POST /v1/topics/kept/partitions/9/elect
404 partition_not_found - POST /v1/topics/kept/partitions/9/recover
400 invalid_parameter /accept_loss POST /v1/topics/kept/partitions/0/recover {"accept_loss":"yes"}
404 spu_not_found - POST /v1/spus/9/drain
404 spu_not_found - POST /v1/spus/9/resume
409 conflict - POST /v1/spus/0/drain
409 conflict - POST /v1/topics/kept/partitions/0/recover
409 conflict - POST /v1/topics/kept/partitions/0/recover {"accept_loss":true}
400 malformed_json - POST /v1/spus/0/drain {empty}
405 method_not_allowed - GET /v1/spus/0/drain
405 method_not_allowed - GET /v1/rebalance
404 operation_not_found - GET /v1/operations/00000000-0000-0000-0000-000000000000
404 operation_not_found - POST /v1/operations/00000000-0000-0000-0000-000000000000/cancel
400 invalid_parameter operation GET /v1/operations/1
400 invalid_parameter next GET /v1/operations?next=1
501 not_supported - GET /v1/principals
501 not_supported - GET /v1/tokens
501 not_supported - GET /v1/acls
501 not_supported - GET /v1/quotas
501 not_supported - GET /v1/audit
400 invalid_parameter topics GET /v1/metadata
400 invalid_name topics GET /v1/metadata?topics=kept,
400 invalid_parameter from_revision GET /v1/watch?from_revision=x
400 invalid_parameter timeout_ms GET /v1/watch?timeout_ms=0
400 invalid_parameter timeout_ms GET /v1/watch?timeout_ms=86400001
400 invalid_parameter limit GET /v1/topics?limit=
400 invalid_parameter /throttle/bytes_per_second POST /v1/rebalance {"throttle":{"partitions_at_once":1,"bytes_per_second":9007199254740992}}
503 unavailable - GET /v1/watch?from_revision=99
"#;

#[tokio::test]
async fn every_bad_request_gets_its_code_and_its_place_and_changes_nothing() {
    let server = Server::new().await;
    server.create("kept", 3).await;
    let before = server.controller.model();
    let mut rows = 0;
    for row in TABLE.lines().filter(|line| !line.is_empty()) {
        let mut cells = row.splitn(6, ' ');
        let mut cell = || cells.next().unwrap_or("");
        let (status, code, pointer) = (cell(), cell(), cell());
        let (method, path, body) = (cell(), cell(), cell());
        let request = ask(method, &path.replace("{long}", &"a".repeat(201)));
        let request = match body {
            "" => request,
            body => request.text(body.replace("{empty}", "")),
        };
        let answer = server.send(request).await;
        let row = format!("{row}: {}", answer.body);
        assert_eq!(
            (answer.status.as_str(), answer.code()),
            (status, code),
            "{row}"
        );
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{row}"
        );
        assert_eq!(answer.body["side_effects"], "none", "{row}");
        assert_eq!(
            answer.body["request_id"],
            answer.header("x-request-id"),
            "{row}"
        );
        if pointer != "-" {
            assert_eq!(answer.pointers(), [pointer], "{row}");
        }
        rows += 1;
    }
    assert!(rows >= 90, "{rows} rows were read");
    assert_eq!(server.controller.model(), before);
}

#[tokio::test]
async fn several_faults_are_told_in_one_answer() {
    let server = Server::new().await;
    let body = json!({ "name": "a", "partitions": 0, "replication_factor": 99,
                       "config": { "segment_ms": 1 } });
    let answer = server.send(ask("POST", "/v1/topics").json(&body)).await;
    assert_eq!(
        answer.pointers(),
        ["/partitions", "/replication_factor", "/config/segment_ms"]
    );
}

#[tokio::test]
async fn headers_that_would_change_the_meaning_are_never_ignored() {
    let server = Server::new().await;
    let body = json!({ "name": "a" });
    let conditional = ask("POST", "/v1/topics")
        .header("if-match", "*")
        .json(&body);
    assert_eq!(server.send(conditional).await.code(), "invalid_parameter");
    let text = ask("POST", "/v1/topics")
        .json(&body)
        .header("content-type", "text/plain");
    assert_eq!(server.send(text).await.code(), "unsupported_media_type");
    let huge = ask("POST", "/v1/topics").text(" ".repeat(64 << 20));
    assert_eq!(server.send(huge).await.code(), "too_large");
    assert!(server.controller.model().topics.is_empty());
}

#[tokio::test]
async fn who_may_not_know_is_not_told() {
    let server = Server::new().await;
    server.create("secret", 1).await;
    server.create("pub.news", 1).await;
    for path in [
        "/v1/topics",
        "/v1/cluster",
        "/v1/spus",
        "/v1/spus/0",
        "/v1/spu-groups",
        "/v1/operations",
        "/v1/topics/secret",
        "/v1/watch",
    ] {
        let answer = server.send(ask("GET", path).anonymous()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (401, "unauthenticated"),
            "{path}"
        );
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        assert_eq!(
            server.send(ask("GET", path).bearer("guess")).await.status,
            401
        );
    }
    let read = |path: &str| server.send(ask("GET", path).bearer(READER));
    // What is there and what is not look the same.
    for path in [
        "/v1/topics/secret",
        "/v1/topics/none",
        "/v1/topics/secret/partitions/0",
    ] {
        let answer = read(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (403, "forbidden"),
            "{path}"
        );
    }
    assert_eq!(read("/v1/topics/pub.news").await.status, 200);
    for path in [
        "/v1/cluster",
        "/v1/spus",
        "/v1/spus/0",
        "/v1/spu-groups",
        "/v1/operations",
    ] {
        assert_eq!(read(path).await.status, 403, "{path}");
    }
    let posts = [
        "/v1/spus/0/drain",
        "/v1/spus/0/resume",
        "/v1/rebalance",
        "/v1/topics/pub.news/partitions/0/elect",
        "/v1/topics/pub.news/partitions/0/recover",
        "/v1/operations/00000000-0000-0000-0000-000000000000/cancel",
    ];
    for path in posts {
        let refused = server.send(ask("POST", path).bearer(READER)).await;
        assert_eq!(refused.code(), "forbidden", "{path}");
    }
    let list = read("/v1/topics").await;
    assert_eq!(list.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(list.body["items"][0]["name"], "pub.news");
    let write = ask("PUT", "/v1/topics/pub.news")
        .bearer(READER)
        .json(&json!({ "partitions": 9 }));
    assert_eq!(server.send(write).await.code(), "forbidden");
    let delete = ask("DELETE", "/v1/topics/pub.news").bearer(READER);
    assert_eq!(server.send(delete).await.code(), "forbidden");
}

#[tokio::test]
async fn a_full_disk_gets_no_new_partitions_and_everything_else_is_done() {
    let server = Server::new().await;
    server.create("old", 1).await;
    server.statuses.is_full.store(true, Ordering::Relaxed);
    let put = |name: &str, body: Value| ask("PUT", &format!("/v1/topics/{name}")).json(&body);
    let post = |uri: &str| ask("POST", uri).json(&json!({ "name": "new" }));
    for asked in [
        post("/v1/topics"),
        post("/v1/topics?dry_run=true"),
        put("new", json!({})),
        put("old", json!({ "partitions": 2 })),
    ] {
        let refused = server.send(asked).await;
        assert_eq!(
            (refused.status.as_u16(), refused.code()),
            (507, "disk_full")
        );
        assert_eq!(refused.body["side_effects"], "none");
        assert_eq!(refused.body["retryable"], true);
        assert_eq!(refused.header("retry-after"), "10");
    }
    let again = ask("POST", "/v1/topics").json(&json!({ "name": "old" }));
    assert_eq!(server.send(again).await.code(), "already_exists");
    for (body, result) in [
        (json!({ "partitions": 1 }), "unchanged"),
        (json!({ "config": { "retention_ms": 1_000 } }), "updated"),
    ] {
        let done = server.send(put("old", body)).await;
        assert_eq!(done.header("tidegate-result"), result, "{}", done.body);
    }
    let gone = server.send(ask("DELETE", "/v1/topics/old")).await;
    assert_eq!(gone.status, 204);
    server.statuses.is_full.store(false, Ordering::Relaxed);
    server.create("new", 1).await;
}
