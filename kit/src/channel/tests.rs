//! Channels to listeners that answer, stop, close, refuse and are not there.

use std::net::{SocketAddr, TcpListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, Empty, Full};
use tidegate_proto::id::{ClusterId, SpuId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;

use super::*;
use crate::clock;
use crate::peer::PeerIdentity;
use crate::serve::{ServeConfig, ServeLimits, serve};
use crate::tls::{ClientAuth, ClusterAuthority};

// Long enough for a loaded machine, never reached when things work.
const PATIENCE: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

struct Cluster {
    authority: ClusterAuthority,
    tasks: Tasks,
}

impl Cluster {
    fn new() -> Self {
        let cluster_id = ClusterId::from_bytes([1; 16]);
        Self {
            authority: ClusterAuthority::make(cluster_id, clock::now_s()).unwrap(),
            tasks: Tasks::new(),
        }
    }

    fn spu(&self, number: u32) -> NodeTls {
        let identity = NodeIdentity::spu(self.authority.cluster_id(), SpuId(number));
        self.node(&identity)
    }

    fn node(&self, identity: &NodeIdentity) -> NodeTls {
        let issued = self.authority.issue(identity, clock::now_s(), HOUR);
        NodeTls::new(&issued.unwrap()).unwrap()
    }

    fn gateway(&self) -> NodeTls {
        let name = NodeName::parse("a").unwrap();
        let cluster_id = self.authority.cluster_id();
        self.node(&NodeIdentity::new(cluster_id, NodeRole::Gateway, name).unwrap())
    }

    fn listen(&self, number: u32, router: Router, limits: ServeLimits) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tls = self.spu(number).server_config(ClientAuth::Required);
        let tasks = self.tasks.child();
        let address = serve(ServeConfig {
            listener,
            front: router.into(),
            tls: Some(tls.unwrap()),
            tasks: tasks.clone(),
            limits,
        });
        Server {
            address: address.unwrap(),
            tasks,
        }
    }

    fn serve(&self, number: u32) -> Server {
        self.listen(number, echo(number), ServeLimits::default())
    }

    fn channel(&self, endpoints: &[SocketAddr]) -> Channel {
        self.channel_as(self.gateway(), endpoints)
    }

    fn channel_as(&self, tls: NodeTls, endpoints: &[SocketAddr]) -> Channel {
        Channel::new(&ChannelConfig {
            endpoints: endpoints.iter().map(ToString::to_string).collect(),
            tls,
            expect: Expect::Role(NodeRole::Spu),
            tasks: self.tasks.clone(),
        })
        .unwrap()
    }
}

struct Server {
    address: SocketAddr,
    tasks: Tasks,
}

// An address at which nobody listens.
fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn echo(number: u32) -> Router {
    let who = move |peer: PeerIdentity| async move { format!("{number} to {}", peer.0.name()) };
    let back = |body: Bytes| async move { body };
    Router::new()
        .route("/who", get(who))
        .route("/echo", post(back))
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

async fn ask(channel: &Channel, path: &str) -> Result<String, ChannelError> {
    let answered = timeout(PATIENCE, channel.send(request(path)))
        .await
        .unwrap();
    let body = answered?.into_body().collect().await.unwrap().to_bytes();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

// Until the channel answers again: what fails on the way must say that nothing was sent.
async fn ask_until_answered(channel: &Channel, path: &str) -> String {
    let asked = async {
        loop {
            match channel.send(request(path)).await {
                Ok(answer) => return answer.into_body().collect().await.unwrap().to_bytes(),
                Err(error) => assert!(error.is_unsent(), "{error}"),
            }
            tokio::task::yield_now().await;
        }
    };
    let body = timeout(PATIENCE, asked).await.unwrap();
    String::from_utf8(body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_request_goes_out_and_its_answer_comes_back() {
    let cluster = Cluster::new();
    let server = cluster.serve(3);
    let channel = cluster.channel(&[server.address]);
    assert_eq!(ask(&channel, "/who").await.unwrap(), "3 to a");
    assert_eq!(channel.endpoint(), Some(server.address.to_string()));
    let large = Bytes::from(vec![7; 3_000_000]);
    let sent = Request::post("https://ignored.example/echo?x=1");
    let sent = sent.body(Full::new(large.clone())).unwrap();
    let answer = channel.send(sent).await.unwrap();
    assert_eq!(answer.status(), 413, "beyond what the handler takes");
    let sent = Request::post("/echo").body(Full::new(large.slice(..1_000_000)));
    let answer = channel.send(sent.unwrap()).await.unwrap();
    drop(channel);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), 1_000_000, "the answer outlives the handle");
}

#[tokio::test]
async fn when_nobody_answers_it_fails_at_once_and_says_that_nothing_was_sent() {
    let cluster = Cluster::new();
    let channel = cluster.channel(&[nowhere(), nowhere()]);
    for _ in 0..3 {
        let error = ask(&channel, "/who").await.unwrap_err();
        assert!(error.is_unsent(), "{error}");
        assert!(error.to_string().contains("cannot be reached"), "{error}");
        let problem = Problem::from(error);
        assert_eq!(problem.code(), ErrorCode::Unavailable);
        assert!(!problem.to_string().contains("127.0.0.1"));
    }
}

#[tokio::test]
async fn a_node_that_refuses_us_or_is_another_has_got_nothing() {
    let cluster = Cluster::new();
    let server = cluster.serve(3);
    // Of an authority that the server does not know: the client alone is content.
    let impostor = Cluster::new();
    let identity = impostor.gateway().identity().clone();
    let mut credentials = impostor
        .authority
        .issue(&identity, clock::now_s(), HOUR)
        .unwrap();
    credentials.authorities_pem = cluster.authority.trusted_pem().to_owned();
    let channel = cluster.channel_as(NodeTls::new(&credentials).unwrap(), &[server.address]);
    let error = ask(&channel, "/who").await.unwrap_err();
    assert!(error.is_unsent(), "{error}");
    let channel = Channel::new(&ChannelConfig {
        endpoints: vec![server.address.to_string()],
        tls: cluster.gateway(),
        expect: Expect::spu(SpuId(4)),
        tasks: cluster.tasks.clone(),
    });
    let error = ask(&channel.unwrap(), "/who").await.unwrap_err();
    assert!(
        error.is_unsent() && error.to_string().contains("spu/spu-4 was expected"),
        "{error}"
    );
}

#[tokio::test]
async fn endpoints_stand_for_one_another() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.serve(1), cluster.serve(2));
    let channel = cluster.channel(&[nowhere(), first.address, second.address]);
    assert_eq!(ask(&channel, "/who").await.unwrap(), "1 to a");
    assert!(first.tasks.shutdown(PATIENCE).await);
    assert_eq!(ask_until_answered(&channel, "/who").await, "2 to a");
    assert!(second.tasks.shutdown(PATIENCE).await);
    let error = ask(&channel, "/who").await.unwrap_err();
    assert!(error.is_unsent(), "{error}");
}

#[tokio::test]
async fn another_endpoint_can_be_asked_for() {
    let cluster = Cluster::new();
    let (first, second) = (cluster.serve(1), cluster.serve(2));
    let channel = cluster.channel(&[first.address, second.address]);
    assert_eq!(ask(&channel, "/who").await.unwrap(), "1 to a");
    channel.try_another();
    assert_eq!(ask_until_answered(&channel, "/who").await, "2 to a");
    channel.try_another();
    assert_eq!(ask_until_answered(&channel, "/who").await, "1 to a");
}

#[tokio::test]
async fn a_request_that_was_under_way_when_its_server_died_is_lost() {
    let cluster = Cluster::new();
    let started = Arc::new(Notify::new());
    let told = Arc::clone(&started);
    let endless = move || async move {
        told.notify_one();
        std::future::pending::<()>().await;
    };
    let limits = ServeLimits {
        drain_timeout: Duration::from_millis(50),
        ..ServeLimits::default()
    };
    let server = cluster.listen(1, Router::new().route("/", get(endless)), limits);
    let channel = cluster.channel(&[server.address]);
    let asked = ask(&channel, "/");
    let died = async {
        started.notified().await;
        server.tasks.shutdown(PATIENCE).await;
    };
    let (answered, ()) = tokio::join!(asked, died);
    let error = answered.unwrap_err();
    assert!(!error.is_unsent(), "{error}");
    assert_eq!(Problem::from(error).code(), ErrorCode::OutcomeUnknown);
}

#[tokio::test]
async fn connections_that_grow_old_are_replaced_without_anybody_noticing() {
    let cluster = Cluster::new();
    let limits = ServeLimits {
        stranger_age_max: Duration::from_millis(300),
        first_request_timeout: Duration::from_millis(100),
        connection_age_max: Duration::from_millis(1200),
        ..ServeLimits::default()
    };
    let server = cluster.listen(1, echo(1), limits);
    let channel = cluster.channel(&[server.address]);
    let asked = async {
        while channel.shared.state.borrow().number() < Some(3) {
            assert_eq!(ask(&channel, "/who").await.unwrap(), "1 to a");
        }
    };
    timeout(PATIENCE, asked).await.unwrap();
}

#[tokio::test]
async fn more_requests_than_a_connection_takes_wait_for_room() {
    let cluster = Cluster::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let full = Arc::new(Notify::new());
    let (seen, highest, gate) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&full));
    let handler = move || async move {
        let count = seen.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(count, Ordering::SeqCst);
        if count == CHANNEL_STREAMS_MAX {
            gate.notify_waiters();
        } else if highest.load(Ordering::SeqCst) < CHANNEL_STREAMS_MAX {
            gate.notified().await;
        }
        seen.fetch_sub(1, Ordering::SeqCst);
    };
    let router = Router::new().route("/", get(handler));
    let server = cluster.listen(1, router, ServeLimits::default());
    let channel = cluster.channel(&[server.address]);
    let all = (0..CHANNEL_STREAMS_MAX + 100).map(|_| ask(&channel, "/"));
    let answers = futures_util::future::join_all(all);
    let answers = timeout(PATIENCE, answers).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::SeqCst), CHANNEL_STREAMS_MAX);
}

#[tokio::test]
async fn a_request_that_nobody_waits_for_is_taken_back() {
    struct Dropped(Option<oneshot::Sender<()>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }
    let cluster = Cluster::new();
    let (tx, dropped) = oneshot::channel();
    let guard = Arc::new(Mutex::new(Some(Dropped(Some(tx)))));
    let started = Arc::new(Notify::new());
    let told = Arc::clone(&started);
    let endless = move || async move {
        let _held = guard.lock().unwrap().take();
        told.notify_one();
        std::future::pending::<()>().await;
    };
    let server = cluster.listen(
        1,
        Router::new().route("/", get(endless)),
        ServeLimits::default(),
    );
    let channel = cluster.channel(&[server.address]);
    tokio::select! {
        _ = channel.send(request("/")) => panic!("there is no answer"),
        () = started.notified() => {}
    }
    timeout(PATIENCE, dropped).await.unwrap().unwrap();
}

#[test]
fn endpoints_are_hosts_with_ports() {
    for good in [
        "a:1",
        "https://a.example:7443",
        "https://a:1/",
        "[::1]:1",
        "10.0.0.1:65535",
    ] {
        assert!(parse_endpoint(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "a:",
        "a:b",
        "http://a:1",
        "https://a:1/x",
        "u@a:1",
        "a:65536",
        "a b:1",
    ] {
        assert!(parse_endpoint(bad).is_err(), "{bad}");
    }
}
