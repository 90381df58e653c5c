//! The links of a node to the leaders that it follows: two streams each, opened while something is followed.
//!
//! A partition's attach goes out on the lane where its leader last said that it belongs. When a stream
//! breaks, what was attached on it is told, and attached anew by its machine. Invariant: an acknowledgement
//! goes out on the stream, and under the handle, of the attach that it is of.

mod dial;
mod heard;
mod parcel;

mod lane;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::NodeTls;
use tidegate_proto::control::Topology;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_proto::private::replicate::{Acked, Lane};
use tidegate_spu_core::AttachRequest;
use tokio::sync::{Notify, watch};
use tracing::info_span;

use crate::limits::ATTACH_REST;
use crate::shard::Directory;
use lane::LaneRun;

/// An attach that a machine wants, or has.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    attempt: u64,
    request: AttachRequest,
    lane: Lane,
    not_before: Instant,
    /// Once it was sent on the stream that is open.
    handle: Option<u32>,
}

/// Where the next attach of a partition goes.
#[derive(Clone, Copy, Debug)]
struct Hint {
    lane: Lane,
    not_before: Instant,
}

/// All of one leader's unit.
#[derive(Debug)]
struct Link {
    spu: SpuId,
    state: Mutex<LinkState>,
    bells: [Notify; 2],
}

#[derive(Debug, Default)]
struct LinkState {
    wanted: HashMap<ReplicaKey, Wanted>,
    /// By lane: whose attach was not sent yet. What is said often is not said by looking at all.
    unsaid: [BTreeSet<ReplicaKey>; 2],
    hints: HashMap<ReplicaKey, Hint>,
    /// By lane: who is behind each handle.
    handles: [HashMap<u32, ReplicaKey>; 2],
    /// By lane: what is to be acknowledged, the newest of each handle.
    acks: [HashMap<u32, Acked>; 2],
    /// By lane: handles that are given up.
    left: [Vec<u32>; 2],
    next_handle: u32,
}

const LANES: [Lane; 2] = [Lane::Tail, Lane::CatchUp];

const fn number(lane: Lane) -> usize {
    match lane {
        Lane::Tail => 0,
        Lane::CatchUp => 1,
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, LinkState> {
        // It is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self, lane: Lane) {
        self.bells[number(lane)].notify_one();
    }
}

impl LinkState {
    /// The attach behind that handle is over, unless the machine wants another one by now.
    fn over(&mut self, key: ReplicaKey, handle: u32, hint: Hint) {
        let wanted = self.wanted.get(&key);
        if wanted.is_some_and(|wanted| wanted.handle == Some(handle)) {
            self.wanted.remove(&key);
            self.hints.insert(key, hint);
        }
    }

    /// An attach that is to be sent.
    fn want(
        &mut self,
        key: ReplicaKey,
        attempt: u64,
        request: AttachRequest,
        now: Instant,
    ) -> Lane {
        let hint = self.hints.remove(&key).unwrap_or(Hint {
            lane: Lane::Tail,
            not_before: now,
        });
        let wanted = Wanted {
            attempt,
            request,
            lane: hint.lane,
            not_before: hint.not_before,
            handle: None,
        };
        self.wanted.insert(key, wanted);
        self.unsaid[number(hint.lane)].insert(key);
        hint.lane
    }

    /// The attaches of a lane that may be sent now, under handles of their own; and whether some rest.
    fn attaches(&mut self, lane: Lane, now: Instant) -> (Vec<(u32, ReplicaKey, Wanted)>, bool) {
        let at = number(lane);
        let mut ready = Vec::new();
        for key in std::mem::take(&mut self.unsaid[at]) {
            let Some(wanted) = self.wanted.get_mut(&key) else {
                continue;
            };
            if wanted.not_before > now {
                self.unsaid[at].insert(key);
                continue;
            }
            while self.handles[at].contains_key(&self.next_handle) {
                self.next_handle = self.next_handle.wrapping_add(1);
            }
            let handle = self.next_handle;
            self.next_handle = handle.wrapping_add(1);
            wanted.handle = Some(handle);
            self.handles[at].insert(handle, key);
            ready.push((handle, key, *wanted));
        }
        (ready, !self.unsaid[at].is_empty())
    }

    /// Whether the lane has anything to do.
    fn is_wanted(&self, lane: Lane) -> bool {
        let at = number(lane);
        !self.unsaid[at].is_empty() || !self.handles[at].is_empty()
    }

    /// What is durable of an attach, unless it is another one by now; the lane that is to be told.
    fn acked(
        &mut self,
        key: ReplicaKey,
        attempt: u64,
        acked: (LogPosition, Option<Offset>),
    ) -> Option<Lane> {
        let wanted = self.wanted.get(&key)?;
        let (lane, handle) = (wanted.lane, wanted.handle?);
        let (position, ledger_as_of) = acked;
        let acked = Acked {
            handle,
            position,
            ledger_as_of,
        };
        if wanted.attempt != attempt {
            return None;
        }
        self.acks[number(lane)].insert(handle, acked);
        Some(lane)
    }

    /// Nothing is wanted for the partition any more; the lane that is to be told.
    fn forget(&mut self, key: ReplicaKey) -> Option<Lane> {
        let wanted = self.wanted.remove(&key)?;
        let at = number(wanted.lane);
        self.unsaid[at].remove(&key);
        let handle = wanted.handle?;
        self.handles[at].remove(&handle);
        self.acks[at].remove(&handle);
        self.left[at].push(handle);
        Some(wanted.lane)
    }
}

/// The links of one node.
#[derive(Debug)]
pub(super) struct Links {
    tls: NodeTls,
    topology: watch::Receiver<Arc<Topology>>,
    directory: Directory,
    /// For snapshots that leaders ship.
    shipped: ByteBudget,
    tasks: Tasks,
    /// Read for every acknowledgement, by all shards at once.
    units: RwLock<Units>,
}

#[derive(Debug, Default)]
struct Units {
    links: HashMap<SpuId, Arc<Link>>,
    /// Whom each partition follows.
    leaders: HashMap<ReplicaKey, SpuId>,
}

impl Links {
    pub(super) fn new(
        tls: NodeTls,
        topology: watch::Receiver<Arc<Topology>>,
        directory: Directory,
        shipped: ByteBudget,
        tasks: Tasks,
    ) -> Self {
        Self {
            tls,
            topology,
            directory,
            shipped,
            tasks,
            units: RwLock::default(),
        }
    }

    pub(super) fn attach(
        &self,
        key: ReplicaKey,
        attempt: u64,
        leader: SpuId,
        request: AttachRequest,
    ) {
        let link = {
            let mut units = self.lock();
            let before = units.leaders.insert(key, leader);
            if let Some(before) = before.filter(|before| *before != leader) {
                units.forget(key, before);
            }
            let make = || self.link(leader);
            Arc::clone(units.links.entry(leader).or_insert_with(make))
        };
        let mut state = link.lock();
        if let Some(lane) = state.forget(key) {
            link.ring(lane);
        }
        let lane = state.want(key, attempt, request, clock::monotonic());
        drop(state);
        link.ring(lane);
    }

    pub(super) fn ack(
        &self,
        key: ReplicaKey,
        attempt: u64,
        position: LogPosition,
        ledger_as_of: Option<Offset>,
    ) {
        let Some(link) = self.link_of(key) else {
            return;
        };
        let lane = link.lock().acked(key, attempt, (position, ledger_as_of));
        if let Some(lane) = lane {
            link.ring(lane);
        }
    }

    pub(super) fn stop(&self, key: ReplicaKey) {
        let mut units = self.lock();
        if let Some(leader) = units.leaders.remove(&key) {
            units.forget(key, leader);
        }
    }

    fn link_of(&self, key: ReplicaKey) -> Option<Arc<Link>> {
        let units = self.units.read().unwrap_or_else(PoisonError::into_inner);
        let leader = units.leaders.get(&key)?;
        units.links.get(leader).cloned()
    }

    /// The link of a unit stays for as long as this node runs: idle, it is two sleeping tasks.
    fn link(&self, spu: SpuId) -> Arc<Link> {
        let link = Arc::new(Link {
            spu,
            state: Mutex::default(),
            bells: [Notify::new(), Notify::new()],
        });
        for lane in LANES {
            let run = LaneRun {
                link: Arc::clone(&link),
                lane,
                tls: self.tls.clone(),
                topology: self.topology.clone(),
                directory: self.directory.clone(),
                shipped: self.shipped.clone(),
                tasks: self.tasks.clone(),
            };
            let span = info_span!("following", %spu, %lane);
            self.tasks.spawn(TaskKind::Channel, span, run.run());
        }
        link
    }

    fn lock(&self) -> RwLockWriteGuard<'_, Units> {
        // It is whole after every statement.
        self.units.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Units {
    fn forget(&self, key: ReplicaKey, leader: SpuId) {
        if let Some(link) = self.links.get(&leader) {
            let mut state = link.lock();
            state.hints.remove(&key);
            if let Some(lane) = state.forget(key) {
                drop(state);
                link.ring(lane);
            }
        }
    }
}

/// When what ended for no reason of its own is tried again.
fn after_rest() -> Instant {
    clock::monotonic() + ATTACH_REST
}

#[cfg(test)]
mod tests;
