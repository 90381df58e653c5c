//! The storage units that this process talks to, each with its connections.
//!
//! A unit gets its connections when it is first asked for something, and loses them when the topology
//! has it no more.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    /// Read for every append and question; written when a unit comes or goes.
    open: ById<Unit>,
    /// Of all units of the topology, and of those that were asked for something. Read as often.
    presences: ById<Presence>,
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
            open: RwLock::new(HashMap::new()),
            presences: RwLock::new(HashMap::new()),
        };
        units.note(&first, true);
        units
    }

    /// Whether that unit can be reached.
    pub(super) fn presence(&self, spu: SpuId) -> Arc<Presence> {
        if let Some(presence) = read(&self.presences).get(&spu) {
            return Arc::clone(presence);
        }
        Arc::clone(write(&self.presences).entry(spu).or_default())
    }

    /// Whether there is a sign that it cannot be reached.
    pub(super) fn is_in_doubt(&self, spu: SpuId) -> bool {
        let presences = read(&self.presences);
        presences
            .get(&spu)
            .is_some_and(|presence| presence.is_in_doubt())
    }

    fn note(&self, topology: &Topology, is_first: bool) {
        let mut presences = write(&self.presences);
        presences.retain(|spu, _| topology.spu(*spu).is_some());
        for (spu, spec) in &topology.spus {
            let presence = presences.entry(*spu).or_default();
            presence.note(spec, is_first);
        }
    }

    /// The connections to that unit.
    pub(super) fn unit(&self, spu: SpuId) -> Arc<Unit> {
        if let Some(unit) = self.known(spu) {
            return unit;
        }
        let mut open = write(&self.open);
        Arc::clone(open.entry(spu).or_insert_with(|| Arc::new(self.make(spu))))
    }

    /// The connections to that unit, if there are any.
    pub(super) fn known(&self, spu: SpuId) -> Option<Arc<Unit>> {
        read(&self.open).get(&spu).cloned()
    }

    /// Takes note of the units as they are now, and ends the connections to those that are no more.
    pub(super) fn look(&self, topology: &Topology) {
        self.note(topology, false);
        write(&self.open).retain(|spu, unit| {
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
}

type ById<T> = RwLock<HashMap<SpuId, Arc<T>>>;

// Both are whole after every statement.
fn read<T>(units: &ById<T>) -> RwLockReadGuard<'_, HashMap<SpuId, Arc<T>>> {
    units.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(units: &ById<T>) -> RwLockWriteGuard<'_, HashMap<SpuId, Arc<T>>> {
    units.write().unwrap_or_else(PoisonError::into_inner)
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
