//! What every handler of the data plane holds: the partitions, who may use them, and the tasks
//! that end with the process.
//!
//! Cheap to clone, immutable but for the round-robin counters of keyless records.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tidegate_kit::auth::{Auth, Principal};
use tidegate_kit::backoff::up_to_a_tenth_less;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::limits::CONNECTION_AGE_MAX;
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::id::{PartitionId, ProducerId};
use tokio::sync::watch;

use crate::metrics::ProduceCounters;
use crate::partitioner::RoundRobin;
use crate::partitions::{BoxFuture, Partitions};

/// Gives out producer ids, each once in the life of the cluster.
pub trait ProducerIds: Send + Sync + 'static {
    /// A fresh id and its first epoch.
    fn lease(&self) -> BoxFuture<'_, Result<(ProducerId, u16), Problem>>;
}

/// What the process decides for its data plane.
#[derive(Clone)]
pub struct DataPlaneConfig {
    /// Where `POST /v1/producers` gets its ids; without it that route answers 501.
    pub producer_ids: Option<Arc<dyn ProducerIds>>,
    /// How often an idle event stream or socket says that it lives.
    pub ping_interval: Duration,
    /// What bodies, answers and sockets may hold. Without room bodies are answered 503; answers get
    /// shorter when little is left, and are 503 beyond; event streams and sockets wait.
    pub memory: Memory,
    /// Origins (`https://app.example`) whose pages may open sockets with a ticket, beside the pages
    /// of this server itself.
    pub origins: Vec<String>,
    /// Sockets and event streams of this age are told to connect again, each up to a tenth earlier.
    pub age_max: Duration,
    /// Shared caches may keep pages of sealed segments that were asked for with a credential, and answer
    /// others from them: it is theirs then to say who may read.
    pub shared_pages: bool,
}

impl Default for DataPlaneConfig {
    fn default() -> Self {
        Self {
            producer_ids: None,
            ping_interval: Duration::from_secs(15),
            memory: Memory::default(),
            origins: Vec::new(),
            age_max: CONNECTION_AGE_MAX,
            shared_pages: false,
        }
    }
}

impl fmt::Debug for DataPlaneConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPlaneConfig")
            .field("producer_ids", &self.producer_ids.is_some())
            .field("ping_interval", &self.ping_interval)
            .field("memory", &self.memory)
            .field("origins", &self.origins)
            .field("age_max", &self.age_max)
            .field("shared_pages", &self.shared_pages)
            .finish()
    }
}

/// The state of the router.
#[derive(Clone)]
pub struct DataPlane {
    inner: Arc<Inner>,
}

struct Inner {
    partitions: Arc<dyn Partitions>,
    topology: watch::Receiver<Arc<Topology>>,
    auth: Auth,
    tasks: Tasks,
    config: DataPlaneConfig,
    produce_counters: ProduceCounters,
    round_robin: RoundRobin,
    turn: AtomicUsize,
}

impl DataPlane {
    /// A data plane over `partitions`; event streams and sockets end when `tasks` is cancelled.
    pub fn new(
        partitions: Arc<dyn Partitions>,
        auth: Auth,
        tasks: Tasks,
        config: DataPlaneConfig,
    ) -> Self {
        let topology = partitions.topology();
        let (round_robin, turn) = (RoundRobin::default(), AtomicUsize::new(0));
        let inner = Inner {
            partitions,
            topology,
            auth,
            tasks,
            config,
            produce_counters: ProduceCounters::default(),
            round_robin,
            turn,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The partitions behind this surface.
    pub fn partitions(&self) -> &Arc<dyn Partitions> {
        &self.inner.partitions
    }

    /// The topology as of now.
    pub fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.inner.topology.borrow())
    }

    /// A receiver that follows the topology.
    pub fn topology_watch(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology.clone()
    }

    /// Who may do what, and the tickets.
    pub fn auth(&self) -> &Auth {
        &self.inner.auth
    }

    /// The task group of the process.
    pub fn tasks(&self) -> &Tasks {
        &self.inner.tasks
    }

    /// The configuration.
    pub fn config(&self) -> &DataPlaneConfig {
        &self.inner.config
    }

    /// What request bodies of `principal` are read on.
    pub(crate) fn body_budget(&self, principal: &Principal) -> ByteBudget {
        self.inner.config.memory.bodies.of(&principal.name)
    }

    /// What answers to `principal` are made on.
    pub(crate) fn answer_budget(&self, principal: &Principal) -> ByteBudget {
        self.inner.config.memory.answers.of(&principal.name)
    }

    /// When what opens now is to be ended.
    pub(crate) fn next_end(&self) -> Instant {
        let age = up_to_a_tenth_less(self.inner.config.age_max, self.next_turn() as u64);
        clock::monotonic() + age
    }

    pub(crate) fn produce_counters(&self) -> &ProduceCounters {
        &self.inner.produce_counters
    }

    /// Where the next records without a key go.
    pub(crate) fn next_partition(&self, topic: &TopicSpec) -> PartitionId {
        self.inner.round_robin.next(topic, &*self.inner.partitions)
    }

    /// A number that differs from call to call, for taking turns.
    pub(crate) fn next_turn(&self) -> usize {
        self.inner.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataPlane")
            .field("config", &self.inner.config)
            .finish_non_exhaustive()
    }
}
