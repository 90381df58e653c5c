//! What storage units say to a controller: that they start, that they live, and what they have seen.
//!
//! A unit may talk to any controller. Invariant: what a node has seen of the metadata and the store
//! cannot match stops all changes (X1, X2); what cannot be compared now proves nothing.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_proto::control::{
    DiskSpace, FailedRequest, Heartbeat, HeartbeatAnswer, Register, Registered, SealAnswer, Seen,
    Standing,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{SpuId, TopicId};
use tidegate_proto::limits::{HEARTBEAT_MS, HEARTBEAT_STATUSES_MAX};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::Request;
use tidegate_sc_core::liveness::standing;

use super::flow::{Amounts, Flows};
use super::reports::{Noted, Reported};
use super::roster::Heard;
use super::{Controller, Decided, Origin};
use crate::limits::STATUSES_AT_ONCE;
use crate::metrics;
use crate::store::{ChainAt, StoreError};

impl Controller {
    /// Notes that a unit is alive and where its partitions stand, and tells it what it is. What it saw of
    /// the metadata is compared with the store (X1).
    pub async fn heartbeat(&self, mut heartbeat: Heartbeat) -> HeartbeatAnswer {
        let at = clock::monotonic();
        // A unit that says too much lives all the same; the rest is not worth keeping for the holder.
        heartbeat.statuses.truncate(HEARTBEAT_STATUSES_MAX);
        if let Some(seen) = heartbeat.seen {
            let who = format!("storage unit {}", heartbeat.spu_id);
            self.witness(&who, seen).await;
        }
        let model = self.model();
        let standing = standing(&model, heartbeat.spu_id, heartbeat.incarnation);
        let standing = match (standing, model.spu(heartbeat.spu_id)) {
            // Two processes with one registration: the one that was admitted goes on (S5).
            (Standing::Current, Some(row))
                if row.incarnation == heartbeat.incarnation
                    && row.run_id != Some(heartbeat.run_id) =>
            {
                Standing::Superseded
            }
            (standing, _) => standing,
        };
        let mut tell_all = false;
        if standing == Standing::Current {
            let heard = Heard {
                first_beat: heartbeat.beat,
                heartbeat,
                at,
            };
            let noted = self.shared.roster.hear(&model, &heard);
            tell_all = noted == Noted::Gap && heard.first_beat > 0;
            if !self.holds_lease() {
                self.shared.roster.keep(heard);
            }
        }
        HeartbeatAnswer {
            standing,
            revision: model.revision,
            interval_ms: HEARTBEAT_MS,
            is_stale: self.condition().borrow().away_since.is_some(),
            tell_all,
        }
    }

    /// Where those partitions stand, in their order: [`Controller::reported`] of many.
    pub(crate) fn reported_all(&self, keys: &[ReplicaKey]) -> Vec<Option<Reported>> {
        let model = self.model();
        let mut all = Vec::with_capacity(keys.len());
        for keys in keys.chunks(STATUSES_AT_ONCE) {
            self.shared.roster.partitions(&model, keys, &mut all);
        }
        all
    }

    /// Compares what a node has seen with the store; what the store cannot match stops all changes (X1,
    /// X2). What cannot be told now is told by a later report.
    pub(crate) async fn witness(&self, who: &str, seen: Seen) {
        if self.condition().borrow().alarm.is_some() {
            return;
        }
        if self.remembers(who, seen) {
            return;
        }
        // One question at a time; the next report asks again, also when the store does not answer now.
        if let Ok(_permit) = self.shared.witnesses.try_acquire() {
            let _ = self.compare(who, seen).await;
        }
    }

    /// The same for one who says it only once: to be told before he goes on.
    ///
    /// # Errors
    /// 503 `metadata_forked` when the store cannot match it; 503 when that cannot be told now.
    pub(crate) async fn testimony(&self, who: &str, seen: Seen) -> Result<(), Problem> {
        if !self.remembers(who, seen) {
            let _permit = self.shared.witnesses.acquire().await;
            self.compare(who, seen).await.map_err(|error| {
                metrics::store_failed();
                Problem::from(error).retry_after(1)
            })?;
        }
        match &self.condition().borrow().alarm {
            Some(alarm) => {
                let problem = Problem::new(ErrorCode::MetadataForked, alarm.detail.clone());
                Err(problem.retry_after(1))
            }
            None => Ok(()),
        }
    }

    /// Compares it with what is in memory; false when that does not reach so far.
    fn remembers(&self, who: &str, seen: Seen) -> bool {
        let own = self.shown().seen.store_id;
        let known = self.shared.history.hash_at(seen.revision);
        let Some(known) = known.filter(|_| seen.store_id == own) else {
            return false;
        };
        if known != seen.hash {
            let conditions = &self.shared.conditions;
            conditions.raise_late(own, None, differs(who, seen));
        }
        true
    }

    /// Asks the store.
    async fn compare(&self, who: &str, seen: Seen) -> Result<(), StoreError> {
        let own = self.shown().seen.store_id;
        let Seen {
            store_id, revision, ..
        } = seen;
        let store = &self.shared.store;
        let detail = if store_id != own {
            let is_known = store.has_been(store_id).await?;
            (!is_known).then(|| {
                format!("{who} has seen metadata store {store_id}, which this one never was")
            })
        } else {
            match store.chain_at(revision).await? {
                ChainAt::Known(known) => (known != seen.hash).then(|| differs(who, seen)),
                ChainAt::Compacted { .. } => None,
                ChainAt::Ahead { revision: found } => Some(format!(
                    "{who} has seen revision {revision}; the metadata store is at {found}"
                )),
            }
        };
        if let Some(detail) = detail {
            let expected = Some(store_id).filter(|expected| *expected != own);
            self.shared.conditions.raise_late(own, expected, detail);
        }
        Ok(())
    }

    /// Whether the store was adopted and this controller has not read it yet; then it does so soon.
    ///
    /// # Errors
    /// 503 when the store cannot tell now.
    pub(crate) async fn is_overtaken(&self) -> Result<bool, Problem> {
        let own = self.shown().seen.store_id;
        let standing = self.shared.store.standing().await.map_err(|error| {
            metrics::store_failed();
            Problem::from(error).retry_after(1)
        })?;
        let is_overtaken = standing.store_id != own;
        if is_overtaken {
            self.shared.conditions.doubt();
            self.follow_soon();
        }
        Ok(is_overtaken)
    }

    /// Whether units may register and live here.
    ///
    /// # Errors
    /// 503 once this controller leaves: who judges the silent would not hear of it, so that another one is
    /// to be told.
    pub(crate) fn takes_units(&self) -> Result<(), Problem> {
        if !self.shared.leaving.is_cancelled() {
            return Ok(());
        }
        let detail = "this controller is about to stop: another one takes storage units";
        Err(Problem::new(ErrorCode::Unavailable, detail).retry_after(1))
    }

    /// Takes what sealed copies hold; what is the answer to no question is passed over.
    ///
    /// # Errors
    /// 503 when the store fails, 504 when nobody knows whether it was done.
    pub async fn answer_seals(&self, answers: Vec<SealAnswer>) -> Result<(), Problem> {
        let member = answers.first().map(|answer| answer.member.spu);
        let origin = Origin {
            actor: member.map_or_else(String::new, |spu| format!("spu-{spu}")),
            request_id: String::new(),
        };
        self.change(Request::SealAnswers(answers), origin).await?;
        Ok(())
    }

    /// Takes which replicas of a unit failed: others lead what it led.
    ///
    /// # Errors
    /// 503 when the store fails, 504 when nobody knows whether it was done; 409 of another registration.
    pub async fn report_failed(&self, request: FailedRequest) -> Result<(), Problem> {
        let FailedRequest {
            spu_id,
            incarnation,
            replicas,
        } = request;
        let origin = Origin {
            actor: format!("spu-{spu_id}"),
            request_id: String::new(),
        };
        let request = Request::Failed {
            spu: spu_id,
            incarnation,
            replicas,
        };
        self.change(request, origin).await?;
        Ok(())
    }

    /// Admits a storage unit in one transaction: a new incarnation, a new epoch for every partition it
    /// leads, its intact replicas in sync as before, and placement of what waited for it.
    ///
    /// # Errors
    /// 503 when the store fails, 504 when nobody knows whether it was done.
    pub async fn register(&self, report: Register) -> Result<Registered, Problem> {
        let actor = format!("spu-{}", report.spu_id);
        let origin = Origin {
            actor,
            request_id: report.run_id.to_string(),
        };
        let spu = report.spu_id;
        let Decided { decision, model } = self.change(Request::Register(report), origin).await?;
        let incarnation = decision.incarnation().ok_or_else(|| {
            Problem::new(
                ErrorCode::Internal,
                "a registration was decided without an incarnation",
            )
        })?;
        self.shared.roster.registered(spu, incarnation);
        Ok(Registered {
            cluster_id: model.cluster_id,
            incarnation,
        })
    }

    /// When a unit was last heard, and what it said of its disk then.
    pub(crate) fn unit_heard(&self, spu: SpuId) -> Option<(Instant, DiskSpace)> {
        let unit = self.shared.roster.unit(spu)?;
        Some((unit.heard_at, unit.disk))
    }

    /// What went in and out in the last quarter of an hour.
    #[must_use]
    pub fn flows(&self, now_ms: i64) -> Flows {
        self.shared.roster.flows(now_ms)
    }

    /// Notes what the unit in this very process did: a sign of life without partitions, and the counters
    /// of all topics since the unit started.
    pub fn count(&self, heartbeat: Heartbeat, topics: BTreeMap<TopicId, Amounts>) {
        let heard = Heard {
            heartbeat,
            first_beat: 0,
            at: clock::monotonic(),
        };
        self.shared.roster.hear(&self.model(), &heard);
        self.shared.roster.count(topics);
    }
}

fn differs(who: &str, seen: Seen) -> String {
    let revision = seen.revision;
    format!("{who} has seen another revision {revision} than the metadata store has")
}
