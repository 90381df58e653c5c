//! The storage units that this process talks to, each with its connections.
//!
//! A unit gets its connections when it is first asked for something, and loses them when the topology
//! has it no more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_kit::backoff::Backoff;
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::NodeTls;
use tidegate_proto::control::Topology;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info_span;

use super::dial::Dialer;
use super::lane::AppendLane;
use super::limits::{APPEND_LANES, CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN};
use super::line::AskLine;
use super::link::TailLink;
use super::presence::Presence;

/// One storage unit.
pub(super) struct Unit {
    lanes: Vec<Arc<AppendLane>>,
    pub(super) line: AskLine,
    pub(super) link: Arc<TailLink>,
    pub(super) presence: Arc<Presence>,
    tasks: Tasks,
}

impl Unit {
    /// The lane of a partition: always the same, so that appends keep their order.
    pub(super) fn lane(&self, key: ReplicaKey) -> &AppendLane {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let at = (hasher.finish() % self.lanes.len() as u64) as usize;
        &self.lanes[at]
    }
}

/// All of them.
pub(super) struct Units {
    tls: NodeTls,
    topology: watch::Receiver<Arc<Topology>>,
    memory: Memory,
    tasks: Tasks,
    open: Mutex<HashMap<SpuId, Arc<Unit>>>,
    /// Of all units of the topology, and of those that were asked for something.
    presences: Mutex<HashMap<SpuId, Arc<Presence>>>,
}

impl Units {
    pub(super) fn new(
        tls: NodeTls,
        topology: watch::Receiver<Arc<Topology>>,
        memory: Memory,
        tasks: Tasks,
    ) -> Self {
        let first = Arc::clone(&topology.borrow());
        let units = Self {
            tls,
            topology,
            memory,
            tasks,
            open: Mutex::new(HashMap::new()),
            presences: Mutex::new(HashMap::new()),
        };
        units.note(&first, true);
        units
    }

    /// Whether that unit can be reached.
    pub(super) fn presence(&self, spu: SpuId) -> Arc<Presence> {
        let mut presences = self.lock_presences();
        Arc::clone(presences.entry(spu).or_default())
    }

    fn note(&self, topology: &Topology, is_first: bool) {
        let mut presences = self.lock_presences();
        presences.retain(|spu, _| topology.spu(*spu).is_some());
        for (spu, spec) in &topology.spus {
            let presence = presences.entry(*spu).or_default();
            presence.note(spec, is_first);
        }
    }

    /// The connections to that unit.
    pub(super) fn unit(&self, spu: SpuId) -> Arc<Unit> {
        let mut open = self.lock();
        Arc::clone(open.entry(spu).or_insert_with(|| Arc::new(self.make(spu))))
    }

    /// The connections to that unit, if there are any.
    pub(super) fn known(&self, spu: SpuId) -> Option<Arc<Unit>> {
        self.lock().get(&spu).cloned()
    }

    /// Takes note of the units as they are now, and ends the connections to those that are no more.
    pub(super) fn look(&self, topology: &Topology) {
        self.note(topology, false);
        self.lock().retain(|spu, unit| {
            let is_there = topology.spu(*spu).is_some();
            if !is_there {
                unit.tasks.cancel();
            }
            is_there
        });
    }

    fn make(&self, spu: SpuId) -> Unit {
        let tasks = self.tasks.child();
        let presence = self.presence(spu);
        let dialer = Dialer {
            spu,
            tls: self.tls.clone(),
            topology: self.topology.clone(),
            tasks: tasks.clone(),
            presence: Arc::clone(&presence),
        };
        let lanes = (0..APPEND_LANES as u64).map(|number| {
            let lane = AppendLane::new(dialer.clone());
            let span = info_span!("lane", %spu, number);
            let seed = seed(spu, number);
            tasks.spawn(TaskKind::Channel, span, Arc::clone(&lane).run(seed));
            lane
        });
        let lanes = lanes.collect();
        let link = TailLink::new(dialer.clone(), self.memory.log.clone());
        let span = info_span!("tails", %spu);
        let run = Arc::clone(&link).run(seed(spu, u64::MAX));
        tasks.spawn(TaskKind::Channel, span, run);
        let span = info_span!("presence", %spu);
        let run = dial_while_in_doubt(dialer.clone(), seed(spu, u64::MAX - 1));
        tasks.spawn(TaskKind::Channel, span, run);
        Unit {
            lanes,
            line: AskLine::new(dialer),
            link,
            presence,
            tasks,
        }
    }

    fn lock_presences(&self) -> MutexGuard<'_, HashMap<SpuId, Arc<Presence>>> {
        // It is whole after every statement.
        let presences = &self.presences;
        presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SpuId, Arc<Unit>>> {
        // It is whole after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dials a unit that is in doubt until it answers: nobody else may do so, since nobody waits for it.
async fn dial_while_in_doubt(dialer: Dialer, seed: u64) {
    let mut backoff = Backoff::new(CONNECT_PAUSE_MIN, CONNECT_PAUSE_MAX, seed);
    loop {
        dialer.presence.until_failing().await;
        backoff.reset();
        while dialer.presence.is_failing() {
            sleep(backoff.next_delay()).await;
            let _ = dialer.connect().await;
        }
    }
}

/// Two that fail at once do not try again at once.
fn seed(spu: SpuId, number: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (spu, number, std::process::id()).hash(&mut hasher);
    hasher.finish()
}
