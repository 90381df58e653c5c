//! What units said last of themselves and of the partitions that they lead, and when that held.
//!
//! Pure; time is passed in. A unit tells of a partition when it changed, and then in each sign of life that
//! nothing else did: its signs are counted, and as long as none was missed all that it told still holds.
//! Whoever follows the book asks for what changed after a place. Invariants: nothing is said to hold
//! after its leader was last heard; of one partition a later epoch, then a later word, wins.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tidegate_proto::control::{
    CopyStatus, DiskSpace, Heartbeat, PartitionStatus, ReportedStatus, ReportedUnit, Reports,
    ReportsQuery, StatusReport, Traffic,
};
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_proto::position::ReplicaKey;
use uuid::Uuid;

/// A partition's state, and when it was like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// As its leader said.
    pub status: PartitionStatus,
    /// Its other copies, as its leader said.
    pub copies: Vec<CopyStatus>,
    /// When that held last.
    pub as_of: Instant,
}

impl Reported {
    /// It held no record then.
    pub(crate) fn is_empty(&self) -> bool {
        self.status.end == self.status.log_start
    }
}

/// What one unit said last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitReport {
    pub(crate) incarnation: Incarnation,
    pub(crate) beat: u64,
    pub(crate) heard_at: Instant,
    /// The sign of life since which nothing that it said was missed.
    pub(crate) whole_from: u64,
    /// When it had told of all that had changed.
    pub(crate) complete_at: Option<Instant>,
    pub(crate) draining: bool,
    pub(crate) disk: DiskSpace,
    pub(crate) traffic: Traffic,
}

/// What a leader said of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) report: StatusReport,
    pub(crate) spu: SpuId,
    pub(crate) incarnation: Incarnation,
    /// The sign of life that it came with.
    pub(crate) beat: u64,
    pub(crate) at: Instant,
}

impl Told {
    /// Instants that travelled are not exact, so they come last.
    fn is_before(&self, other: &Self) -> bool {
        let rank = |told: &Self| {
            let epoch = told.report.status.leader_epoch;
            (epoch, told.incarnation, told.beat, told.at)
        };
        rank(self) < rank(other)
    }
}

/// A sign of life, as far as it is about the unit itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sign<'a> {
    pub(crate) heartbeat: &'a Heartbeat,
    /// The first of those that it stands for.
    pub(crate) first_beat: u64,
    pub(crate) at: Instant,
}

/// What became of a sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It is of an earlier registration.
    Stale,
    /// A later one came before it.
    Late,
    /// It is the newest, and follows what is known.
    Whole,
    /// It is the newest, and something before it was missed.
    Gap,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Book {
    source: Uuid,
    units: BTreeMap<SpuId, UnitReport>,
    statuses: BTreeMap<ReplicaKey, (Told, u64)>,
    /// Partitions by the place of what was said last.
    places: BTreeMap<u64, ReplicaKey>,
    newest: u64,
}

impl Book {
    pub(crate) fn new(source: Uuid) -> Self {
        Self {
            source,
            units: BTreeMap::new(),
            statuses: BTreeMap::new(),
            places: BTreeMap::new(),
            newest: 0,
        }
    }

    /// Notes that a unit lives. What it says of partitions is told apart.
    pub(crate) fn sign(&mut self, sign: Sign<'_>) -> Noted {
        let Sign {
            heartbeat,
            first_beat,
            at,
        } = sign;
        let (spu, incarnation) = (heartbeat.spu_id, heartbeat.incarnation);
        let known = self.units.get(&spu).copied();
        if known.is_some_and(|known| known.incarnation > incarnation) {
            return Noted::Stale;
        }
        let known = known.filter(|known| known.incarnation == incarnation);
        let is_late = |known: UnitReport| known.heard_at > at || known.beat > heartbeat.beat;
        if known.is_some_and(is_late) {
            return Noted::Late;
        }
        // Those before the first never were.
        let last = known.map_or(0, |known| known.beat);
        let follows = (1..=last.saturating_add(1)).contains(&first_beat);
        let whole_from = known.filter(|_| follows).map(|known| known.whole_from);
        let complete = known.filter(|_| follows).and_then(|one| one.complete_at);
        let is_complete = heartbeat.beat > 0 && heartbeat.untold == 0;
        let report = UnitReport {
            incarnation,
            beat: heartbeat.beat,
            heard_at: at,
            whole_from: whole_from.unwrap_or(first_beat.min(heartbeat.beat)),
            complete_at: if is_complete { Some(at) } else { complete },
            draining: heartbeat.draining,
            disk: heartbeat.disk,
            traffic: heartbeat.traffic,
        };
        self.units.insert(spu, report);
        if follows { Noted::Whole } else { Noted::Gap }
    }

    /// Notes what was said of a partition, and gives what was known before. What is older changes
    /// nothing and gives an error.
    pub(crate) fn tell(&mut self, told: Told) -> Result<Option<Told>, ()> {
        let key = told.report.key;
        let known = self.statuses.get(&key);
        if known.is_some_and(|(known, _)| told.is_before(known)) {
            return Err(());
        }
        self.newest += 1;
        self.places.insert(self.newest, key);
        let known = self.statuses.insert(key, (told, self.newest));
        Ok(known.map(|(known, place)| {
            self.places.remove(&place);
            known
        }))
    }

    /// Where a partition stood, and when; `leader` is who leads it now, if anybody does.
    pub(crate) fn partition(&self, key: ReplicaKey, leader: Option<SpuId>) -> Option<Reported> {
        let (told, _) = self.statuses.get(&key)?;
        let unit = self.units.get(&told.spu).filter(|unit| {
            leader.is_none_or(|leader| leader == told.spu)
                && unit.incarnation == told.incarnation
                && unit.whole_from <= told.beat
        });
        let confirmed = unit.and_then(|unit| unit.complete_at);
        Some(Reported {
            status: told.report.status,
            copies: told.report.copies.clone(),
            as_of: confirmed.map_or(told.at, |at| at.max(told.at)),
        })
    }

    pub(crate) fn unit(&self, spu: SpuId) -> Option<&UnitReport> {
        self.units.get(&spu)
    }

    /// What changed after the place that is asked for, at most `statuses_max` partitions.
    pub(crate) fn after(&self, query: ReportsQuery, statuses_max: usize, now: Instant) -> Reports {
        let is_ours = query.source == Some(self.source) && query.after <= self.newest;
        let after = if is_ours { query.after } else { 0 };
        let mut upto = self.newest;
        let mut has_more = false;
        let mut statuses = Vec::new();
        for (place, key) in self.places.range(after + 1..) {
            if statuses.len() == statuses_max {
                has_more = true;
                break;
            }
            upto = *place;
            if let Some((told, _)) = self.statuses.get(key) {
                statuses.push(ReportedStatus {
                    spu_id: told.spu,
                    incarnation: told.incarnation,
                    beat: told.beat,
                    age_ms: age_ms(now, told.at),
                    report: told.report.clone(),
                });
            }
        }
        let units = self.units.iter().filter(|_| !has_more);
        Reports {
            source: self.source,
            upto: if has_more { upto } else { self.newest },
            has_more,
            units: units.map(|(spu, unit)| shown(*spu, unit, now)).collect(),
            statuses,
        }
    }

    /// Takes over what another book says of a unit, when it knows more; gives what was known before. Ages
    /// are counted from `asked_at`.
    pub(crate) fn take_unit(
        &mut self,
        told: &ReportedUnit,
        asked_at: Instant,
    ) -> Result<Option<UnitReport>, ()> {
        let known = self.units.get(&told.spu_id).copied();
        let rank = |one: &UnitReport| (one.incarnation, one.beat);
        if known.is_some_and(|known| rank(&known) >= (told.incarnation, told.beat)) {
            return Err(());
        }
        let report = UnitReport {
            incarnation: told.incarnation,
            beat: told.beat,
            heard_at: before(asked_at, told.age_ms),
            whole_from: told.whole_from,
            complete_at: told.complete_ms.map(|ms| before(asked_at, ms)),
            draining: told.draining,
            disk: told.disk,
            traffic: told.traffic,
        };
        self.units.insert(told.spu_id, report);
        Ok(known)
    }

    /// Forgets all others.
    pub(crate) fn retain(
        &mut self,
        mut has_unit: impl FnMut(SpuId) -> bool,
        mut has_partition: impl FnMut(ReplicaKey) -> bool,
    ) {
        self.units.retain(|spu, _| has_unit(*spu));
        let places = &mut self.places;
        self.statuses.retain(|key, (_, place)| {
            let stays = has_partition(*key);
            if !stays {
                places.remove(place);
            }
            stays
        });
    }
}

fn shown(spu_id: SpuId, unit: &UnitReport, now: Instant) -> ReportedUnit {
    ReportedUnit {
        spu_id,
        incarnation: unit.incarnation,
        beat: unit.beat,
        age_ms: age_ms(now, unit.heard_at),
        whole_from: unit.whole_from,
        complete_ms: unit.complete_at.map(|at| age_ms(now, at)),
        draining: unit.draining,
        disk: unit.disk,
        traffic: unit.traffic,
    }
}

/// So long ago; now when the clock does not go back so far.
pub(crate) fn before(now: Instant, age_ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(age_ms))
        .unwrap_or(now)
}

/// How long ago, in milliseconds.
pub(crate) fn age_ms(now: Instant, at: Instant) -> u64 {
    let age = now.saturating_duration_since(at);
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}
