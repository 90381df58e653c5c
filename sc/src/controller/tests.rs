//! The controller over a store that misbehaves, and beside another controller.

mod cluster;
mod generated;
mod lease;
mod mirror;
mod once;
mod outage;
mod postgres;
mod registrations;
mod reports;
mod silence;
mod witnesses;

use std::time::Duration;

use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest, WriteResult};
use tidegate_proto::error::ErrorCode;
use tidegate_proto::id::{SpuId, StoreId};
use tidegate_proto::name::TopicName;
use tidegate_sc_core::decision::{Request, TopicWrite};

use super::*;
use crate::store::{Fault, MemoryDatabase, MemoryStore};

struct Bench {
    database: MemoryDatabase,
    store: Arc<MemoryStore>,
    tasks: Tasks,
}

impl Bench {
    fn new(script: &[Fault]) -> Self {
        let ids = (Uuid::from_u128(1), Uuid::from_u128(2));
        let database = MemoryDatabase::new(ClusterId(ids.0), StoreId(ids.1));
        let store = database.open();
        store.script(script.iter().copied());
        Self {
            database,
            store: Arc::new(store),
            tasks: Tasks::new(),
        }
    }

    async fn controller(&self) -> Controller {
        let store = Arc::clone(&self.store) as Arc<dyn MetaStore>;
        let settings = ControllerSettings {
            is_alone: false,
            ..ControllerSettings::alone()
        };
        Controller::start(store, settings, &self.tasks)
            .await
            .unwrap()
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
    let bench = Bench::new(&[Fault::Conflict, Fault::Conflict]);
    let controller = bench.controller().await;
    let decided = change(&controller, ensure(1)).await.unwrap();
    assert_eq!(decided.decision.result, WriteResult::Created);
    assert_eq!(decided.model.revision, 1);
}

#[tokio::test]
async fn a_change_that_is_overtaken_for_ever_gives_up_definitely() {
    let bench = Bench::new(&[Fault::Conflict; DECISIONS]);
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
    let bench = Bench::new(&[Fault::MadeUnknown]);
    let controller = bench.controller().await;
    let decided = change(&controller, ensure(3)).await.unwrap();
    assert_eq!(decided.decision.result, WriteResult::Created);
    assert_eq!(decided.model.partition_count(), 3);
    assert_eq!(bench.store.snapshot().await.unwrap(), *controller.model());
    assert_eq!(controller.model().revision, 1);
}

#[tokio::test]
async fn a_change_that_was_not_made_is_refused_definitely() {
    for fault in [Fault::Refused, Fault::NotMadeUnknown] {
        let bench = Bench::new(&[fault]);
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
    let bench = Bench::new(&[Fault::MadeUnreachable]);
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

#[tokio::test]
async fn a_change_that_may_be_made_later_is_of_unknown_fate() {
    let bench = Bench::new(&[Fault::MadeLater]);
    let controller = bench.controller().await;
    let refused = change(&controller, ensure(2)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OutcomeUnknown);
    // Others wait for the same row in vain.
    let refused = change(&controller, ensure(3)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    bench.database.let_through();
    let again = change(&controller, ensure(2)).await.unwrap();
    assert_eq!(again.decision.result, WriteResult::Unchanged);
}

fn retention(topic: &str, retention_ms: u64) -> Request {
    Request::EnsureTopic(TopicWrite {
        name: TopicName::parse(topic).unwrap(),
        request: TopicRequest {
            config: Setting::Value(TopicConfigRequest {
                retention_ms: retention_ms.into(),
                ..TopicConfigRequest::default()
            }),
            ..TopicRequest::default()
        },
        if_match: None,
    })
}

fn deletion(topic: &str) -> Request {
    Request::DeleteTopic {
        name: TopicName::parse(topic).unwrap(),
        if_match: None,
    }
}

/// A controller, and another one whose commits it does not hear of.
async fn two_that_know_both_topics(bench: &Bench) -> (Controller, Controller) {
    bench.store.set_deaf();
    let one = bench.controller().await;
    for topic in ["orders", "bills"] {
        change(&one, retention(topic, 1_000)).await.unwrap();
    }
    (one, bench.controller().await)
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_found_made_and_cannot_be_shown_is_not_answered_from_an_old_state() {
    let bench = Bench::new(&[]);
    let (one, other) = two_that_know_both_topics(&bench).await;
    change(&other, deletion("bills")).await.unwrap();
    bench.store.script([Fault::MadeUnread]);
    let refused = change(&one, retention("orders", 2_000)).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OutcomeUnknown);
    assert!(refused.detail().contains("was made"), "{refused:?}");
    let is_back = |condition: &Condition| condition.away_since.is_none();
    one.condition().wait_for(is_back).await.unwrap();
    let again = change(&one, retention("orders", 2_000)).await.unwrap();
    assert_eq!(again.decision.result, WriteResult::Unchanged);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_answer_was_lost_needs_no_second_reading_to_be_shown() {
    let bench = Bench::new(&[]);
    let (one, _) = two_that_know_both_topics(&bench).await;
    bench.store.script([Fault::MadeUnread]);
    let decided = change(&one, retention("orders", 2_000)).await.unwrap();
    assert_eq!(decided.model.revision, 3);
    assert_eq!(*one.model(), *decided.model);
}

#[tokio::test]
async fn a_bell_that_never_stops_keeps_no_command_waiting() {
    let bench = Bench::new(&[]);
    bench.store.set_ringing();
    let controller = bench.controller().await;
    for count in 1..=20 {
        change(&controller, ensure(count)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_controllers_on_one_store_lose_no_update() {
    const EACH: u32 = 25;
    let bench = Bench::new(&[]);
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

#[tokio::test(start_paused = true)]
async fn what_another_controller_did_counts_though_nothing_would_be_written_without_it() {
    let bench = Bench::new(&[]);
    // Neither hears of the other before it asks.
    bench.store.set_deaf();
    let (one, other) = (bench.controller().await, bench.controller().await);
    let retention = |retention_ms| retention("orders", retention_ms);
    let delete = || deletion("orders");
    for _ in 0..20 {
        change(&one, retention(1_000)).await.unwrap();
        change(&other, retention(2_000)).await.unwrap();
        let back = change(&one, retention(1_000)).await.unwrap();
        assert_eq!(back.decision.result, WriteResult::Updated);
        change(&other, delete()).await.unwrap();
        let missing = change(&one, delete()).await.unwrap_err();
        assert_eq!(missing.code(), ErrorCode::TopicNotFound);
    }
}

#[tokio::test]
async fn a_full_queue_answers_at_once() {
    let bench = Bench::new(&[]);
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
