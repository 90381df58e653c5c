//! Rules of the control state that the model takes away, one at a time, to show that it notices.
//!
//! Outside of tests and the `testing` feature every guard stands, known to the compiler: [`holds`] is
//! then its condition. The switch is the thread's own: tests that run beside it are not touched.

/// A rule that can be taken away; named as the replication contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// CAS: a change is made under the version that it was decided on.
    RowVersion,
    /// H1, I3: a proposal is judged under the version that it was made on.
    ProposalVersion,
    /// I2: the proposer leads, in the epoch and under the registration of the row.
    ProposerLeads,
    /// I1: a proposal leaves `min_isr` members.
    IsrFloor,
    /// I1: shutting a unit out leaves `min_isr` members.
    FenceFloor,
    /// I2: a member to be added is the copy that the row names.
    AddedReplicaGen,
    /// I2: a member to be added is there under its current registration.
    AddedIncarnation,
    /// S1: a copy that is not intact leaves the in-sync set.
    SuspectLeaves,
    /// L1: a copy whose log failed is not elected.
    FailedLeadsNot,
    /// S2: a disk that went back in time makes all its copies suspect.
    DiskWentBack,
    /// S4: a copy that is missing where it once was is lost.
    MissingIsLost,
    /// L3: a recovery waits for as many answers as every quorum has one of.
    SurveyAnswers,
    /// L3: an answer counts at the epoch of the seal.
    SurveyEpoch,
    /// L3, S3: the answer of a copy that was never in sync proves nothing.
    SurveyVouched,
}

/// True when the condition holds, or when its guard was taken away.
#[must_use]
pub fn holds(rule: Rule, condition: bool) -> bool {
    #[cfg(any(test, feature = "testing"))]
    {
        condition || !switch::stands(rule)
    }
    #[cfg(not(any(test, feature = "testing")))]
    {
        let _ = rule;
        condition
    }
}

#[cfg(any(test, feature = "testing"))]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static REMOVED: Cell<&'static [Rule]> = const { Cell::new(&[]) };
    }

    /// Runs without those guards, on this thread.
    pub fn without<T>(removed: &'static [Rule], run: impl FnOnce() -> T) -> T {
        let before = REMOVED.replace(removed);
        let result = run();
        REMOVED.set(before);
        result
    }

    pub(super) fn stands(rule: Rule) -> bool {
        !REMOVED.get().contains(&rule)
    }
}

#[cfg(any(test, feature = "testing"))]
pub use switch::without;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guard_that_was_taken_away_lets_everything_pass() {
        without(&[Rule::RowVersion], || {
            assert!(holds(Rule::RowVersion, false));
            assert!(!holds(Rule::IsrFloor, false));
        });
        assert!(!holds(Rule::RowVersion, false));
        assert!(holds(Rule::RowVersion, true));
    }
}
