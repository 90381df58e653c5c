//! Which storage units were heard of, and which have been silent for too long.
//!
//! Lives in the memory of the controller that holds the lease, never in the store. Time is monotonic
//! and passed in. Invariant: after a take-over nobody is overdue before a whole time-out has passed, so
//! that units can find the new controller.

use std::collections::BTreeMap;

pub use tidegate_proto::control::Standing;
use tidegate_proto::id::{Incarnation, SpuId};

use crate::limits::{SILENCE_TIMEOUTS_MAX, SPU_TIMEOUT_MS_DEFAULT, SPU_TIMEOUT_MS_MIN};
use crate::model::Model;
use crate::rows::SpuRow;

/// What a unit under that registration is in the state `model`.
#[must_use]
pub fn standing(model: &Model, spu: SpuId, incarnation: Incarnation) -> Standing {
    match model.spu(spu) {
        None => Standing::Unknown,
        // Ahead of this state: another controller knows more. Fencing comes by its registration.
        Some(row) if row.incarnation < incarnation => Standing::Current,
        Some(row) if row.incarnation > incarnation => Standing::Superseded,
        Some(row) if row.fenced => Standing::Fenced,
        Some(_) => Standing::Current,
    }
}

/// When each unit was heard of last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Liveness {
    timeout_ms: u64,
    /// When this controller began to listen.
    began_ms: u64,
    /// When it began to listen again after it could not for a while.
    since_ms: u64,
    heard: BTreeMap<SpuId, (Incarnation, u64)>,
}

impl Liveness {
    /// Nobody was heard of yet; `now_ms` is monotonic, as every time here. A time-out below
    /// [`SPU_TIMEOUT_MS_MIN`] is raised to it.
    #[must_use]
    pub fn new(now_ms: u64, timeout_ms: u64) -> Self {
        Self {
            timeout_ms: timeout_ms.max(SPU_TIMEOUT_MS_MIN),
            began_ms: now_ms,
            since_ms: now_ms,
            heard: BTreeMap::new(),
        }
    }

    /// With the default time-out.
    #[must_use]
    pub fn with_default(now_ms: u64) -> Self {
        Self::new(now_ms, SPU_TIMEOUT_MS_DEFAULT)
    }

    /// Notes a heartbeat or a registration. One of an earlier registration changes nothing.
    pub fn hear(&mut self, spu: SpuId, incarnation: Incarnation, now_ms: u64) {
        let last = self.heard.entry(spu).or_insert((incarnation, now_ms));
        if incarnation >= last.0 {
            *last = (incarnation, last.1.max(now_ms));
        }
    }

    /// This controller could not listen for a while: everybody gets a whole time-out from now, but no more
    /// than [`SILENCE_TIMEOUTS_MAX`] in all. The time in which nobody listened is not to count in `now_ms`.
    pub fn forgive(&mut self, now_ms: u64) {
        self.since_ms = self.since_ms.max(now_ms);
    }

    /// Notes registrations that other controllers took: a unit that has just registered was heard just now,
    /// whoever it talked to.
    pub fn observe(&mut self, model: &Model, now_ms: u64) {
        for row in model.spus.values().filter(|row| !row.fenced) {
            let heard = self.heard.get(&row.spu);
            if heard.is_none_or(|(incarnation, _)| *incarnation < row.incarnation) {
                self.heard.insert(row.spu, (row.incarnation, now_ms));
            }
        }
    }

    /// Forgets units that are gone.
    pub fn retain(&mut self, model: &Model) {
        self.heard.retain(|spu, _| model.spu(*spu).is_some());
    }

    /// When the unit is to be shut out unless it is heard of before.
    #[must_use]
    pub fn deadline_ms(&self, row: &SpuRow) -> u64 {
        let heard = self.heard.get(&row.spu);
        // What an earlier registration said proves nothing about this one.
        let heard = heard.filter(|(incarnation, _)| *incarnation >= row.incarnation);
        let last = heard.map_or(self.began_ms, |(_, at_ms)| *at_ms);
        let silence_max_ms = self.timeout_ms.saturating_mul(SILENCE_TIMEOUTS_MAX);
        let forgiven = last.max(self.since_ms).saturating_add(self.timeout_ms);
        forgiven.min(last.saturating_add(silence_max_ms))
    }

    /// True when the unit has been silent for the whole time-out.
    #[must_use]
    pub fn is_overdue(&self, row: &SpuRow, now_ms: u64) -> bool {
        !row.fenced && now_ms >= self.deadline_ms(row)
    }
}
