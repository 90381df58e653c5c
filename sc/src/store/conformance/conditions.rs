//! What a commit may ask for beside its own rows: other rows, the whole state, a receipt.

use tidegate_proto::chain::ChainHash;
use tidegate_sc_core::change::Kind;
use tidegate_sc_core::decision::Request;
use tidegate_sc_core::model::Model;

use super::{ApplyError, Bench, commit, decided, history, make, topic};
use crate::store::{ChainAt, Commit, Guard, Receipt};

pub(super) async fn check<B: Bench>(bench: &impl AsyncFn() -> B) {
    a_row_that_was_only_looked_at_must_be_as_it_was(&bench().await).await;
    a_decision_on_the_whole_state_holds_at_its_revision_alone(&bench().await).await;
    a_decision_holds_on_the_history_that_it_was_made_on_alone(&bench().await).await;
    a_name_that_was_used_meanwhile_is_not_free(&bench().await).await;
    a_receipt_goes_with_its_commit_and_stops_a_repetition(&bench().await).await;
}

async fn a_row_that_was_only_looked_at_must_be_as_it_was(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = history(&*store).await;
    let guard = |version| Guard {
        kind: Kind::Spu,
        row_key: "0".to_owned(),
        version,
    };
    let version = model.spus.values().next().unwrap().version;
    let guarded = |version| Commit {
        guards: vec![guard(version)],
        ..commit(decided(&model, &Request::CreateTopic(topic("guarded", 1))))
    };
    for stale in [version - 1, version + 1] {
        let refused = store.apply(&guarded(stale)).await;
        assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    }
    let nobody = Commit {
        guards: vec![Guard {
            row_key: "77".to_owned(),
            ..guard(1)
        }],
        ..guarded(version)
    };
    assert!(matches!(
        store.apply(&nobody).await,
        Err(ApplyError::Conflict)
    ));
    let good = guarded(version);
    let revision = store.apply(&good).await.unwrap();
    model.commit(revision, &good.changes);
    assert_eq!(store.snapshot().await.unwrap(), model);
}

async fn a_decision_on_the_whole_state_holds_at_its_revision_alone(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    let create = |model, name| decided(model, &Request::CreateTopic(topic(name, 1)));
    let first = Commit {
        at_revision: Some(0),
        ..commit(create(&model, "first"))
    };
    // Nothing in it conflicts with the first, but for what both were decided on.
    let second = Commit {
        at_revision: Some(0),
        ..commit(create(&model, "second"))
    };
    let revision = store.apply(&first).await.unwrap();
    model.commit(revision, &first.changes);
    let refused = store.apply(&second).await;
    assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    assert_eq!(store.snapshot().await.unwrap(), model);
    make(
        &*store,
        &mut model,
        &Request::CreateTopic(topic("third", 1)),
    )
    .await;
}

async fn a_decision_holds_on_the_history_that_it_was_made_on_alone(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = history(&*store).await;
    let ChainAt::Known(hash) = store.chain_at(model.revision).await.unwrap() else {
        panic!("the newest revision is known")
    };
    let on = |name, seen| Commit {
        seen: Some(seen),
        ..commit(decided(&model, &Request::CreateTopic(topic(name, 1))))
    };
    let newest = model.revision;
    let other = ChainHash([7; 32]);
    for (revision, hash) in [(newest, other), (newest - 1, hash), (newest + 1, hash)] {
        let refused = store.apply(&on("no", (revision, hash))).await;
        assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    }
    let first = on("first", (newest, hash));
    // What others made since does no harm.
    let second = on("second", (newest, hash));
    let revision = store.apply(&first).await.unwrap();
    model.commit(revision, &first.changes);
    let revision = store.apply(&second).await.unwrap();
    model.commit(revision, &second.changes);
    assert_eq!(store.snapshot().await.unwrap(), model);
}

async fn a_name_that_was_used_meanwhile_is_not_free(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = history(&*store).await;
    let create = Request::CreateTopic(topic("again", 1));
    let late = commit(decided(&model, &create));
    make(&*store, &mut model, &create).await;
    let version = |model: &Model| {
        model
            .topics
            .values()
            .find(|it| it.row.name.as_str() == "again")
            .unwrap()
            .row
            .version
    };
    let first = version(&model);
    let delete = Request::DeleteTopic {
        name: topic("again", 1).name,
        if_match: None,
    };
    make(&*store, &mut model, &delete).await;
    // It would begin with the version that the first one had.
    let refused = store.apply(&late).await;
    assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    make(&*store, &mut model, &create).await;
    assert!(version(&model) > first);
    assert_eq!(store.snapshot().await.unwrap(), model);
}

async fn a_receipt_goes_with_its_commit_and_stops_a_repetition(bench: &impl Bench) {
    let store = bench.open().await;
    let model = store.snapshot().await.unwrap();
    let receipt = |principal: &str, expires_at_ms| Receipt {
        principal: principal.to_owned(),
        key: "k".to_owned(),
        request_hash: [7; 32],
        answer: "{\"status\":201}".to_owned(),
        expires_at_ms,
    };
    let with = |name: &str, at_ms, receipt| Commit {
        at_ms,
        receipt: Some(receipt),
        ..commit(decided(&model, &Request::CreateTopic(topic(name, 1))))
    };
    let kept = receipt("ann", 100);
    store.apply(&with("a", 5, kept.clone())).await.unwrap();
    let again = store.apply(&with("b", 99, receipt("ann", 200))).await;
    assert!(matches!(again, Err(ApplyError::Repeated)), "{again:?}");
    assert_eq!(store.snapshot().await.unwrap().topics.len(), 1);
    let found = async |principal, now_ms| store.receipt(principal, "k", now_ms).await.unwrap();
    assert_eq!(found("ann", 99).await, Some(kept));
    assert_eq!(found("ann", 100).await, None, "it has expired");
    assert_eq!(found("bob", 5).await, None, "keys are each principal's own");
    // An expired one stands in nobody's way, dropped or not.
    let next = receipt("ann", 300);
    store.apply(&with("b", 100, next.clone())).await.unwrap();
    assert_eq!(found("ann", 100).await, Some(next));
    // A conflict leaves no receipt.
    let refused = store.apply(&with("b", 100, receipt("bob", 300))).await;
    assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    assert_eq!(found("bob", 100).await, None);
}
