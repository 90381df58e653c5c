//! A controller of a cluster: a handle on the one task that changes the control state.
//!
//! Several may run on one store. Reads never wait: they look at the last published model, also while the
//! store is away. Writes are commands to the task, carried out in order even when the caller has gone.
//! Invariant: an answer to a write comes after the model and the topology that contain it were
//! published.

mod condition;
mod mirror;
mod reports;

mod flow;

mod roster;

mod holder;
mod stalls;

mod commands;

mod units;

mod relay;

mod task;

mod decisions;
mod duties;

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::Topology;
use tidegate_proto::error::Problem;
use tidegate_proto::id::{ClusterId, TopicId};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::limits::SPU_TIMEOUT_MS_DEFAULT;
use tidegate_sc_core::model::Model;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::Span;
use uuid::Uuid;

use crate::history::History;
use crate::limits::{COMMANDS_MAX, PACE_ALONE, PACE_IN_CLUSTER, PRODUCER_IDS_PER_LEASE};
use crate::metrics;
use crate::store::{DatabaseUrl, Doorbell, MetaStore, PostgresStore, SqliteStore, StoreError};
use commands::Command;
pub use commands::{Answered, Decided, Once, Origin, Shape};
use condition::Conditions;
pub use condition::{Alarm, Condition};
pub use flow::{Amounts, Flows};
use holder::{Holder, HolderName, Lease};
pub(crate) use mirror::Shown;
use mirror::{Mirror, Published};
pub use relay::HolderLink;
pub use reports::Reported;
use roster::Roster;
use task::{Task, Times};

/// Where the metadata is kept.
#[derive(Debug, Clone)]
pub enum StoreLocation {
    /// In this SQLite file, made when it is not there.
    Sqlite(PathBuf),
    /// In this Postgres database, prepared by `tidegate sc migrate`; the server's administrator sees us
    /// under this name.
    Postgres { url: DatabaseUrl, name: String },
}

/// What a controller needs to start.
#[derive(Debug)]
pub struct ScConfig {
    pub store: StoreLocation,
    pub settings: ControllerSettings,
    /// The controller's tasks run here and close the store when they are cancelled.
    pub tasks: Tasks,
}

/// What a controller is to the others and to its units.
#[derive(Debug, Clone)]
pub struct ControllerSettings {
    /// Its name, for people; a controller of one process has none to be told from.
    pub name: String,
    /// Where other controllers reach it, as `host:port`; none when nobody is to.
    pub private_address: Option<String>,
    /// Silence after which a unit is shut out; none when units live and die with the controller.
    pub spu_timeout: Option<Duration>,
    /// Nobody else can open the store.
    pub is_alone: bool,
    /// Most copies of a partition that the storage units of this version can keep.
    pub replication_factor_max: u16,
}

impl ControllerSettings {
    /// One process that is controller and storage unit at once.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            name: "up".to_owned(),
            private_address: None,
            spu_timeout: None,
            is_alone: true,
            replication_factor_max: u16::MAX,
        }
    }

    /// One of several controllers, whose units are processes of their own.
    #[must_use]
    pub fn in_cluster(name: String, private_address: Option<String>) -> Self {
        Self {
            name,
            private_address,
            spu_timeout: Some(Duration::from_millis(SPU_TIMEOUT_MS_DEFAULT)),
            is_alone: false,
            replication_factor_max: u16::MAX,
        }
    }
}

/// A handle on the controller. Clones are the same controller.
#[derive(Debug, Clone)]
pub struct Controller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn MetaStore>,
    settings: ControllerSettings,
    commands: mpsc::Sender<Command>,
    shown: watch::Receiver<Shown>,
    topologies: watch::Receiver<Arc<Topology>>,
    history: Arc<History>,
    conditions: Arc<Conditions>,
    roster: Arc<Roster>,
    lease: Arc<watch::Sender<Lease>>,
    /// Makes the task follow the store.
    bell: Arc<Notify>,
    /// Questions to the store about what nodes have seen.
    witnesses: Semaphore,
    /// Cancelled when this controller gives up the lease for good.
    leaving: CancellationToken,
    started_at_ms: i64,
}

impl Controller {
    /// Opens the store and starts the controller on it.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another controller has the file; [`StoreError::SchemaTooNew`] when a
    /// newer version wrote it; [`StoreError::SchemaMissing`] and [`StoreError::SchemaTooOld`] when the
    /// database was not prepared; others as the database says.
    pub async fn open(config: ScConfig) -> Result<Self, StoreError> {
        let store: Arc<dyn MetaStore> = match &config.store {
            StoreLocation::Sqlite(path) => {
                let cluster_id = ClusterId(Uuid::new_v4());
                Arc::new(SqliteStore::open(path, cluster_id, clock::now_ms()).await?)
            }
            StoreLocation::Postgres { url, name } => {
                Arc::new(PostgresStore::open(url, name).await?)
            }
        };
        Self::start(store, config.settings, &config.tasks).await
    }

    /// Starts a controller on a store that is open.
    ///
    /// # Errors
    /// Those of reading the store.
    pub async fn start(
        store: Arc<dyn MetaStore>,
        settings: ControllerSettings,
        tasks: &Tasks,
    ) -> Result<Self, StoreError> {
        let mirror = Mirror::open(Arc::clone(&store)).await?;
        let Published {
            shown,
            topologies,
            history,
        } = mirror.published();
        let (shown, topologies) = (shown.subscribe(), topologies.subscribe());
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let shared = Shared {
            shown,
            topologies,
            history: Arc::clone(history),
            conditions: Arc::new(Conditions::new()),
            roster: Arc::new(Roster::new(settings.spu_timeout)),
            lease: Arc::new(watch::channel(Lease::Unknown).0),
            bell: Arc::new(Notify::new()),
            witnesses: Semaphore::new(1),
            leaving: tasks.token().child_token(),
            started_at_ms: clock::now_ms(),
            store,
            settings,
            commands,
        };
        let controller = Self {
            shared: Arc::new(shared),
        };
        controller.spawn(mirror, queue, tasks);
        Ok(controller)
    }

    fn spawn(&self, mirror: Mirror, queue: mpsc::Receiver<Command>, tasks: &Tasks) {
        let shared = &self.shared;
        let settings = &shared.settings;
        let pace = if settings.is_alone {
            PACE_ALONE
        } else {
            PACE_IN_CLUSTER
        };
        let model = mirror.model();
        let span = tracing::info_span!("controller", cluster_id = %model.cluster_id);
        span.in_scope(|| {
            tracing::info!(
                store = shared.store.name(),
                revision = model.revision,
                topics = model.topics.len(),
                "controller started"
            );
        });
        let holder = Holder {
            store: Arc::clone(&shared.store),
            name: HolderName {
                name: settings.name.clone(),
                address: settings.private_address.clone(),
                // Nobody else can open its store: after a crash the lease is its own at once.
                run: if settings.is_alone {
                    Uuid::nil()
                } else {
                    Uuid::new_v4()
                },
            },
            lease: Arc::clone(&shared.lease),
            pace,
        };
        let task = Task {
            tasks: tasks.clone(),
            store: Arc::clone(&shared.store),
            mirror,
            conditions: Arc::clone(&shared.conditions),
            roster: Arc::clone(&shared.roster),
            lease: Arc::clone(&shared.lease),
            times: Times::now(),
            pace,
            is_alone: settings.is_alone,
            controls: None,
        };
        let bell = Arc::clone(&shared.bell);
        let ringing = ring(shared.store.doorbell(), Arc::clone(&bell));
        tasks.spawn(TaskKind::Watch, Span::current(), ringing);
        let (store, stop) = (Arc::clone(&shared.store), tasks.token());
        let (roster, leaving) = (Arc::clone(&shared.roster), shared.leaving.clone());
        tasks.spawn(TaskKind::Controller, span, async move {
            let lease = holder.run(leaving);
            let stalls = stalls::watch(roster, pace, stop.clone());
            tokio::join!(task.run(queue, bell, stop), lease, stalls);
            store.close().await;
        });
    }

    /// Leaves what others can do, before the listeners stop: gives the lease back, because who is not
    /// reached by units cannot judge who is silent, and sends watchers elsewhere. Requests go on.
    pub fn leave(&self) {
        self.shared.leaving.cancel();
        self.shared.history.end();
    }

    /// The topology now, and whenever it changes.
    #[must_use]
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.topologies.clone()
    }

    /// The control state as last published.
    #[must_use]
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&self.shared.shown.borrow().model)
    }

    /// The same with where it stands in the history.
    pub(crate) fn shown(&self) -> Shown {
        self.shared.shown.borrow().clone()
    }

    /// What it is kept in.
    pub(crate) fn store(&self) -> &Arc<dyn MetaStore> {
        &self.shared.store
    }

    /// Identity of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.shared.shown.borrow().model.cluster_id
    }

    /// The kind of store behind it.
    #[must_use]
    pub fn store_name(&self) -> &'static str {
        self.shared.store.name()
    }

    /// When this controller started, in milliseconds since 1970.
    #[must_use]
    pub fn started_at_ms(&self) -> i64 {
        self.shared.started_at_ms
    }

    /// Whether the store is at hand and to be believed, now and later.
    #[must_use]
    pub fn condition(&self) -> watch::Receiver<Condition> {
        self.shared.conditions.subscribe()
    }

    /// True while this controller runs the cluster.
    #[must_use]
    pub fn holds_lease(&self) -> bool {
        self.shared.lease.borrow().epoch().is_some()
    }

    pub(crate) fn history(&self) -> &Arc<History> {
        &self.shared.history
    }

    /// Somebody knows more than we do.
    pub(crate) fn follow_soon(&self) {
        self.shared.bell.notify_one();
    }

    /// Where that partition stands, as its leader told this controller or another one; none when that is
    /// too long ago.
    #[must_use]
    pub fn reported(&self, key: ReplicaKey) -> Option<Reported> {
        let leader = self.model().partition(key).and_then(|row| row.leader);
        self.shared.roster.partition(key, leader)
    }

    /// Whether units said that they have room for more; true while nobody said anything.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let model = self.model();
        let roster = &self.shared.roster;
        let mut told = model.spus_at_hand().filter_map(|row| roster.unit(row.spu));
        let Some(first) = told.next() else {
            return true;
        };
        first.disk.has_room || told.any(|unit| unit.disk.has_room)
    }

    /// Takes a block of producer ids that nobody else will ever get.
    ///
    /// # Errors
    /// 503 when the store fails, or is not to be believed: one that went back would give ids away again.
    pub async fn lease_producer_ids(&self) -> Result<Range<u64>, Problem> {
        if let Some(refusal) = self.shared.conditions.now().refusal() {
            return Err(refusal);
        }
        let leased = self
            .shared
            .store
            .lease_producer_ids(PRODUCER_IDS_PER_LEASE)
            .await;
        leased.map_err(|error| {
            metrics::store_failed();
            error.into()
        })
    }

    /// True when that topic was deleted, as opposed to never known: replicas of it that turn up on a
    /// disk may be removed.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn is_deleted(&self, topic: TopicId) -> Result<bool, Problem> {
        let known = self.shared.store.is_deleted(topic).await;
        known.map_err(|error| {
            metrics::store_failed();
            error.into()
        })
    }
}

/// Rings the task's bell whenever the store rings.
async fn ring(mut bell: Box<dyn Doorbell>, task: Arc<Notify>) {
    loop {
        bell.rung().await;
        task.notify_one();
    }
}

#[cfg(test)]
mod tests;
