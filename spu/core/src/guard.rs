//! Rules of the machine that the model takes away, one at a time, to show that it notices.
//!
//! Outside of tests and the `testing` feature every guard stands, known to the compiler: [`holds`] is
//! then its condition. The switch is the thread's own: tests that run beside it are not touched.

/// A rule that can be taken away; named as the replication contract names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// E1: an epoch is durable before anything is done in it.
    PersistBeforeActing,
    /// E2: an attach of another epoch is refused.
    AttachEpoch,
    /// E2: an attach of another copy than the row names is refused.
    AttachReplicaGen,
    /// E2: acknowledgements count under the registration of their attach.
    AttachIncarnation,
    /// H1: members of a pending proposal count.
    PendingCounts,
    /// H1: a proposal is settled by a newer row, and by nothing else.
    SettleByVersion,
    /// H2: acknowledgements count in the epoch, and in the attach, that they were given in.
    AckEpoch,
    /// H2: acknowledgements count for the registration that the row names.
    AckIncarnation,
    /// H2: nothing is committed by fewer than `min_isr`.
    CommitMinIsr,
    /// H3: no latest offset before the epoch's marker is committed.
    MarkerBeforeLatest,
    /// T1: the leader looks up the follower's last epoch.
    LookUpLastEpoch,
    /// T2: a follower cuts at the least of both ends.
    CutAtBothEnds,
    /// T3: nothing committed is cut.
    KeepCommitted,
    /// T4: an answer counts in the epoch, and for the attach, that it was asked in.
    AnswerEpoch,
    /// I1: no proposal shrinks a set below `min_isr`.
    ShrinkFloor,
    /// I2: its log ends with this epoch.
    ExpandLastEpoch,
    /// I2: it has all that is committed.
    ExpandCaughtUp,
    /// A2: a shipped ledger is durable before the follower counts.
    ShippedLedger,
    /// A4: quorum appends are refused while too few are attached.
    EnoughAttached,
    /// S2: a damaged copy does not lead.
    DamagedLeadsNot,
}

/// True when the condition holds, or when its guard was taken away.
#[must_use]
pub fn holds(guard: Guard, condition: bool) -> bool {
    #[cfg(any(test, feature = "testing"))]
    {
        condition || !switch::stands(guard)
    }
    #[cfg(not(any(test, feature = "testing")))]
    {
        let _ = guard;
        condition
    }
}

#[cfg(any(test, feature = "testing"))]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static REMOVED: Cell<&'static [Guard]> = const { Cell::new(&[]) };
    }

    /// Runs without those guards, on this thread.
    pub fn without<T>(removed: &'static [Guard], run: impl FnOnce() -> T) -> T {
        let before = REMOVED.replace(removed);
        let result = run();
        REMOVED.set(before);
        result
    }

    pub(super) fn stands(guard: Guard) -> bool {
        !REMOVED.get().contains(&guard)
    }
}

#[cfg(any(test, feature = "testing"))]
pub use switch::without;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_guard_that_was_taken_away_lets_everything_pass() {
        without(&[Guard::AckEpoch], || {
            assert!(holds(Guard::AckEpoch, false));
            assert!(!holds(Guard::PendingCounts, false));
        });
        assert!(!holds(Guard::AckEpoch, false));
        assert!(holds(Guard::AckEpoch, true));
    }
}
