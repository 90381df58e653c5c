//! Requests as the task carries them out: decide, commit, take in, answer.
//!
//! Invariants: a decision is made on the state that its commit is conditional on, and made again when
//! somebody was faster. One that commits nothing, or refuses, is made on a state no older than its
//! request. A registration is decided only while its unit waits for it and none was made since it asked.

use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Decision, Request};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::commands::{Answered, Decided, Once, Origin, answer_of, last_registration};
use super::task::{Fate, Task, failed};
use crate::limits::{DECISION_ATTEMPTS_MAX, RECEIPT_KEPT_MS};
use crate::metrics;
use crate::store::{Commit, Receipt};

impl Task {
    pub(super) async fn carry_out(
        &mut self,
        request: &Request,
        origin: &Origin,
        last: Option<Incarnation>,
        is_awaited: &(dyn Fn() -> bool + Sync),
    ) -> Result<Decided, Problem> {
        let mut is_fresh = self.is_alone;
        for _ in 0..DECISION_ATTEMPTS_MAX {
            self.be_ready().await?;
            if let Request::Register(report) = request {
                self.speaks_for_now(report.spu_id, last, is_awaited())?;
            }
            let now_ms = clock::now_ms();
            let Some(decided) = self.decide(request, now_ms, &mut is_fresh).await? else {
                continue;
            };
            let decision = decided?;
            let before = Arc::clone(self.mirror.model());
            if decision.changes.is_empty() {
                let model = before;
                return Ok(Decided { decision, model });
            }
            let commit = self.commit(&decision, origin, None, now_ms);
            if let Fate::Made(revision) = self.send(&commit).await? {
                self.take_in(revision, &commit).await?;
                tracing::debug!(revision, changes = decision.changes.len(), "committed");
                let model = self.model_with(before, revision, &decision);
                return Ok(Decided { decision, model });
            }
            metrics::conflicted();
            self.mirror.set_behind();
        }
        Err(contended())
    }

    /// A registration says what its run of the unit found on the disk. Later, when another was made or the
    /// run is no more, that is no longer so: carried out then it would shut out who serves now, and copies
    /// that are as they should be would be taken for such as went back in time.
    fn speaks_for_now(
        &self,
        spu: SpuId,
        last: Option<Incarnation>,
        is_awaited: bool,
    ) -> Result<(), Problem> {
        let now = last_registration(self.mirror.model(), spu);
        if is_awaited && last.is_none_or(|last| last == now) {
            return Ok(());
        }
        let detail = format!(
            "storage unit {spu} gave this registration up, or was registered since it asked; nothing was \
             done"
        );
        tracing::warn!(%spu, ?last, %now, is_awaited, "a late registration is not carried out");
        Err(Problem::new(ErrorCode::Unavailable, detail))
    }

    /// The same under a request key: the receipt is written with the changes, and that of a refusal
    /// before it is told.
    pub(super) async fn carry_out_once(
        &mut self,
        request: &Request,
        origin: &Origin,
        once: &Once,
    ) -> Result<Answered, Problem> {
        let mut is_fresh = self.is_alone;
        for _ in 0..DECISION_ATTEMPTS_MAX {
            self.be_ready().await?;
            let now_ms = clock::now_ms();
            // Looked for after the model was read: what the first of two twins changed cannot be in the
            // model without its receipt being found.
            let kept = self.store.receipt(&once.principal, &once.key, now_ms).await;
            if let Some(receipt) = kept.map_err(failed)? {
                let text = answer_of(receipt, once.request_hash)?;
                let is_repeat = true;
                return Ok(Answered { text, is_repeat });
            }
            let Some(decided) = self.decide(request, now_ms, &mut is_fresh).await? else {
                continue;
            };
            let text = match &decided {
                Ok(decision) => self.text(once, decision),
                Err(refusal) if is_for_good(refusal) => (once.refusal)(refusal),
                Err(refusal) => return Err(refusal.clone()),
            };
            let receipt = receipt(once, text.clone(), now_ms);
            let is_repeat = false;
            let decision = decided.ok().filter(|decision| !decision.changes.is_empty());
            let Some(decision) = decision else {
                let is_first = self.store.put_receipt(&receipt, now_ms).await;
                if is_first.map_err(failed)? {
                    return Ok(Answered { text, is_repeat });
                }
                continue;
            };
            let commit = self.commit(&decision, origin, Some(receipt), now_ms);
            if let Fate::Made(revision) = self.send(&commit).await? {
                self.take_in(revision, &commit).await?;
                return Ok(Answered { text, is_repeat });
            }
            metrics::conflicted();
            self.mirror.set_behind();
        }
        Err(contended())
    }

    /// Decides on the model, or refuses; none when it turned out to be overtaken. Only a commit finds that out by
    /// itself: before nothing is written, or a request is refused, the store is followed once.
    async fn decide(
        &mut self,
        request: &Request,
        now_ms: i64,
        is_fresh: &mut bool,
    ) -> Result<Option<Result<Decision, Problem>>, Problem> {
        let model = self.mirror.model();
        let decided = decide(model, now_ms, Uuid::new_v4(), request);
        let is_checked = matches!(&decided, Ok(decision) if !decision.changes.is_empty());
        if !is_checked && !std::mem::replace(is_fresh, true) {
            let revision = model.revision;
            self.mirror.set_behind();
            self.be_ready().await?;
            if self.mirror.model().revision != revision {
                return Ok(None);
            }
        }
        Ok(Some(decided.map_err(Problem::from)))
    }

    /// The state with a decision that was committed, and without what others made of it since: `before`
    /// is what it was made on.
    fn model_with(&self, before: Arc<Model>, revision: u64, decision: &Decision) -> Arc<Model> {
        let newest = self.mirror.model();
        if newest.revision == revision {
            return Arc::clone(newest);
        }
        let mut model = Arc::unwrap_or_clone(before);
        model.commit(revision, &decision.changes);
        Arc::new(model)
    }

    /// The answer to a decision, made from the state as it will be.
    fn text(&self, once: &Once, decision: &Decision) -> String {
        let mut model = (**self.mirror.model()).clone();
        if !decision.changes.is_empty() {
            model.commit(model.revision + 1, &decision.changes);
        }
        (once.answer)(decision, &model)
    }

    /// What is to be written for a decision on the state that we have.
    fn commit(
        &self,
        decision: &Decision,
        origin: &Origin,
        receipt: Option<Receipt>,
        at_ms: i64,
    ) -> Commit {
        let (actor, request_id) = (origin.actor.clone(), origin.request_id.clone());
        let mut commit = Commit::new(decision.changes.clone(), actor, request_id, at_ms);
        commit.guards.clone_from(&decision.guards);
        let revision = self.mirror.model().revision;
        commit.at_revision = decision.whole_state.then_some(revision);
        commit.seen = Some(self.mirror.at());
        commit.receipt = receipt;
        commit
    }
}

fn receipt(once: &Once, answer: String, now_ms: i64) -> Receipt {
    Receipt {
        principal: once.principal.clone(),
        key: once.key.clone(),
        request_hash: once.request_hash,
        answer,
        expires_at_ms: now_ms + RECEIPT_KEPT_MS,
    }
}

/// Whether whoever is refused so is told that nothing was done and that asking again is of no use.
fn is_for_good(refusal: &Problem) -> bool {
    refusal.is_definite() && !refusal.is_retryable()
}

fn contended() -> Problem {
    let detail = "others keep changing the same things; try again";
    Problem::new(ErrorCode::Unavailable, detail)
}
