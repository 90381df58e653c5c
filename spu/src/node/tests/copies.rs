//! A leader as a follower meets it that the test plays: real logs and machines, frames by hand.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use tidegate_kit::frames::{Arrived, FrameReader, Keep};
use tidegate_kit::outlet::{Outlet, OutletBody};
use tidegate_log::Entry;
use tidegate_proto::position::LogPosition;
use tidegate_proto::private::Pieces;
use tidegate_proto::private::replicate::{
    Acked, AttachRefusal, EndReason, Event, HEARTBEAT, Lane, PUSH, Push, SNAPSHOT,
    SNAPSHOT_PIECE_BYTES_MAX, SnapshotPiece, Wish, encode_acks,
};

use super::*;

mod shipping;

const OTHER: SpuId = SpuId(2);

impl Site {
    /// A partition that is led here and has a second copy, which is not in sync.
    fn create_copied(&self, name: &str) -> ReplicaKey {
        self.create_copied_with(name, TopicConfig::default())
    }

    fn create_copied_with(&self, name: &str, config: TopicConfig) -> ReplicaKey {
        let name = TopicName::parse(name).unwrap();
        let mut row = row(PartitionId(0), self.lives, ReplicaGen(Uuid::new_v4()));
        row.replicas.push(ReplicaSpec {
            spu: OTHER,
            replica_gen: ReplicaGen(Uuid::nil()),
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
}

/// A stream that the test is the follower of.
struct Played {
    says: Outlet<Pieces>,
    hears: FrameReader<OutletBody<Pieces>>,
    _tasks: Tasks,
}

impl Life {
    fn played(&self, lane: Lane) -> Played {
        let (says, body) = Outlet::new(Pieces::default());
        let tasks = Tasks::new();
        let followers = self.node.followers();
        let hears = followers.serve((OTHER, lane), Body::new(body), LONG * 100, &tasks);
        Played {
            says,
            hears: FrameReader::new(hears),
            _tasks: tasks,
        }
    }

    /// Puts a snapshot of so many bytes, which nobody decodes here, into the log as of its end.
    async fn snapshot(&self, key: ReplicaKey, len: usize) -> Offset {
        let replica = self.node.log.replica(key).unwrap();
        let as_of = replica.end();
        let mut entries = vec![Entry::Snapshot {
            key,
            as_of,
            bytes: Bytes::from(vec![7; len]),
        }];
        self.node.log.submit_from(0, &mut entries).unwrap();
        // The machine hears of it with a batch of its own, which is durable later.
        self.append(key, &["behind the snapshot"]).await.unwrap();
        assert_eq!(replica.durable_snapshot(), Some(as_of));
        as_of
    }
}

fn attach(handle: u32, key: ReplicaKey) -> Wish {
    Wish::Attach {
        handle,
        key,
        replica_gen: ReplicaGen(Uuid::nil()),
        leader_epoch: LeaderEpoch(1),
        incarnation: Incarnation(1),
        position: LogPosition::default(),
        log_start: Offset::ZERO,
        is_whole: true,
        is_intact: true,
    }
}

/// The same of a copy that lacks what producers did.
fn attach_without_ledger(handle: u32, key: ReplicaKey) -> Wish {
    let mut wish = attach(handle, key);
    if let Wish::Attach { is_whole, .. } = &mut wish {
        *is_whole = false;
    }
    wish
}

impl Played {
    fn say(&self, wish: Wish) {
        self.says.with(|pieces| wish.encode(pieces));
    }

    fn credit(&self, bytes: u32) {
        self.say(Wish::Credit { bytes });
    }

    fn ack(&self, handle: u32, end: u64, ledger_as_of: Option<Offset>) {
        let position = LogPosition {
            end: Offset::new(end),
            last_epoch: Some(LeaderEpoch(1)),
        };
        let acked = Acked {
            handle,
            position,
            ledger_as_of,
        };
        self.says.with(|pieces| encode_acks(&[acked], pieces));
    }

    /// The next frame, a sign of life too; none when the leader ended the stream.
    async fn any(&mut self) -> Option<Arrived> {
        let next = self.hears.next(|_| Ok(Keep::Shared));
        timeout(LONG, next).await.unwrap().unwrap()
    }

    /// The next frame that is more than a sign of life.
    async fn frame(&mut self) -> Arrived {
        loop {
            let arrived = self.any().await.expect("the stream goes on");
            if arrived.kind != HEARTBEAT {
                return arrived;
            }
        }
    }

    async fn event(&mut self) -> Event {
        let arrived = self.frame().await;
        Event::decode(arrived.kind, &arrived.payload).unwrap()
    }

    async fn attached(&mut self, ships: bool) {
        let event = self.event().await;
        assert!(
            matches!(event, Event::Attached { ships_snapshot, .. } if ships_snapshot == ships),
            "{event:?}"
        );
    }

    async fn piece(&mut self) -> SnapshotPiece {
        let arrived = self.frame().await;
        assert_eq!(arrived.kind, SNAPSHOT);
        SnapshotPiece::decode(arrived.payload).unwrap()
    }

    async fn values(&mut self) -> Vec<String> {
        loop {
            let arrived = self.frame().await;
            if arrived.kind != PUSH {
                continue;
            }
            // Markers of epochs come without records.
            let found = values(&Push::decode(arrived.payload).unwrap().batches);
            if !found.is_empty() {
                return found;
            }
        }
    }

    /// All that was said before has been heard.
    async fn is_heard(&mut self) {
        let nowhere = ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(0),
        };
        self.say(attach(99, nowhere));
        let event = self.event().await;
        assert!(
            matches!(event, Event::Refused { handle: 99, .. }),
            "{event:?}"
        );
    }

    /// Nothing is sent but signs of life.
    async fn is_quiet(&mut self) {
        for _ in 0..2 {
            assert_eq!(self.any().await.unwrap().kind, HEARTBEAT);
        }
    }

    /// The leader ends the stream, and not only because nothing was said for long.
    async fn is_ended(&mut self) {
        for _ in 0..3 {
            if self.any().await.is_none() {
                return;
            }
        }
        panic!("it goes on");
    }
}

/// A node that leads one partition with records and another copy.
async fn led(values: &[&str]) -> (Site, Life, ReplicaKey) {
    let mut site = Site::new();
    let life = site.start();
    let key = site.create_copied("flights");
    for value in values {
        life.append(key, &[value]).await.unwrap();
    }
    (site, life, key)
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_come_while_there_is_credit_and_go_on_when_it_comes_back() {
    let (_site, life, key) = led(&["a", "b", "c"]).await;
    let mut played = life.played(Lane::Tail);
    played.say(attach(3, key));
    played.attached(false).await;
    played.is_quiet().await;
    played.credit(1);
    // A push is as long as it is: the credit is overdrawn by the last one.
    assert_eq!(played.values().await, ["a", "b", "c"]);
    life.append(key, &["d"]).await.unwrap();
    played.is_quiet().await;
    played.credit(1 << 20);
    assert_eq!(played.values().await, ["d"]);
    life.append(key, &["e"]).await.unwrap();
    assert_eq!(played.values().await, ["e"]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_partitions_share_one_stream_and_each_keeps_its_order() {
    let mut site = Site::new();
    let life = site.start();
    let mut played = life.played(Lane::Tail);
    played.credit(1 << 20);
    let keys: Vec<ReplicaKey> = (0..20)
        .map(|number| site.create_copied(&format!("flights-{number}")))
        .collect();
    for (handle, key) in (0..).zip(&keys) {
        life.append(*key, &["first"]).await.unwrap();
        played.say(attach(handle, *key));
    }
    for key in &keys {
        life.append(*key, &["second"]).await.unwrap();
    }
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    while found.values().map(Vec::len).sum::<usize>() < 2 * keys.len() {
        let arrived = played.frame().await;
        if arrived.kind == PUSH {
            let push = Push::decode(arrived.payload).unwrap();
            found
                .entry(push.handle)
                .or_default()
                .extend(values(&push.batches));
        }
    }
    assert_eq!(found.len(), keys.len());
    assert!(found.values().all(|values| values == &["first", "second"]));
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attach_of_another_epoch_or_membership_is_refused_with_the_reason() {
    let (_site, life, key) = led(&["a"]).await;
    let mut played = life.played(Lane::Tail);
    let changed = |change: fn(&mut LeaderEpoch, &mut ReplicaGen, &mut ReplicaKey)| {
        let mut wish = attach(1, key);
        if let Wish::Attach {
            leader_epoch,
            replica_gen,
            key,
            ..
        } = &mut wish
        {
            change(leader_epoch, replica_gen, key);
        }
        wish
    };
    for (wish, expected) in [
        (changed(|epoch, _, _| epoch.0 = 9), AttachRefusal::Epoch),
        (changed(|epoch, _, _| epoch.0 = 0), AttachRefusal::Epoch),
        (
            changed(|_, replica_gen, _| replica_gen.0 = Uuid::max()),
            AttachRefusal::NotReplica,
        ),
        (
            changed(|_, _, key| key.partition = PartitionId(9)),
            AttachRefusal::NotLeading,
        ),
    ] {
        played.say(wish);
        let event = played.event().await;
        assert!(
            matches!(event, Event::Refused { reason, .. } if reason == expected),
            "{event:?}"
        );
    }
    // The handle is free after each of them.
    played.say(attach(1, key));
    played.attached(false).await;
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_under_a_handle_that_nobody_knows_does_nothing() {
    let (_site, life, key) = led(&["a"]).await;
    let mut played = life.played(Lane::Tail);
    played.credit(1 << 20);
    played.ack(77, 1, None);
    played.say(Wish::Detach { handle: 78 });
    played.say(attach(1, key));
    played.attached(false).await;
    assert_eq!(played.values().await, ["a"]);
    played.say(Wish::Detach { handle: 1 });
    played.is_heard().await;
    life.append(key, &["b"]).await.unwrap();
    played.is_quiet().await;
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handle_that_is_in_use_is_not_given_again() {
    let (_site, life, key) = led(&["a"]).await;
    let mut played = life.played(Lane::Tail);
    played.say(attach(1, key));
    played.attached(false).await;
    played.say(attach(1, key));
    // Nobody who keeps to the protocol says that.
    played.is_ended().await;
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_freezes_is_sent_little_and_the_leader_goes_on() {
    let (_site, life, key) = led(&["a"]).await;
    let (says, body) = Outlet::new(Pieces::default());
    let tasks = Tasks::new();
    let followers = life.node.followers();
    let frozen = followers.serve((OTHER, Lane::Tail), Body::new(body), LONG * 100, &tasks);
    says.with(|pieces| {
        attach(1, key).encode(pieces);
        Wish::Credit { bytes: u32::MAX }.encode(pieces);
    });
    let value = "x".repeat(100_000);
    for _ in 0..40 {
        life.append(key, &[&value]).await.unwrap();
    }
    assert_eq!(life.all(key).await.len(), 41);
    // It goes on where it was when it takes again.
    let mut thawed = Played {
        says,
        hears: FrameReader::new(frozen),
        _tasks: tasks,
    };
    let mut count = 0;
    while count < 41 {
        count += thawed.values().await.len();
    }
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_caught_up_is_told_to_follow_the_tail() {
    let (_site, life, key) = led(&["a"]).await;
    let mut played = life.played(Lane::CatchUp);
    played.credit(1 << 20);
    played.say(attach(1, key));
    played.attached(false).await;
    let event = played.event().await;
    let (handle, reason) = (1, EndReason::CaughtUp);
    assert_eq!(event, Event::Ended { handle, reason });
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_breaks_inside_a_frame_ends_and_its_sessions_with_it() {
    let (_site, life, key) = led(&["a"]).await;
    let mut played = life.played(Lane::Tail);
    played.say(attach(1, key));
    played.attached(false).await;
    played
        .says
        .with(|pieces| pieces.put(&[200, 0, 0, 0, 48, 1, 2]));
    played.says.end();
    played.is_ended().await;
    // Another stream is served as if there had been none.
    let mut again = life.played(Lane::Tail);
    again.credit(1 << 20);
    again.say(attach(1, key));
    again.attached(false).await;
    assert_eq!(again.values().await, ["a"]);
    life.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_goes_on_while_catching_up_is_held_back() {
    let mut site = Site::new();
    site.replication_rate = Some(1);
    let life = site.start();
    let (slow, quick) = (site.create_copied("slow"), site.create_copied("quick"));
    let value = "x".repeat(100_000);
    for _ in 0..10 {
        life.append(slow, &[&value]).await.unwrap();
    }
    let log = life.node.log.clone();
    let replica = log.replica(slow).unwrap();
    tokio::task::spawn_blocking(move || log.checkpoint().unwrap())
        .await
        .unwrap();
    replica.cool();
    let (mut behind, mut tail) = (life.played(Lane::CatchUp), life.played(Lane::Tail));
    behind.credit(u32::MAX);
    tail.credit(u32::MAX);
    behind.say(attach(1, slow));
    behind.attached(false).await;
    // The first read is paid for by those after it.
    let first = behind.values().await.len();
    assert!(first < 10);
    tail.say(attach(1, quick));
    tail.attached(false).await;
    for value in ["a", "b", "c"] {
        life.append(quick, &[value]).await.unwrap();
        assert_eq!(tail.values().await, [value]);
    }
    behind.is_quiet().await;
    life.stop().await;
}
