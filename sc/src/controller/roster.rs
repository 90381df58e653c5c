//! What storage units said last: that they are alive, and where their partitions stand.
//!
//! In memory of every controller. The holder of the lease judges by it who is silent; the others pass on
//! to him what they hear, and ask him for what he hears. Bounded: a unit reports only partitions that it
//! leads in the model, and units are bounded by the model. Invariant: a new holder begins with nobody
//! heard, so that nobody is shut out before a whole time-out has passed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tidegate_kit::clock;
use tidegate_proto::control::{Heartbeat, ReportedStatus, Reports, ReportsQuery};
use tidegate_proto::id::{Incarnation, SpuId, TopicId};
use tidegate_proto::limits::HEARTBEAT_STATUSES_MAX;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::holdings::Holdings;
use tidegate_sc_core::liveness::Liveness;
use tidegate_sc_core::model::Model;
use tidegate_sc_core::rows::PartitionRow;
use uuid::Uuid;

use super::flow::{Amounts, Flows, Meter};
use super::reports::{Book, Noted, Reported, Sign, Told, UnitReport, before};
use crate::limits::{REPORTED_STATUSES_MAX, STALL, STATUS_AGE_MAX};
use crate::metrics;

/// A heartbeat to be passed on, and when it came.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) heartbeat: Heartbeat,
    /// The first of those whose statuses are in it.
    pub(crate) first_beat: u64,
    pub(crate) at: Instant,
}

#[derive(Debug)]
struct State {
    liveness: Liveness,
    book: Book,
    meter: Meter,
    /// The newest of each unit since it was last emptied.
    outbox: BTreeMap<SpuId, Heard>,
    /// When this process was seen running.
    ran_at: Instant,
}

impl Holdings for Roster {
    fn is_empty(&self, row: &PartitionRow) -> Option<bool> {
        let reported = self.partition(row.key(), row.leader)?;
        let is_its = reported.status.leader_epoch == row.leader_epoch;
        is_its.then(|| reported.is_empty())
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
                book: Book::new(Uuid::new_v4()),
                meter: Meter::new(clock::now_ms()),
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
        self.runs();
        let now_ms = self.now_ms();
        self.state().liveness = Liveness::new(now_ms, self.timeout_ms);
    }

    /// This process runs. When it did not for long, it could not listen: that time counts for nobody's
    /// silence. To be said before anything is put on this clock, or it would stand there too late.
    pub(crate) fn runs(&self) {
        if !self.judges() {
            return;
        }
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
        self.runs();
        let now_ms = self.now_ms();
        self.state().liveness.hear(spu, incarnation, now_ms);
    }

    /// Notes a heartbeat. One of an earlier registration, or of a unit that the model does not know,
    /// changes nothing.
    pub(crate) fn hear(&self, model: &Model, heard: &Heard) -> Noted {
        self.runs();
        let Heard {
            heartbeat,
            first_beat,
            at,
        } = heard;
        let (spu, incarnation) = (heartbeat.spu_id, heartbeat.incarnation);
        let row = model.spu(spu);
        if row.is_none_or(|row| row.incarnation > incarnation) {
            return Noted::Stale;
        }
        let at_ms = self.at_ms(*at);
        let mut state = self.state();
        state.liveness.hear(spu, incarnation, at_ms);
        let before = state.book.unit(spu).copied();
        let noted = state.book.sign(Sign {
            heartbeat,
            first_beat: *first_beat,
            at: *at,
        });
        match noted {
            Noted::Stale => return noted,
            Noted::Late => {}
            Noted::Whole | Noted::Gap => state.unit_moved(spu, before.as_ref()),
        }
        let is_ahead = heartbeat
            .seen
            .is_some_and(|seen| seen.revision > model.revision);
        for report in heartbeat.statuses.iter().take(HEARTBEAT_STATUSES_MAX) {
            // Its leader; of an epoch that this model has not, whoever has read further.
            let is_its = model.partition(report.key).is_some_and(|row| {
                if report.status.leader_epoch > row.leader_epoch {
                    is_ahead
                } else {
                    row.leader == Some(spu)
                }
            });
            if is_its {
                let told = Told {
                    report: report.clone(),
                    spu,
                    incarnation,
                    beat: heartbeat.beat,
                    at: *at,
                };
                state.tell(model, told);
            }
        }
        noted
    }

    /// What others do not know yet.
    pub(crate) fn reports(&self, query: ReportsQuery) -> Reports {
        let now = clock::monotonic();
        self.state().book.after(query, REPORTED_STATUSES_MAX, now)
    }

    /// Takes in what the holder of the lease answered to a question that was sent at `asked_at`. Ages count
    /// from then, so that nothing is said to hold later than it was said. What is of no use goes at the next
    /// sweep.
    pub(crate) fn take(&self, model: &Model, reports: &Reports, asked_at: Instant) {
        let mut state = self.state();
        for reported in &reports.statuses {
            let ReportedStatus {
                spu_id,
                incarnation,
                beat,
                age_ms,
                report,
            } = reported;
            let told = Told {
                report: report.clone(),
                spu: *spu_id,
                incarnation: *incarnation,
                beat: *beat,
                at: before(asked_at, *age_ms),
            };
            state.tell(model, told);
        }
        for unit in &reports.units {
            if let Ok(before) = state.book.take_unit(unit, asked_at) {
                state.unit_moved(unit.spu_id, before.as_ref());
            }
        }
    }

    /// Takes in what went in and out of all topics, where one process is everything.
    pub(crate) fn count(&self, topics: BTreeMap<TopicId, Amounts>) {
        self.state().meter.topics(topics, clock::now_ms());
    }

    /// What went in and out.
    pub(crate) fn flows(&self, now_ms: i64) -> Flows {
        self.state().meter.flows(now_ms)
    }

    /// Keeps a heartbeat to be passed on to the holder, with what an older one said of other partitions:
    /// it will not be said again soon.
    pub(crate) fn keep(&self, one: Heard) {
        let mut state = self.state();
        let (mut newer, older) = match state.outbox.remove(&one.heartbeat.spu_id) {
            Some(other) if other.at > one.at => (other, Some(one)),
            other => (one, other),
        };
        if let Some(older) = older {
            join(&mut newer, older);
        }
        state.outbox.insert(newer.heartbeat.spu_id, newer);
    }

    /// What is to be passed on.
    pub(crate) fn take_outbox(&self) -> Vec<Heard> {
        let kept = std::mem::take(&mut self.state().outbox);
        kept.into_values().collect()
    }

    /// Where that partition stands, if its leader said so and it is not too long ago.
    pub(crate) fn partition(&self, key: ReplicaKey, leader: Option<SpuId>) -> Option<Reported> {
        let now = clock::monotonic();
        self.state().reported(key, leader, now)
    }

    /// The same of several, without letting signs of life in between.
    pub(crate) fn partitions(
        &self,
        model: &Model,
        keys: &[ReplicaKey],
        told: &mut Vec<Option<Reported>>,
    ) {
        let now = clock::monotonic();
        let state = self.state();
        told.extend(keys.iter().map(|key| {
            let leader = model.partition(*key).and_then(|row| row.leader);
            state.reported(*key, leader, now)
        }));
    }

    /// What that unit said last.
    pub(crate) fn unit(&self, spu: SpuId) -> Option<UnitReport> {
        self.state().book.unit(spu).copied()
    }

    /// Forgets what is gone.
    pub(crate) fn retain(&self, model: &Model) {
        let now = clock::monotonic();
        let mut state = self.state();
        let heard = model.spus_at_hand();
        let heard = heard.filter_map(|row| state.book.unit(row.spu));
        let ages = heard.map(|unit| now.saturating_duration_since(unit.heard_at));
        let (count, oldest) = ages.fold((0, Duration::ZERO), |(count, oldest), age| {
            (count + 1, oldest.max(age))
        });
        metrics::heard(count, oldest);
        state.liveness.retain(model);
        state.meter.retain(
            |spu| model.spu(spu).is_some(),
            |topic| model.topic_by_id(topic).is_some(),
        );
        state.book.retain(
            |spu| model.spu(spu).is_some(),
            |key| model.partition(key).is_some(),
        );
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

impl State {
    fn reported(&self, key: ReplicaKey, leader: Option<SpuId>, now: Instant) -> Option<Reported> {
        let reported = self.book.partition(key, leader);
        reported.filter(|one| now.saturating_duration_since(one.as_of) <= STATUS_AGE_MAX)
    }

    fn tell(&mut self, model: &Model, told: Told) {
        let Ok(before) = self.book.tell(told.clone()) else {
            return;
        };
        let began_ms = self.meter.since_ms();
        let topic = model.topic_by_id(told.report.key.topic_id);
        let is_new = topic.is_some_and(|topic| topic.row.created_at_ms >= began_ms);
        let at_ms = clock::wall_ms(told.at);
        self.meter.partition(&told, before.as_ref(), is_new, at_ms);
    }

    /// Counts what a unit did since the state `before`.
    fn unit_moved(&mut self, spu: SpuId, before: Option<&UnitReport>) {
        if let Some(now) = self.book.unit(spu) {
            let at_ms = clock::wall_ms(now.heard_at);
            self.meter.unit(spu, now, before, at_ms);
        }
    }
}

/// Adds what an older one said of other partitions.
fn join(newer: &mut Heard, older: Heard) {
    if older.heartbeat.incarnation != newer.heartbeat.incarnation {
        return;
    }
    let said = newer.heartbeat.statuses.iter();
    let said: BTreeSet<_> = said.map(|report| report.key).collect();
    // One partition may stand there twice.
    let room = HEARTBEAT_STATUSES_MAX.saturating_sub(newer.heartbeat.statuses.len());
    let follows = older.heartbeat.beat.saturating_add(1) >= newer.first_beat;
    let mut unsaid = older.heartbeat.statuses;
    unsaid.retain(|report| !said.contains(&report.key));
    if follows && unsaid.len() <= room {
        newer.first_beat = newer.first_beat.min(older.first_beat);
    }
    unsaid.truncate(room);
    newer.heartbeat.statuses.extend(unsaid);
}
