//! Moves of copies and the operations that they are, as an operator sees them.

use super::*;

impl Server {
    /// Another unit registers, on a rack of its own.
    async fn join(&self, spu: u32) {
        let report = Register {
            spu_id: SpuId(spu),
            storage_id: StorageId(Uuid::from_u128(100 + u128::from(spu))),
            run_id: RunId(Uuid::from_u128(200 + u128::from(spu))),
            site: NodeSite {
                rack: Some(format!("rack-{spu}")),
                ..NodeSite::default()
            },
            ..register()
        };
        self.controller.register(report).await.unwrap();
    }

    async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(ask("POST", path).json(&body)).await
    }
}

const REASSIGN: &str = "/v1/topics/orders/partitions/1/reassign";

#[tokio::test]
async fn with_one_unit_every_move_is_refused_and_the_answer_says_what_is_missing() {
    let server = Server::new().await;
    server.create("orders", 2).await;
    let rows = [
        (
            "/v1/spus/0/drain",
            json!({}),
            409,
            "conflict",
            "partition 0 of topic orders is on storage unit 0, and no other one is at hand to take the copy on 0; at hand: 0",
        ),
        (
            REASSIGN,
            json!({ "replicas": [1] }),
            400,
            "invalid_parameter",
            "/replicas: there is no storage unit 1; at hand: 0",
        ),
        (
            REASSIGN,
            json!({ "replicas": [0, 0] }),
            400,
            "invalid_parameter",
            "/replicas: names 2 units, the topic has 1 copies",
        ),
    ];
    let before = server.controller.model();
    for (path, body, status, code, detail) in rows {
        let refused = server.post(path, body).await;
        assert_eq!((refused.status.as_u16(), refused.code()), (status, code));
        assert_eq!(refused.body["detail"], detail);
    }
    for (path, body) in [
        ("/v1/rebalance", json!({})),
        (REASSIGN, json!({ "replicas": [0] })),
    ] {
        let even = server.post(path, body).await;
        assert_eq!(
            (even.status.as_u16(), even.header("tidegate-result")),
            (200, "unchanged")
        );
        assert_eq!(even.body, json!({ "operation": null }));
    }
    let elected = server
        .send(ask("POST", "/v1/topics/orders/partitions/1/elect"))
        .await;
    assert_eq!(
        (elected.status.as_u16(), elected.header("tidegate-result")),
        (200, "unchanged")
    );
    assert_eq!(elected.body["leader"], 0);
    assert_eq!(server.controller.model(), before);
}

#[tokio::test]
async fn a_partition_is_reassigned_as_an_operation_that_can_be_watched_and_cancelled() {
    let server = Server::new().await;
    server.create("orders", 2).await;
    server.join(1).await;
    let body = json!({ "replicas": [1], "force": true, "throttle": { "partitions_at_once": 3 } });
    let dry = server
        .post(&format!("{REASSIGN}?dry_run=true"), body.clone())
        .await;
    let path = "/topics/orders/partitions/1/replicas";
    let changes = json!([{ "path": path, "from": [0], "to": [1] }]);
    assert_eq!(dry.body, json!({ "result": "updated", "changes": changes }));
    assert!(
        server.controller.model().operations.is_empty(),
        "nothing was done"
    );

    let begun = server.post(REASSIGN, body.clone()).await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("tidegate-result")),
        (202, "updated")
    );
    let operation = &begun.body["operation"];
    assert_eq!(operation["kind"], "reassign");
    assert_eq!(operation["state"], "running");
    assert_eq!(
        operation["progress"],
        json!({ "total": 1, "done": 0, "failed": 0 })
    );
    assert_eq!(operation["throttle"]["partitions_at_once"], 3);
    let place = begun.header("location").to_owned();
    assert_eq!(
        place,
        format!("/v1/operations/{}", operation["id"].as_str().unwrap())
    );
    let read = server.send(ask("GET", &place)).await;
    assert_eq!(&read.body, operation);
    let twice = server.post(REASSIGN, body).await;
    assert_eq!(twice.code(), "conflict");
    assert!(
        twice.body["detail"]
            .as_str()
            .unwrap()
            .starts_with("partition 1 of topic orders is part of")
    );

    let cancel = format!("{place}/cancel");
    let cancelled = server.send(ask("POST", &cancel)).await;
    assert_eq!(
        (
            cancelled.status.as_u16(),
            cancelled.header("tidegate-result")
        ),
        (200, "updated")
    );
    assert_eq!(cancelled.body["state"], "cancelled");
    let progress = json!({ "total": 1, "done": 0, "failed": 1 });
    assert_eq!(cancelled.body["progress"], progress, "nothing was moved");
    let again = server.send(ask("POST", &cancel)).await;
    assert_eq!(
        (again.header("tidegate-result"), &again.body),
        ("unchanged", &cancelled.body)
    );
}

#[tokio::test]
async fn a_unit_is_drained_and_taken_back() {
    let server = Server::new().await;
    server.create("orders", 2).await;
    server.join(1).await;
    let single = server.send(ask("POST", "/v1/spus/0/drain")).await;
    assert_eq!(
        single.code(),
        "conflict",
        "a single copy with records is not moved unasked"
    );
    let begun = server
        .post("/v1/spus/0/drain", json!({ "force": true }))
        .await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    assert_eq!(begun.body["operation"]["kind"], "drain");
    assert_eq!(begun.body["operation"]["spu"], 0);
    let again = server.post("/v1/spus/0/drain", json!({})).await;
    assert_eq!(
        (again.status.as_u16(), again.header("tidegate-result")),
        (202, "unchanged")
    );
    assert_eq!(again.body["operation"]["id"], begun.body["operation"]["id"]);
    let unit = server.send(ask("GET", "/v1/spus/0")).await;
    let status =
        json!({ "state": "draining", "reason": "it is being emptied: it holds 2 partitions" });
    assert_eq!(unit.body["status"], status);
    let empty = server.send(ask("POST", "/v1/spus/1/drain")).await;
    assert_eq!(
        empty.body["operation"]["state"], "done",
        "it held nothing: {}",
        empty.body
    );

    let list = server.send(ask("GET", "/v1/operations?limit=1")).await;
    let next = list.body["next"].as_str().unwrap();
    let rest = server
        .send(ask("GET", &format!("/v1/operations?limit=1&next={next}")))
        .await;
    assert_eq!(rest.body["next"], Value::Null);
    assert_ne!(rest.body["items"][0]["id"], list.body["items"][0]["id"]);

    for result in ["updated", "unchanged"] {
        let resumed = server.send(ask("POST", "/v1/spus/0/resume")).await;
        assert_eq!(resumed.header("tidegate-result"), result);
        assert_eq!(resumed.body["status"], json!({ "state": "online" }));
    }
    let place = begun.header("location");
    assert_eq!(
        server.send(ask("GET", place)).await.body["state"],
        "cancelled"
    );
}

#[tokio::test]
async fn a_rebalance_tells_its_plan_and_begins_it() {
    let server = Server::new().await;
    server.create("orders", 4).await;
    server.join(1).await;
    let dry = server
        .post("/v1/rebalance?dry_run=true", json!({ "force": true }))
        .await;
    assert_eq!(
        dry.body["changes"].as_array().unwrap().len(),
        2,
        "{}",
        dry.body
    );
    let key = ask("POST", "/v1/rebalance").header("idempotency-key", "k1");
    let begun = server.send(key.json(&json!({ "force": true }))).await;
    assert_eq!(begun.body["operation"]["progress"]["total"], 2);
    let key = ask("POST", "/v1/rebalance").header("idempotency-key", "k1");
    let again = server.send(key.json(&json!({ "force": true }))).await;
    assert_eq!(
        (again.status.as_u16(), again.header("tidegate-duplicate")),
        (202, "true")
    );
    assert_eq!(again.body, begun.body);
}

#[tokio::test]
async fn a_recovery_takes_a_leader_away_only_when_it_is_told_to() {
    let server = Server::new().await;
    server.create("orders", 2).await;
    let path = "/v1/topics/orders/partitions/1/recover";
    let refused = server.send(ask("POST", path)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "conflict"));
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("storage unit 0 leads partition 1 of topic orders"),
        "{}",
        refused.body
    );
    let begun = server.post(path, json!({ "force": true })).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let operation = &begun.body["operation"];
    assert_eq!(
        (&operation["topic"], &operation["partition"]),
        (&json!("orders"), &json!(1))
    );
    let sealed = server
        .send(ask("GET", "/v1/topics/orders/partitions/1"))
        .await;
    assert_eq!(sealed.body["leader"], Value::Null);
}

#[tokio::test]
async fn a_topic_is_placed_as_its_dry_run_said() {
    let server = Server::new().await;
    for spu in 1..4 {
        server.join(spu).await;
    }
    server.create("before", 3).await;
    let body = json!({ "name": "orders", "partitions": 3, "replication_factor": 2 });
    let dry = server.post("/v1/topics?dry_run=true", body.clone()).await;
    let told: Vec<Value> = dry.body["changes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|change| change["path"].as_str().unwrap().starts_with("/assignment/"))
        .map(|change| change["to"].clone())
        .collect();
    assert_eq!(server.post("/v1/topics", body).await.status, 201);
    let list = server
        .send(ask("GET", "/v1/topics/orders/partitions"))
        .await;
    let placed: Vec<Value> = list.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|partition| partition["replicas"].clone())
        .collect();
    assert_eq!(told, placed);

    let manual = json!({ "name": "by-hand", "partitions": 2, "replication_factor": 2,
                         "placement": "manual", "assignment": [[3, 1], [2, 0]] });
    let made = server.post("/v1/topics", manual).await;
    assert_eq!(
        (made.status.as_u16(), &made.body["placement"]),
        (201, &json!("manual"))
    );
    let list = server
        .send(ask("GET", "/v1/topics/by-hand/partitions"))
        .await;
    assert_eq!(list.body["items"][0]["replicas"], json!([3, 1]));
    assert_eq!(list.body["items"][1]["replicas"], json!([2, 0]));
}
