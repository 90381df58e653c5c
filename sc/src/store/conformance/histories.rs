//! Generated histories, the same in every store: every answer, every state, every event and every hash
//! must agree. Whatever the suite above forgets to say, the stores say the same about it.

use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;
use tidegate_proto::api::topic::TopicRequest;
use tidegate_proto::control::{NodeSite, Register};
use tidegate_proto::id::{ClusterId, LeaseEpoch, RunId, SpuId, StorageId, StoreId};
use tidegate_proto::name::{SpuGroupName, TopicName};
use tidegate_sc_core::change::Kind;
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Request, TopicWrite};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::backups;
use crate::local_postgres::Scratch;
use crate::store::{
    Commit, DatabaseUrl, Guard, Kept, MemoryDatabase, MetaStore, PostgresStore, Receipt,
    SqliteStore, migrate,
};

/// Histories that the suite runs; with PROPTEST_CASES in the environment a hundredth of those, for each
/// needs a database.
const HISTORIES: u32 = 12;

/// What the library says when the environment says nothing.
const ASKED_BY_NOBODY: u32 = 256;

#[derive(Debug, Clone)]
enum Ask {
    Register(u32),
    Create(u8, u32),
    Ensure(u8, u32),
    Delete(u8),
}

/// How old the model is that a commit is decided on, and what else it asks for.
#[derive(Debug, Clone)]
struct Manner {
    /// Models back.
    age: usize,
    guard_versions_back: Option<u64>,
    is_at_revision: bool,
    lease_epochs_back: Option<u64>,
    receipt_key: Option<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Change(Ask, Manner),
    Lease(u8, bool),
    Renew(u64),
    Release(u64),
    ProducerIds(u64),
    Compact(u64, u64),
    Reopen,
}

fn manner() -> impl Strategy<Value = Manner> {
    let rare = |values: std::ops::Range<u64>| prop::option::weighted(0.2, values);
    let age = prop_oneof![6 => Just(0_usize), 1 => 1..4_usize];
    let key = prop::option::weighted(0.2, 0..3_u8);
    (age, rare(0..2), prop::bool::weighted(0.2), rare(0..2), key).prop_map(
        |(age, guard_versions_back, is_at_revision, lease_epochs_back, receipt_key)| Manner {
            age,
            guard_versions_back,
            is_at_revision,
            lease_epochs_back,
            receipt_key,
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        2 => (0..3_u32).prop_map(Ask::Register),
        4 => (0..6_u8, 1..5_u32).prop_map(|(name, partitions)| Ask::Create(name, partitions)),
        3 => (0..6_u8, 1..9_u32).prop_map(|(name, partitions)| Ask::Ensure(name, partitions)),
        2 => (0..6_u8).prop_map(Ask::Delete),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => (ask(), manner()).prop_map(|(ask, manner)| Step::Change(ask, manner)),
        2 => (0..3_u8, any::<bool>()).prop_map(|(holder, expires)| Step::Lease(holder, expires)),
        1 => (0..4_u64).prop_map(Step::Renew),
        1 => (0..4_u64).prop_map(Step::Release),
        1 => (1..9_u64).prop_map(Step::ProducerIds),
        1 => (0..9_u64, 0..30_u64).prop_map(|(revisions, rows)| Step::Compact(revisions, rows)),
        1 => Just(Step::Reopen),
    ]
}

fn topic_write(name: u8, partitions: u32) -> TopicWrite {
    TopicWrite {
        name: TopicName::parse(&format!("topic-{name}")).unwrap(),
        request: TopicRequest {
            partitions: partitions.into(),
            ..TopicRequest::default()
        },
        if_match: None,
    }
}

fn request(ask: &Ask, model: &Model) -> Request {
    match ask {
        Ask::Create(name, partitions) => Request::CreateTopic(topic_write(*name, *partitions)),
        Ask::Ensure(name, partitions) => Request::EnsureTopic(topic_write(*name, *partitions)),
        Ask::Delete(name) => Request::DeleteTopic {
            name: topic_write(*name, 1).name,
            if_match: None,
        },
        Ask::Register(spu) => {
            let row = model.spus.get(&SpuId(*spu));
            Request::Register(Register {
                spu_id: SpuId(*spu),
                storage_id: StorageId(Uuid::from_u128(u128::from(*spu) + 100)),
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
    }
}

/// The stores side by side. Everything asked of one is asked of all.
struct Stores {
    stores: Vec<Arc<dyn MetaStore>>,
    sqlite: TempDir,
    memory: MemoryDatabase,
    postgres: DatabaseUrl,
    cluster_id: ClusterId,
    /// Models so far, oldest first: what stale deciders look at.
    models: Vec<Model>,
    number: u128,
}

impl Stores {
    async fn new(server: &Arc<Scratch>) -> Self {
        let cluster_id = ClusterId(Uuid::from_u128(0xc1));
        let database = server.database().await.unwrap();
        let postgres = DatabaseUrl::parse(&database.url).unwrap();
        migrate(&postgres, cluster_id, 1).await.unwrap();
        let mut stores = Self {
            stores: Vec::new(),
            sqlite: TempDir::new().unwrap(),
            memory: MemoryDatabase::new(cluster_id, StoreId(Uuid::from_u128(1))),
            postgres,
            cluster_id,
            models: vec![Model::empty(cluster_id)],
            number: 0,
        };
        stores.open().await;
        stores
    }

    async fn open(&mut self) {
        for store in self.stores.drain(..) {
            store.close().await;
        }
        let path = self.sqlite.path().join("meta.db");
        let sqlite = SqliteStore::open(&path, self.cluster_id, 1).await.unwrap();
        let postgres = PostgresStore::open(&self.postgres, "histories").await;
        self.stores = vec![
            Arc::new(self.memory.open()),
            Arc::new(sqlite),
            Arc::new(postgres.unwrap()),
        ];
    }

    /// What all of them answer, as text.
    async fn all<T: std::fmt::Debug>(&self, ask: impl AsyncFn(&dyn MetaStore) -> T) -> String {
        let mut answers = Vec::new();
        for store in &self.stores {
            answers.push(format!("{:?}", ask(&**store).await));
        }
        for (store, answer) in self.stores.iter().zip(&answers) {
            assert_eq!(answer, &answers[0], "{} and memory differ", store.name());
        }
        answers.swap_remove(0)
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Change(ask, manner) => self.change(ask, manner).await,
            Step::Lease(holder, expires) => {
                let holder = format!("sc-{holder}");
                let seconds = if *expires { 0 } else { 3600 };
                let duration = Duration::from_secs(seconds);
                self.all(async |store| {
                    let got = store.acquire_lease(&holder, duration).await.unwrap();
                    // How much is left depends on the clock.
                    format!("{got:?}").split(", left").next().map(str::to_owned)
                })
                .await;
            }
            Step::Renew(epoch) => {
                let duration = Duration::from_secs(3600);
                let epoch = LeaseEpoch(*epoch);
                self.all(async |store| store.renew_lease(epoch, duration).await.unwrap())
                    .await;
            }
            Step::Release(epoch) => {
                let epoch = LeaseEpoch(*epoch);
                self.all(async |store| store.release_lease(epoch).await.unwrap())
                    .await;
            }
            Step::ProducerIds(count) => {
                self.all(async |store| store.lease_producer_ids(*count).await.unwrap())
                    .await;
            }
            Step::Compact(revisions, rows) => {
                let (revisions, rows) = (*revisions, *rows);
                let kept = Kept { revisions, rows };
                self.all(async |store| store.compact_events(kept).await.unwrap())
                    .await;
            }
            Step::Reopen => self.open().await,
        }
    }

    async fn change(&mut self, ask: &Ask, manner: &Manner) {
        let newest = self.models.len() - 1;
        let model = &self.models[newest.saturating_sub(manner.age)];
        self.number += 1;
        let seed = Uuid::from_u128(self.number << 64);
        let Ok(decision) = decide(model, 7, seed, &request(ask, model)) else {
            return;
        };
        if decision.changes.is_empty() {
            return;
        }
        let mut commit = Commit::new(decision.changes, "tester".to_owned(), String::new(), 7);
        commit.id = Uuid::from_u128(self.number);
        if let Some(back) = manner.guard_versions_back
            && let Some(row) = model.spus.values().next()
        {
            commit.guards.push(Guard {
                kind: Kind::Spu,
                row_key: row.spu.to_string(),
                version: row.version + back,
            });
        }
        commit.at_revision = manner.is_at_revision.then_some(model.revision);
        if let Some(back) = manner.lease_epochs_back {
            commit.lease = Some(LeaseEpoch(back));
        }
        commit.receipt = manner.receipt_key.map(|key| Receipt {
            principal: "ann".to_owned(),
            key: key.to_string(),
            request_hash: [key; 32],
            answer: self.number.to_string(),
            expires_at_ms: 100,
        });
        let answer = self.all(async |store| store.apply(&commit).await).await;
        let found = self.all(async |store| store.committed(commit.id).await.unwrap());
        let found = found.await;
        assert_eq!(
            found.starts_with("Some"),
            answer.starts_with("Ok"),
            "{answer}"
        );
        if answer.starts_with("Ok") {
            let mut next = self.models[newest].clone();
            next.commit(next.revision + 1, &commit.changes);
            assert_eq!(answer, format!("Ok({})", next.revision));
            self.models.push(next);
        }
    }

    /// All state there is, at the end.
    async fn compare(&self) {
        let newest = self.models.last().unwrap();
        for store in &self.stores {
            let read = store.snapshot().await.unwrap();
            assert!(read == *newest, "{}: {read:?}\n{newest:?}", store.name());
        }
        for revision in 0..=newest.revision + 1 {
            self.all(async |store| store.events_after(revision, 3).await)
                .await;
            self.all(async |store| store.chain_at(revision).await.unwrap())
                .await;
        }
        for topic in self.models.iter().flat_map(|model| model.topics.values()) {
            let id = topic.row.id;
            self.all(async |store| store.is_deleted(id).await.unwrap())
                .await;
        }
        for key in ["0", "1", "2"] {
            self.all(async |store| store.receipt("ann", key, 7).await.unwrap())
                .await;
        }
    }
}

impl Stores {
    /// What each kind of store backs up is the same, and each takes what another wrote.
    async fn restore_each_from_the_last(&self, server: &Arc<Scratch>) {
        let mut backups = Vec::new();
        for store in &self.stores {
            backups::note(&**store).await;
            backups.push(backups::carried(&**store).await);
        }
        for backup in &backups {
            assert_eq!(backups::content(backup), backups::content(&backups[0]));
        }
        backups.rotate_left(1);
        let new = Self::new(server).await;
        for (store, backup) in new.stores.iter().zip(&backups) {
            store.restore(backup, 9).await.unwrap();
            let found = store.backup().await.unwrap();
            assert_eq!(backups::content(&found), backups::kept(backup));
            assert_eq!(
                store.snapshot().await.unwrap(),
                *self.models.last().unwrap()
            );
            store.close().await;
        }
    }
}

#[test]
fn generated_histories_go_the_same_way_in_every_store() {
    let server = Scratch::shared().unwrap();
    let default = ProptestConfig::default();
    let is_asked = default.cases != ASKED_BY_NOBODY;
    let config = ProptestConfig {
        cases: if is_asked {
            default.cases / 100 + 1
        } else {
            HISTORIES
        },
        failure_persistence: None,
        max_shrink_iters: 200,
        ..default
    };
    let run = |steps: Vec<Step>| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut stores = Stores::new(&server).await;
            for step in &steps {
                stores.run(step).await;
            }
            stores.compare().await;
            stores.restore_each_from_the_last(&server).await;
            for store in &stores.stores {
                store.close().await;
            }
        });
        Ok(())
    };
    let outcome = TestRunner::new(config).run(&vec(step(), 1..40), run);
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
