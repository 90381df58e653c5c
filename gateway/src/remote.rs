//! The data plane's partitions, at their leaders on the storage units.
//!
//! ```text
//!   data-plane -> RemotePartitions (trait Partitions)
//!        append -> lane of the leader: one stream for the appends of many partitions
//!        tail   -> SharedTail <- link: one stream for all that is followed at a unit
//!        read   -> window of the SharedTail, or a question to the leader
//! ```
//!
//! A change of leaders shows as a pause: what certainly was not done is tried again at the new one, within
//! the deadline. Modules are listed bottom-up. Invariant: an append is told as failed without effect only
//! if no attempt of it can have had one.

mod gathering;
mod limits;
mod metrics;
mod presence;
mod retry;
mod route;
mod stamps;

mod dial;
mod queue;

mod lane;
mod line;

mod window;

mod shared_tail;

mod link;

mod units;

mod tails;

mod appending;
mod asking;
mod copying;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_data_plane::ProducerIds;
use tidegate_data_plane::partitions::{
    AppendRequest, Appended, BoxFuture, Chunk, Held, Partitions, Tail,
};
use tidegate_kit::backoff::Backoff;
use tidegate_kit::clock;
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::NodeTls;
use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::private::ask::{Question, Reply};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::info_span;

use dial::until;
use gathering::Gatherings;
use limits::{
    AWAY_AFTER, AWAY_LOOK_EVERY, EDGE_WAIT, FOLLOW_TIMEOUT, READ_BYTES, RETRY_PAUSE_MAX,
    RETRY_PAUSE_MIN, SUCCESSION_MAX,
};
use metrics::RemoteCounters;
use retry::{RetryBudget, unavailable, unreachable};
use route::{Route, Routes};
use shared_tail::Look;
use stamps::Stamps;
use tails::Tails;
use units::Units;

/// Partitions of the whole cluster.
pub struct RemotePartitions {
    topology: watch::Receiver<Arc<Topology>>,
    memory: Memory,
    routes: Arc<Routes>,
    units: Arc<Units>,
    tails: Arc<Tails>,
    stamps: Arc<Stamps>,
    gatherings: Gatherings,
    retries: RetryBudget,
    requests: AtomicU64,
    counters: RemoteCounters,
}

impl fmt::Debug for RemotePartitions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemotePartitions").finish_non_exhaustive()
    }
}

impl RemotePartitions {
    /// Partitions where the topology says that their leaders are, reached as the node that `tls` is.
    /// Connections are tasks of `tasks` and end with it: end it after what serves clients. With
    /// `producer_ids` appends that carry nothing to know them by get a stamp, and may so be sent again when
    /// their answer was lost.
    #[must_use]
    pub fn new(
        topology: watch::Receiver<Arc<Topology>>,
        tls: NodeTls,
        memory: Memory,
        producer_ids: Option<Arc<dyn ProducerIds>>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let units = Units::new(tls, topology.clone(), memory.clone(), tasks.child());
        let units = Arc::new(units);
        let routes = Arc::new(Routes::default());
        let tails = Arc::new(Tails::new(Arc::clone(&units), Arc::clone(&routes)));
        let span = info_span!("tails");
        let run = Arc::clone(&tails).run(topology.clone());
        tasks.spawn(TaskKind::Watch, span, run);
        let stamps = Arc::new(Stamps::default());
        if let Some(ids) = producer_ids {
            let lease = Arc::clone(&stamps).lease(ids);
            tasks.spawn(TaskKind::Watch, info_span!("producer id"), lease);
        }
        Arc::new(Self {
            topology,
            memory,
            routes,
            units,
            tails,
            stamps,
            gatherings: Gatherings::default(),
            retries: RetryBudget::default(),
            requests: AtomicU64::new(0),
            counters: RemoteCounters::default(),
        })
    }

    /// Why nobody waits for a partition that is there, if nobody does.
    fn away(&self, route: Route) -> Option<Problem> {
        let home = route.home?;
        if !self.units.is_in_doubt(home) {
            return None;
        }
        let presence = self.units.presence(home);
        // Whoever looks after the units may not have come to it yet.
        if let Some(spec) = self.topology.borrow().spu(home) {
            presence.note(spec, false);
        }
        // Those who wait for the next leader wait for the controller to find it, too.
        let after = match route.has_successor {
            true => SUCCESSION_MAX,
            false => AWAY_AFTER,
        };
        let reason = presence.away(after)?;
        let detail = match route.leader {
            Some(_) => format!("its leader is away: {reason}"),
            None => format!("nobody leads it: storage unit {home} has its copy, and {reason}"),
        };
        Some(unavailable(detail).with("spu", home.0))
    }

    /// Waits until the topology has another leader for the partition, or for the pause.
    async fn rest(&self, key: ReplicaKey, route: Route, pause: Duration) {
        let mut topology = self.topology.clone();
        let is_same =
            |now: &Arc<Topology>| self.routes.find(now, key).is_ok_and(|now| now == route);
        let changed = topology.wait_for(|now| !is_same(now));
        let is_over = timeout(pause, changed)
            .await
            .is_ok_and(|changed| changed.is_err());
        if is_over {
            // Nobody tells of changes any more.
            sleep(pause).await;
        }
    }

    async fn read_chunk(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Chunk, Problem> {
        let tail = self.tails.known(key);
        if let Some(tail) = &tail {
            let deadline = clock::monotonic() + EDGE_WAIT;
            loop {
                let changed = tail.changed();
                match tail.look(from, bytes_max) {
                    Look::Here(chunk) => {
                        self.counters.read_window();
                        return Ok(chunk);
                    }
                    Look::Soon => {}
                    Look::Elsewhere => break,
                }
                if timeout(until(deadline), changed).await.is_err() {
                    break;
                }
            }
        }
        let bytes_max = bytes_max.clamp(1, READ_BYTES);
        let question = Question::Read {
            from,
            bytes_max: u32::try_from(bytes_max).unwrap_or(u32::MAX),
        };
        let (reply, permit) = self.ask(key, question).await?;
        metrics::read_leader();
        let chunk = chunk_of(reply, permit.map_or_else(Held::default, Held::new))?;
        if let Some(tail) = &tail
            && let Some(place) = tail.reached(chunk.next)
            && let Some(unit) = self.units.known(place.spu)
        {
            unit.link.want(tail, place, Some(chunk.next));
        }
        Ok(chunk)
    }

    async fn status(&self, key: ReplicaKey) -> Result<PartitionStatus, Problem> {
        let (Reply::Status(status), _) = self.ask(key, Question::Status).await? else {
            return Err(senseless());
        };
        // Who asks for bounds before it follows must not find older ones then.
        if let Some(tail) = self.tails.known(key) {
            tail.advance(Tail {
                log_start: status.log_start,
                high_watermark: status.high_watermark,
                leader_epoch: status.leader_epoch,
            });
        }
        Ok(status)
    }

    async fn offset(&self, key: ReplicaKey, question: Question) -> Result<Offset, Problem> {
        match self.ask(key, question).await? {
            (Reply::Offset(offset), _) => Ok(offset),
            _ => Err(senseless()),
        }
    }

    async fn follow(&self, key: ReplicaKey) -> Result<watch::Receiver<Tail>, Problem> {
        let deadline = clock::monotonic() + FOLLOW_TIMEOUT;
        loop {
            let topology = Arc::clone(&self.topology.borrow());
            let route = self.routes.find(&topology, key)?;
            let tail = self.tails.of(key, &topology);
            let changed = tail.changed();
            if let Some(follower) = tail.follower()? {
                return Ok(follower);
            }
            if let Some(problem) = self.away(route) {
                return Err(problem);
            }
            let pause = until(deadline).min(AWAY_LOOK_EVERY);
            if timeout(pause, changed).await.is_err() && until(deadline).is_zero() {
                return Err(unreachable("it does not tell where the partition stands"));
            }
        }
    }

    fn pauses(&self) -> Backoff {
        let seed = self.requests.fetch_add(1, Ordering::Relaxed);
        Backoff::new(RETRY_PAUSE_MIN, RETRY_PAUSE_MAX, seed)
    }
}

fn chunk_of(reply: Reply, held: Held) -> Result<Chunk, Problem> {
    let Reply::Chunk {
        next,
        bounds,
        batches,
    } = reply
    else {
        return Err(senseless());
    };
    Ok(Chunk {
        batches,
        next,
        log_start: bounds.log_start,
        high_watermark: bounds.high_watermark,
        leader_epoch: bounds.leader_epoch,
        held,
    })
}

fn senseless() -> Problem {
    Problem::new(ErrorCode::Internal, "the leader answered another question")
}

impl Partitions for RemotePartitions {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.topology.clone()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        Box::pin(self.append_within(key, request))
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(self.read_chunk(key, from, bytes_max))
    }

    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(self.read_of_copy(key, from, bytes_max))
    }

    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(self.status_of_copy(key))
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        match self.tails.known(key)?.look(from, bytes_max) {
            Look::Here(chunk) if !chunk.batches.is_empty() => Some(chunk),
            Look::Here(_) | Look::Soon | Look::Elsewhere => None,
        }
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(self.status(key))
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(self.offset(key, Question::SealedEnd))
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(self.offset(key, Question::OffsetAt { time_ms }))
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(self.follow(key))
    }

    fn is_in_doubt(&self, key: ReplicaKey) -> bool {
        let route = self.routes.find(&self.topology.borrow(), key);
        match route {
            Ok(Route {
                leader: Some(leader),
                ..
            }) => self.units.is_in_doubt(leader),
            Ok(_) | Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests;
