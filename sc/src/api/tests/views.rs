//! Partitions, storage units, the cluster, and the controller's own door.

use super::*;

#[tokio::test]
async fn partitions_show_rows_and_what_their_leaders_say() {
    let server = Server::new().await;
    server.create("orders", 2).await;
    let mut list = server
        .send(ask("GET", "/v1/topics/orders/partitions"))
        .await;
    let as_of = list.body["items"][0]["as_of"].take().as_i64().unwrap();
    assert!((clock::now_ms() - as_of).abs() < 60_000, "{as_of}");
    let expected = json!({
        "partition": 0, "state": "online", "leader": 0, "leader_epoch": 1, "replicas": [0],
        "isr": [0], "min_in_sync": 1, "version": 1, "log_start": 2, "high_watermark": 9,
        "end": 10, "size_bytes": 4096, "last_append_at": 77,
        "damage": { "read_only": true, "from": 4, "until": null }, "as_of": null,
        "reason": null, "under_replicated": false, "below_min_in_sync": false,
        "survey": null, "losses": [],
        "copies": [{ "spu": 0, "state": "leading", "reason": null, "end": 10, "lag_records": 0,
            "lag_ms": 0 }]
    });
    assert_eq!(list.body["items"][0], expected);
    assert_eq!(list.body["items"][1]["high_watermark"], Value::Null);
    assert_eq!(list.body["items"][1]["as_of"], Value::Null);
    let mut one = server
        .send(ask("GET", "/v1/topics/orders/partitions/0"))
        .await;
    one.body["as_of"].take();
    assert_eq!((one.status.as_u16(), one.body), (200, expected));
}

#[tokio::test]
async fn what_the_unit_did_is_told_as_rates_sums_and_buckets() {
    use tidegate_proto::control::{DiskSpace, Heartbeat, Traffic};

    let server = Server::new().await;
    server.create("orders", 2).await;
    let model = server.controller.model();
    let id = model.topics.values().next().unwrap().row.id;
    let row = model.spu(SpuId(0)).unwrap();
    for appended_bytes in [0, 1_200] {
        let heartbeat = Heartbeat {
            spu_id: SpuId(0),
            run_id: row.run_id.unwrap(),
            incarnation: row.incarnation,
            seen: None,
            draining: false,
            disk: DiskSpace {
                capacity_bytes: 100,
                free_bytes: 7,
                has_room: true,
                is_low: true,
            },
            traffic: Traffic {
                appended_records: appended_bytes / 10,
                appended_bytes,
                ..Traffic::default()
            },
            beat: 0,
            untold: 0,
            statuses: Vec::new(),
        };
        let topic = crate::Amounts {
            appended_bytes,
            ..crate::Amounts::default()
        };
        server
            .controller
            .count(heartbeat, BTreeMap::from([(id, topic)]));
    }
    let stats = server.send(ask("GET", "/v1/stats?series=true")).await.body;
    let cluster = &stats["cluster"];
    assert_eq!(
        (&cluster["partitions"], &cluster["known_partitions"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(cluster["size_bytes"], 4096);
    let (unit, topic) = (&stats["spus"][0], &stats["topics"][0]);
    for flow in [&cluster["flow"], &unit["flow"], &topic["flow"]] {
        assert_eq!(flow["total"]["appended_bytes"], 1_200, "{flow}");
        assert_eq!(flow["series"].as_array().unwrap().len(), 90);
        assert!(flow["per_second"]["appended_bytes"].as_u64().unwrap() > 15);
    }
    assert_eq!(cluster["flow"]["total"]["appended_records"], 120);
    assert_eq!(
        (&unit["disk_free_bytes"], &unit["disk_is_low"]),
        (&json!(7), &json!(true))
    );
    assert_eq!(
        (&topic["name"], &topic["size_bytes"]),
        (&json!("orders"), &json!(4096))
    );
    let plain = server.send(ask("GET", "/v1/stats")).await.body;
    assert_eq!(plain["cluster"]["flow"]["series"], Value::Null);
}

#[tokio::test]
async fn an_unplaced_partition_says_so() {
    let server = Server::new().await;
    let body = json!({ "name": "orders", "replication_factor": 2 });
    server.send(ask("POST", "/v1/topics").json(&body)).await;
    let one = server
        .send(ask("GET", "/v1/topics/orders/partitions/0"))
        .await;
    assert_eq!(one.body["state"], "unplaced");
    assert_eq!(
        (&one.body["leader"], &one.body["replicas"]),
        (&Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn the_cluster_and_its_units_are_described() {
    let server = Server::new().await;
    server.create("orders", 3).await;
    let cluster = server.send(ask("GET", "/v1/cluster")).await;
    assert_eq!(
        cluster.body["cluster_id"],
        server.controller.cluster_id().to_string()
    );
    for (field, count) in [
        ("revision", 2),
        ("spus", 1),
        ("topics", 1),
        ("partitions", 3),
    ] {
        assert_eq!(cluster.body[field], count, "{field}");
    }
    assert_eq!(cluster.body["controller"]["store"], "sqlite");
    let store_id = server.controller.shown().seen.store_id;
    assert_eq!(cluster.body["controller"]["store_id"], store_id.to_string());
    assert_eq!(cluster.body["version"], env!("CARGO_PKG_VERSION"));
    let spus = server.send(ask("GET", "/v1/spus")).await;
    assert_eq!(
        spus.body,
        json!({ "items": [{ "id": 0, "kind": "managed", "group": "default", "rack": null, "site": null, "labels": {}, "endpoints": [], "incarnation": 1, "status": { "state": "online" },
                            "replicas": 3, "leaders": 3, "version": 1 }], "next": null })
    );
}

#[tokio::test]
async fn a_registration_grants_a_new_incarnation_and_new_epochs_in_one_revision() {
    let server = Server::new().await;
    server.create("orders", 3).await;
    let before = server.controller.model();
    let first = server.controller.register(register()).await.unwrap();
    let second = server.controller.register(register()).await.unwrap();
    assert!(second.incarnation > first.incarnation);
    assert_eq!(first.cluster_id, server.controller.cluster_id());
    let after = server.controller.model();
    assert_eq!(after.revision, before.revision + 2);
    let topology = server.controller.topology().borrow().clone();
    for partition in &topology.topics.values().next().unwrap().partitions {
        assert_eq!(partition.leader_epoch, LeaderEpoch(3));
        assert_eq!(partition.isr[0].incarnation, second.incarnation);
    }
}

#[tokio::test]
async fn producer_ids_come_in_blocks_that_never_meet() {
    let server = Server::new().await;
    let first = server.controller.lease_producer_ids().await.unwrap();
    let second = server.controller.lease_producer_ids().await.unwrap();
    assert!(first.start > 0 && first.end <= second.start);
    let server = server.restart().await;
    assert!(server.controller.lease_producer_ids().await.unwrap().start >= second.end);
}

#[tokio::test]
async fn a_controller_that_stops_refuses_and_frees_the_store() {
    let server = Server::new().await;
    server.create("orders", 1).await;
    assert!(server.tasks.shutdown(Duration::from_secs(10)).await);
    let refused = server
        .send(ask("PUT", "/v1/topics/orders").json(&json!({ "partitions": 2 })))
        .await;
    assert_eq!(
        (refused.status.as_u16(), refused.code()),
        (503, "unavailable")
    );
    assert_eq!(refused.body["side_effects"], "none");
    assert_eq!(refused.header("retry-after"), "1");
    // Reads go on from the last state.
    assert_eq!(
        server.send(ask("GET", "/v1/topics/orders")).await.status,
        200
    );
    let tasks = Tasks::new();
    assert_eq!(
        controller(&server.dir, &tasks).await.model().topics.len(),
        1
    );
}
