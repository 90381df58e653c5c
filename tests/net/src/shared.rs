//! What hosts of one run share outside the network: the metadata store, the disks, the record of what
//! clients saw, and where the run is.
//!
//! Invariant: no host learns by it what it would have to ask another one for, but for clients, who are told
//! who leads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_log::Log;
use tidegate_log::testing::MemVfs;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;

use crate::control::Control;
use crate::history::History;
use crate::options::Options;
use crate::wire::Wires;

/// The directory of every unit, on its own disk.
pub(crate) const ROOT: &str = "/unit";

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Begin,
    Chaos,
    /// Nothing goes wrong any more; clients go on.
    Heal,
    /// Clients end what they began.
    Quiet,
}

#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) phase: Phase,
    pub(crate) control: Control,
    pub(crate) history: History,
    pub(crate) disks: BTreeMap<u32, MemVfs>,
    /// Of the units that run.
    pub(crate) logs: BTreeMap<u32, Log>,
    /// Clients that have ended.
    pub(crate) ended: u32,
    pub(crate) lives: u64,
    pub(crate) exclusions: u64,
    /// What a host found that must not be.
    pub(crate) finding: Option<String>,
}

/// See the module. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) options: Arc<Options>,
    pub(crate) wires: Wires,
    inside: Arc<Mutex<Inside>>,
}

impl Shared {
    pub(crate) fn new(options: Options, wires: Wires, disks: BTreeMap<u32, MemVfs>) -> Self {
        let inside = Inside {
            phase: Phase::Begin,
            control: Control::new(options.seed),
            history: History::default(),
            disks,
            logs: BTreeMap::new(),
            ended: 0,
            lives: 0,
            exclusions: 0,
            finding: None,
        };
        Self {
            options: Arc::new(options),
            wires,
            inside: Arc::new(Mutex::new(inside)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.lock().phase
    }
}

impl Inside {
    /// The partitions, in order.
    pub(crate) fn keys(&self) -> Vec<ReplicaKey> {
        let topics = self.control.model.topics.values();
        topics
            .flat_map(|topic| topic.partitions.iter().map(|row| row.key()))
            .collect()
    }

    pub(crate) fn leader(&self, key: ReplicaKey) -> Option<SpuId> {
        self.control.model.partition(key)?.leader
    }

    pub(crate) fn found(&mut self, what: String) {
        self.finding.get_or_insert(what);
    }
}
