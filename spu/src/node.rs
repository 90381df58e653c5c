//! The storage node as its program sees it: open, register, start, stop.
//!
//! [`Node::open`] takes the data directory and recovers it, and serves nothing (S6). [`Node::start`]
//! serves what the controller confirmed. [`Node::stop`] makes everything durable and leaves the mark
//! of a clean stop; without it a restart recovers from the journal, slower and with the same outcome.

mod by_hand;
mod found;
mod peers;
mod statuses;

use found::{Found, judge};
pub use statuses::Statuses;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use thiserror::Error;
use tidegate_data_plane::partitions::Partitions;
use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_kit::health::Notice;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::{Log, LogConfig, LogDead, OpenError, OsVfs, Vfs};
use tidegate_proto::control::{IsrMember, Register, Registered, Topology};
use tidegate_proto::id::{AttemptId, Incarnation, RunId, SpuId, TopicId};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{Span, info_span};
use uuid::Uuid;

use crate::assign::Assigner;
use crate::calendar::Calendar;
use crate::config::SpuConfig;
use crate::departed::Departed;
use crate::lane::Lane;
use crate::leftovers::Leftovers;
use crate::limits::{SHARDS_MAX, STOP_WAIT_MAX};
use crate::local::LocalPartitions;
use crate::replication::Membership;
use crate::scrub::Scrub;
use crate::seals::{Sealed, Seals};
use crate::shard::{Directory, Listener, Message, Seat, Shard, ShardHandle, ShardParts, Uptime};
use crate::sweep::Sweep;
use crate::traffic::TrafficCounters;

/// Why a node cannot be opened or started. The variants are what a program's exit code tells apart.
#[derive(Debug, Error)]
pub enum NodeError {
    /// Another process has the data directory.
    #[error("the data directory {} is in use by another process", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The data directory cannot be written, or there is no space.
    #[error("the data directory cannot be written: {0}")]
    NotWritable(#[source] OpenError),
    /// A file that must be whole is not.
    #[error("the data directory is damaged: {0}")]
    Corrupt(#[source] OpenError),
    /// The disk failed in an earlier run, and no operator accepted that yet.
    #[error("the data directory is not opened: {0}")]
    DiskFailed(#[source] OpenError),
    /// Another error of the file system.
    #[error("the data directory cannot be opened: {0}")]
    Io(#[source] OpenError),
    /// The log failed while starting or stopping.
    #[error(transparent)]
    LogDead(#[from] LogDead),
    /// A node starts once.
    #[error("the node was started before")]
    AlreadyStarted,
}

impl From<OpenError> for NodeError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::InUse { dir } => Self::InUse { dir },
            OpenError::NotWritable { .. } | OpenError::NoSpace { .. } => Self::NotWritable(error),
            OpenError::Corrupt { .. } => Self::Corrupt(error),
            OpenError::Failed { .. } => Self::DiskFailed(error),
            OpenError::Broke { .. } | OpenError::Io { .. } => Self::Io(error),
        }
    }
}

/// A storage node over one data directory.
#[derive(Debug)]
pub struct Node {
    config: SpuConfig,
    run_id: RunId,
    log: Log,
    has_threads: bool,
    found: Found,
    shards: Vec<ShardHandle>,
    directory: Directory,
    local: Arc<LocalPartitions>,
    traffic: TrafficCounters,
    uptime: Uptime,
    calendar: Arc<Calendar>,
    closings: watch::Sender<u64>,
    sealed: watch::Sender<Sealed>,
    notice: watch::Sender<Option<Notice>>,
    /// Known before the start where there are other units.
    membership: OnceLock<Membership>,
    stage: Mutex<Stage>,
    /// The log keeps within it by itself; taken so that nobody counts on it.
    _log_memory: Option<BytePermit>,
}

#[derive(Debug)]
enum Stage {
    Opened(Vec<Arc<Seat>>),
    Started { serving: Tasks, upkeep: Tasks },
    Stopped,
}

impl Node {
    /// Takes the data directory and recovers it. Blocks on the disk, after a crash for as long as
    /// the journal is long.
    pub fn open(config: SpuConfig) -> Result<Self, NodeError> {
        Self::open_on(Arc::new(OsVfs), config)
    }

    fn open_with(vfs: Arc<dyn Vfs>, config: SpuConfig, log: LogConfig) -> Result<Self, NodeError> {
        let count = config.shards.clamp(1, SHARDS_MAX);
        let appends = &config.memory.appends;
        let uptime = Uptime::start();
        let seats: Vec<Arc<Seat>> = (0..count).map(|_| Seat::new()).collect();
        let listener = Arc::new(Listener::new(seats.clone()));
        let log_memory = config.memory.log.try_acquire(config.memory.log.total());
        let opened = Log::open(vfs, &config.data_dir, log, listener)?;
        let newest_ms = opened.replicas.iter().filter_map(|at| at.last_append_ms);
        let newest_ms = newest_ms.max();
        let calendar = Calendar::new(newest_ms, clock::now_ms(), uptime.now_ms());
        let attempt = AttemptId(Uuid::new_v4());
        let attempt = opened.log.attempt_registration(attempt)?;
        let (log, found) = judge(opened, attempt);
        let handle = |seat: &Arc<Seat>| ShardHandle::new(Arc::clone(seat), appends.clone(), uptime);
        let shards = seats.iter().map(handle).collect();
        let directory = Directory::new();
        let lane = Lane::new(
            config.catch_up_reads,
            config.memory.reads.clone(),
            config.catch_up_bytes_per_second,
        );
        let traffic = TrafficCounters::new(seats.len());
        let local = Arc::new(LocalPartitions::new(
            config.spu_id,
            log.clone(),
            directory.clone(),
            lane,
            Arc::clone(&traffic.reads),
        ));
        Ok(Self {
            run_id: RunId(Uuid::new_v4()),
            config,
            log,
            has_threads: true,
            found,
            shards,
            directory,
            local,
            traffic,
            uptime,
            calendar: Arc::new(calendar),
            closings: watch::Sender::new(0),
            sealed: watch::Sender::new(Sealed::new()),
            notice: watch::Sender::new(None),
            membership: OnceLock::new(),
            stage: Mutex::new(Stage::Opened(seats)),
            _log_memory: log_memory,
        })
    }

    /// Who this is: the number, and this run of it.
    pub fn identity(&self) -> (SpuId, RunId) {
        (self.config.spu_id, self.run_id)
    }

    /// What the controller must know before it names this node a leader.
    pub fn register_request(&self) -> Register {
        Register {
            spu_id: self.config.spu_id,
            storage_id: self.found.storage_id,
            run_id: self.run_id,
            last_incarnation: self.found.last_incarnation,
            attempt: Some(self.found.attempt.0),
            granted: self.found.attempt.1,
            same_boot: self.found.same_boot,
            replicas: self.found.reports().clone(),
            group: self.config.group.clone(),
            site: self.config.site.clone(),
        }
    }

    /// Serves what the topology assigns to this node, as tasks of `tasks`. Makes the registration
    /// durable before anything is served.
    pub fn start(
        &self,
        registered: Registered,
        topology: watch::Receiver<Arc<Topology>>,
        tasks: &Tasks,
    ) -> Result<(), NodeError> {
        let (serving, upkeep) = (tasks.child(), tasks.child());
        let incarnation = registered.incarnation;
        let seats = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            let next = Stage::Started {
                serving: serving.clone(),
                upkeep: upkeep.clone(),
            };
            match std::mem::replace(&mut *stage, Stage::Stopped) {
                Stage::Opened(seats) => {
                    *stage = next;
                    seats
                }
                other @ (Stage::Started { .. } | Stage::Stopped) => {
                    *stage = other;
                    return Err(NodeError::AlreadyStarted);
                }
            }
        };
        self.start_threads()?;
        self.log.set_incarnation(incarnation)?;
        self.local.start(topology.clone(), serving.clone());
        let peers = self.peers(incarnation, topology.clone(), &upkeep);
        let counters = self.traffic.shards.iter();
        for ((number, seat), traffic) in (0u16..).zip(seats).zip(counters) {
            let parts = ShardParts {
                number,
                traffic: Arc::clone(traffic),
                log: self.log.clone(),
                directory: self.directory.clone(),
                uptime: self.uptime,
                calendar: Arc::clone(&self.calendar),
                peers: Arc::clone(&peers),
            };
            // Here, not in the task: what is told from now on must not find an empty seat.
            seat.install(Shard::new(parts));
            serving.spawn(
                TaskKind::Shard,
                info_span!("shard", number),
                seat.run(serving.token()),
            );
        }
        let assigner = self.assigner(incarnation, upkeep.clone());
        upkeep.spawn(
            TaskKind::Assignment,
            info_span!("assign"),
            assigner.run(topology),
        );
        let sweep = Sweep {
            log: self.log.clone(),
            shards: self.shards.clone(),
            appends: self.config.memory.appends.clone(),
            directory: self.directory.clone(),
            tasks: upkeep.clone(),
            calendar: Arc::clone(&self.calendar),
            uptime: self.uptime,
            trash_delay: self.config.trash_delay,
            notice: self.notice.clone(),
        };
        upkeep.spawn(TaskKind::Sweep, info_span!("sweep"), sweep.run());
        if let Some(config) = self.config.scrub {
            let scrub = Scrub {
                log: self.log.clone(),
                directory: self.directory.clone(),
                config,
                tasks: upkeep.clone(),
            };
            upkeep.spawn(TaskKind::Sweep, info_span!("scrub"), scrub.run());
        }
        Ok(())
    }

    fn assigner(&self, incarnation: Incarnation, tasks: Tasks) -> Assigner {
        let reports = std::mem::take(&mut *self.found.reports());
        let damaged = reports.iter().filter(|report| !report.intact);
        let damaged = damaged.map(|report| (report.key, report.replica_gen));
        Assigner {
            own: self.config.spu_id,
            incarnation,
            log: self.log.clone(),
            shards: self.shards.clone(),
            directory: self.directory.clone(),
            damaged: damaged.collect(),
            missing: self.found.missing.clone(),
            departed: Departed::new(self.config.spu_id, self.log.clone()),
            tasks,
            seen: BTreeMap::new(),
            incomplete: false,
            reported: false,
            closings: self.closings.clone(),
            sealed: self.sealed.clone(),
        }
    }

    /// The partitions of this node, for the data plane. Before [`Node::start`] they are unavailable.
    pub fn partitions(&self) -> Arc<dyn Partitions> {
        Arc::clone(&self.local) as Arc<dyn Partitions>
    }

    /// Where a partition stands here; none when it is not open on this node.
    pub fn statuses(&self) -> Statuses {
        Statuses {
            log: self.log.clone(),
            directory: self.directory.clone(),
            traffic: self.traffic.clone(),
        }
    }

    /// What copies that nobody leads hold, for the controllers; under that registration.
    pub fn seals(&self, registered: Registered) -> Seals {
        let own = IsrMember {
            spu: self.config.spu_id,
            incarnation: registered.incarnation,
        };
        Seals::new(own, self.directory.clone(), self.sealed.subscribe())
    }

    /// What operators should know of this node's disk and clock, about once a second.
    pub fn notice(&self) -> watch::Receiver<Option<Notice>> {
        self.notice.subscribe()
    }

    /// Topics that have closed replicas here and that the topology lacks. They are left alone until
    /// somebody who knows says that they were deleted, see [`Node::discard`].
    pub fn leftovers(&self, topology: &Topology) -> Vec<TopicId> {
        self.watch_leftovers().topics(topology)
    }

    /// The same for a task that goes on for as long as the node does.
    pub fn watch_leftovers(&self) -> Leftovers {
        let closings = self.closings.subscribe();
        Leftovers::new(self.log.clone(), self.directory.clone(), closings)
    }

    /// Moves the replicas of a deleted topic to the trash; how many there were. Those that are open
    /// are not touched: their topic is in the topology.
    pub fn discard(&self, topic: TopicId) -> Result<usize, NodeError> {
        Ok(self.watch_leftovers().discard(topic)?)
    }

    /// Takes no more appends, lets what was submitted become durable, and leaves the mark of a clean
    /// stop. Call it when nobody serves any more; a second call does nothing.
    pub async fn stop(&self) -> Result<(), NodeError> {
        let stage = {
            let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *stage, Stage::Stopped)
        };
        self.local.stop();
        let tasks = match stage {
            Stage::Stopped => return Ok(()),
            Stage::Opened(_) => Tasks::new(),
            Stage::Started { serving, upkeep } => {
                upkeep.shutdown(STOP_WAIT_MAX).await;
                let stops = self.shards.iter().map(|shard| shard.ask(Message::Stop));
                let all = futures_util::future::join_all(stops);
                if timeout(STOP_WAIT_MAX, all).await.is_err() {
                    tracing::warn!("the journal did not finish in time: recovery will");
                }
                serving.shutdown(STOP_WAIT_MAX).await;
                serving
            }
        };
        self.directory.clear();
        let log = self.log.clone();
        let close = move || log.close();
        match tasks
            .spawn_blocking(TaskKind::Blocking, Span::current(), close)
            .await
        {
            Ok(closed) => Ok(closed?),
            Err(error) => {
                tracing::error!(%error, "the log was not closed: recovery will mend it");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
