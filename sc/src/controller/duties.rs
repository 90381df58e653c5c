//! What the holder of the lease does by itself: shut out silent units, elect, place, move on, sweep.
//!
//! The core says what is due; this commits it. Invariants: every such commit carries the lease's epoch,
//! so that a holder that was replaced changes nothing; a new holder, or one that could not listen for a
//! while, gives every unit a whole time-out.

use tidegate_kit::clock;
use tidegate_proto::error::Problem;
use tidegate_proto::id::LeaseEpoch;
use tidegate_sc_core::tick::{Clocks, Tick, tick};
use uuid::Uuid;

use super::holder::Lease;
use super::task::{Fate, Task};
use crate::limits::{EVENT_REVISIONS_KEPT, EVENT_ROWS_KEPT, LEDGER_SWEEP, TICKS_AT_ONCE_MAX};
use crate::metrics;
use crate::store::{Commit, Kept};

impl Task {
    /// What the holder of the lease does by itself.
    pub(super) async fn control(&mut self) {
        let Some(epoch) = self.lease.borrow().epoch() else {
            self.controls = None;
            return;
        };
        if self.controls != Some(epoch) {
            // Nobody was heard by this holder yet, and the last one may have committed since we looked.
            self.roster.begin();
            self.mirror.set_behind();
            self.controls = Some(epoch);
        }
        for _ in 0..TICKS_AT_ONCE_MAX {
            if self.mirror.is_behind() {
                self.look().await;
            }
            if self.mirror.is_behind() || self.conditions.now().refusal().is_some() {
                return;
            }
            match self.tick(epoch).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(problem) => {
                    tracing::warn!(problem = problem.detail(), "what is due could not be done");
                    self.mirror.set_behind();
                    return;
                }
            }
        }
        self.sweep().await;
    }

    /// Does what is most urgent; false when there is nothing to do, or nothing more to do for us.
    async fn tick(&mut self, epoch: LeaseEpoch) -> Result<bool, Problem> {
        let liveness = self.roster.liveness(self.mirror.model());
        // After that: what passed while nobody listened does not count.
        let clocks = Clocks {
            wall_ms: clock::now_ms(),
            monotonic_ms: self.roster.now_ms(),
        };
        let model = self.mirror.model();
        let due = tick(model, clocks, Uuid::new_v4(), &liveness, &*self.roster);
        let Tick {
            changes,
            guards,
            fenced,
        } = due;
        // A stall may have outlasted the lease while this was decided.
        if changes.is_empty() || self.lease.borrow().epoch() != Some(epoch) {
            return Ok(false);
        }
        let (actor, request_id) = ("controller".to_owned(), String::new());
        let mut commit = Commit::new(changes, actor, request_id, clocks.wall_ms);
        commit.guards = guards;
        commit.seen = Some(self.mirror.at());
        commit.lease = Some(epoch);
        match self.send(&commit).await? {
            Fate::Made(revision) => {
                if !fenced.is_empty() {
                    tracing::warn!(?fenced, revision, "silent storage units were shut out");
                    metrics::fenced(fenced.len());
                }
                self.take_in(revision, &commit).await?;
                Ok(true)
            }
            Fate::Lost => {
                metrics::conflicted();
                self.mirror.set_behind();
                Ok(true)
            }
            Fate::Fenced => {
                tracing::warn!(%epoch, "another controller holds the lease: stepping down");
                self.lease.send_if_modified(|lease| {
                    let is_that =
                        matches!(lease, Lease::Ours { epoch: held, .. } if *held == epoch);
                    if is_that {
                        *lease = Lease::Unknown;
                    }
                    is_that
                });
                self.controls = None;
                Ok(false)
            }
        }
    }

    /// Drops what nobody needs any more.
    async fn sweep(&mut self) {
        let now = clock::monotonic();
        let is_due = |swept| now - swept >= LEDGER_SWEEP;
        if !self.times.swept.is_none_or(is_due) {
            return;
        }
        self.times.swept = Some(now);
        if let Err(error) = self.store.drop_expired(clock::now_ms()).await {
            metrics::store_failed();
            tracing::warn!(%error, "what expired could not be dropped");
        }
        let kept = Kept {
            revisions: EVENT_REVISIONS_KEPT,
            rows: EVENT_ROWS_KEPT,
        };
        if let Err(error) = self.store.compact_events(kept).await {
            metrics::store_failed();
            tracing::warn!(%error, "old events could not be dropped");
        }
    }
}
