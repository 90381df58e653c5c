//! What gateways ask this node over the private port: appends, tails, questions.
//!
//! Three routes over the [`Partitions`] of the node, in the frames of `tidegate_proto::private`. Only
//! gateways and other storage units are let in. A stream ends in order when the node stops, or when it is
//! old. Nothing here knows how records are kept. docs/private-protocol.md describes what is said.
//! Invariant: what was taken from a stream is answered on it, as long as somebody reads the answers.

mod append;
mod ask;
mod tail;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tidegate_data_plane::partitions::Partitions;
use tidegate_kit::backoff::up_to_a_tenth_less;
use tidegate_kit::http::{ApiResult, not_supported};
use tidegate_kit::limits::CONNECTION_AGE_MAX;
use tidegate_kit::memory::Memory;
use tidegate_kit::outlet::{Feed, Outlet};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::node::NodeRole;
use tidegate_proto::private::replicate::LANE_HEADER;
use tidegate_proto::private::{
    APPEND_PATH, ASK_PATH, FRAMES_MEDIA_TYPE, Pieces, REPLICATE_PATH, TAIL_PATH, VERSION_HEADER,
    VERSIONS,
};
use tracing::info_span;

use crate::replication::Followers;
use append::AppendStream;
use tail::TailStream;

/// Who may come in.
const PEERS: [NodeRole; 2] = [NodeRole::Gateway, NodeRole::Spu];

/// What the private routes need.
#[derive(Clone)]
pub struct PrivateConfig {
    /// Where records are.
    pub partitions: Arc<dyn Partitions>,
    /// Who sends to other units what they follow here; none where there is one unit only.
    pub followers: Option<Followers>,
    /// What arrives is paid for out of its bodies.
    pub memory: Memory,
    /// Streams are tasks of it, and end in order when it is told to stop.
    pub tasks: Tasks,
}

impl fmt::Debug for PrivateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateConfig").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Doors {
    config: PrivateConfig,
    streams: Arc<AtomicU64>,
}

/// The routes for a listener whose clients are nodes of the cluster.
pub fn service(config: PrivateConfig) -> Router {
    let doors = Doors {
        config,
        streams: Arc::default(),
    };
    Router::new()
        .route(APPEND_PATH, post(append_stream))
        .route(TAIL_PATH, post(tail_stream))
        .route(ASK_PATH, post(ask_once))
        .route(REPLICATE_PATH, post(replicate_stream))
        .with_state(doors)
}

impl Doors {
    /// How long the next stream may live: no two end at once.
    fn age_max(&self) -> Duration {
        up_to_a_tenth_less(
            CONNECTION_AGE_MAX,
            self.streams.fetch_add(1, Ordering::Relaxed),
        )
    }
}

async fn append_stream(
    State(doors): State<Doors>,
    peer: PeerIdentity,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    peer.require(&PEERS)?;
    let version = agreed(&headers)?;
    let (outlet, answers) = Outlet::new(Pieces::default());
    let name = peer.0.name();
    let stream = AppendStream {
        partitions: Arc::clone(&doors.config.partitions),
        bodies: doors.config.memory.bodies.of(name.as_str()),
        outlet,
        stop: doors.config.tasks.token(),
        age_max: doors.age_max(),
    };
    let span = info_span!("appends", peer = %name);
    let tasks = &doors.config.tasks;
    tasks.spawn(TaskKind::Stream, span, stream.run(body));
    Ok(frames(version, answers))
}

async fn tail_stream(
    State(doors): State<Doors>,
    peer: PeerIdentity,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    peer.require(&PEERS)?;
    let version = agreed(&headers)?;
    let (outlet, events) = Outlet::new(Pieces::default());
    let stream = TailStream::new(Arc::clone(&doors.config.partitions), outlet);
    let (stop, age_max) = (doors.config.tasks.token(), doors.age_max());
    let span = info_span!("tails", peer = %peer.0.name());
    let tasks = &doors.config.tasks;
    tasks.spawn(TaskKind::Stream, span, stream.run(body, stop, age_max));
    Ok(frames(version, events))
}

/// Only storage units follow, and each for itself: who it is says its certificate.
async fn replicate_stream(
    State(doors): State<Doors>,
    peer: PeerIdentity,
    headers: HeaderMap,
    body: Body,
) -> ApiResult<Response> {
    let spu = peer.require_spu()?;
    let version = agreed(&headers)?;
    let lane = headers.get(LANE_HEADER);
    let lane = lane.and_then(|value| value.to_str().ok()?.parse().ok());
    let lane = lane.ok_or_else(|| not_supported(&format!("a stream without {LANE_HEADER}")))?;
    let followers = doors.config.followers.as_ref();
    let followers = followers.ok_or_else(|| not_supported("copies on other units"))?;
    let tasks = &doors.config.tasks;
    let events = followers.serve((spu, lane), body, doors.age_max(), tasks);
    Ok(frames(version, events))
}

async fn ask_once(
    State(doors): State<Doors>,
    peer: PeerIdentity,
    request: Request,
) -> ApiResult<Response> {
    peer.require(&PEERS)?;
    let version = agreed(request.headers())?;
    let answer = ask::answer(&*doors.config.partitions, request.into_body()).await?;
    Ok(frames(version, answer))
}

/// The version of frames that both sides speak.
fn agreed(headers: &HeaderMap) -> ApiResult<u16> {
    let offered = headers.get(VERSION_HEADER);
    let offered = offered.and_then(|value| value.to_str().ok()?.parse().ok());
    offered
        .and_then(|range| VERSIONS.common(range))
        .ok_or_else(|| {
            not_supported(&format!(
                "the frames that you speak ({VERSION_HEADER} names them; here it is {VERSIONS})"
            ))
        })
}

fn frames<B>(version: u16, body: B) -> Response
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(VERSION_HEADER, HeaderValue::from(version));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FRAMES_MEDIA_TYPE));
    response
}

/// Bytes that wait for a peer.
fn queued(outlet: &Outlet<Pieces>) -> usize {
    outlet.look(|pieces| pieces.len())
}

/// Pieces with something that is given back when the last of them is gone.
struct Holding<H> {
    pieces: Pieces,
    _held: H,
}

impl<H: Send + 'static> Feed for Holding<H> {
    fn next(&mut self) -> Option<bytes::Bytes> {
        self.pieces.take()
    }
}

#[cfg(test)]
mod tests;
