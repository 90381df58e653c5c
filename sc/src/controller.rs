//! The controller of a cluster: a handle on the one task that changes the control state.
//!
//! Reads never wait: they look at the last published model. Writes are commands to the task, carried
//! out in order even when the caller has gone. Invariant: an answer to a write comes after the model
//! and the topology that contain it were published.

mod task;

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::{Register, Registered, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{ClusterId, TopicId};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Decision, Request};
use tidegate_sc_core::model::Model;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::limits::{COMMANDS_MAX, PRODUCER_IDS_PER_LEASE};
use crate::metrics;
use crate::store::{DatabaseUrl, MetaStore, PostgresStore, Receipt, SqliteStore, StoreError};
use task::Task;

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
    /// The controller's task runs here and closes the store when it is cancelled.
    pub tasks: Tasks,
}

/// Who asked for a change, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: String,
    pub request_id: String,
}

/// A decision that was carried out, and the state with it.
#[derive(Debug, Clone)]
pub struct Decided {
    pub decision: Decision,
    pub model: Arc<Model>,
}

/// Makes the answer of a decision and the state with it.
pub type Shape = dyn Fn(&Decision, &Model) -> String + Send + Sync;

/// A request that is carried out once, however often it is sent under its key.
#[derive(Clone)]
pub struct Once {
    pub principal: String,
    /// As the client gave it.
    pub key: String,
    /// SHA-256 of the request: the same key with another request is refused.
    pub request_hash: [u8; 32],
    /// The answer to a decision, from the state with it; kept as it is.
    pub answer: Arc<Shape>,
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("principal", &self.principal)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// The one answer to a request with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub text: String,
    /// It was given before, and nothing was done now.
    pub is_repeat: bool,
}

/// A handle on the controller. Clones are the same controller.
#[derive(Debug, Clone)]
pub struct Controller {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn MetaStore>,
    commands: mpsc::Sender<Command>,
    models: watch::Receiver<Arc<Model>>,
    topologies: watch::Receiver<Arc<Topology>>,
    started_at_ms: i64,
}

#[derive(Debug)]
struct Command {
    request: Request,
    origin: Origin,
    reply: Reply,
}

/// What the asker wants to hear.
#[derive(Debug)]
enum Reply {
    Decided(oneshot::Sender<Result<Decided, Problem>>),
    Once(Once, oneshot::Sender<Result<Answered, Problem>>),
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
        Self::start(store, &config.tasks).await
    }

    /// Starts a controller on a store that is open.
    ///
    /// # Errors
    /// Those of reading the store.
    pub async fn start(store: Arc<dyn MetaStore>, tasks: &Tasks) -> Result<Self, StoreError> {
        let model = Arc::new(store.snapshot().await?);
        let topology = Arc::new(model.topology());
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (model_tx, models) = watch::channel(Arc::clone(&model));
        let (topology_tx, topologies) = watch::channel(topology);
        let span = tracing::info_span!("controller", cluster_id = %model.cluster_id);
        span.in_scope(|| {
            tracing::info!(
                store = store.name(),
                revision = model.revision,
                topics = model.topics.len(),
                "controller started"
            );
        });
        metrics::published(&model);
        let task = Task::new(Arc::clone(&store), model, model_tx, topology_tx);
        tasks.spawn(TaskKind::Controller, span, task.run(queue, tasks.token()));
        let started_at_ms = clock::now_ms();
        let shared = Shared {
            store,
            commands,
            models,
            topologies,
            started_at_ms,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The topology now, and whenever it changes.
    #[must_use]
    pub fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.shared.topologies.clone()
    }

    /// The control state as last published.
    #[must_use]
    pub fn model(&self) -> Arc<Model> {
        Arc::clone(&self.shared.models.borrow())
    }

    /// What it is kept in.
    pub(crate) fn store(&self) -> &Arc<dyn MetaStore> {
        &self.shared.store
    }

    /// Identity of the cluster.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.shared.models.borrow().cluster_id
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

    /// Admits a storage unit in one transaction: a new incarnation, a new epoch for every partition it
    /// leads, its intact replicas in sync as before, and placement of what waited for it.
    ///
    /// # Errors
    /// 503 when the store fails, 504 when nobody knows whether it was done.
    pub async fn register(&self, report: Register) -> Result<Registered, Problem> {
        let actor = format!("spu-{}", report.spu_id);
        let origin = Origin {
            actor,
            request_id: report.run_id.to_string(),
        };
        let Decided { decision, model } = self.change(Request::Register(report), origin).await?;
        let incarnation = decision.incarnation().ok_or_else(|| {
            Problem::new(
                ErrorCode::Internal,
                "a registration was decided without an incarnation",
            )
        })?;
        Ok(Registered {
            cluster_id: model.cluster_id,
            incarnation,
        })
    }

    /// Takes a block of producer ids that nobody else will ever get.
    ///
    /// # Errors
    /// 503 when the store fails.
    pub async fn lease_producer_ids(&self) -> Result<Range<u64>, Problem> {
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

    /// Decides on a request and carries the decision out.
    ///
    /// # Errors
    /// Refusals as they are; 503 when the queue is full, the store fails or the controller stops; 504
    /// when nobody knows whether it was done.
    pub async fn change(&self, request: Request, origin: Origin) -> Result<Decided, Problem> {
        let (reply, answer) = oneshot::channel();
        self.command(request, origin, Reply::Decided(reply))?;
        // The task answers every command it takes; without an answer it was stopped half-way.
        answer.await.unwrap_or_else(|_| Err(half_way()))
    }

    /// The same once: a repeat of the request under its key does nothing and gets the first answer.
    /// Refusals are not kept.
    ///
    /// # Errors
    /// Those of [`Controller::change`]; 409 when the key was used for another request.
    pub async fn change_once(
        &self,
        request: Request,
        origin: Origin,
        once: Once,
    ) -> Result<Answered, Problem> {
        let (reply, answer) = oneshot::channel();
        self.command(request, origin, Reply::Once(once, reply))?;
        answer.await.unwrap_or_else(|_| Err(half_way()))
    }

    /// The answer that was kept for that principal and key.
    ///
    /// # Errors
    /// 409 when it was for another request; 503 when the store fails.
    pub async fn answered(
        &self,
        principal: &str,
        key: &str,
        request_hash: [u8; 32],
    ) -> Result<Option<String>, Problem> {
        let store = &self.shared.store;
        let kept = store.receipt(principal, key, clock::now_ms()).await;
        let kept = kept.map_err(|error| {
            metrics::store_failed();
            Problem::from(error)
        })?;
        kept.map(|receipt| answer_of(receipt, request_hash))
            .transpose()
    }

    fn command(&self, request: Request, origin: Origin, reply: Reply) -> Result<(), Problem> {
        let command = Command {
            request,
            origin,
            reply,
        };
        let sent = self.shared.commands.try_send(command);
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                metrics::overloaded();
                let detail = "too many control changes are waiting";
                Problem::new(ErrorCode::Overloaded, detail)
            }
            mpsc::error::TrySendError::Closed(_) => stopping(),
        })
    }

    /// What a request would do now. Nothing is done.
    ///
    /// # Errors
    /// Refusals as they are.
    pub fn preview(&self, request: &Request) -> Result<Decision, Problem> {
        decide(&self.model(), clock::now_ms(), Uuid::new_v4(), request).map_err(Problem::from)
    }
}

/// The answer on a receipt, if it is for this request.
fn answer_of(receipt: Receipt, request_hash: [u8; 32]) -> Result<String, Problem> {
    if receipt.request_hash == request_hash {
        return Ok(receipt.answer);
    }
    let detail =
        "this Idempotency-Key was used for another request: another path, condition or body";
    Err(Problem::new(ErrorCode::IdempotencyKeyReused, detail))
}

fn half_way() -> Problem {
    let detail = "the controller stopped before it answered";
    Problem::new(ErrorCode::OutcomeUnknown, detail)
}

fn stopping() -> Problem {
    Problem::new(ErrorCode::Unavailable, "the controller is stopping")
}

#[cfg(test)]
mod tests;
