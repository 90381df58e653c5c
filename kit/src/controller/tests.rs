//! A controller that tells what it is told to, over real connections, and who follows it.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{Seen, Topology, WatchLine};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{ClusterId, StoreId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tokio::time::timeout;

use super::lines::Lines;
use super::*;
use crate::channel::{Channel, ChannelConfig};
use crate::clock;
use crate::http::ApiError;
use crate::serve::{ServeConfig, ServeLimits, serve};
use crate::tasks::Tasks;
use crate::tls::{ClientAuth, ClusterAuthority, Expect, NodeTls};

// Long enough for a loaded machine, never reached when things work.
const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

fn reset() -> WatchLine {
    WatchLine::Reset {
        cluster_id: ClusterId::from_bytes([1; 16]),
        store_id: StoreId::from_bytes([2; 16]),
    }
}

fn changes(revision: u64) -> WatchLine {
    WatchLine::Changes {
        revision,
        changes: Vec::new(),
        hash: Some(ChainHash([7; 32])),
    }
}

fn text(lines: &[WatchLine]) -> String {
    let lines = lines
        .iter()
        .map(|line| serde_json::to_string(line).unwrap() + "\n");
    lines.collect()
}

/// What the controller answers, one after the other, and what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

enum Answer {
    Stream(String),
    Refusal(ErrorCode),
}

async fn watch(State(script): State<Script>, RawQuery(query): RawQuery) -> Response {
    script.asked.lock().unwrap().push(query.unwrap_or_default());
    let next = script.answers.lock().unwrap().pop_front();
    match next {
        Some(Answer::Stream(text)) => Body::from(text).into_response(),
        Some(Answer::Refusal(code)) => ApiError::new(code, "as told").into_response(),
        None => Body::from_stream(futures_util::stream::pending::<Result<String, ApiError>>())
            .into_response(),
    }
}

/// A client of a controller that follows the script.
fn client(script: Script, tasks: &Tasks) -> ControllerClient {
    let cluster_id = ClusterId::from_bytes([1; 16]);
    let authority = ClusterAuthority::make(cluster_id, clock::now_s()).unwrap();
    let node = |role, name| {
        let identity = NodeIdentity::new(cluster_id, role, NodeName::parse(name).unwrap());
        let issued = authority.issue(&identity.unwrap(), clock::now_s(), HOUR);
        NodeTls::new(&issued.unwrap()).unwrap()
    };
    let ids = || async { axum::Json(serde_json::json!({ "first": 3000, "count": 1000 })) };
    let no = || async { ApiError::new(ErrorCode::Forbidden, "not you") };
    let router = Router::new()
        .route("/internal/v1/watch", get(watch))
        .route("/internal/v1/producer-ids", post(ids))
        .route("/internal/v1/deleted-topics", post(no))
        .with_state(script);
    let tls = node(NodeRole::Sc, "sc-1").server_config(ClientAuth::Required);
    let address = serve(ServeConfig {
        listener: TcpListener::bind("127.0.0.1:0").unwrap(),
        front: router.into(),
        tls: Some(tls.unwrap()),
        tasks: tasks.clone(),
        limits: ServeLimits::default(),
    });
    let channel = Channel::new(&ChannelConfig {
        endpoints: vec![address.unwrap().to_string()],
        tls: node(NodeRole::Gateway, "g"),
        expect: Expect::Role(NodeRole::Sc),
        tasks: tasks.clone(),
    });
    ControllerClient::new(channel.unwrap())
}

/// How a follower asks from there.
fn place(name: &str, revision: u64) -> String {
    let (hash, store) = ("07".repeat(32), StoreId::from_bytes([2; 16]));
    format!("{name}={revision}&hash={hash}&store={store}")
}

async fn until(followed: &mut Followed, revision: u64) {
    let there = followed
        .topology
        .wait_for(|topology| topology.revision == revision);
    timeout(PATIENCE, there).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_follower_goes_on_where_it_was_and_begins_anew_when_that_is_forgotten() {
    let script = Script::default();
    script.answers.lock().unwrap().extend([
        Answer::Stream(text(&[reset(), changes(4), changes(5)])),
        Answer::Stream(text(&[changes(6)])),
        Answer::Refusal(ErrorCode::Compacted),
        Answer::Stream(text(&[reset(), changes(40)])),
    ]);
    let tasks = Tasks::new();
    let known = Known {
        topology: Arc::new(Topology {
            revision: 1,
            ..Topology::default()
        }),
        seen: None,
    };
    let mut followed = follow(client(script.clone(), &tasks), known, &tasks);
    until(&mut followed, 40).await;
    let seen = followed.seen.borrow().unwrap();
    assert_eq!((seen.revision, seen.hash), (40, ChainHash([7; 32])));
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(
        asked[..4],
        [
            String::new(),
            place("after", 5),
            place("after", 6),
            place("seen", 6)
        ]
    );
    tasks.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn what_was_seen_before_a_restart_is_told_first_and_nothing_older_is_shown() {
    let script = Script::default();
    script.answers.lock().unwrap().extend([
        Answer::Refusal(ErrorCode::MetadataForked),
        Answer::Stream(text(&[reset(), changes(4)])),
        Answer::Stream(text(&[reset(), changes(9), changes(10)])),
    ]);
    let tasks = Tasks::new();
    let client = client(script.clone(), &tasks);
    let known = Known {
        topology: Arc::default(),
        seen: Some(Seen {
            store_id: StoreId::from_bytes([2; 16]),
            revision: 9,
            hash: ChainHash([7; 32]),
        }),
    };
    let mut followed = follow(client, known, &tasks);
    let shown = followed.topology.wait_for(|topology| {
        assert_ne!(topology.revision, 4);
        topology.revision == 10
    });
    timeout(PATIENCE, shown).await.unwrap().unwrap();
    let asked = script.asked.lock().unwrap().clone();
    assert_eq!(
        asked[..3],
        [place("seen", 9), place("seen", 9), place("seen", 9)]
    );
    tasks.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn a_revision_that_does_not_follow_is_never_shown_and_leads_to_a_snapshot() {
    let script = Script::default();
    script.answers.lock().unwrap().extend([
        Answer::Stream(text(&[reset(), changes(4)])),
        Answer::Stream(text(&[changes(9)])),
        Answer::Stream(text(&[reset(), changes(10)])),
    ]);
    let tasks = Tasks::new();
    let client = client(script.clone(), &tasks);
    let mut followed = follow(client, Known::default(), &tasks);
    let not_shown = followed.topology.wait_for(|topology| {
        assert_ne!(topology.revision, 9);
        topology.revision == 10
    });
    timeout(PATIENCE, not_shown).await.unwrap().unwrap();
    assert_eq!(script.asked.lock().unwrap()[2], place("seen", 4));
    tasks.shutdown(PATIENCE).await;
}

#[tokio::test]
async fn questions_are_answered_or_refused_in_the_words_of_the_controller() {
    let tasks = Tasks::new();
    let client = client(Script::default(), &tasks);
    assert_eq!(client.lease_producer_ids().await.unwrap(), 3000..4000);
    let refused = client.deleted_topics(Vec::new()).await.unwrap_err();
    assert!(!refused.is_passing(), "{refused}");
    assert_eq!(Problem::from(refused).code(), ErrorCode::Forbidden);
    tasks.shutdown(PATIENCE).await;
    let gone = client.lease_producer_ids().await.unwrap_err();
    assert!(gone.is_passing(), "{gone}");
    assert_eq!(Problem::from(gone).code(), ErrorCode::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn lines_are_read_however_they_were_cut_and_silence_has_an_end() {
    let whole = text(&[reset(), changes(1)]) + "\n";
    for cut in [1, 7, whole.len()] {
        let pieces = whole.as_bytes().chunks(cut).map(<[u8]>::to_vec);
        let pieces: Vec<Result<Vec<u8>, std::io::Error>> = pieces.map(Ok).collect();
        let mut lines = Lines::new(Body::from_stream(futures_util::stream::iter(pieces)));
        assert_eq!(lines.next(PATIENCE).await.unwrap(), Some(reset()));
        assert_eq!(lines.next(PATIENCE).await.unwrap(), Some(changes(1)));
        assert_eq!(lines.next(PATIENCE).await.unwrap(), None);
    }
    let mut garbage = Lines::new(Body::from("{}\n"));
    assert!(garbage.next(PATIENCE).await.is_err());
    let endless = "x".repeat(crate::limits::WATCH_LINE_BYTES_MAX + 1);
    assert!(
        Lines::new(Body::from(endless))
            .next(PATIENCE)
            .await
            .is_err()
    );
    let silent = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let mut silent = Lines::new(Body::from_stream(silent));
    assert!(silent.next(PATIENCE).await.unwrap_err().contains("20 s"));
}
