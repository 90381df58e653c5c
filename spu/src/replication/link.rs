//! The links of a node to the leaders that it follows: two streams each, opened while something is followed.
//!
//! A partition's attach goes out on the lane where its leader last said that it belongs. When a stream
//! breaks, what was attached on it is told, and attached anew by its machine. Invariant: an acknowledgement
//! goes out on the stream, and under the handle, of the attach that it is of.

mod dial;
mod heard;
mod lane;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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

    /// Nothing is wanted for the partition any more; the lane that is to be told.
    fn forget(&mut self, key: ReplicaKey) -> Option<Lane> {
        let wanted = self.wanted.remove(&key)?;
        let handle = wanted.handle?;
        let at = number(wanted.lane);
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
    tasks: Tasks,
    units: Mutex<Units>,
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
        tasks: Tasks,
    ) -> Self {
        Self {
            tls,
            topology,
            directory,
            tasks,
            units: Mutex::default(),
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
        let hint = state.hints.remove(&key).unwrap_or(Hint {
            lane: Lane::Tail,
            not_before: clock::monotonic(),
        });
        let wanted = Wanted {
            attempt,
            request,
            lane: hint.lane,
            not_before: hint.not_before,
            handle: None,
        };
        state.wanted.insert(key, wanted);
        drop(state);
        link.ring(hint.lane);
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
        let mut state = link.lock();
        let wanted = state.wanted.get(&key).copied();
        let Some(wanted) = wanted.filter(|wanted| wanted.attempt == attempt) else {
            return;
        };
        if let Some(handle) = wanted.handle {
            let acked = Acked {
                handle,
                position,
                ledger_as_of,
            };
            state.acks[number(wanted.lane)].insert(handle, acked);
            drop(state);
            link.ring(wanted.lane);
        }
    }

    pub(super) fn stop(&self, key: ReplicaKey) {
        let mut units = self.lock();
        if let Some(leader) = units.leaders.remove(&key) {
            units.forget(key, leader);
        }
    }

    fn link_of(&self, key: ReplicaKey) -> Option<Arc<Link>> {
        let units = self.lock();
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
                tasks: self.tasks.clone(),
            };
            let span = info_span!("following", %spu, %lane);
            self.tasks.spawn(TaskKind::Channel, span, run.run());
        }
        link
    }

    fn lock(&self) -> MutexGuard<'_, Units> {
        // It is whole after every statement.
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
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
