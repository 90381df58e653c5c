//! The outbox: what is kept of it, the hash chain, the doorbell, and who the store is.

use tidegate_proto::id::StoreId;
use tidegate_sc_core::decision::Request;

use super::{Bench, commit, decided, history, make, topic};
use crate::limits::{PRODUCER_IDS_PER_ADOPTION, REVISIONS_PER_ADOPTION, REVISIONS_PER_MS};
use crate::store::{ChainAt, EventsError, Kept, MetaStore, Record, chain};

pub(super) async fn check<B: Bench>(bench: &impl AsyncFn() -> B) {
    compacted_events_are_refused_and_later_ones_are_served(&bench().await).await;
    events_are_kept_by_revisions_and_by_rows(&bench().await).await;
    each_hash_covers_the_commit_and_the_one_before(&bench().await).await;
    a_commit_rings_the_bell(&bench().await).await;
    a_store_that_is_adopted_is_another_with_the_same_content(&bench().await).await;
    an_adoption_passes_over_every_revision_that_was_given_out(&bench().await).await;
    a_store_that_is_adopted_passes_over_the_ids_it_may_have_leased(&bench().await).await;
}

fn revisions(revisions: u64) -> Kept {
    Kept {
        revisions,
        rows: u64::MAX,
    }
}

async fn compacted_events_are_refused_and_later_ones_are_served(bench: &impl Bench) {
    let store = bench.open().await;
    store.compact_events(revisions(0)).await.unwrap();
    let model = history(&*store).await;
    store
        .compact_events(revisions(model.revision - 3))
        .await
        .unwrap();
    let refused = store.events_after(2, 10).await;
    assert!(
        matches!(refused, Err(EventsError::Compacted { floor: 3 })),
        "{refused:?}"
    );
    let kept = store.events_after(3, 10).await.unwrap();
    assert_eq!(kept.first().unwrap().revision, 4);
    store
        .compact_events(revisions(model.revision))
        .await
        .unwrap();
    assert!(
        store.events_after(2, 10).await.is_err(),
        "the floor only grows"
    );
    let [gone, floor] = [store.chain_at(2).await, store.chain_at(3).await];
    assert_eq!(gone.unwrap(), ChainAt::Compacted { floor: 3 });
    assert!(matches!(floor.unwrap(), ChainAt::Known(_)), "still known");
    store.compact_events(revisions(0)).await.unwrap();
    let newest = store.events_after(model.revision - 1, 10).await.unwrap();
    assert!(!newest.is_empty(), "the newest revision is always there");
    assert!(store.events_after(model.revision - 2, 10).await.is_err());
    assert_eq!(store.snapshot().await.unwrap(), model);
}

async fn events_are_kept_by_revisions_and_by_rows(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    // Five rows each.
    for name in ["a", "b", "c"] {
        make(&*store, &mut model, &Request::CreateTopic(topic(name, 4))).await;
    }
    let rows = |rows| Kept {
        revisions: 100,
        rows,
    };
    store.compact_events(rows(15)).await.unwrap();
    assert_eq!(store.events_after(0, 10).await.unwrap().len(), 15);
    store.compact_events(rows(7)).await.unwrap();
    assert!(matches!(
        store.events_after(1, 10).await,
        Err(EventsError::Compacted { floor: 2 })
    ));
    assert_eq!(store.events_after(2, 10).await.unwrap().len(), 5);
    store.compact_events(rows(0)).await.unwrap();
    assert_eq!(store.events_after(2, 10).await.unwrap().len(), 5);
}

async fn each_hash_covers_the_commit_and_the_one_before(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    let mut expected = chain::start(model.cluster_id);
    assert_eq!(store.chain_at(0).await.unwrap(), ChainAt::Known(expected));
    for name in ["a", "b"] {
        let commit = commit(decided(&model, &Request::CreateTopic(topic(name, 2))));
        let revision = store.apply(&commit).await.unwrap();
        model.commit(revision, &commit.changes);
        expected = chain::next(expected, chain::digest(&commit));
        let known = store.chain_at(revision).await.unwrap();
        assert_eq!(known, ChainAt::Known(expected));
        let events = store.events_after(revision - 1, 1).await.unwrap();
        assert!(events.len() == 3 && events.iter().all(|event| event.chain == expected));
        let standing = store.standing().await.unwrap();
        assert_eq!((standing.revision, standing.chain), (revision, expected));
    }
    for ahead in [3, u64::MAX] {
        let known = store.chain_at(ahead).await.unwrap();
        assert_eq!(known, ChainAt::Ahead { revision: 2 });
        assert!(store.events_after(ahead, 1).await.unwrap().is_empty());
    }
}

async fn a_commit_rings_the_bell(bench: &impl Bench) {
    let store = bench.open().await;
    let another = match bench.open_another() {
        Some(another) => another.await,
        None => std::sync::Arc::clone(&store),
    };
    let mut bell = another.doorbell();
    let mut model = store.snapshot().await.unwrap();
    // Rings may come for nothing, and one may be for the connection: read until the commit is seen.
    let mut seen = 0;
    for name in ["a", "b", "c"] {
        make(&*store, &mut model, &Request::CreateTopic(topic(name, 1))).await;
        while seen < model.revision {
            let ring = tokio::time::timeout(std::time::Duration::from_secs(30), bell.rung());
            ring.await.expect("the bell rings");
            let events = another.events_after(seen, 10).await.unwrap();
            seen = events.last().map_or(seen, |event| event.revision);
        }
    }
}

async fn a_store_that_is_adopted_is_another_with_the_same_content(bench: &impl Bench) {
    let store = bench.open().await;
    let model = history(&*store).await;
    let before = store.standing().await.unwrap();
    assert_eq!(before.cluster_id, model.cluster_id);
    assert!(before.is_writable);
    let id: StoreId = store.adopt("ann", 9).await.unwrap();
    let after = store.standing().await.unwrap();
    assert_eq!(after.store_id, id);
    assert_ne!(before.store_id, id);
    let mut told = adoptions(&*store).await;
    told.sort_by_key(|it| it.0 == id);
    let both = [(before.store_id, ""), (id, "ann")];
    let both = both.map(|(store_id, actor)| (store_id, actor.to_owned(), after.revision, 9));
    assert_eq!(told, both, "as of the adoption, both of them");
    let third = store.adopt("ann", 10).await.unwrap();
    for known in [before.store_id, id, third] {
        assert!(store.has_been(known).await.unwrap(), "{known}");
    }
    let stranger = StoreId(uuid::Uuid::from_u128(99));
    assert!(!store.has_been(stranger).await.unwrap());
    let id = third;
    assert!(!store.has_been(stranger).await.unwrap());
    store.answer_for(stranger, 11).await.unwrap();
    store.answer_for(stranger, 12).await.unwrap();
    assert!(store.has_been(stranger).await.unwrap());
    assert_eq!(store.standing().await.unwrap().store_id, id);
    assert_eq!(after.chain, before.chain);
    let revision = store.standing().await.unwrap().revision;
    let mut content = model;
    content.revision = revision;
    assert_eq!(store.snapshot().await.unwrap(), content);
    store.close().await;
    let reopened = bench.open().await.standing().await.unwrap();
    assert_eq!(reopened.store_id, id, "it stays");
}

/// What a backup tells of them.
async fn adoptions(store: &dyn MetaStore) -> Vec<(StoreId, String, u64, i64)> {
    let records = store.backup().await.unwrap().records;
    let told = records.into_iter().filter_map(|record| {
        let Record::Adoption(it) = record else {
            return None;
        };
        let revision = u64::try_from(it.revision).unwrap();
        Some((it.store_id, it.actor, revision, it.at_ms))
    });
    told.collect()
}

async fn an_adoption_passes_over_every_revision_that_was_given_out(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = history(&*store).await;
    let lost = model.revision + 1_000;
    for at_ms in [9, 1_800_000_000_000] {
        let before = store.standing().await.unwrap();
        store.adopt("ann", at_ms).await.unwrap();
        let after = store.standing().await.unwrap();
        let passed = before.revision + REVISIONS_PER_ADOPTION;
        let at_least = u64::try_from(at_ms).unwrap() * REVISIONS_PER_MS;
        assert_eq!(after.revision, passed.max(at_least));
        assert_eq!(after.events_floor, after.revision);
        // Whoever stands before it, on what was lost too, needs a snapshot; there the history goes on.
        for seen in [0, before.revision, lost, after.revision - 1] {
            let refused = store.events_after(seen, 10).await;
            let floor = after.revision;
            assert!(
                matches!(refused, Err(EventsError::Compacted { floor: told }) if told == floor),
                "{seen}: {refused:?}"
            );
        }
        assert_eq!(store.events_after(after.revision, 9).await.unwrap(), []);
        let chain = store.chain_at(after.revision).await.unwrap();
        assert_eq!(chain, ChainAt::Known(after.chain));
        model = store.snapshot().await.unwrap();
        assert_eq!(model.revision, after.revision);
        let name = format!("at-{at_ms}");
        make(&*store, &mut model, &Request::CreateTopic(topic(&name, 1))).await;
        assert_eq!(model.revision, after.revision + 1);
        store
            .compact_events(Kept {
                revisions: 1,
                rows: 1,
            })
            .await
            .unwrap();
        assert_eq!(store.snapshot().await.unwrap(), model);
    }
}

async fn a_store_that_is_adopted_passes_over_the_ids_it_may_have_leased(bench: &impl Bench) {
    let store = bench.open().await;
    let mut last = store.lease_producer_ids(100).await.unwrap();
    for _ in 0..2 {
        store.adopt("ann", 9).await.unwrap();
        let next = store.lease_producer_ids(100).await.unwrap();
        assert_eq!(next.start, last.end + PRODUCER_IDS_PER_ADOPTION);
        last = next;
    }
}
