//! The one loop that changes the control state: take a command, decide, commit, publish, answer.
//!
//! Holds the model it decides on. When the store turns out to be elsewhere (another controller wrote, or
//! the fate of a commit is unknown), it reads the store again and decides again, a bounded number of
//! times. Invariant: what it publishes is what the store holds at that revision.

use std::sync::Arc;

use tidegate_kit::clock;
use tidegate_proto::control::Topology;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_sc_core::decide::decide;
use tidegate_sc_core::decision::{Decision, Request};
use tidegate_sc_core::model::Model;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Answered, Command, Decided, Once, Origin, Reply, answer_of, stopping};
use crate::limits::{
    COMPACTION_INTERVAL_ROWS, DECISION_ATTEMPTS_MAX, EVENT_REVISIONS_KEPT, EVENT_ROWS_KEPT,
    RECEIPT_KEPT_MS,
};
use crate::metrics;
use crate::store::{ApplyError, Commit, Kept, MetaStore, Receipt, StoreError};

pub(super) struct Task {
    store: Arc<dyn MetaStore>,
    model: Arc<Model>,
    models: watch::Sender<Arc<Model>>,
    topologies: watch::Sender<Arc<Topology>>,
    /// The store may be ahead of `model`; read it before the next decision.
    is_stale: bool,
    /// Events written since old ones were last dropped.
    rows_written: u64,
}

/// How a commit ended.
enum Fate {
    Made(u64),
    Lost,
}

impl Task {
    pub(super) fn new(
        store: Arc<dyn MetaStore>,
        model: Arc<Model>,
        models: watch::Sender<Arc<Model>>,
        topologies: watch::Sender<Arc<Topology>>,
    ) -> Self {
        Self {
            store,
            model,
            models,
            topologies,
            is_stale: false,
            rows_written: 0,
        }
    }

    pub(super) async fn run(mut self, mut queue: mpsc::Receiver<Command>, stop: CancellationToken) {
        self.compact().await;
        loop {
            let command = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                command = queue.recv() => command,
            };
            let Some(Command {
                request,
                origin,
                reply,
            }) = command
            else {
                break;
            };
            // Nobody may be listening any more; what was decided is done all the same.
            match reply {
                Reply::Decided(reply) => {
                    let _ = reply.send(self.carry_out(&request, &origin).await);
                }
                Reply::Once(once, reply) => {
                    let _ = reply.send(self.carry_out_once(&request, &origin, &once).await);
                }
            }
            if self.rows_written >= COMPACTION_INTERVAL_ROWS {
                self.compact().await;
            }
        }
        queue.close();
        while let Some(command) = queue.recv().await {
            match command.reply {
                Reply::Decided(reply) => drop(reply.send(Err(stopping()))),
                Reply::Once(_, reply) => drop(reply.send(Err(stopping()))),
            }
        }
        self.store.close().await;
        tracing::info!(revision = self.model.revision, "controller stopped");
    }

    async fn carry_out(&mut self, request: &Request, origin: &Origin) -> Result<Decided, Problem> {
        for _ in 0..DECISION_ATTEMPTS_MAX {
            if self.is_stale {
                self.reload().await.map_err(failed)?;
            }
            let now_ms = clock::now_ms();
            let decision = decide(&self.model, now_ms, Uuid::new_v4(), request)?;
            if decision.changes.is_empty() {
                return Ok(Decided {
                    decision,
                    model: Arc::clone(&self.model),
                });
            }
            if let Fate::Made(revision) = self.commit(&decision, origin, None, now_ms).await? {
                self.take_in(revision, &decision).await;
                tracing::debug!(revision, changes = decision.changes.len(), "committed");
                return Ok(Decided {
                    decision,
                    model: Arc::clone(&self.model),
                });
            }
            metrics::conflicted();
            self.is_stale = true;
        }
        Err(contended())
    }

    /// The same under a request key: the receipt is written with the changes.
    async fn carry_out_once(
        &mut self,
        request: &Request,
        origin: &Origin,
        once: &Once,
    ) -> Result<Answered, Problem> {
        for _ in 0..DECISION_ATTEMPTS_MAX {
            if self.is_stale {
                self.reload().await.map_err(failed)?;
            }
            let now_ms = clock::now_ms();
            // Looked for after the model was read: what the first of two twins changed cannot be in the
            // model without its receipt being found.
            let kept = self.store.receipt(&once.principal, &once.key, now_ms).await;
            if let Some(receipt) = kept.map_err(failed)? {
                let text = answer_of(receipt, once.request_hash)?;
                let is_repeat = true;
                return Ok(Answered { text, is_repeat });
            }
            let decision = decide(&self.model, now_ms, Uuid::new_v4(), request)?;
            let receipt = self.receipt(once, &decision, now_ms);
            let (text, is_repeat) = (receipt.answer.clone(), false);
            if decision.changes.is_empty() {
                let is_first = self.store.put_receipt(&receipt, now_ms).await;
                if is_first.map_err(failed)? {
                    self.rows_written += 1;
                    return Ok(Answered { text, is_repeat });
                }
                continue;
            }
            let made = self
                .commit(&decision, origin, Some(receipt), now_ms)
                .await?;
            if let Fate::Made(revision) = made {
                self.take_in(revision, &decision).await;
                return Ok(Answered { text, is_repeat });
            }
            metrics::conflicted();
            self.is_stale = true;
        }
        Err(contended())
    }

    /// The receipt of a decision: its answer is made from the state as it will be.
    fn receipt(&self, once: &Once, decision: &Decision, now_ms: i64) -> Receipt {
        let mut model = (*self.model).clone();
        if !decision.changes.is_empty() {
            model.commit(model.revision + 1, &decision.changes);
        }
        Receipt {
            principal: once.principal.clone(),
            key: once.key.clone(),
            request_hash: once.request_hash,
            answer: (once.answer)(decision, &model),
            expires_at_ms: now_ms + RECEIPT_KEPT_MS,
        }
    }

    async fn commit(
        &mut self,
        decision: &Decision,
        origin: &Origin,
        receipt: Option<Receipt>,
        at_ms: i64,
    ) -> Result<Fate, Problem> {
        let (actor, request_id) = (origin.actor.clone(), origin.request_id.clone());
        let mut commit = Commit::new(decision.changes.clone(), actor, request_id, at_ms);
        commit.guards.clone_from(&decision.guards);
        commit.at_revision = decision.whole_state.then_some(self.model.revision);
        commit.receipt = receipt;
        self.rows_written += commit.changes.len() as u64;
        let began = clock::monotonic();
        let error = match self.store.apply(&commit).await {
            Ok(revision) => {
                metrics::committed(clock::monotonic() - began, commit.changes.len());
                return Ok(Fate::Made(revision));
            }
            // Repeated: a twin was faster; the next look finds its receipt.
            Err(ApplyError::Conflict | ApplyError::Repeated) => return Ok(Fate::Lost),
            Err(error @ ApplyError::Fenced(_)) => {
                return Err(Problem::new(ErrorCode::Internal, error.to_string()));
            }
            Err(ApplyError::Failed(error)) => return Err(failed(error)),
            Err(ApplyError::Unknown(error)) => error,
        };
        self.is_stale = true;
        metrics::store_failed();
        tracing::warn!(%error, commit_id = %commit.id, "the answer to a commit was lost");
        match self.store.committed(commit.id).await {
            Ok(Some(revision)) => Ok(Fate::Made(revision)),
            Ok(None) => Err(failed(error)),
            Err(_) => Err(Problem::new(
                ErrorCode::OutcomeUnknown,
                "the metadata store did not say whether the change was made",
            )),
        }
    }

    /// Brings the model to a commit of ours and publishes it.
    async fn take_in(&mut self, revision: u64, decision: &Decision) {
        if !self.is_stale && revision == self.model.revision + 1 {
            let mut model = (*self.model).clone();
            model.commit(revision, &decision.changes);
            self.publish(model);
        } else if let Err(error) = self.reload().await {
            // It is made; only our view of it is late. The next command reads it.
            self.is_stale = true;
            tracing::warn!(%error, revision, "the state after a commit cannot be read yet");
        }
    }

    async fn reload(&mut self) -> Result<(), StoreError> {
        let model = self.store.snapshot().await?;
        self.is_stale = false;
        if model != *self.model {
            self.publish(model);
        }
        Ok(())
    }

    fn publish(&mut self, model: Model) {
        metrics::published(&model);
        self.model = Arc::new(model);
        self.topologies
            .send_replace(Arc::new(self.model.topology()));
        self.models.send_replace(Arc::clone(&self.model));
    }

    async fn compact(&mut self) {
        self.rows_written = 0;
        let kept = Kept {
            revisions: EVENT_REVISIONS_KEPT,
            rows: EVENT_ROWS_KEPT,
        };
        if let Err(error) = self.store.compact_events(kept).await {
            metrics::store_failed();
            tracing::warn!(%error, "old events could not be dropped");
        }
        if let Err(error) = self.store.drop_expired(clock::now_ms()).await {
            metrics::store_failed();
            tracing::warn!(%error, "what expired could not be dropped");
        }
    }
}

fn contended() -> Problem {
    let detail = "others keep changing the same things; try again";
    Problem::new(ErrorCode::Unavailable, detail)
}

fn failed(error: StoreError) -> Problem {
    metrics::store_failed();
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the metadata store failed"
    );
    error.into()
}
