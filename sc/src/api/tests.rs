//! The control plane in process: the real router on a real store, without sockets.

mod backup;
mod document;
mod follow;
mod keys;
mod moves;
mod preconditions;
mod refusals;
mod topics;
mod truncate;
mod units;
mod views;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate_kit::auth::{Grants, Op, Principal, TopicPattern};
use tidegate_kit::http::{EdgeConfig, edge, fallback_method, fallback_not_found};
use tidegate_kit::tasks::Tasks;
use tidegate_proto::control::{Damage, NodeSite, PartitionStatus, Register};
use tidegate_proto::id::{RunId, SpuId, StorageId};
use tidegate_proto::name::SpuGroupName;
use tidegate_proto::position::{LeaderEpoch, Offset};
use tower::ServiceExt as _;
use uuid::Uuid;

use super::*;
use crate::controller::{ControllerSettings, ScConfig, StoreLocation};

const ADMIN: &str = "admin-token";
const READER: &str = "reader-token";

/// Partition 0 of every topic stands at 10; nobody knows about the others. The disk is full while it is
/// said to be.
#[derive(Clone, Default)]
struct OnlyFirst {
    is_full: Arc<AtomicBool>,
}

impl Statuses for OnlyFirst {
    fn partition(&self, key: ReplicaKey) -> Option<Reported> {
        let status = PartitionStatus {
            log_start: Offset::new(2),
            high_watermark: Offset::new(9),
            end: Offset::new(10),
            leader_epoch: LeaderEpoch(1),
            size_bytes: 4096,
            last_append_ms: Some(77),
            damage: Some(Damage {
                read_only: true,
                from: Some(Offset::new(4)),
                until: None,
            }),
            is_latest_known: true,
        };
        (key.partition.0 == 0).then(|| Reported {
            status,
            copies: Vec::new(),
            as_of: clock::monotonic(),
        })
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }
}

/// A controller with one storage unit, behind its router.
struct Server {
    router: Router,
    controller: Controller,
    statuses: OnlyFirst,
    tasks: Tasks,
    dir: TempDir,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or("")
    }

    fn pointers(&self) -> Vec<&str> {
        let errors = self.body["errors"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        errors
            .iter()
            .filter_map(|error| error["pointer"].as_str())
            .collect()
    }
}

/// One request; sent as the administrator unless told otherwise.
struct Ask {
    method: String,
    uri: String,
    headers: BTreeMap<&'static str, String>,
    body: String,
}

fn ask(method: &str, uri: &str) -> Ask {
    let bearer = ("authorization", format!("Bearer {ADMIN}"));
    let headers = BTreeMap::from([bearer]);
    Ask {
        method: method.to_owned(),
        uri: uri.to_owned(),
        headers,
        body: String::new(),
    }
}

impl Ask {
    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    fn anonymous(mut self) -> Self {
        self.headers.remove("authorization");
        self
    }

    fn text(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }
}

fn register() -> Register {
    Register {
        spu_id: SpuId(0),
        storage_id: StorageId(Uuid::from_u128(1)),
        run_id: RunId(Uuid::from_u128(2)),
        last_incarnation: None,
        attempt: None,
        granted: None,
        same_boot: true,
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    }
}

async fn controller(dir: &TempDir, tasks: &Tasks) -> Controller {
    let store = StoreLocation::Sqlite(dir.path().join("meta.db"));
    Controller::open(ScConfig {
        store,
        settings: ControllerSettings::alone(),
        tasks: tasks.clone(),
    })
    .await
    .unwrap()
}

fn router(controller: &Controller, statuses: &OnlyFirst) -> Router {
    let patterns = vec![TopicPattern::parse("pub.*").unwrap()];
    let auth = Auth::with_tokens([
        (ADMIN, Principal::new("admin", Grants::all())),
        (
            READER,
            Principal::new("reader", Grants::limited(&[Op::Consume], patterns)),
        ),
    ]);
    let routes = controller
        .router(auth, Arc::new(statuses.clone()))
        .method_not_allowed_fallback(fallback_method)
        .fallback(fallback_not_found);
    edge(routes, EdgeConfig::default())
}

impl Server {
    async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let tasks = Tasks::new();
        let controller = controller(&dir, &tasks).await;
        controller.register(register()).await.unwrap();
        let statuses = OnlyFirst::default();
        Self {
            router: router(&controller, &statuses),
            controller,
            statuses,
            tasks,
            dir,
        }
    }

    async fn send(&self, ask: Ask) -> Answer {
        let mut request = Request::builder().method(ask.method.as_str()).uri(&ask.uri);
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let request = request.body(Body::from(ask.body)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }

    async fn create(&self, name: &str, partitions: u32) -> Answer {
        let body = json!({ "name": name, "partitions": partitions });
        let answer = self.send(ask("POST", "/v1/topics").json(&body)).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer
    }

    /// Stops it as a process would stop, and starts another on the same file.
    async fn restart(self) -> Self {
        let Self {
            statuses,
            router: old,
            controller: handle,
            tasks,
            dir,
        } = self;
        drop((old, handle));
        assert!(tasks.shutdown(Duration::from_secs(10)).await);
        let tasks = Tasks::new();
        let controller = controller(&dir, &tasks).await;
        Self {
            router: router(&controller, &statuses),
            controller,
            statuses,
            tasks,
            dir,
        }
    }
}
