//! Watch streams: dense, shared, resumed across controllers, ended when they cannot go on.

use std::pin::Pin;

use futures_util::Stream;

use super::*;
use crate::limits::{HISTORY_REVISIONS_MAX, REVISIONS_PER_ADOPTION};

type Lines = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A follower as nodes have one.
struct Follower {
    fold: TopologyFold,
    lines: Lines,
    /// Revisions that came whole, in order.
    revisions: Vec<u64>,
}

impl Follower {
    async fn new(sc: &Sc) -> Self {
        let mut follower = Self {
            fold: TopologyFold::new(),
            lines: Box::pin(futures_util::stream::empty()),
            revisions: Vec::new(),
        };
        follower.attach(sc).await;
        follower
    }

    async fn attach(&mut self, sc: &Sc) {
        self.fold.broke_off();
        let (status, body) = sc.watch(self.fold.resume()).await;
        assert_eq!(status, StatusCode::OK);
        let data = body.into_data_stream();
        self.lines = Box::pin(data.map(|line| line.unwrap()));
    }

    async fn step(&mut self) -> Folded {
        let line = self.lines.next().await.expect("a line");
        assert_eq!(line.last(), Some(&b'\n'));
        let line: WatchLine = serde_json::from_slice(&line).unwrap();
        let folded = self.fold.take(line).unwrap();
        if folded == Folded::Whole {
            self.revisions.push(self.fold.resume().unwrap().revision);
        }
        folded
    }

    async fn until(&mut self, revision: u64) {
        while self
            .fold
            .resume()
            .is_none_or(|seen| seen.revision < revision)
        {
            let folded = self.step().await;
            assert!(!matches!(folded, Folded::End(_)), "{folded:?}");
        }
    }

    fn is_dense(&self) -> bool {
        self.revisions.windows(2).all(|two| two[1] == two[0] + 1)
    }
}

#[tokio::test]
async fn a_follower_has_the_topology_of_the_controller_after_each_revision() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.register(1).await;
    sc.make("orders", 300).await;
    let mut follower = Follower::new(&sc).await;
    follower.until(sc.controller.model().revision).await;
    for (name, partitions) in [("a", 1), ("orders", 301), ("b", 600)] {
        sc.make(name, partitions).await;
        sc.register(1).await;
        let delete = Request::DeleteTopic {
            name: TopicName::parse("a").unwrap(),
            if_match: None,
        };
        sc.controller.change(delete, tester()).await.ok();
        follower.until(sc.controller.model().revision).await;
        let expected = sc.controller.topology().borrow().clone();
        assert_eq!(follower.fold.topology().unwrap(), expected);
    }
    assert!(follower.is_dense());
    assert_eq!(follower.fold.cluster_id(), Some(CLUSTER));
}

#[tokio::test]
async fn two_thousand_watchers_go_on_at_another_controller_without_a_gap() {
    const WATCHERS: usize = 2_000;
    let cluster = Cluster::new();
    let (first, second) = (cluster.sc("a").await, cluster.sc("b").await);
    first.register(1).await;
    first.make("orders", 10).await;
    let start = first.controller.model().revision;
    let mut followers = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let mut follower = Follower::new(&first).await;
        follower.until(start).await;
        followers.push(follower);
    }
    for count in 0..5 {
        first.make(&format!("t{count}"), 1).await;
    }
    // Some have heard of it, some have not; then the controller is gone.
    for follower in followers.iter_mut().step_by(2) {
        follower.until(start + 3).await;
    }
    assert!(
        first
            .tasks
            .shutdown(std::time::Duration::from_secs(10))
            .await
    );
    for count in 5..10 {
        second.make(&format!("t{count}"), 1).await;
    }
    let end = second.controller.model().revision;
    let expected = second.controller.topology().borrow().clone();
    for follower in &mut followers {
        follower.attach(&second).await;
        follower.until(end).await;
        assert!(follower.is_dense());
        assert_eq!(follower.revisions.len() as u64, end - start + 1);
        assert_eq!(follower.fold.topology().unwrap(), expected);
    }
}

#[tokio::test]
async fn a_controller_that_starts_can_be_asked_for_revisions_before_its_time() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    let mut follower = Follower::new(&first).await;
    follower.until(0).await;
    for count in 0..40 {
        first.make(&format!("t{count}"), 1).await;
    }
    follower.until(7).await;
    let second = cluster.sc("b").await;
    follower.attach(&second).await;
    follower.until(40).await;
    assert_eq!(follower.revisions, (0..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_left_memory_is_told_so_and_a_slow_reader_is_ended() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let mut follower = Follower::new(&sc).await;
    follower.until(0).await;
    let seen = follower.fold.resume();
    let history = sc.controller.history();
    for revision in 1..=HISTORY_REVISIONS_MAX as u64 + 1 {
        let hash = ChainHash([1; 32]);
        history.push(crate::history::Revision::new(
            revision,
            hash,
            Vec::new(),
            |_| None,
        ));
    }
    let folded = follower.step().await;
    assert!(
        matches!(&folded, Folded::End(problem) if problem.code().as_str() == "overloaded"),
        "{folded:?}"
    );
    assert!(follower.lines.next().await.is_none());
    let (status, body) = sc.watch(seen).await;
    let problem = body.collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&problem).unwrap();
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::GONE, &json!("compacted"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_that_it_is_alive_and_how_old_its_word_is() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    let mut follower = Follower::new(&sc).await;
    follower.until(0).await;
    assert_eq!(follower.step().await, Folded::Alive { stale_ms: None });
    sc.store.set_down(true);
    follower.step().await;
    let folded = follower.step().await;
    assert!(
        matches!(folded, Folded::Alive { stale_ms: Some(ms) } if ms >= 5_000),
        "{folded:?}"
    );
    sc.store.set_down(false);
    sc.tasks.shutdown(std::time::Duration::from_secs(10)).await;
    loop {
        match follower.step().await {
            Folded::End(problem) => {
                assert_eq!(problem.code().as_str(), "unavailable");
                break;
            }
            Folded::Alive { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The code of a refused watch by a node that starts and had seen so much.
async fn refusal(sc: &Sc, seen: Seen) -> String {
    let (status, body) = sc.watch_from("seen", Some(seen)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let problem = body.collect().await.unwrap().to_bytes();
    let problem: Value = serde_json::from_slice(&problem).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

fn is_alarmed(sc: &Sc) -> bool {
    sc.controller.condition().borrow().alarm.is_some()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_went_back_while_all_were_down_is_found_out_by_what_nodes_had_kept() {
    let cluster = Cluster::new();
    let first = cluster.sc("a").await;
    for count in 0..5 {
        first.make(&format!("t{count}"), 1).await;
    }
    let mut follower = Follower::new(&first).await;
    follower.until(5).await;
    let seen = follower.fold.resume().unwrap();
    first
        .tasks
        .shutdown(std::time::Duration::from_secs(10))
        .await;
    cluster.database.lose_last(2);
    // Controllers and nodes are new.
    let second = cluster.sc("b").await;
    assert_eq!(refusal(&second, seen).await, "metadata_forked");
    assert!(is_alarmed(&second));
    let write = TopicWrite {
        name: TopicName::parse("more").unwrap(),
        request: Default::default(),
        if_match: None,
    };
    let refused = second
        .controller
        .change(Request::CreateTopic(write), tester());
    assert_eq!(
        refused.await.unwrap_err().code().as_str(),
        "metadata_forked"
    );
    second.store.adopt("ann", 1).await.unwrap();
    let mut believed = second.controller.condition();
    believed
        .wait_for(|condition| condition.alarm.is_none())
        .await
        .unwrap();
    second.make("more", 1).await;
    let (status, body) = second.watch_from("seen", Some(seen)).await;
    assert_eq!(status, StatusCode::OK);
    let data = body.into_data_stream();
    let mut follower = Follower {
        fold: TopologyFold::new(),
        lines: Box::pin(data.map(|line| line.unwrap())),
        revisions: Vec::new(),
    };
    follower.until(second.controller.model().revision).await;
    assert_ne!(follower.fold.resume().unwrap().store_id, seen.store_id);
    assert!(!is_alarmed(&second));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_is_told_nothing_before_what_it_had_seen_was_compared() {
    let cluster = Cluster::new();
    let sc = cluster.sc("a").await;
    sc.make("orders", 1).await;
    let seen = sc.controller.shown().seen;
    let (status, _) = sc.watch_from("seen", Some(seen)).await;
    assert_eq!(status, StatusCode::OK);
    let strange = Seen {
        store_id: StoreId(Uuid::from_u128(77)),
        ..seen
    };
    sc.store.set_down(true);
    assert_eq!(refusal(&sc, strange).await, "unavailable");
    assert!(!is_alarmed(&sc));
    let (status, _) = sc.watch_from("seen", Some(seen)).await;
    assert_eq!(status, StatusCode::OK, "memory is enough for that");
    sc.store.set_down(false);
    assert_eq!(refusal(&sc, strange).await, "metadata_forked");
}

#[tokio::test(start_paused = true)]
async fn who_has_heard_of_an_adoption_is_not_told_what_there_was_before_it() {
    for name in ["after", "seen"] {
        let cluster = Cluster::new();
        let sc = cluster.sc("a").await;
        sc.make("orders", 1).await;
        let old = sc.controller.shown().seen;
        let store_id = sc.store.adopt("ann", 1).await.unwrap();
        // Another controller told him.
        let seen = Seen {
            store_id,
            revision: old.revision + REVISIONS_PER_ADOPTION,
            ..old
        };
        let asked = tidegate_kit::clock::monotonic();
        let (status, _) = sc.watch_from(name, Some(seen)).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        let mut topology = sc.controller.topology();
        let is_read = topology.wait_for(|shown| shown.store_id == Some(store_id));
        is_read.await.unwrap();
        let waited = tidegate_kit::clock::monotonic() - asked;
        assert!(waited < std::time::Duration::from_secs(1), "{waited:?}");
        let (status, _) = sc.watch_from(name, Some(seen)).await;
        assert_eq!(status, StatusCode::OK);
        assert!(!is_alarmed(&sc));
    }
}
