//! The suite that every metadata store passes. A store joins by implementing [`Bench`].
//!
//! Each check gets a store of its own and tells what it checks by its name.

mod backups;
mod conditions;
mod events;
mod histories;
mod lease;
mod ledger;

use std::sync::Arc;

use tidegate_proto::api::topic::TopicRequest;
use tidegate_proto::api::truncate::TruncatePartition;
use tidegate_proto::control::{NodeSite, Register};
use tidegate_proto::id::{PartitionId, RunId, SpuId, StorageId, TopicId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_proto::position::Offset;
use tidegate_sc_core::change::Change;
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{IfMatch, Request, TopicWrite, TruncateWrite};
use tidegate_sc_core::model::Model;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::{ApplyError, BoxFuture, Commit, MetaStore};

/// Makes stores of one kind for one check.
pub(super) trait Bench: Send + Sync {
    /// Opens the store of this bench; the second time, what the first left.
    fn open(&self) -> BoxFuture<'_, Arc<dyn MetaStore>>;

    /// Another controller on the same database, where there can be one.
    fn open_another(&self) -> Option<BoxFuture<'_, Arc<dyn MetaStore>>> {
        Some(self.open())
    }

    /// A store as it would be found if every process had been killed now, without `close`.
    fn after_a_crash(&self) -> BoxFuture<'_, Arc<dyn MetaStore>>;
}

/// Runs the whole suite; `bench` gives a fresh bench each time.
pub(super) async fn conforms<B: Bench>(bench: impl AsyncFn() -> B) {
    a_new_store_is_empty_and_has_an_identity_that_stays(&bench().await).await;
    a_snapshot_equals_the_model_that_followed_the_commits(&bench().await).await;
    events_folded_over_an_older_snapshot_give_the_newer(&bench().await).await;
    a_commit_on_an_old_version_conflicts_and_leaves_nothing(&bench().await).await;
    a_name_is_given_out_once(&bench().await).await;
    concurrent_commits_lose_no_update(&bench().await).await;
    a_commit_is_found_by_its_id(&bench().await).await;
    a_deleted_topic_is_told_from_one_that_never_was(&bench().await).await;
    what_was_answered_survives_a_crash(&bench().await).await;
    conditions::check(&bench).await;
    events::check(&bench).await;
    lease::check(&bench).await;
    ledger::check(&bench).await;
    backups::check(&bench).await;
    producer_ids_are_never_leased_twice(&bench().await).await;
    a_commit_of_thousands_of_partitions_is_one_commit(&bench().await).await;
}

fn commit(changes: Vec<Change>) -> Commit {
    Commit::new(changes, "tester".to_owned(), "r-1".to_owned(), 5)
}

fn topic(name: &str, partitions: u32) -> TopicWrite {
    TopicWrite {
        name: TopicName::parse(name).unwrap(),
        request: TopicRequest {
            partitions: partitions.into(),
            ..TopicRequest::default()
        },
        if_match: None,
    }
}

fn registration(model: &Model) -> Request {
    let row = model.spus.get(&SpuId(0));
    Request::Register(Register {
        spu_id: SpuId(0),
        storage_id: StorageId(Uuid::from_u128(1)),
        run_id: RunId(Uuid::from_u128(2)),
        last_incarnation: row.map(|row| row.incarnation),
        attempt: None,
        granted: None,
        same_boot: true,
        replicas: Vec::new(),
        group: Some(SpuGroupName::default()),
        site: NodeSite::default(),
    })
}

fn truncation(items: &[(u32, u64)]) -> Request {
    let item = |(partition, before): &(u32, u64)| TruncatePartition {
        partition: PartitionId(*partition),
        before_offset: Offset::new(*before),
    };
    Request::TruncateTopic(TruncateWrite {
        name: TopicName::parse("orders").unwrap(),
        partitions: items.iter().map(item).collect(),
        leader_epochs: None,
        if_match: None,
    })
}

fn decided(model: &Model, request: &Request) -> Vec<Change> {
    decide(model, 7, Uuid::new_v4(), request).unwrap().changes
}

/// Decides on `model`, commits, and keeps `model` up with it.
async fn make(store: &dyn MetaStore, model: &mut Model, request: &Request) {
    let commit = commit(decided(model, request));
    let revision = store.apply(&commit).await.unwrap();
    assert_eq!(revision, model.revision + 1, "revisions are dense");
    model.commit(revision, &commit.changes);
}

/// A history with every kind of change in it.
async fn history(store: &dyn MetaStore) -> Model {
    let mut model = store.snapshot().await.unwrap();
    let requests: [fn(&Model) -> Request; 9] = [
        registration,
        |_| Request::CreateTopic(topic("orders", 3)),
        |_| Request::CreateTopic(topic("billing", 2)),
        |_| Request::EnsureTopic(topic("orders", 5)),
        |_| truncation(&[(4, 11), (1, 7)]),
        registration,
        |_| truncation(&[(1, 9)]),
        |_| Request::DeleteTopic {
            name: TopicName::parse("billing").unwrap(),
            if_match: None,
        },
        |_| Request::CreateTopic(topic("billing", 1)),
    ];
    for request in requests {
        let request = request(&model);
        make(store, &mut model, &request).await;
    }
    model
}

async fn a_new_store_is_empty_and_has_an_identity_that_stays(bench: &impl Bench) {
    let store = bench.open().await;
    let first = store.snapshot().await.unwrap();
    assert_eq!(
        (first.revision, first.topics.len(), first.spus.len()),
        (0, 0, 0)
    );
    assert!(store.events_after(0, 10).await.unwrap().is_empty());
    store.close().await;
    assert_eq!(bench.open().await.snapshot().await.unwrap(), first);
}

async fn a_snapshot_equals_the_model_that_followed_the_commits(bench: &impl Bench) {
    let store = bench.open().await;
    let model = history(&*store).await;
    assert_eq!(store.snapshot().await.unwrap(), model);
    store.close().await;
    assert_eq!(bench.open().await.snapshot().await.unwrap(), model);
}

async fn events_folded_over_an_older_snapshot_give_the_newer(bench: &impl Bench) {
    let store = bench.open().await;
    let mut older = store.snapshot().await.unwrap();
    let newer = history(&*store).await;
    // In pages, as a follower reads them.
    loop {
        let events = store.events_after(older.revision, 2).await.unwrap();
        let Some(last) = events.last() else { break };
        assert!(last.revision <= older.revision + 2);
        for revision in older.revision + 1..=last.revision {
            let of_it: Vec<_> = events
                .iter()
                .filter(|event| event.revision == revision)
                .collect();
            assert!(of_it.iter().zip(0..).all(|(event, seq)| event.seq == seq));
            assert!(
                of_it
                    .iter()
                    .all(|event| event.actor == "tester" && event.at_ms == 5)
            );
            let changes: Vec<_> = of_it.iter().map(|event| event.change.clone()).collect();
            older.commit(revision, &changes);
        }
    }
    assert_eq!(older, newer);
}

async fn a_commit_on_an_old_version_conflicts_and_leaves_nothing(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = history(&*store).await;
    let old = model.clone();
    make(
        &*store,
        &mut model,
        &Request::EnsureTopic(topic("orders", 6)),
    )
    .await;
    let stale = [
        decided(&old, &Request::EnsureTopic(topic("orders", 9))),
        decided(
            &old,
            &Request::DeleteTopic {
                name: TopicName::parse("orders").unwrap(),
                if_match: Some(IfMatch::Any),
            },
        ),
        // A good change does not carry a stale one with it.
        [
            decided(&old, &Request::CreateTopic(topic("fresh", 1))),
            decided(&old, &Request::EnsureTopic(topic("orders", 9))),
        ]
        .concat(),
    ];
    for changes in stale {
        let refused = store.apply(&commit(changes)).await;
        assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    }
    let spu = registration(&old);
    make(&*store, &mut model, &spu).await;
    let refused = store.apply(&commit(decided(&old, &spu))).await;
    assert!(matches!(refused, Err(ApplyError::Conflict)), "{refused:?}");
    assert_eq!(store.snapshot().await.unwrap(), model);
}

async fn a_name_is_given_out_once(bench: &impl Bench) {
    let store = bench.open().await;
    let model = store.snapshot().await.unwrap();
    let [first, second] =
        [(); 2].map(|()| commit(decided(&model, &Request::CreateTopic(topic("orders", 1)))));
    store.apply(&first).await.unwrap();
    assert!(matches!(
        store.apply(&second).await,
        Err(ApplyError::Conflict)
    ));
    assert_eq!(store.snapshot().await.unwrap().topics.len(), 1);
}

async fn concurrent_commits_lose_no_update(bench: &impl Bench) {
    const WRITERS: usize = 8;
    const ADDED_EACH: usize = 5;
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    make(
        &*store,
        &mut model,
        &Request::CreateTopic(topic("orders", 1)),
    )
    .await;
    let met = Arc::new(Barrier::new(WRITERS));
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (store, met) = (Arc::clone(&store), Arc::clone(&met));
        writers.spawn(async move {
            let (mut conflicts, mut attempts) = (0, 0);
            for _ in 0..ADDED_EACH {
                loop {
                    let model = store.snapshot().await.unwrap();
                    if attempts == 0 {
                        // All have looked before the first acts.
                        met.wait().await;
                    }
                    attempts += 1;
                    let name = TopicName::parse("orders").unwrap();
                    let more = model.topics[&name].row.partitions + 1;
                    let ensure = Request::EnsureTopic(topic("orders", more));
                    match store.apply(&commit(decided(&model, &ensure))).await {
                        Ok(_) => break,
                        Err(ApplyError::Conflict) => conflicts += 1,
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            conflicts
        });
    }
    let conflicts: usize = writers.join_all().await.into_iter().sum();
    let end = store.snapshot().await.unwrap();
    let row = &end.topics.values().next().unwrap().row;
    assert_eq!(
        row.partitions as usize,
        1 + WRITERS * ADDED_EACH,
        "{conflicts} conflicts"
    );
    assert_eq!(end.revision as usize, 1 + WRITERS * ADDED_EACH);
    assert!(conflicts >= WRITERS - 1, "the writers met");
}

async fn a_commit_is_found_by_its_id(bench: &impl Bench) {
    let store = bench.open().await;
    let model = store.snapshot().await.unwrap();
    let commit = commit(decided(&model, &Request::CreateTopic(topic("orders", 1))));
    assert_eq!(store.committed(commit.id).await.unwrap(), None);
    let revision = store.apply(&commit).await.unwrap();
    assert_eq!(store.committed(commit.id).await.unwrap(), Some(revision));
}

async fn a_deleted_topic_is_told_from_one_that_never_was(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    make(
        &*store,
        &mut model,
        &Request::CreateTopic(topic("orders", 1)),
    )
    .await;
    let name = TopicName::parse("orders").unwrap();
    let id = model.topics[&name].row.id;
    assert!(!store.is_deleted(id).await.unwrap());
    make(
        &*store,
        &mut model,
        &Request::DeleteTopic {
            name,
            if_match: None,
        },
    )
    .await;
    assert!(store.is_deleted(id).await.unwrap());
    assert!(!store.is_deleted(TopicId(Uuid::new_v4())).await.unwrap());
}

async fn what_was_answered_survives_a_crash(bench: &impl Bench) {
    let store = bench.open().await;
    let model = history(&*store).await;
    let leased = store.lease_producer_ids(10).await.unwrap();
    let found = bench.after_a_crash().await;
    assert_eq!(found.snapshot().await.unwrap(), model);
    assert_eq!(
        found.lease_producer_ids(10).await.unwrap().start,
        leased.end
    );
    assert_eq!(
        found.events_after(0, u64::MAX).await.unwrap(),
        store.events_after(0, u64::MAX).await.unwrap()
    );
}

async fn producer_ids_are_never_leased_twice(bench: &impl Bench) {
    let store = bench.open().await;
    let mut leases = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        leases.spawn(async move { store.lease_producer_ids(100).await.unwrap() });
    }
    let mut leases = leases.join_all().await;
    leases.sort_by_key(|lease| lease.start);
    assert!(leases[0].start > 0, "0 stands for no producer");
    assert!(leases.iter().all(|lease| lease.end - lease.start == 100));
    assert!(leases.windows(2).all(|pair| pair[0].end == pair[1].start));
    store.close().await;
    let next = bench.open().await.lease_producer_ids(1).await.unwrap();
    assert_eq!(next.start, leases[15].end);
}

async fn a_commit_of_thousands_of_partitions_is_one_commit(bench: &impl Bench) {
    let store = bench.open().await;
    let mut model = store.snapshot().await.unwrap();
    let register = registration(&model);
    make(&*store, &mut model, &register).await;
    make(
        &*store,
        &mut model,
        &Request::CreateTopic(topic("wide", 5_000)),
    )
    .await;
    // Every partition gets a new epoch.
    let register = registration(&model);
    make(&*store, &mut model, &register).await;
    assert_eq!(model.revision, 3);
    let read = store.snapshot().await.unwrap();
    assert!(read == model, "5,000 rows came back as they went in");
}
