//! An append at its leader: attempts until the deadline.
//!
//! A leader that hangs keeps its connections and says nothing. Invariant: nobody waits for an answer of one
//! that leads the partition no more, unless the answer is all that could tell what became of the records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tidegate_data_plane::partitions::{AppendRequest, Appended};
use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::ReplicaKey;
use tidegate_proto::private::append::Append;
use tidegate_proto::produce::Acks;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::dial::until;
use super::lane::AppendLane;
use super::limits::{ANSWER_GRACE, AWAY_LOOK_EVERY, RETRY_PAUSE_MIN};
use super::queue::{Fate, Queued};
use super::retry::{Attempts, is_idempotent, unavailable, unknown};
use super::route::Route;
use super::stamps::Stamped;
use super::{RemotePartitions, metrics};

impl RemotePartitions {
    pub(super) async fn append_within(
        &self,
        key: ReplicaKey,
        mut request: AppendRequest,
    ) -> Result<Appended, Problem> {
        let deadline = clock::monotonic() + request.timeout;
        let bytes = request.batches.iter().map(ClientBatch::len).sum();
        let Some(permit) = self.memory.appends.try_acquire(bytes) else {
            let detail = "too many bytes of produce requests are under way in this process";
            return Err(Problem::new(ErrorCode::Throttled, detail).retry_after(1));
        };
        let permit = Arc::new(permit);
        self.retries.earn();
        let mut stamped = self.stamp(key, &mut request);
        let mut attempts = Attempts::of(&request.batches);
        let mut pauses = self.pauses();
        loop {
            let route = self.routes.find(&self.topology.borrow(), key);
            let route = route.map_err(|problem| attempts.last(problem))?;
            if let Some(problem) = self.away(route) {
                metrics::not_taken("failed");
                return Err(attempts.last(problem));
            }
            let attempt = self.attempt(key, route, &request, deadline, &permit);
            let (outcome, has_cost) = attempt.await;
            let problem = match outcome {
                Ok(mut appended) => {
                    self.counters.taken();
                    if request.acks == Acks::Quorum {
                        self.gatherings.has_gathered(key, route.leader_epoch);
                    }
                    // The client sent it once.
                    appended.duplicate &= stamped.is_none();
                    return Ok(appended);
                }
                Err(problem) => problem,
            };
            if let Some(refused) = stamped.take_if(|stamped| stamped.is_refused_by(&problem)) {
                if attempts.may_have_taken() {
                    // The leader does not remember whether it was.
                    metrics::not_taken("failed");
                    return Err(unknown(problem.detail()));
                }
                metrics::not_taken("retried");
                refused.take_off(&mut request);
                attempts = Attempts::of(&request.batches);
                continue;
            }
            let pause = pauses.next_delay().max(RETRY_PAUSE_MIN);
            let goes_on = attempts.goes_on_after(&problem) || self.gathers(key, route, &problem);
            if !goes_on || until(deadline) <= pause || (has_cost && !self.retries.spend()) {
                metrics::not_taken("failed");
                return Err(attempts.last(problem));
            }
            metrics::not_taken("retried");
            self.rest(key, route, pause).await;
        }
    }

    /// What the lane says, or why it is not waited for any more.
    async fn told<T>(
        &self,
        key: ReplicaKey,
        route: Route,
        deadline: Instant,
        may_leave: impl Fn() -> bool,
        mut told: impl Future<Output = T> + Unpin,
    ) -> Result<T, &'static str> {
        let mut was_left = false;
        loop {
            // Hardly anybody waits for so long; who does looks whether there is still somebody to wait for.
            let left = until(deadline) + ANSWER_GRACE;
            if let Ok(told) = timeout(left.min(AWAY_LOOK_EVERY), &mut told).await {
                return Ok(told);
            }
            if until(deadline + ANSWER_GRACE).is_zero() {
                return Err("the leader did not answer within the deadline");
            }
            let now = self.routes.find(&self.topology.borrow(), key);
            let is_left = now.is_ok_and(|now| now.is_elsewhere(route));
            // One that steps down in order answers what it took: it gets one look more.
            if is_left && was_left && may_leave() {
                return Err("another one leads the partition by now");
            }
            was_left = is_left;
        }
    }

    /// Whether the refusal is that of a leader whose copies are still to find it.
    fn gathers(&self, key: ReplicaKey, route: Route, problem: &Problem) -> bool {
        problem.code() == ErrorCode::NotEnoughReplicas
            && problem.is_definite()
            && route.leader.is_some()
            && self
                .gatherings
                .goes_on(key, route.leader_epoch, clock::monotonic())
    }

    fn stamp(&self, key: ReplicaKey, request: &mut AppendRequest) -> Option<Stamped> {
        let is_known = |key| self.routes.find(&self.topology.borrow(), key).is_ok();
        self.stamps.stamp(key, request, is_known)
    }

    /// One attempt, and whether it came as far as the leader.
    async fn attempt(
        &self,
        key: ReplicaKey,
        route: Route,
        request: &AppendRequest,
        deadline: Instant,
        permit: &Arc<BytePermit>,
    ) -> (Result<Appended, Problem>, bool) {
        let Some(leader) = route.leader else {
            let detail = "the partition has no leader at this moment";
            return (Err(Problem::new(ErrorCode::NotLeader, detail)), false);
        };
        let (fate, told) = oneshot::channel();
        let is_sent = Arc::new(AtomicBool::new(false));
        let append = Append {
            id: 0,
            key,
            leader_epoch: route.leader_epoch,
            acks: request.acks,
            timeout_ms: 0,
            expected_end: request.expected_end,
            batches: request.batches.clone(),
        };
        let queued = Queued {
            append,
            deadline,
            is_sent: Arc::clone(&is_sent),
            fate,
            _permit: Arc::clone(permit),
        };
        let unit = self.units.unit(leader);
        let lane = unit.lane(key);
        if !lane.submit(queued) {
            let detail = "too many requests wait for the leader of this partition";
            return (
                Err(Problem::new(ErrorCode::Overloaded, detail).retry_after(1)),
                false,
            );
        }
        let mut waiter = Waiter {
            lane,
            told,
            is_over: false,
        };
        let is_known_twice = is_idempotent(&request.batches);
        let may_leave = || is_known_twice || !is_sent.load(Ordering::SeqCst);
        let told = self.told(key, route, deadline, may_leave, &mut waiter.told);
        let told = told.await;
        waiter.is_over = told.is_ok();
        let fate = match told {
            Ok(Ok(fate)) => fate,
            Ok(Err(_)) => untold(&is_sent, "the storage unit was removed"),
            Err(reason) => {
                // Who sends marks first and looks then whether somebody still waits.
                waiter.told.close();
                untold(&is_sent, reason)
            }
        };
        match fate {
            Fate::Answered(outcome) => {
                unit.presence.answers();
                (outcome, true)
            }
            Fate::Unsent(reason) => {
                let detail = format!("the leader cannot be reached, nothing was done: {reason}");
                (Err(unavailable(detail)), false)
            }
            Fate::Lost(reason) => (Err(unknown(reason)), true),
        }
    }
}

/// Somebody who waits for what becomes of an append, and may leave before that.
struct Waiter<'a> {
    lane: &'a AppendLane,
    told: oneshot::Receiver<Fate>,
    is_over: bool,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.told.close();
            self.lane.left();
        }
    }
}

/// What became of a request of which the lane said nothing.
fn untold(is_sent: &AtomicBool, reason: &str) -> Fate {
    if is_sent.load(Ordering::SeqCst) {
        Fate::Lost(reason.to_owned())
    } else {
        Fate::Unsent(format!("it was not sent: {reason}"))
    }
}
