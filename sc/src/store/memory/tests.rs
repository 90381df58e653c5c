//! The store in memory against the conformance suite, and its faults.

use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Request, TopicWrite};

use super::*;
use crate::store::conformance::{Bench, conforms};

struct InMemory(MemoryDatabase);

fn database() -> MemoryDatabase {
    MemoryDatabase::new(ClusterId(Uuid::from_u128(1)), StoreId(Uuid::from_u128(2)))
}

impl Bench for InMemory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        Box::pin(async { Arc::new(self.0.open()) as Arc<dyn MetaStore> })
    }

    fn after_a_crash(&self) -> BoxFuture<'_, Arc<dyn MetaStore>> {
        self.open()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_conforms() {
    conforms(async || InMemory(database())).await;
}

fn creation(model: &Model, name: &str) -> Commit {
    let write = TopicWrite {
        name: TopicName::parse(name).unwrap(),
        request: tidegate_proto::api::topic::TopicRequest::default(),
        if_match: None,
    };
    let seed = name
        .bytes()
        .fold(3, |seed, byte| seed * 256 + u128::from(byte));
    let decided = decide(
        model,
        7,
        Uuid::from_u128(seed),
        &Request::CreateTopic(write),
    );
    Commit::new(
        decided.unwrap().changes,
        "tester".to_owned(),
        String::new(),
        7,
    )
}

#[tokio::test]
async fn commits_that_were_lost_leave_what_was_before_and_another_hash() {
    let database = database();
    let store = database.open();
    let mut states = vec![store.snapshot().await.unwrap()];
    for name in ["a", "b", "c"] {
        let commit = creation(states.last().unwrap(), name);
        store.apply(&commit).await.unwrap();
        states.push(store.snapshot().await.unwrap());
    }
    let seen = store.chain_at(3).await.unwrap();
    database.lose_last(2);
    assert_eq!(store.snapshot().await.unwrap(), states[1]);
    assert_eq!(
        store.chain_at(3).await.unwrap(),
        ChainAt::Ahead { revision: 1 }
    );
    // The same topics again: other commits, so another history.
    for name in ["b", "c"] {
        let model = store.snapshot().await.unwrap();
        store.apply(&creation(&model, name)).await.unwrap();
    }
    assert_ne!(store.chain_at(3).await.unwrap(), seen);
    assert_eq!(store.events_after(0, 10).await.unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_faults() {
    async fn run(seed: u64) -> String {
        let store = database().open();
        let mut model = store.snapshot().await.unwrap();
        store.set_weather(Weather {
            seed,
            refused_per_mille: 200,
            unknown_per_mille: 200,
            latency_max: Duration::from_millis(50),
        });
        let mut story = String::new();
        for number in 0..40 {
            let commit = creation(&model, &format!("t{number}"));
            let began = clock::monotonic();
            story += match store.apply(&commit).await {
                Ok(_) => "made ",
                Err(ApplyError::Unknown(_)) => "unknown ",
                Err(_) => "refused ",
            };
            story += &format!("{:?} ", clock::monotonic() - began);
            // One that hangs holds all others up.
            store.database().let_through();
            model = store.database().state().snapshot().unwrap();
        }
        story
    }
    let story = run(1).await;
    assert_eq!(story, run(1).await);
    assert_ne!(story, run(2).await);
    for outcome in ["made", "unknown", "refused"] {
        assert!(story.contains(outcome), "{story}");
    }
}

#[tokio::test]
async fn a_commit_that_is_made_later_is_never_said_not_to_be_made() {
    let database = database();
    let (store, other) = (database.open(), database.open());
    store.script([Fault::MadeLater]);
    let model = store.snapshot().await.unwrap();
    let (late, next) = (creation(&model, "a"), creation(&model, "b"));
    let unknown = store.apply(&late).await;
    assert!(matches!(unknown, Err(ApplyError::Unknown(_))));
    let asked = other.committed(late.id).await;
    assert!(matches!(asked, Err(StoreError::Slow(_))), "{asked:?}");
    let refused = other.apply(&next).await;
    assert!(matches!(refused, Err(ApplyError::Failed(_))), "it waits");
    assert_eq!(other.snapshot().await.unwrap(), model, "reads do not");
    database.set_clock_ms(60_000);
    assert_eq!(other.committed(late.id).await.unwrap(), Some(1));
    assert_eq!(other.apply(&next).await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_that_is_down_refuses_everything_and_comes_back() {
    let store = database().open();
    store.set_down(true);
    assert!(matches!(store.snapshot().await, Err(StoreError::Refused)));
    let commit = creation(&Model::empty(ClusterId(Uuid::from_u128(1))), "a");
    assert!(matches!(
        store.apply(&commit).await,
        Err(ApplyError::Failed(_))
    ));
    store.set_down(false);
    assert_eq!(store.apply(&commit).await.unwrap(), 1);
}
