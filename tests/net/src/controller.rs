//! The controller's host: what storage units ask it over the network, answered by [`crate::control`].
//!
//! Every watch is told the whole state at each revision. Invariant: an answer is given after its commit.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use http_body::Frame;
use serde::Serialize;
use tidegate_kit::http::{ApiError, ApiResult};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{
    FailedRequest, Heartbeat, HeartbeatAnswer, IsrAnswer, IsrRequest, Register, Registered,
    SealRequest, WatchLine,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::{HEARTBEAT_MS, WATCH_ALIVE_MS};
use tidegate_sc_core::decision::{Outcome, Request};
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, timeout};
use tracing::{Span, info_span};

use crate::control::STORE;
use crate::identities::{cluster_id, tls};
use crate::options::CONTROLLER;
use crate::serving::serve;
use crate::shared::Shared;

const BEAT: Duration = Duration::from_millis(200);
/// Lines that wait for a watcher.
const LINES_MAX: usize = 4;

#[derive(Clone)]
struct Door {
    shared: Shared,
    revision: watch::Sender<u64>,
    tasks: Tasks,
}

/// One life of the controller.
pub(crate) async fn run(shared: Shared) -> turmoil::Result {
    let tls = tls(CONTROLLER, &shared.wires)?;
    let tasks = Tasks::new();
    shared.lock().control.begin(now_ms());
    let door = Door {
        shared: shared.clone(),
        revision: watch::Sender::new(shared.lock().control.model.revision),
        tasks: tasks.clone(),
    };
    let router = Router::new()
        .route("/internal/v1/register", post(register))
        .route("/internal/v1/heartbeat", post(heartbeat))
        .route("/internal/v1/isr", post(isr))
        .route("/internal/v1/seal", post(seal))
        .route("/internal/v1/failed", post(failed))
        .route("/internal/v1/watch", get(watch_topology))
        .with_state(door.clone());
    let serving = serve(router, tls, shared.wires.clone(), tasks.clone());
    tasks.spawn(TaskKind::Request, info_span!("serve"), serving);
    let mut beats = interval(BEAT);
    loop {
        beats.tick().await;
        {
            let mut inside = shared.lock();
            inside.control.make_topic(&shared.options);
            inside.control.tick(now_ms());
        }
        door.tell();
    }
}

/// Since the run began: hosts begin anew, their time does not.
fn now_ms() -> u64 {
    let elapsed = turmoil::sim_elapsed().unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

impl Door {
    fn tell(&self) {
        let revision = self.shared.lock().control.model.revision;
        self.revision.send_if_modified(|told| {
            let is_news = *told != revision;
            *told = revision;
            is_news
        });
    }

    fn change(&self, request: &Request) -> ApiResult<Outcome> {
        let decided = self.shared.lock().control.change(request);
        self.tell();
        decided.map_err(ApiError)
    }
}

fn other(outcome: &Outcome) -> ApiError {
    ApiError(Problem::new(ErrorCode::Internal, format!("{outcome:?}")))
}

async fn register(
    State(door): State<Door>,
    peer: PeerIdentity,
    Json(report): Json<Register>,
) -> ApiResult<Json<Registered>> {
    peer.require_to_be_spu(report.spu_id)?;
    match door.change(&Request::Register(report))? {
        Outcome::Registered(incarnation) => Ok(Json(Registered {
            cluster_id: cluster_id(),
            incarnation,
        })),
        outcome => Err(other(&outcome)),
    }
}

async fn heartbeat(
    State(door): State<Door>,
    peer: PeerIdentity,
    Json(beat): Json<Heartbeat>,
) -> ApiResult<Json<HeartbeatAnswer>> {
    peer.require_to_be_spu(beat.spu_id)?;
    let mut inside = door.shared.lock();
    let control = &mut inside.control;
    let standing = control.hear(beat.spu_id, beat.incarnation, beat.run_id, now_ms());
    Ok(Json(HeartbeatAnswer {
        standing,
        revision: control.model.revision,
        interval_ms: HEARTBEAT_MS,
        is_stale: false,
        tell_all: false,
    }))
}

async fn isr(
    State(door): State<Door>,
    peer: PeerIdentity,
    Json(request): Json<IsrRequest>,
) -> ApiResult<Json<IsrAnswer>> {
    peer.require_to_be_spu(request.spu_id)?;
    let request = Request::ChangeIsr {
        leader: request.spu_id,
        incarnation: request.incarnation,
        proposals: request.proposals,
    };
    match door.change(&request)? {
        Outcome::Isr(outcomes) => Ok(Json(IsrAnswer { outcomes })),
        outcome => Err(other(&outcome)),
    }
}

async fn seal(
    State(door): State<Door>,
    peer: PeerIdentity,
    Json(request): Json<SealRequest>,
) -> ApiResult<StatusCode> {
    peer.require_spu()?;
    door.change(&Request::SealAnswers(request.answers))?;
    Ok(StatusCode::NO_CONTENT)
}

async fn failed(
    State(door): State<Door>,
    peer: PeerIdentity,
    Json(request): Json<FailedRequest>,
) -> ApiResult<StatusCode> {
    peer.require_to_be_spu(request.spu_id)?;
    door.change(&Request::Failed {
        spu: request.spu_id,
        incarnation: request.incarnation,
        replicas: request.replicas,
    })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn watch_topology(State(door): State<Door>) -> Response {
    let (lines, body) = mpsc::channel(LINES_MAX);
    let (shared, mut revision) = (door.shared.clone(), door.revision.subscribe());
    let telling = async move {
        let mut told = None;
        loop {
            let now = *revision.borrow_and_update();
            let text = if told == Some(now) {
                let stale_ms = None;
                line(&WatchLine::Alive {
                    revision: now,
                    stale_ms,
                })
            } else {
                whole(&shared, &mut told)
            };
            if lines.send(text).await.is_err() {
                return;
            }
            let alive = Duration::from_millis(WATCH_ALIVE_MS);
            let _ = timeout(alive, revision.changed()).await;
        }
    };
    door.tasks
        .spawn(TaskKind::Request, Span::current(), telling);
    Response::new(Body::new(Lines(body)))
}

fn whole(shared: &Shared, told: &mut Option<u64>) -> Bytes {
    let inside = shared.lock();
    let model = &inside.control.model;
    *told = Some(model.revision);
    let reset = line(&WatchLine::Reset {
        cluster_id: cluster_id(),
        store_id: STORE,
    });
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&model.revision.to_be_bytes());
    let changes = line(&WatchLine::Changes {
        revision: model.revision,
        changes: model.topology_changes().collect(),
        hash: Some(ChainHash(hash)),
    });
    [reset, changes].concat().into()
}

fn line(line: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// A body of what is sent.
struct Lines(mpsc::Receiver<Bytes>);

impl http_body::Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.get_mut().0.poll_recv(cx);
        next.map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
