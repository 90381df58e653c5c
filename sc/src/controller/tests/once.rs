//! Requests with a key, through two controllers on one store and through answers that get lost.

use super::*;

fn once(answer: &'static str, request: u8) -> Once {
    Once {
        principal: "tester".to_owned(),
        key: "k1".to_owned(),
        request_hash: [request; 32],
        answer: Arc::new(move |decision, model| {
            let count = model.topics.len();
            format!("{answer}: {}, {count} topics", decision.result.as_str())
        }),
        refusal: |refusal| format!("refused: {}", refusal.code_str()),
    }
}

fn create() -> Request {
    let Request::EnsureTopic(write) = ensure(1) else {
        unreachable!("it ensures a topic");
    };
    Request::CreateTopic(write)
}

fn delete() -> Request {
    Request::DeleteTopic {
        name: TopicName::parse("orders").unwrap(),
        if_match: None,
    }
}

async fn change_once(
    controller: &Controller,
    request: Request,
    once: Once,
) -> Result<Answered, Problem> {
    let origin = Origin {
        actor: "tester".to_owned(),
        request_id: String::new(),
    };
    controller.change_once(request, origin, once).await
}

fn answered(text: &str, is_repeat: bool) -> Answered {
    Answered {
        text: text.to_owned(),
        is_repeat,
    }
}

/// Two controllers on one database: the second has not seen what the first did.
async fn twins(stores: [Arc<dyn MetaStore>; 2]) {
    let tasks = Tasks::new();
    let [a, b] = stores;
    let settings = ControllerSettings {
        is_alone: false,
        ..ControllerSettings::alone()
    };
    let a = Controller::start(a, settings.clone(), &tasks)
        .await
        .unwrap();
    let b = Controller::start(b, settings, &tasks).await.unwrap();
    let made = change_once(&a, ensure(2), once("a", 1)).await.unwrap();
    assert_eq!(made, answered("a: created, 1 topics", false));
    let again = change_once(&b, ensure(2), once("b", 1)).await.unwrap();
    assert_eq!(again, answered("a: created, 1 topics", true));
    let other = change_once(&b, ensure(3), once("b", 2)).await.unwrap_err();
    assert_eq!(other.code(), ErrorCode::IdempotencyKeyReused);
    assert_eq!(
        b.answered("tester", "k1", [1; 32]).await.unwrap(),
        Some(made.text)
    );
    assert_eq!(b.answered("other", "k1", [1; 32]).await.unwrap(), None);

    // Refused by one, and possible when a copy of the request reaches the other.
    let late = || Once {
        key: "k2".to_owned(),
        ..once("late", 3)
    };
    let refused = change_once(&b, create(), late()).await.unwrap();
    assert_eq!(refused, answered("refused: already_exists", false));
    change(&b, delete()).await.unwrap();
    let again = change_once(&a, create(), late()).await.unwrap();
    assert_eq!(again, answered("refused: already_exists", true));
    let gone = change(&a, delete()).await.unwrap_err();
    assert_eq!(gone.code(), ErrorCode::TopicNotFound);
    assert!(tasks.shutdown(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn a_key_means_the_same_to_every_controller_in_memory() {
    let ids = (Uuid::from_u128(1), Uuid::from_u128(2));
    let database = MemoryDatabase::new(ClusterId(ids.0), StoreId(ids.1));
    twins([Arc::new(database.open()), Arc::new(database.open())]).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_means_the_same_to_every_controller_on_postgres() {
    use crate::local_postgres::Scratch;
    use crate::store::migrate;

    let database = Scratch::shared().unwrap().database().await.unwrap();
    let url = DatabaseUrl::parse(&database.url).unwrap();
    migrate(&url, ClusterId(Uuid::new_v4()), 1).await.unwrap();
    let a = PostgresStore::open(&url, "a").await.unwrap();
    let b = PostgresStore::open(&url, "b").await.unwrap();
    twins([Arc::new(a), Arc::new(b)]).await;
}

#[tokio::test]
async fn what_was_overtaken_or_lost_its_answer_is_done_once() {
    for fault in [Fault::Conflict, Fault::MadeUnknown] {
        let bench = Bench::new(&[fault]);
        let controller = bench.controller().await;
        let made = change_once(&controller, ensure(1), once("a", 1)).await;
        assert_eq!(
            made.unwrap(),
            answered("a: created, 1 topics", false),
            "{fault:?}"
        );
        let again = change_once(&controller, ensure(1), once("a", 1)).await;
        assert_eq!(
            again.unwrap(),
            answered("a: created, 1 topics", true),
            "{fault:?}"
        );
        assert_eq!(controller.model().revision, 1);
    }
}

#[tokio::test]
async fn who_was_told_that_nobody_knows_asks_again_and_gets_the_answer() {
    let bench = Bench::new(&[Fault::MadeUnreachable]);
    let controller = bench.controller().await;
    let unknown = change_once(&controller, ensure(1), once("a", 1)).await;
    assert_eq!(unknown.unwrap_err().code(), ErrorCode::OutcomeUnknown);
    let again = change_once(&controller, ensure(1), once("a", 1)).await;
    assert_eq!(again.unwrap(), answered("a: created, 1 topics", true));
    assert_eq!(controller.model().revision, 1);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_on_a_store_that_went_back_even_when_nobody_knows_yet() {
    for has_key in [false, true] {
        let bench = Bench::new(&[]);
        // Nothing tells the controller before the change does.
        bench.store.set_deaf();
        let controller = bench.controller().await;
        for count in 0..8 {
            let made = change(&controller, retention(&format!("t{count}"), 1_000));
            made.await.unwrap();
        }
        bench.database.lose_last(5);
        let refused = if has_key {
            let changed = change_once(&controller, ensure(1), once("a", 1));
            changed.await.unwrap_err()
        } else {
            change(&controller, ensure(1)).await.unwrap_err()
        };
        assert_eq!(refused.code(), ErrorCode::MetadataForked, "{refused:?}");
        assert!(refused.is_definite());
        assert_eq!(bench.store.snapshot().await.unwrap().revision, 3);
        assert_eq!(controller.model().revision, 8);
        bench.store.adopt("ann", 1).await.unwrap();
        let is_adopted = |condition: &Condition| condition.alarm.is_none();
        controller.condition().wait_for(is_adopted).await.unwrap();
        let made = change(&controller, ensure(1)).await.unwrap();
        assert_eq!(made.decision.result, WriteResult::Created);
    }
}
