//! The private plane in process: the real router, with the peer's identity put where listeners put it.

mod watching;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{Request as HttpRequest, StatusCode};
use futures_util::StreamExt as _;
use http_body_util::BodyExt as _;
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{
    Folded, Heartbeat, NodeSite, Register, Registered, Seen, TopologyFold, WatchLine,
};
use tidegate_proto::id::{ClusterId, RunId, SpuId, StorageId, StoreId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_sc_core::decision::{Request, TopicWrite};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::controller::{ControllerSettings, Origin};
use crate::store::{MemoryDatabase, MemoryStore, MetaStore};

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(1));

/// Controllers on one database in memory.
struct Cluster {
    database: MemoryDatabase,
    tasks: Tasks,
}

struct Sc {
    controller: Controller,
    router: Router,
    store: Arc<MemoryStore>,
    tasks: Tasks,
}

impl Cluster {
    fn new() -> Self {
        Self {
            database: MemoryDatabase::new(CLUSTER, StoreId(Uuid::from_u128(2))),
            tasks: Tasks::new(),
        }
    }

    async fn sc(&self, name: &str) -> Sc {
        let store = Arc::new(self.database.open());
        let tasks = self.tasks.child();
        let settings = ControllerSettings::in_cluster(name.to_owned(), None);
        let shared = Arc::clone(&store) as Arc<dyn MetaStore>;
        let controller = Controller::start(shared, settings, &tasks).await.unwrap();
        Sc {
            router: controller.private_router(),
            controller,
            store,
            tasks,
        }
    }
}

fn spu(number: u32) -> NodeIdentity {
    NodeIdentity::spu(CLUSTER, SpuId(number))
}

fn gateway() -> NodeIdentity {
    let name = NodeName::parse("gateway-a").unwrap();
    NodeIdentity::new(CLUSTER, NodeRole::Gateway, name).unwrap()
}

fn storage(number: u32) -> Uuid {
    Uuid::from_u128(100 + u128::from(number))
}

fn registration(number: u32) -> Register {
    Register {
        spu_id: SpuId(number),
        storage_id: StorageId(storage(number)),
        run_id: RunId(storage(number)),
        last_incarnation: None,
        attempt: None,
        granted: None,
        same_boot: true,
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    }
}

fn heartbeat(number: u32, registered: Registered) -> Heartbeat {
    Heartbeat {
        spu_id: SpuId(number),
        run_id: RunId(storage(number)),
        incarnation: registered.incarnation,
        seen: None,
        draining: false,
        disk: tidegate_proto::control::DiskSpace::default(),
        traffic: tidegate_proto::control::Traffic::default(),
        beat: 1,
        untold: 0,
        statuses: Vec::new(),
    }
}

impl Sc {
    async fn send(&self, request: HttpRequest<Body>) -> (StatusCode, Body) {
        let answer = self.router.clone().oneshot(request).await.unwrap();
        (answer.status(), answer.into_body())
    }

    async fn post(
        &self,
        peer: Option<NodeIdentity>,
        path: &str,
        body: &impl Serialize,
    ) -> (StatusCode, Value) {
        let mut request = HttpRequest::post(format!("/internal/v1/{path}"))
            .header("content-type", "application/json")
            .body(Body::from(serde_json::to_vec(body).unwrap()))
            .unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(PeerIdentity(peer));
        }
        let (status, body) = self.send(request).await;
        let bytes = body.collect().await.unwrap().to_bytes();
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        (status, value)
    }

    async fn register(&self, number: u32) -> Registered {
        let body = registration(number);
        let (status, answer) = self.post(Some(spu(number)), "register", &body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        serde_json::from_value(answer).unwrap()
    }

    async fn watch(&self, seen: Option<Seen>) -> (StatusCode, Body) {
        self.watch_from("after", seen).await
    }

    async fn watch_from(&self, name: &str, seen: Option<Seen>) -> (StatusCode, Body) {
        let query = seen.map_or_else(String::new, |seen| {
            let Seen {
                store_id,
                revision,
                hash,
            } = seen;
            format!("?{name}={revision}&hash={hash}&store={store_id}")
        });
        let mut request = HttpRequest::get(format!("/internal/v1/watch{query}"))
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(PeerIdentity(gateway()));
        self.send(request).await
    }

    async fn make(&self, name: &str, partitions: u32) {
        let write = TopicWrite {
            name: TopicName::parse(name).unwrap(),
            request: tidegate_proto::api::topic::TopicRequest {
                partitions: partitions.into(),
                ..Default::default()
            },
            if_match: None,
        };
        let made = self
            .controller
            .change(Request::EnsureTopic(write), tester());
        made.await.unwrap();
    }
}

fn tester() -> Origin {
    Origin {
        actor: "tester".to_owned(),
        request_id: String::new(),
    }
}

#[tokio::test]
async fn only_a_node_is_answered_and_a_unit_speaks_for_itself_alone() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let body = registration(1);
    let (status, _) = sc.post(None, "register", &body).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    for stranger in [spu(2), gateway()] {
        let (status, problem) = sc.post(Some(stranger), "register", &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
    }
    assert_eq!(sc.controller.model().spus.len(), 0);
}

#[tokio::test]
async fn a_unit_registers_lives_is_superseded_and_leaves() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let first = sc.register(1).await;
    sc.make("orders", 2).await;
    let beat = heartbeat(1, first);
    let (_, answer) = sc.post(Some(spu(1)), "heartbeat", &beat).await;
    assert_eq!(answer["standing"], "current");
    let other = Heartbeat {
        run_id: RunId(Uuid::from_u128(9)),
        ..beat.clone()
    };
    let (_, answer) = sc.post(Some(spu(1)), "heartbeat", &other).await;
    assert_eq!(answer["standing"], "superseded", "another process");
    let second = sc.register(1).await;
    assert!(second.incarnation > first.incarnation);
    let (_, answer) = sc.post(Some(spu(1)), "heartbeat", &beat).await;
    assert_eq!(answer["standing"], "superseded");
    let leave = json!({ "spu_id": 1, "incarnation": second.incarnation });
    let (status, _) = sc.post(Some(spu(1)), "leave", &leave).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let beat = heartbeat(1, second);
    let (_, answer) = sc.post(Some(spu(1)), "heartbeat", &beat).await;
    assert_eq!(answer["standing"], "fenced");
    let (_, answer) = sc
        .post(Some(spu(7)), "heartbeat", &heartbeat(7, second))
        .await;
    assert_eq!(answer["standing"], "unknown");
}

#[tokio::test]
async fn proposals_for_in_sync_sets_get_an_outcome_each() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let registered = sc.register(1).await;
    sc.make("orders", 2).await;
    let model = sc.controller.model();
    let topic = model.topics.values().next().unwrap();
    let proposal = |at: usize, version: u64| {
        let row = &topic.partitions[at];
        let member = json!({ "spu": 1, "incarnation": registered.incarnation });
        let candidate = json!({ "member": member, "replica_gen": row.replicas[0].replica_gen });
        json!({ "key": row.key(), "leader_epoch": row.leader_epoch, "version": version,
                "isr": [candidate] })
    };
    let body = json!({ "spu_id": 1, "incarnation": registered.incarnation,
                       "proposals": [proposal(0, 1), proposal(1, 99)] });
    let (status, answer) = sc.post(Some(spu(1)), "isr", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["outcomes"][0]["outcome"], "accepted");
    assert_eq!(answer["outcomes"][1]["reason"], "stale");
    let (status, problem) = sc.post(Some(spu(2)), "isr", &body).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{problem}");
}

#[tokio::test]
async fn deleted_topics_are_told_from_unknown_ones_and_producer_ids_are_given_once() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.register(1).await;
    sc.make("orders", 1).await;
    let id = sc.controller.model().topics.values().next().unwrap().row.id;
    let name = TopicName::parse("orders").unwrap();
    let delete = Request::DeleteTopic {
        name,
        if_match: None,
    };
    sc.controller.change(delete, tester()).await.unwrap();
    let body = json!({ "topics": [id, Uuid::from_u128(77)] });
    let (_, answer) = sc.post(Some(spu(1)), "deleted-topics", &body).await;
    assert_eq!(answer, json!({ "deleted": [id] }));
    let (_, first) = sc.post(Some(gateway()), "producer-ids", &json!({})).await;
    let (_, second) = sc.post(Some(spu(1)), "producer-ids", &json!({})).await;
    let end = first["first"].as_u64().unwrap() + first["count"].as_u64().unwrap();
    assert!(second["first"].as_u64().unwrap() >= end);
}

#[tokio::test]
async fn numbers_that_no_cluster_counts_to_are_refused_and_end_nothing() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let registered = sc.register(1).await;
    sc.make("orders", 1).await;
    let model = sc.controller.model();
    let row = &model.topics.values().next().unwrap().partitions[0];
    let gen_of_row = row.replicas[0].replica_gen;
    let body = |value: serde_json::Result<Value>| value.unwrap();

    let mut register = body(serde_json::to_value(registration(1)));
    register["last_incarnation"] = u64::MAX.into();
    let mut reported = body(serde_json::to_value(registration(1)));
    reported["replicas"] = json!([{ "key": row.key(), "replica_gen": gen_of_row, "intact": true,
                                    "end": 0, "leader_epoch": u64::MAX }]);
    let mut beat = body(serde_json::to_value(heartbeat(1, registered)));
    beat["beat"] = u64::MAX.into();
    let relayed = json!({ "heartbeats": [{ "heartbeat": beat, "age_ms": 0 }] });
    let member = json!({ "spu": 1, "incarnation": registered.incarnation });
    let seal = json!({ "answers": [{ "key": row.key(), "member": member, "replica_gen": gen_of_row,
                                     "sealed_at": 1, "last_epoch": 1, "end": u64::MAX,
                                     "log_start": u64::MAX, "intact": true }] });
    let controller = NodeName::parse("sc-b").unwrap();
    let controller = NodeIdentity::new(CLUSTER, NodeRole::Sc, controller).unwrap();
    for (peer, path, body) in [
        (spu(1), "register", register),
        (spu(1), "register", reported),
        (spu(1), "heartbeat", beat),
        (controller, "relay", relayed),
        (spu(1), "seal", seal),
    ] {
        let (status, problem) = sc.post(Some(peer), path, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {problem}");
        assert_eq!(problem["code"], "invalid_parameter", "{path}");
    }
    // Amounts may be anything, and the controller works on.
    let mut beat = heartbeat(1, registered);
    beat.traffic.read_bytes = u64::MAX;
    beat.disk.capacity_bytes = u64::MAX;
    let (status, answer) = sc.post(Some(spu(1)), "heartbeat", &beat).await;
    assert_eq!(
        (status, &answer["standing"]),
        (StatusCode::OK, &json!("current"))
    );
    sc.register(1).await;
}

#[tokio::test]
async fn a_controller_that_leaves_sends_units_to_another() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    let registered = first.register(1).await;
    let beat = heartbeat(1, registered);
    first.controller.leave();
    let refused = [
        first.post(Some(spu(1)), "heartbeat", &beat).await,
        first.post(Some(spu(2)), "register", &registration(2)).await,
    ];
    for (status, problem) in refused {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{problem}");
        assert_eq!(problem["code"], "unavailable");
        assert_eq!(problem["retry_after_s"], 1);
    }
    // What it was asked to finish goes on.
    first.make("orders", 1).await;
    let (status, answer) = second.post(Some(spu(1)), "heartbeat", &beat).await;
    assert_eq!(
        (status, &answer["standing"]),
        (StatusCode::OK, &json!("current"))
    );
    second.register(2).await;
}
