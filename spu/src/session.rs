//! A storage node among others: registers, gives signs of life, tells what it leads.
//!
//! What it leads it knows from the topology alone. Invariants: it serves nothing before a controller
//! admitted it and the topology says so (S6); when a later registration took its place it says so and is
//! never heard of again (S5).

use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::backoff::Backoff;
use tidegate_kit::controller::{CallError, ControllerClient, Followed};
use tidegate_kit::secret::random_u64;
use tidegate_proto::control::{Heartbeat, LeaveRequest, Registered, Standing, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::id::{Incarnation, RunId, SpuId, StoreId};
use tidegate_proto::limits::HEARTBEAT_MS;
use tokio::sync::watch;

use crate::limits::{REGISTER_RETRY_BASE, REGISTER_RETRY_MAX, UNKNOWN_BEATS_MAX};
use crate::node::{Node, Statuses};
use crate::report::Reporter;

/// Why a node takes no part any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It was not heard of for too long: it may register again.
    Fenced,
    /// A later registration of its number took its place: it has to end (S5).
    Superseded,
    /// No controller knows it: it was removed, or has to register again.
    Unknown,
    /// The controllers go on with another metadata store, which may have forgotten epochs that this node
    /// accepted, and would then name it a leader in vain: it has to register again.
    Adopted,
}

/// Registers until a controller answers.
///
/// # Errors
/// A refusal that asking again does not change.
pub async fn register(node: &Node, client: &ControllerClient) -> Result<Registered, Problem> {
    let report = node.register_request();
    let seed = random_u64().unwrap_or_default();
    let mut backoff = Backoff::new(REGISTER_RETRY_BASE, REGISTER_RETRY_MAX, seed);
    loop {
        match client.register(&report).await {
            Ok(registered) => {
                let incarnation = registered.incarnation;
                tracing::info!(%incarnation, "registered");
                return Ok(registered);
            }
            Err(CallError::Refused(problem)) if !problem.code().is_retryable() => {
                return Err(problem);
            }
            Err(error) => {
                tracing::warn!(%error, "not registered yet");
                client.channel().try_another();
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

/// Waits until the topology that is followed contains the registration; an older one would name epochs of
/// an earlier run. False when it contains a later one: this one's rows are gone (S5). Returns when nobody
/// follows it any more as well.
pub async fn confirmed(
    topology: &mut watch::Receiver<Arc<Topology>>,
    spu: SpuId,
    incarnation: Incarnation,
) -> bool {
    let is_in = |topology: &Arc<Topology>| {
        let spec = topology.spu(spu);
        spec.is_some_and(|spec| spec.incarnation >= incarnation)
    };
    // Its end shows where it is followed.
    let Ok(found) = topology.wait_for(is_in).await else {
        return true;
    };
    !is_superseded(&found, spu, incarnation)
}

fn is_superseded(topology: &Topology, spu: SpuId, incarnation: Incarnation) -> bool {
    let spec = topology.spu(spu);
    spec.is_some_and(|spec| spec.incarnation > incarnation)
}

/// Signs of life of a registered node.
#[derive(Debug)]
pub struct Heart {
    client: ControllerClient,
    followed: Followed,
    statuses: Statuses,
    spu_id: SpuId,
    run_id: RunId,
    incarnation: Incarnation,
    /// Where it registered.
    store_id: Option<StoreId>,
    reporter: Reporter,
    /// Number of the next one.
    beat: u64,
    unknown_beats: u32,
    /// The last sign of life was taken by a controller.
    is_heard: bool,
}

impl Heart {
    /// That of a node under this registration.
    pub fn new(
        node: &Node,
        client: ControllerClient,
        followed: Followed,
        registered: Registered,
    ) -> Self {
        let request = node.identity();
        let store_id = followed.topology.borrow().store_id;
        Self {
            client,
            followed,
            store_id,
            statuses: node.statuses(),
            spu_id: request.0,
            run_id: request.1,
            incarnation: registered.incarnation,
            reporter: Reporter::new(request.0, node.statuses()),
            beat: 1,
            unknown_beats: 0,
            is_heard: true,
        }
    }

    /// Beats until the node is excluded.
    pub async fn run(mut self, draining: watch::Receiver<bool>) -> Excluded {
        let mut interval_ms = HEARTBEAT_MS;
        let mut topology = self.followed.topology.clone();
        loop {
            let is_draining = *draining.borrow();
            match self.beat(is_draining).await {
                Ok((standing, next_ms)) => {
                    self.is_heard = true;
                    interval_ms = next_ms.clamp(1, 10 * HEARTBEAT_MS);
                    if let Some(excluded) = self.judge(standing) {
                        return excluded;
                    }
                    if self.is_elsewhere().await {
                        return Excluded::Adopted;
                    }
                }
                Err(error) => {
                    if std::mem::replace(&mut self.is_heard, false) {
                        tracing::info!(%error, "no controller takes signs of life");
                    }
                    // One that refuses for now still tells of changes; leaving would end that as well.
                    if matches!(error, CallError::Slow | CallError::Answer(_)) {
                        self.client.channel().try_another();
                    }
                }
            }
            let (spu, incarnation) = (self.spu_id, self.incarnation);
            let is_later = |found: &Arc<Topology>| is_superseded(found, spu, incarnation);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(interval_ms)) => {}
                // Told by whoever tells of the topology, also when nobody takes signs of life.
                Ok(_) = topology.wait_for(is_later) => return Excluded::Superseded,
            }
        }
    }

    /// Whether the controllers go on with another store than the one that it registered with. While an
    /// operator has to look they change nothing, and what is here goes on being served.
    async fn is_elsewhere(&self) -> bool {
        let found = self.followed.topology.borrow().store_id;
        let is_other = self.store_id.is_some() && found != self.store_id;
        is_other && self.client.answer_seals(Vec::new()).await.is_ok()
    }

    fn judge(&mut self, standing: Standing) -> Option<Excluded> {
        match standing {
            Standing::Current => {
                self.unknown_beats = 0;
                None
            }
            Standing::Fenced => Some(Excluded::Fenced),
            Standing::Superseded => Some(Excluded::Superseded),
            // A controller that started a moment ago may not have read of it yet.
            Standing::Unknown => {
                self.unknown_beats += 1;
                (self.unknown_beats > UNKNOWN_BEATS_MAX).then_some(Excluded::Unknown)
            }
        }
    }

    async fn beat(&mut self, draining: bool) -> Result<(Standing, u64), CallError> {
        let topology = Arc::clone(&self.followed.topology.borrow());
        let telling = self.reporter.telling(&topology);
        let seen = *self.followed.seen.borrow();
        let beat = Heartbeat {
            spu_id: self.spu_id,
            run_id: self.run_id,
            incarnation: self.incarnation,
            seen,
            draining,
            disk: self.statuses.disk(),
            traffic: self.statuses.traffic(),
            beat: self.beat,
            untold: telling.untold,
            statuses: telling.reports,
        };
        let answer = self.client.heartbeat(&beat).await?;
        self.beat += 1;
        if answer.tell_all {
            self.reporter.forget();
        }
        // One that is behind may not know who leads, and passes over what it is told.
        if answer.revision >= telling.revision {
            self.reporter.taken(beat.statuses);
        }
        Ok((answer.standing, answer.interval_ms))
    }

    /// What a controller is told when the node stops on purpose.
    pub fn farewell(&self) -> LeaveRequest {
        LeaveRequest {
            spu_id: self.spu_id,
            incarnation: self.incarnation,
        }
    }
}
