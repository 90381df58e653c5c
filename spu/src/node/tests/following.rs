//! A follower as a leader meets it that the test plays: real logs, machines, certificates and HTTP/2, frames
//! by hand.

mod shortened;
mod strangers;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::HeaderMap;
use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::controller::ControllerClient;
use tidegate_kit::frames::{Arrived, FrameReader, Keep};
use tidegate_kit::outlet::Outlet;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tls::{ClientAuth, ClusterAuthority, Expect, NodeTls};
use tidegate_proto::batch::Placement;
use tidegate_proto::control::{Audience, Endpoint, SpuSpec, SpuStanding};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_proto::position::LogPosition;
use tidegate_proto::private::replicate::{
    ACKS, ATTACH, Acked, EndReason, Event, LANE_HEADER, Lane, SnapshotPiece, Wish, decode_acks,
    encode_push,
};
use tidegate_proto::private::{FRAMES_MEDIA_TYPE, Pieces, REPLICATE_PATH, VERSION_HEADER};
use tokio::sync::mpsc;

use super::*;
use crate::replication::Membership;

const LEADER: SpuId = SpuId(2);

/// A cluster's authority.
struct Authority {
    id: ClusterId,
    it: ClusterAuthority,
}

impl Authority {
    fn new() -> Self {
        let id = ClusterId(Uuid::new_v4());
        let it = ClusterAuthority::make(id, clock::now_s()).unwrap();
        Self { id, it }
    }

    fn node(&self, role: NodeRole, name: &str) -> NodeTls {
        let name = NodeName::parse(name).unwrap();
        let identity = NodeIdentity::new(self.id, role, name).unwrap();
        let issued = self.it.issue(&identity, clock::now_s(), LONG * 100);
        NodeTls::new(&issued.unwrap()).unwrap()
    }

    fn unit(&self, spu: SpuId) -> NodeTls {
        self.node(NodeRole::Spu, &format!("spu-{spu}"))
    }

    /// What a unit is told of the others; of its controllers none answers.
    fn membership(&self, spu: SpuId, tasks: &Tasks) -> Membership {
        let channel = ChannelConfig {
            endpoints: vec!["https://127.0.0.1:9".to_owned()],
            tls: self.unit(spu),
            expect: Expect::Role(NodeRole::Sc),
            tasks: tasks.child(),
        };
        Membership {
            tls: self.unit(spu),
            client: ControllerClient::new(Channel::new(&channel).unwrap()),
        }
    }
}

fn listen(tls: &NodeTls, routes: Router, tasks: &Tasks) -> SpuSpec {
    let config = ServeConfig {
        listener: std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        front: routes.into(),
        tls: Some(tls.server_config(ClientAuth::Required).unwrap()),
        tasks: tasks.child(),
        limits: ServeLimits::between_nodes(),
    };
    let port = serve(config).unwrap().port();
    SpuSpec {
        endpoints: vec![Endpoint {
            audience: Audience::Peers,
            url: format!("https://127.0.0.1:{port}"),
        }],
        rack: None,
        site: None,
        standing: SpuStanding::Active,
        incarnation: Incarnation(1),
    }
}

/// A stream that a follower opened.
struct Stream {
    lane: Lane,
    hears: FrameReader<Body>,
    says: Outlet<Pieces>,
}

async fn take_stream(
    State(opened): State<mpsc::Sender<Stream>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let lane = headers[LANE_HEADER].to_str().unwrap().parse().unwrap();
    let (says, answer) = Outlet::new(Pieces::default());
    let stream = Stream {
        lane,
        hears: FrameReader::new(body),
        says,
    };
    opened.send(stream).await.unwrap();
    Response::builder()
        .header(VERSION_HEADER, "1")
        .header("content-type", FRAMES_MEDIA_TYPE)
        .body(Body::new(answer))
        .unwrap()
}

/// A follower, and a leader that the test plays.
struct Followed {
    site: Site,
    life: Life,
    key: ReplicaKey,
    streams: mpsc::Receiver<Stream>,
    tasks: Tasks,
}

impl Followed {
    fn new() -> Self {
        Self::on(Site::new())
    }

    fn on(site: Site) -> Self {
        Self::with(site, |_| {})
    }

    fn with(mut site: Site, change: impl FnOnce(&mut TopicConfig)) -> Self {
        let (authority, tasks) = (Authority::new(), Tasks::new());
        let (opened, streams) = mpsc::channel(16);
        let routes = Router::new()
            .route(REPLICATE_PATH, post(take_stream))
            .with_state(opened);
        let leader = listen(&authority.unit(LEADER), routes, &tasks);
        let node = Arc::new(site.open().unwrap());
        node.join(authority.membership(OWN, &tasks));
        let life = site.begin(node);
        site.topology.send_modify(|topology| {
            Arc::make_mut(topology).spus.insert(LEADER, leader);
        });
        let mut config = TopicConfig::default();
        change(&mut config);
        let key = site.create_followed("flights", config);
        Self {
            site,
            life,
            key,
            streams,
            tasks,
        }
    }

    /// The next stream of that lane.
    async fn stream(&mut self, lane: Lane) -> Stream {
        loop {
            let stream = timeout(LONG, self.streams.recv()).await.unwrap().unwrap();
            if stream.lane == lane {
                return stream;
            }
        }
    }

    fn status(&self) -> tidegate_proto::control::PartitionStatus {
        self.life
            .node
            .directory
            .get(self.key)
            .unwrap()
            .reader
            .status()
    }

    /// All that the copy holds, committed or not.
    fn holds(&self) -> Vec<String> {
        let replica = self.life.node.log.replica(self.key).unwrap();
        let start = LogPosition {
            end: replica.log_start(),
            last_epoch: None,
        };
        values(&replica.read_after(start, 1 << 20).unwrap())
    }

    /// Waits until the copy knows that so much is committed.
    async fn until_committed(&self, high_watermark: u64) {
        let reached = async {
            while self.status().high_watermark.get() < high_watermark {
                tokio::task::yield_now().await;
            }
        };
        timeout(LONG, reached).await.unwrap();
    }

    async fn stop(self) {
        // The leader's streams are open: nobody waits for its tasks.
        self.life.stop().await;
        drop(self.tasks);
    }
}

impl Site {
    /// A partition that is led elsewhere and has a copy here.
    fn create_followed(&self, name: &str, config: TopicConfig) -> ReplicaKey {
        let name = TopicName::parse(name).unwrap();
        let mut row = row(PartitionId(0), 1, ReplicaGen(Uuid::new_v4()));
        row.leader = Some(LEADER);
        row.isr[0].spu = LEADER;
        row.replicas.push(ReplicaSpec {
            spu: LEADER,
            replica_gen: ReplicaGen(Uuid::new_v4()),
        });
        let spec = TopicSpec {
            id: TopicId(Uuid::new_v4()),
            name: name.clone(),
            version: 1,
            replication_factor: 2,
            min_in_sync: 1,
            config,
            partitions: vec![row],
        };
        let key = spec.key(PartitionId(0));
        self.change(|topics| {
            topics.insert(name, Arc::new(spec));
        });
        key
    }

    fn next_epoch(&self, name: &str) {
        let name = TopicName::parse(name).unwrap();
        self.change(|topics| {
            let row = &mut Arc::make_mut(topics.get_mut(&name).unwrap()).partitions[0];
            row.version += 1;
            row.leader_epoch = LeaderEpoch(row.leader_epoch.0 + 1);
        });
    }
}

/// What an attach said that came.
#[derive(Clone, Copy, Debug)]
struct Asked {
    handle: u32,
    epoch: LeaderEpoch,
    end: u64,
    log_start: u64,
    is_whole: bool,
    is_intact: bool,
}

impl Stream {
    async fn frame(&mut self) -> Option<Arrived> {
        let next = self.hears.next(|_| Ok(Keep::Shared));
        timeout(LONG, next).await.unwrap().ok().flatten()
    }

    async fn asked(&mut self) -> Asked {
        loop {
            let arrived = self.frame().await.expect("the stream goes on");
            if arrived.kind != ATTACH {
                continue;
            }
            if let Wish::Attach {
                handle,
                leader_epoch,
                position,
                log_start,
                is_whole,
                is_intact,
                ..
            } = Wish::decode(arrived.kind, &arrived.payload).unwrap()
            {
                return Asked {
                    handle,
                    epoch: leader_epoch,
                    end: position.end.get(),
                    log_start: log_start.get(),
                    is_whole,
                    is_intact,
                };
            }
        }
    }

    /// The next acknowledgement under that handle.
    async fn acked(&mut self, handle: u32, is_it: impl Fn(&Acked) -> bool) -> Acked {
        loop {
            let arrived = self.frame().await.expect("the stream goes on");
            if arrived.kind != ACKS {
                continue;
            }
            let acks = decode_acks(&arrived.payload).unwrap();
            let mut wanted = acks.iter().filter(|acked| acked.handle == handle);
            if let Some(acked) = wanted.find(|acked| is_it(acked)) {
                return *acked;
            }
        }
    }

    fn say(&self, event: Event) {
        self.says.with(|pieces| event.encode(pieces));
    }

    fn attached(&self, asked: Asked, ships_snapshot: bool) {
        self.say(Event::Attached {
            handle: asked.handle,
            leader_epoch: asked.epoch,
            from: Offset::new(asked.end),
            high_watermark: Offset::new(asked.log_start),
            log_start: Offset::new(asked.log_start),
            ships_snapshot,
        });
    }

    fn push(&self, handle: u32, high_watermark: u64, batches: &[Batch]) {
        let bounds = (Offset::new(high_watermark), Offset::ZERO);
        self.says.with(|pieces| {
            encode_push(handle, bounds, batches, pieces);
        });
    }

    /// Attaches the follower, and gives it a batch for each of these values, in the epoch it asked in.
    async fn fill(&mut self, key: ReplicaKey, values: &[&str]) -> Asked {
        let asked = self.asked().await;
        self.attached(asked, false);
        let placed = (asked.end..)
            .zip(values)
            .map(|(base, value)| stored(key, base, asked.epoch, value));
        self.push(asked.handle, 0, &placed.collect::<Vec<_>>());
        let end = asked.end + values.len() as u64;
        self.acked(asked.handle, |acked| acked.position.end.get() == end)
            .await;
        asked
    }
}

fn stored(key: ReplicaKey, base: u64, leader_epoch: LeaderEpoch, value: &str) -> Batch {
    Batch {
        placement: Placement {
            key,
            base_offset: Offset::new(base),
            leader_epoch,
            high_watermark: Offset::ZERO,
            append_time_ms: 1_000 + i64::try_from(base).unwrap(),
            append_timestamps: false,
        },
        client: batch(&[value], None),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_is_acknowledged_in_the_attach_that_it_came_in() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    let asked = stream.fill(followed.key, &["a", "b"]).await;
    assert_eq!((asked.end, asked.epoch), (0, LeaderEpoch(1)));
    assert!(asked.is_whole && asked.is_intact);
    // What another handle is sent is nobody's.
    stream.push(
        asked.handle + 1,
        0,
        &[stored(followed.key, 2, LeaderEpoch(1), "x")],
    );
    stream.push(
        asked.handle,
        2,
        &[stored(followed.key, 2, LeaderEpoch(1), "c")],
    );
    let acked = stream
        .acked(asked.handle, |acked| acked.position.end.get() == 3)
        .await;
    let last_epoch = Some(LeaderEpoch(1));
    assert_eq!(acked.position.last_epoch, last_epoch);
    followed.until_committed(2).await;
    assert_eq!(followed.holds(), ["a", "b", "c"]);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_says_when_the_leader_appended_and_not_when_something_was_heard() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    let asked = stream.fill(followed.key, &["a", "b"]).await;
    assert_eq!(followed.status().last_append_ms, Some(1_001));
    let (handle, bounds) = (asked.handle, Offset::new(2));
    stream.say(Event::Moved {
        handle,
        high_watermark: bounds,
        log_start: Offset::ZERO,
    });
    followed.until_committed(2).await;
    assert_eq!(followed.status().last_append_ms, Some(1_001));
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_inside_a_frame_is_opened_anew_and_goes_on_where_the_log_ends() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    stream.fill(followed.key, &["a", "b"]).await;
    stream
        .says
        .with(|pieces| pieces.put(&[99, 0, 0, 0, 57, 1, 2, 3]));
    stream.says.end();
    let mut again = followed.stream(Lane::Tail).await;
    let asked = again.fill(followed.key, &["c"]).await;
    assert_eq!(asked.end, 2);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_that_it_is_behind_attaches_on_the_other_stream_and_back() {
    let mut followed = Followed::new();
    let mut tail = followed.stream(Lane::Tail).await;
    let handle = tail.asked().await.handle;
    let reason = EndReason::Behind;
    tail.say(Event::Ended { handle, reason });
    let mut behind = followed.stream(Lane::CatchUp).await;
    let asked = behind.fill(followed.key, &["a"]).await;
    behind.say(Event::Ended {
        handle: asked.handle,
        reason: EndReason::CaughtUp,
    });
    let asked = tail.fill(followed.key, &["b"]).await;
    assert_eq!(asked.end, 1);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_a_newer_epoch_is_asked_anew_and_the_old_attach_is_left() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    let first = stream.fill(followed.key, &["a"]).await;
    followed.site.next_epoch("flights");
    let second = stream.asked().await;
    assert_eq!(second.epoch, LeaderEpoch(2));
    // What is still on its way in the old one counts no more.
    stream.push(
        first.handle,
        1,
        &[stored(followed.key, 1, LeaderEpoch(1), "late")],
    );
    stream.attached(second, false);
    stream.push(
        second.handle,
        0,
        &[stored(followed.key, 1, LeaderEpoch(2), "b")],
    );
    stream
        .acked(second.handle, |acked| acked.position.end.get() == 2)
        .await;
    stream.push(second.handle, 2, &[]);
    followed.until_committed(2).await;
    assert_eq!(followed.holds(), ["a", "b"]);
    followed.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_silent_is_dialled_anew() {
    let mut followed = Followed::new();
    let mut stream = followed.stream(Lane::Tail).await;
    stream.fill(followed.key, &["a"]).await;
    // It says nothing more; the connection stays.
    let mut again = followed.stream(Lane::Tail).await;
    assert_eq!(again.asked().await.end, 1);
    followed.stop().await;
}
