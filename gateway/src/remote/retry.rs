//! Whether something that failed at one leader is tried again, and what is told when it is not.
//!
//! Pure but for one counter. What certainly had no effect may be tried again; what may have had one only if
//! the leader can tell a repetition. Retries are a share of the requests, so that a unit in trouble is
//! not asked twice for everything. Invariant: once an attempt may have had an effect, no later refusal is
//! told as if there were none.

use std::sync::atomic::{AtomicI64, Ordering};

use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::{ErrorCode, Problem, SideEffects};

use super::limits::{RETRY_EARNED_BY, RETRY_RESERVE};

/// Retries that may still be made.
#[derive(Debug)]
pub(super) struct RetryBudget {
    /// In parts of which one retry takes [`RETRY_EARNED_BY`].
    parts: AtomicI64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            parts: AtomicI64::new(RETRY_RESERVE * RETRY_EARNED_BY),
        }
    }
}

impl RetryBudget {
    /// A request came.
    pub(super) fn earn(&self) {
        // A race may lose or gain a part: nobody counts on the last one.
        if self.parts.load(Ordering::Relaxed) < RETRY_RESERVE * RETRY_EARNED_BY {
            self.parts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes one retry; false when none is left.
    pub(super) fn spend(&self) -> bool {
        let less = |parts: i64| (parts >= RETRY_EARNED_BY).then(|| parts - RETRY_EARNED_BY);
        self.parts
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

/// Whether the leader would know these batches if they came twice.
pub(super) fn is_idempotent(batches: &[ClientBatch]) -> bool {
    let is_known =
        |batch: &ClientBatch| batch.producer().is_some() || batch.request_key().is_some();
    batches.iter().all(is_known)
}

/// Whether another leader, or the same a moment later, may do what this one refused.
pub(super) fn is_passing(problem: &Problem) -> bool {
    let is_passing = matches!(
        problem.code(),
        ErrorCode::NotLeader | ErrorCode::Unavailable
    );
    is_passing && problem.is_definite() && problem.is_retryable()
}

/// The attempts of one append.
#[derive(Debug)]
pub(super) struct Attempts {
    is_idempotent: bool,
    may_have_taken: bool,
}

impl Attempts {
    pub(super) fn of(batches: &[ClientBatch]) -> Self {
        Self {
            is_idempotent: is_idempotent(batches),
            may_have_taken: false,
        }
    }

    /// Whether one of them may have had an effect.
    pub(super) fn may_have_taken(&self) -> bool {
        self.may_have_taken
    }

    /// Whether an attempt that failed like this is followed by another, if there is time.
    pub(super) fn goes_on_after(&mut self, problem: &Problem) -> bool {
        if problem.code() == ErrorCode::OutcomeUnknown {
            self.may_have_taken = true;
            return self.is_idempotent;
        }
        is_passing(problem)
    }

    /// What the client is told when this was the last attempt.
    pub(super) fn last(&self, problem: Problem) -> Problem {
        if !self.may_have_taken || !problem.is_definite() {
            return problem;
        }
        if problem.is_retryable() {
            let detail = format!(
                "an earlier attempt may have been taken, and the last one was not: {}",
                problem.detail()
            );
            return unknown(detail);
        }
        problem.side_effects(SideEffects::Possible)
    }
}

/// Nobody knows what became of it.
pub(super) fn unknown(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::OutcomeUnknown, detail)
}

/// It was not done.
pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::Unavailable, detail).retry_after(1)
}

/// The same of a question.
pub(super) fn unreachable(reason: &str) -> Problem {
    unavailable(format!(
        "the leader of the partition cannot be reached: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(is_idempotent: bool) -> Attempts {
        Attempts {
            is_idempotent,
            may_have_taken: false,
        }
    }

    #[test]
    fn refusals_of_a_leader_that_changes_are_tried_again_and_others_are_told() {
        for (code, goes_on) in [
            (ErrorCode::NotLeader, true),
            (ErrorCode::Unavailable, true),
            (ErrorCode::NotEnoughReplicas, false),
            (ErrorCode::Throttled, false),
            (ErrorCode::Overloaded, false),
            (ErrorCode::DiskFull, false),
            (ErrorCode::OutOfOrder, false),
            (ErrorCode::TopicNotFound, false),
            (ErrorCode::Internal, false),
        ] {
            let problem = Problem::new(code, "x");
            assert_eq!(attempts(true).goes_on_after(&problem), goes_on, "{code}");
        }
        let lasting = Problem::new(ErrorCode::Unavailable, "x").retryable(false);
        assert!(!attempts(true).goes_on_after(&lasting));
    }

    #[test]
    fn what_may_have_been_taken_is_only_sent_again_when_the_leader_would_know_it() {
        assert!(!attempts(false).goes_on_after(&unknown("x")));
        let mut attempts = attempts(true);
        assert!(attempts.goes_on_after(&unknown("x")));
        let told = attempts.last(Problem::new(ErrorCode::NotLeader, "x"));
        assert_eq!(told.code(), ErrorCode::OutcomeUnknown);
        let told = attempts.last(Problem::new(ErrorCode::ProducerFenced, "x"));
        assert_eq!(told.code(), ErrorCode::ProducerFenced);
        assert!(!told.is_definite());
    }

    #[test]
    fn without_such_an_attempt_refusals_are_told_as_they_are() {
        let mut attempts = attempts(true);
        let problem = Problem::new(ErrorCode::NotLeader, "x");
        assert!(attempts.goes_on_after(&problem));
        assert_eq!(attempts.last(problem.clone()), problem);
    }

    #[test]
    fn retries_are_a_tenth_of_the_requests_once_the_reserve_is_spent() {
        let budget = RetryBudget::default();
        let reserve = (0..).take_while(|_| budget.spend()).count();
        assert_eq!(reserve as i64, RETRY_RESERVE);
        for _ in 0..1_000 {
            budget.earn();
        }
        assert_eq!((0..).take_while(|_| budget.spend()).count(), 100);
    }
}
