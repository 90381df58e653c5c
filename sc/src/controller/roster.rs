//! What storage units said last: that they are alive, and where their partitions stand.
//!
//! In memory of every controller. The holder of the lease judges by it who is silent; the others pass on
//! to him what they hear. Bounded: a unit reports only partitions that it leads in the model, and
//! units are bounded by the model. Invariant: a new holder begins with nobody heard, so that nobody is
//! shut out before a whole time-out has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_kit::clock;
use tidegate_proto::control::{DiskSpace, Heartbeat, PartitionStatus, Traffic};
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_proto::limits::HEARTBEAT_STATUSES_MAX;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::holdings::Holdings;
use tidegate_sc_core::liveness::Liveness;
use tidegate_sc_core::model::Model;
use tidegate_sc_core::rows::PartitionRow;

use crate::limits::STALL;

/// What one unit said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitReport {
    pub(crate) incarnation: Incarnation,
    pub(crate) heard_at: Instant,
    pub(crate) draining: bool,
    pub(crate) disk: DiskSpace,
    pub(crate) traffic: Traffic,
}

/// A heartbeat to be passed on, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) heartbeat: Heartbeat,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct State {
    liveness: Liveness,
    units: BTreeMap<SpuId, UnitReport>,
    statuses: BTreeMap<ReplicaKey, PartitionStatus>,
    /// The newest of each unit since it was last emptied.
    outbox: BTreeMap<SpuId, Heard>,
    /// When this process was seen running.
    ran_at: Instant,
}

impl Holdings for Roster {
    fn is_empty(&self, row: &PartitionRow) -> Option<bool> {
        let status = self.partition(row.key())?;
        (status.leader_epoch == row.leader_epoch).then_some(status.log_start == status.end)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Roster {
    state: Mutex<State>,
    began: Instant,
    timeout_ms: u64,
    /// Time in which this process did not run, in milliseconds: it counts for nobody's silence.
    away_ms: AtomicU64,
}

impl Roster {
    /// Nobody was heard; without a time-out nobody is ever silent for too long.
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        let began = clock::monotonic();
        let timeout = timeout.map_or(u128::MAX, |timeout| timeout.as_millis());
        let timeout_ms = u64::try_from(timeout).unwrap_or(u64::MAX);
        Self {
            state: Mutex::new(State {
                liveness: Liveness::new(0, timeout_ms),
                units: BTreeMap::new(),
                statuses: BTreeMap::new(),
                outbox: BTreeMap::new(),
                ran_at: began,
            }),
            began,
            timeout_ms,
            away_ms: AtomicU64::new(0),
        }
    }

    /// True when units are shut out for being silent.
    pub(crate) fn judges(&self) -> bool {
        self.timeout_ms < u64::MAX
    }

    /// The monotonic clock of rosters, in milliseconds; it stands while nobody listens.
    pub(crate) fn now_ms(&self) -> u64 {
        self.at_ms(clock::monotonic())
    }

    /// This controller holds the lease from now on.
    pub(crate) fn begin(&self) {
        let now_ms = self.now_ms();
        self.state().liveness = Liveness::new(now_ms, self.timeout_ms);
    }

    /// This process runs. When it did not for long, it could not listen: that time counts for nobody's
    /// silence.
    pub(crate) fn runs(&self) {
        let now = clock::monotonic();
        let mut state = self.state();
        let away = now.saturating_duration_since(state.ran_at);
        state.ran_at = now;
        if away <= STALL {
            return;
        }
        tracing::warn!(?away, "this process did not run for a while");
        let away_ms = u64::try_from(away.as_millis()).unwrap_or(u64::MAX);
        self.away_ms.fetch_add(away_ms, Ordering::Relaxed);
        let now_ms = self.at_ms(now);
        state.liveness.forgive(now_ms);
    }

    /// Who was heard when, registrations in the model included.
    pub(crate) fn liveness(&self, model: &Model) -> Liveness {
        self.runs();
        let now_ms = self.now_ms();
        let mut state = self.state();
        state.liveness.observe(model, now_ms);
        state.liveness.clone()
    }

    /// A unit registered.
    pub(crate) fn registered(&self, spu: SpuId, incarnation: Incarnation) {
        let now_ms = self.now_ms();
        self.state().liveness.hear(spu, incarnation, now_ms);
    }

    /// Notes a heartbeat that came at `at`. One of an earlier registration, or of a unit that the model
    /// does not know, changes nothing.
    pub(crate) fn hear(&self, model: &Model, heartbeat: &Heartbeat, at: Instant) {
        let (spu, incarnation) = (heartbeat.spu_id, heartbeat.incarnation);
        if model
            .spu(spu)
            .is_none_or(|row| row.incarnation > incarnation)
        {
            return;
        }
        let at_ms = self.at_ms(at);
        let mut state = self.state();
        state.liveness.hear(spu, incarnation, at_ms);
        let known = state.units.get(&spu);
        if known.is_some_and(|known| known.incarnation > incarnation || known.heard_at > at) {
            return;
        }
        let report = UnitReport {
            incarnation,
            heard_at: at,
            draining: heartbeat.draining,
            disk: heartbeat.disk,
            traffic: heartbeat.traffic,
        };
        state.units.insert(spu, report);
        for report in heartbeat.statuses.iter().take(HEARTBEAT_STATUSES_MAX) {
            let row = model.partition(report.key);
            if row.is_some_and(|row| row.leader == Some(spu)) {
                state.statuses.insert(report.key, report.status);
            }
        }
    }

    /// Keeps a heartbeat to be passed on to the holder, with what an older one said of other partitions:
    /// it will not be said again soon.
    pub(crate) fn keep(&self, heartbeat: Heartbeat, at: Instant) {
        let mut state = self.state();
        let one = Heard { heartbeat, at };
        let (mut newer, older) = match state.outbox.remove(&one.heartbeat.spu_id) {
            Some(other) if other.at > one.at => (other, Some(one)),
            other => (one, other),
        };
        if let Some(older) = older {
            let said = newer.heartbeat.statuses.iter();
            let said: BTreeSet<_> = said.map(|report| report.key).collect();
            // One partition may stand there twice.
            let room = HEARTBEAT_STATUSES_MAX.saturating_sub(newer.heartbeat.statuses.len());
            let reports = older.heartbeat.statuses.into_iter();
            let unsaid = reports.filter(|report| !said.contains(&report.key));
            newer.heartbeat.statuses.extend(unsaid.take(room));
        }
        state.outbox.insert(newer.heartbeat.spu_id, newer);
    }

    /// What is to be passed on.
    pub(crate) fn take_outbox(&self) -> Vec<Heard> {
        let kept = std::mem::take(&mut self.state().outbox);
        kept.into_values().collect()
    }

    /// Where that partition stands, if its leader said so.
    pub(crate) fn partition(&self, key: ReplicaKey) -> Option<PartitionStatus> {
        self.state().statuses.get(&key).copied()
    }

    /// What that unit said last.
    pub(crate) fn unit(&self, spu: SpuId) -> Option<UnitReport> {
        self.state().units.get(&spu).copied()
    }

    /// Forgets what is gone.
    pub(crate) fn retain(&self, model: &Model) {
        let mut state = self.state();
        state.liveness.retain(model);
        state.units.retain(|spu, _| model.spu(*spu).is_some());
        state
            .statuses
            .retain(|key, _| model.partition(*key).is_some());
        state.outbox.retain(|spu, _| model.spu(*spu).is_some());
    }

    fn at_ms(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began);
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        since_ms.saturating_sub(self.away_ms.load(Ordering::Relaxed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
