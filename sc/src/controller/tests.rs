//! The controller over a store that misbehaves, and beside another controller.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tidegate_proto::api::topic::{TopicRequest, WriteResult};
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decision::TopicWrite;

use super::*;
use crate::store::{ApplyError, BoxFuture, Commit, Event, EventsError};

/// What happens to one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Refused as if somebody had been faster.
    Conflict,
    /// Nothing done, and said so.
    Failed,
    /// Made, but the answer is lost.
    MadeUnknown,
    /// Not made, and the answer is lost.
    NotMadeUnknown,
    /// Made, the answer is lost, and nobody can look it up.
    MadeUnreachable,
}

/// A SQLite store whose next commits go as the script says.
#[derive(Debug)]
struct Scripted {
    inner: SqliteStore,
    script: Mutex<VecDeque<Fault>>,
    is_unreachable: Mutex<bool>,
}

fn broken() -> StoreError {
    StoreError::Database(sqlx::Error::PoolClosed)
}

impl Scripted {
    fn next(&self) -> Option<Fault> {
        self.script
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    }
}

impl MetaStore for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>> {
        self.inner.snapshot()
    }

    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>> {
        Box::pin(async move {
            match self.next() {
                None => return self.inner.apply(commit).await,
                Some(Fault::Conflict) => return Err(ApplyError::Conflict),
                Some(Fault::Failed) => return Err(ApplyError::Failed(broken())),
                Some(Fault::NotMadeUnknown) => {}
                Some(Fault::MadeUnknown) => drop(self.inner.apply(commit).await?),
                Some(Fault::MadeUnreachable) => {
                    self.inner.apply(commit).await?;
                    *self.is_unreachable.lock().unwrap() = true;
                }
            }
            Err(ApplyError::Unknown(broken()))
        })
    }

    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        if *self.is_unreachable.lock().unwrap() {
            return Box::pin(async { Err(broken()) });
        }
        self.inner.committed(id)
    }

    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>> {
        self.inner.events_after(revision, revisions_max)
    }

    fn compact_events(&self, floor: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        self.inner.compact_events(floor)
    }

    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>> {
        self.inner.lease_producer_ids(count)
    }

    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.inner.is_deleted(id)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

struct Bench {
    store: Arc<Scripted>,
    tasks: Tasks,
    _dir: TempDir,
}

impl Bench {
    async fn new(script: &[Fault]) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("meta.db");
        let inner = SqliteStore::open(&path, ClusterId(Uuid::from_u128(1)), 1)
            .await
            .unwrap();
        let script = Mutex::new(script.iter().copied().collect());
        let store = Arc::new(Scripted {
            inner,
            script,
            is_unreachable: Mutex::new(false),
        });
        Self {
            store,
            tasks: Tasks::new(),
            _dir: dir,
        }
    }

    async fn controller(&self) -> Controller {
        let store = Arc::clone(&self.store) as Arc<dyn MetaStore>;
        Controller::start(store, &self.tasks).await.unwrap()
    }
}

fn ensure(partitions: u32) -> Request {
    Request::EnsureTopic(TopicWrite {
        name: TopicName::parse("orders").unwrap(),
        request: TopicRequest {
            partitions: partitions.into(),
            ..TopicRequest::default()
        },
        if_match: None,
    })
}

async fn change(controller: &Controller, request: Request) -> Result<Decided, Problem> {
    let origin = Origin {
        actor: "tester".to_owned(),
        request_id: String::new(),
    };
    controller.change(request, origin).await
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_decided_again() {
    let bench = Bench::new(&[Fault::Conflict, Fault::Conflict]).await;
    let controller = bench.controller().await;
    let decided = change(&controller, ensure(1)).await.unwrap();
    assert_eq!(decided.decision.result, WriteResult::Created);
    assert_eq!(decided.model.revision, 1);
}

#[tokio::test]
async fn a_change_that_is_overtaken_for_ever_gives_up_definitely() {
    let bench = Bench::new(&[Fault::Conflict; DECISIONS]).await;
    let controller = bench.controller().await;
    let refused = change(&controller, ensure(1)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(refused.is_definite());
    assert!(controller.model().topics.is_empty());
    change(&controller, ensure(1)).await.unwrap();
}

const DECISIONS: usize = crate::limits::DECISION_ATTEMPTS_MAX as usize;

#[tokio::test]
async fn a_lost_answer_is_looked_up_and_the_change_is_made_once() {
    let bench = Bench::new(&[Fault::MadeUnknown]).await;
    let controller = bench.controller().await;
    let decided = change(&controller, ensure(3)).await.unwrap();
    assert_eq!(decided.decision.result, WriteResult::Created);
    assert_eq!(decided.model.partition_count(), 3);
    assert_eq!(bench.store.snapshot().await.unwrap(), *controller.model());
    assert_eq!(controller.model().revision, 1);
}

#[tokio::test]
async fn a_change_that_was_not_made_is_refused_definitely() {
    for fault in [Fault::Failed, Fault::NotMadeUnknown] {
        let bench = Bench::new(&[fault]).await;
        let controller = bench.controller().await;
        let refused = change(&controller, ensure(1)).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable, "{fault:?}");
        assert!(refused.is_definite());
        assert_eq!(bench.store.snapshot().await.unwrap().revision, 0);
        assert_eq!(
            change(&controller, ensure(1)).await.unwrap().model.revision,
            1
        );
    }
}

#[tokio::test]
async fn a_change_of_unknown_fate_is_told_so_and_seen_by_the_next() {
    let bench = Bench::new(&[Fault::MadeUnreachable]).await;
    let controller = bench.controller().await;
    let refused = change(&controller, ensure(2)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OutcomeUnknown);
    assert!(!refused.is_definite());
    let again = change(&controller, ensure(2)).await.unwrap();
    assert_eq!(
        again.decision.result,
        WriteResult::Unchanged,
        "it had been made"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_on_one_store_lose_no_update() {
    const EACH: u32 = 25;
    let bench = Bench::new(&[]).await;
    let controllers = [bench.controller().await, bench.controller().await];
    change(&controllers[0], ensure(1)).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for (number, controller) in controllers.iter().enumerate() {
        let controller = controller.clone();
        writers.spawn(async move {
            for count in 0..EACH {
                let name = TopicName::parse(&format!("t-{number}-{count}")).unwrap();
                let request = TopicRequest::default();
                let write = TopicWrite {
                    name,
                    request,
                    if_match: None,
                };
                change(&controller, Request::CreateTopic(write))
                    .await
                    .unwrap();
                // Both change this one too; who comes second may be asking for fewer.
                change(&controller, ensure(1 + count)).await.ok();
            }
        });
    }
    writers.join_all().await;
    let end = bench.store.snapshot().await.unwrap();
    assert_eq!(end.topics.len(), 1 + 2 * EACH as usize);
    assert_eq!(
        end.topics[&TopicName::parse("orders").unwrap()]
            .row
            .partitions,
        EACH
    );
    // Each has followed the store as far as its own last change at least.
    assert!(
        controllers
            .iter()
            .any(|controller| *controller.model() == end)
    );
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let bench = Bench::new(&[]).await;
    let controller = bench.controller().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..COMMANDS_MAX * 4 {
        let controller = controller.clone();
        calls.spawn(async move { change(&controller, ensure(1)).await });
    }
    let answers = calls.join_all().await;
    let refused: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.as_ref().err())
        .collect();
    assert!(!refused.is_empty() && refused.len() < answers.len());
    assert!(
        refused
            .iter()
            .all(|problem| problem.code() == ErrorCode::Overloaded)
    );
    assert!(refused.iter().all(|problem| problem.is_definite()));
    assert!(bench.tasks.shutdown(Duration::from_secs(10)).await);
}
