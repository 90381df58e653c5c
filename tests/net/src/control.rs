//! The controller's state and decisions: the core's own, over a store that is one value in memory.
//!
//! Commits are made one after the other and never lost. Invariant: every state, and every step, is one that
//! the core allows.

use tidegate_proto::api::topic::{Setting, TopicConfigRequest, TopicRequest};
use tidegate_proto::control::{Durability, Standing};
use tidegate_proto::error::Problem;
use tidegate_proto::id::{Incarnation, RunId, SpuId, StoreId};
use tidegate_proto::name::TopicName;
use tidegate_sc_core::change::{Change, Guard};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Outcome, Request, TopicWrite};
use tidegate_sc_core::holdings::Untold;
use tidegate_sc_core::invariant::{check_state, check_step};
use tidegate_sc_core::liveness::{Liveness, standing};
use tidegate_sc_core::model::Model;
use tidegate_sc_core::tick::{Clocks, tick};

use crate::identities::cluster_id;
use crate::options::{Options, UNITS};
use crate::random::Random;

/// How long a unit may be silent.
const SPU_TIMEOUT_MS: u64 = 3_000;
/// Rows carry it; nothing follows from it.
const WALL_MS: i64 = 1_700_000_000_000;

pub(crate) const STORE: StoreId = StoreId::from_bytes([9; 16]);

/// See the module.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) model: Model,
    liveness: Liveness,
    random: Random,
    /// A state that must not be.
    pub(crate) breach: Option<String>,
}

impl Control {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            model: Model::empty(cluster_id()),
            liveness: Liveness::new(0, SPU_TIMEOUT_MS),
            random: Random::new(!seed),
            breach: None,
        }
    }

    /// A new process: it has heard nobody yet.
    pub(crate) fn begin(&mut self, now_ms: u64) {
        self.liveness = Liveness::new(now_ms, SPU_TIMEOUT_MS);
    }

    pub(crate) fn change(&mut self, request: &Request) -> Result<Outcome, Problem> {
        let seed = self.random.uuid();
        let decision = decide(&self.model, WALL_MS, seed, request)?;
        self.commit(&decision.changes, &decision.guards);
        Ok(decision.outcome)
    }

    /// What it does by itself.
    pub(crate) fn tick(&mut self, now_ms: u64) {
        self.liveness.observe(&self.model, now_ms);
        let clocks = Clocks {
            wall_ms: WALL_MS,
            monotonic_ms: now_ms,
        };
        loop {
            let seed = self.random.uuid();
            let due = tick(&self.model, clocks, seed, &self.liveness, &Untold);
            if due.changes.is_empty() || !self.commit(&due.changes, &due.guards) {
                return;
            }
        }
    }

    pub(crate) fn hear(
        &mut self,
        spu: SpuId,
        incarnation: Incarnation,
        run_id: RunId,
        now_ms: u64,
    ) -> Standing {
        let found = standing(&self.model, spu, incarnation);
        let row = self.model.spu(spu);
        let is_another = row.is_some_and(|row| {
            row.incarnation == incarnation && row.run_id.is_some_and(|run| run != run_id)
        });
        if found == Standing::Current && is_another {
            return Standing::Superseded;
        }
        if found == Standing::Current {
            self.liveness.hear(spu, incarnation, now_ms);
        }
        found
    }

    /// Makes the topic once all units are there.
    pub(crate) fn make_topic(&mut self, options: &Options) {
        if self.model.spus.len() < UNITS as usize {
            return;
        }
        let durability = if options.is_interval {
            Durability::Interval
        } else {
            Durability::Ack
        };
        let Ok(name) = TopicName::parse("records") else {
            return;
        };
        if self.model.topics.contains_key(&name) {
            return;
        }
        let request = TopicRequest {
            partitions: Setting::Value(options.partitions),
            replication_factor: Setting::Value(3),
            min_in_sync: Setting::Value(2),
            config: Setting::Value(TopicConfigRequest {
                durability: Setting::Value(durability),
                ..TopicConfigRequest::default()
            }),
            ..TopicRequest::default()
        };
        let write = TopicWrite {
            name,
            request,
            if_match: None,
        };
        if let Err(problem) = self.change(&Request::CreateTopic(write)) {
            self.breach = Some(format!("the topic is refused: {problem:?}"));
        }
    }

    /// False when there is nothing to commit, or it does not fit.
    fn commit(&mut self, changes: &[Change], guards: &[Guard]) -> bool {
        if changes.is_empty() || self.breach.is_some() {
            return false;
        }
        if !self.model.accepts(changes, guards) {
            self.breach = Some(format!("what was decided does not fit: {changes:?}"));
            return false;
        }
        let before = self.model.clone();
        self.model.commit(before.revision + 1, changes);
        let is_good = check_state(&self.model).and_then(|()| check_step(&before, &self.model));
        if let Err(breach) = is_good {
            self.breach = Some(format!("{breach:?}"));
        }
        true
    }
}
