//! The partitions that somebody here follows, each at its leader.
//!
//! One task keeps them in their places: when the topology names another leader, when a unit does not
//! follow for us any more, when nobody reads. A partition that is gone from the topology is let go, and its
//! followers see the end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_proto::control::Topology;
use tidegate_proto::position::ReplicaKey;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::limits::TAIL_TICK;
use super::route::Routes;
use super::shared_tail::{Place, SharedTail};
use super::units::Units;

/// What is followed.
pub(super) struct Tails {
    units: Arc<Units>,
    routes: Arc<Routes>,
    open: Mutex<HashMap<ReplicaKey, Arc<SharedTail>>>,
}

impl Tails {
    pub(super) fn new(units: Arc<Units>, routes: Arc<Routes>) -> Self {
        Self {
            units,
            routes,
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The tail of a partition; it is followed from now on.
    pub(super) fn of(&self, key: ReplicaKey, topology: &Topology) -> Arc<SharedTail> {
        let (tail, is_new) = {
            let mut open = self.lock();
            let before = open.len();
            let tail = open
                .entry(key)
                .or_insert_with(|| Arc::new(SharedTail::new(key)));
            // Under the lock: what somebody is about to follow is not let go.
            tail.touch();
            let tail = Arc::clone(tail);
            (tail, open.len() > before)
        };
        if is_new {
            self.settle(&tail, topology);
        }
        tail
    }

    /// The tail of a partition that is followed already.
    pub(super) fn known(&self, key: ReplicaKey) -> Option<Arc<SharedTail>> {
        self.lock().get(&key).cloned()
    }

    /// Looks after all of them until the stage ends.
    pub(super) async fn run(self: Arc<Self>, mut topology: watch::Receiver<Arc<Topology>>) {
        let mut tick = interval(TAIL_TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = topology.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = Arc::clone(&topology.borrow_and_update());
                    self.units.look(&now);
                    self.look_after(&now);
                }
                _ = tick.tick() => {
                    let now = Arc::clone(&topology.borrow());
                    self.look_after(&now);
                }
            }
        }
    }

    fn look_after(&self, topology: &Topology) {
        let all: Vec<Arc<SharedTail>> = self.lock().values().cloned().collect();
        let now = clock::monotonic();
        for tail in all {
            let is_gone = self.routes.find(topology, tail.key).is_err();
            if self.lets_go(&tail, is_gone, now) {
                continue;
            }
            self.settle(&tail, topology);
            if let Some(place) = tail.rest(now)
                && let Some(unit) = self.units.known(place.spu)
            {
                unit.link.want(&tail, place, None);
            }
        }
    }

    /// Has it followed where its leader is.
    fn settle(&self, tail: &Arc<SharedTail>, topology: &Topology) {
        let Ok(route) = self.routes.find(topology, tail.key) else {
            return;
        };
        let place = tail.place();
        let is_there = place.is_some_and(|place| {
            Some(place.spu) == route.leader && place.leader_epoch >= route.leader_epoch
        });
        if is_there {
            return;
        }
        if let Some(place) = place {
            if !tail.put(Some(place), None) {
                // Somebody else is about it; what is amiss then is found at the next look.
                return;
            }
            self.leave(place);
        }
        if let Some(leader) = route.leader {
            let link = &self.units.unit(leader).link;
            link.follow(tail, route.leader_epoch);
        }
    }

    fn leave(&self, place: Place) {
        if let Some(unit) = self.units.known(place.spu) {
            unit.link.leave(place.handle);
        }
    }

    /// Lets go of a partition that is gone, or that nobody follows.
    fn lets_go(&self, tail: &SharedTail, is_gone: bool, now: Instant) -> bool {
        {
            let mut open = self.lock();
            if !is_gone && !tail.is_idle(now) {
                return false;
            }
            open.remove(&tail.key);
        }
        if let Some(place) = tail.gone() {
            self.leave(place);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ReplicaKey, Arc<SharedTail>>> {
        // It is whole after every statement.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
