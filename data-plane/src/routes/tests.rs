//! The routes as a client meets them: a real router over partitions in memory.
//!
//! The gateway includes this file too, over the same partitions behind a storage unit's door: what `door`
//! gives is all that differs. So paths are spelled out, and everything of the crate comes from there.

#[path = "tests/access.rs"]
mod access;
#[path = "tests/answers.rs"]
mod answers;
#[path = "tests/away.rs"]
mod away;
#[path = "tests/back.rs"]
mod back;
#[path = "tests/bad_input.rs"]
mod bad_input;
#[path = "tests/copies.rs"]
mod copies;
#[path = "tests/direct.rs"]
mod direct;
#[path = "tests/document.rs"]
mod document;
#[path = "tests/events.rs"]
mod events;
#[path = "tests/exactly_once.rs"]
mod exactly_once;
#[path = "tests/fetch.rs"]
mod fetch;
#[path = "tests/produce.rs"]
mod produce;
#[path = "tests/sealed.rs"]
mod sealed;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tidegate_kit::auth::Auth;
use tidegate_kit::budget::{ByteBudget, KeyedBudgets};
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::error::Problem;
use tidegate_proto::id::{PartitionId, ProducerId};
use tidegate_proto::position::ReplicaKey;
use tower::ServiceExt as _;

use super::door::{
    DataPlane, DataPlaneConfig, DirectProduce, Door, MemoryPartitions, Partitions, ProducerIds,
    for_key, openapi, router,
};

/// A server with partitions in memory.
pub(super) struct Surface {
    pub(super) memory: Arc<MemoryPartitions>,
    pub(super) tasks: Tasks,
    pub(super) auth: Auth,
    router: Router,
    state: DataPlane,
    _door: Option<Door>,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

struct FixedIds;

impl ProducerIds for FixedIds {
    fn lease(&self) -> BoxFuture<'_, Result<(ProducerId, u16), Problem>> {
        Box::pin(async { Ok((ProducerId(41), 0)) })
    }
}

impl Surface {
    pub(super) fn new() -> Self {
        Self::with_auth(Auth::dev())
    }

    pub(super) fn with_auth(auth: Auth) -> Self {
        Self::with(auth, DataPlaneConfig::default())
    }

    /// A server whose budget for large bodies is this.
    pub(super) fn with_body_bytes(body_bytes_max: usize) -> Self {
        let config = DataPlaneConfig {
            memory: Memory {
                bodies: KeyedBudgets::new(
                    ByteBudget::new(body_bytes_max),
                    "principal",
                    body_bytes_max,
                ),
                ..Memory::default()
            },
            ..DataPlaneConfig::default()
        };
        Self::with(Auth::dev(), config)
    }

    /// A server whose budget for fetch answers is this.
    pub(super) fn with_answer_bytes(answer_bytes_max: usize) -> Self {
        let config = DataPlaneConfig {
            memory: Memory {
                answers: KeyedBudgets::new(
                    ByteBudget::new(answer_bytes_max),
                    "principal",
                    answer_bytes_max,
                ),
                ..Memory::default()
            },
            ..DataPlaneConfig::default()
        };
        Self::with(Auth::dev(), config)
    }

    /// Without a door in between, for tests whose clock stands still: networks take time.
    pub(super) fn near() -> Self {
        let memory = MemoryPartitions::new();
        let partitions = Arc::clone(&memory) as Arc<dyn Partitions>;
        let config = DataPlaneConfig::default();
        Self::over(memory, partitions, None, (Auth::dev(), config))
    }

    pub(super) fn with(auth: Auth, config: DataPlaneConfig) -> Self {
        let memory = MemoryPartitions::new();
        let (partitions, door) = Door::open(&memory);
        Self::over(memory, partitions, Some(door), (auth, config))
    }

    fn over(
        memory: Arc<MemoryPartitions>,
        partitions: Arc<dyn Partitions>,
        door: Option<Door>,
        (auth, config): (Auth, DataPlaneConfig),
    ) -> Self {
        let tasks = Tasks::new();
        let config = DataPlaneConfig {
            producer_ids: Some(Arc::new(FixedIds)),
            ..config
        };
        let state = DataPlane::new(partitions, auth.clone(), tasks.clone(), config);
        Self {
            memory,
            tasks,
            auth,
            router: router(state.clone()),
            state,
            _door: door,
        }
    }

    /// The key of a partition of a topic that exists.
    pub(super) fn key(&self, topic: &str, partition: u32) -> ReplicaKey {
        let topology = Arc::clone(&self.memory.topology().borrow());
        let spec = topology
            .topics
            .iter()
            .find(|(name, _)| name.as_str() == topic);
        spec.expect("the test made this topic")
            .1
            .key(PartitionId(partition))
    }

    pub(super) async fn response(&self, request: Request<Body>) -> http::Response<Body> {
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("a router cannot fail")
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.response(request).await.into_parts();
        let body = body
            .collect()
            .await
            .expect("the answer is whole")
            .to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(super) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(
            Request::get(path)
                .header("accept", accept)
                .body(Body::empty())
                .unwrap(),
        )
        .await
    }

    pub(super) async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        self.send(post(path, kind, &[], body)).await
    }

    pub(super) async fn post_json(&self, path: &str, body: &str) -> Answer {
        self.post(path, "application/json", body.to_owned()).await
    }
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the answer is text")
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {:?}", self.body))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and problem code of a refusal.
    pub(super) fn refusal(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        (
            self.status.as_u16(),
            self.json()["code"].as_str().unwrap().to_owned(),
        )
    }
}

/// A POST with these headers beside its content type; an empty type sends none.
pub(super) fn post(
    path: &str,
    kind: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::post(path);
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}
