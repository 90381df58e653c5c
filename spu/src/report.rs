//! What a node tells its controllers of the partitions that it leads: what changed, and a few of the rest.
//!
//! Each sign of life has room for a bounded number. Those that changed come first, in turns when there
//! are too many; some of the others are repeated, for a controller that missed them. Invariant: what
//! counts as told was taken by a controller that knew of the partition.

use std::sync::Arc;

use tidegate_proto::control::{StatusReport, Topology};
use tidegate_proto::id::SpuId;
use tidegate_proto::limits::HEARTBEAT_STATUSES_MAX;
use tidegate_proto::position::ReplicaKey;

use crate::limits::HEARTBEAT_TURN;
use crate::node::Statuses;

/// A partition that is led, and what was told of it.
#[derive(Debug)]
struct Led {
    key: ReplicaKey,
    told: Option<StatusReport>,
    /// Since then.
    is_changed: bool,
}

/// What is to be told now.
#[derive(Debug)]
pub(crate) struct Telling {
    pub(crate) reports: Vec<StatusReport>,
    /// How many that changed found no room.
    pub(crate) untold: u64,
    /// The topology that it was looked up in.
    pub(crate) revision: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Reporter {
    own: SpuId,
    statuses: Statuses,
    topology: Arc<Topology>,
    /// By key.
    led: Vec<Led>,
    /// From where on those that changed are told.
    next_changed: usize,
    /// From where on the others are.
    next_rest: usize,
}

impl Reporter {
    pub(crate) fn new(own: SpuId, statuses: Statuses) -> Self {
        Self {
            own,
            statuses,
            topology: Arc::new(Topology::default()),
            led: Vec::new(),
            next_changed: 0,
            next_rest: 0,
        }
    }

    /// What to tell, under that topology.
    pub(crate) fn telling(&mut self, topology: &Arc<Topology>) -> Telling {
        if !Arc::ptr_eq(&self.topology, topology) {
            self.lead(Arc::clone(topology));
        }
        let mut reports = Vec::new();
        let untold = self.changed(&mut reports);
        self.rest(&mut reports);
        Telling {
            reports,
            untold,
            revision: topology.revision,
        }
    }

    /// A controller took that, and knows the topology that it was looked up in.
    pub(crate) fn taken(&mut self, reports: Vec<StatusReport>) {
        for report in reports {
            let at = self.led.binary_search_by_key(&report.key, |led| led.key);
            if let Ok(at) = at {
                self.led[at].told = Some(report);
            }
        }
    }

    /// Nothing counts as told any more.
    pub(crate) fn forget(&mut self) {
        for led in &mut self.led {
            led.told = None;
        }
    }

    fn lead(&mut self, topology: Arc<Topology>) {
        let mut keys: Vec<ReplicaKey> = led_by(&topology, self.own).collect();
        keys.sort_unstable();
        let mut before = std::mem::take(&mut self.led).into_iter().peekable();
        let led = keys.into_iter().map(|key| {
            while before.next_if(|led| led.key < key).is_some() {}
            let known = before.next_if(|led| led.key == key);
            Led {
                key,
                told: known.and_then(|led| led.told),
                is_changed: false,
            }
        });
        self.led = led.collect();
        self.topology = topology;
    }

    /// Adds what changed; how many more there are.
    fn changed(&mut self, reports: &mut Vec<StatusReport>) -> u64 {
        let count = self.led.len();
        let start = if self.next_changed < count {
            self.next_changed
        } else {
            0
        };
        let mut untold = 0;
        for at in (start..count).chain(0..start) {
            let led = &mut self.led[at];
            let report = self.statuses.report(led.key);
            led.is_changed = report.is_some() && report != led.told;
            let Some(report) = report.filter(|_| led.is_changed) else {
                continue;
            };
            if reports.len() == HEARTBEAT_STATUSES_MAX {
                untold += 1;
                continue;
            }
            reports.push(report);
            self.next_changed = at + 1;
        }
        untold
    }

    /// Adds some that did not, as far as there is room.
    fn rest(&mut self, reports: &mut Vec<StatusReport>) {
        let room = HEARTBEAT_TURN.min(HEARTBEAT_STATUSES_MAX - reports.len());
        let count = self.led.len();
        let start = if self.next_rest < count {
            self.next_rest
        } else {
            0
        };
        let end = reports.len() + room;
        for at in (start..count).chain(0..start) {
            if reports.len() == end {
                return;
            }
            self.next_rest = at + 1;
            let led = &self.led[at];
            let told = led.told.as_ref().filter(|_| !led.is_changed);
            reports.extend(told.cloned());
        }
    }
}

fn led_by(topology: &Topology, spu: SpuId) -> impl Iterator<Item = ReplicaKey> {
    topology.topics.values().flat_map(move |topic| {
        let led = topic.partitions.iter();
        let led = led.filter(move |partition| partition.leader == Some(spu));
        led.map(|partition| topic.key(partition.partition))
    })
}
