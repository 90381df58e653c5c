//! The high watermark: how far the log is committed (H1, H2), and with whose consent.
//!
//! It is computed over MaxISR: the committed in-sync set and every proposed one that no row has settled. A
//! single replica is the smallest case. It holds no log, knows nobody's acknowledgements itself and moves
//! nothing.

use tidegate_proto::control::{IsrCandidate, IsrMember, IsrProposal};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};

use crate::guard::{self, Guard};
use crate::limits::PROPOSAL_RETRY_MS;

/// The committed in-sync set, and what was proposed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct InSync {
    pub(crate) committed: Vec<IsrMember>,
    pub(crate) min_isr: u16,
    /// Of the row that says so.
    version: u64,
    pending: Option<Pending>,
    /// No new proposal before this time: the last one was refused.
    quiet_until_ms: u64,
}

/// A proposal that may still be carried out, whatever was answered (H1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pending {
    wanted: Vec<IsrCandidate>,
    /// It is given up: what is said now is the committed set, at the same version. Only one of the two can
    /// be carried out, and either makes the version grow.
    cancel: Option<Vec<IsrCandidate>>,
    said_ms: u64,
}

impl InSync {
    pub(crate) fn new(isr: &[IsrMember], min_isr: u16, version: u64) -> Self {
        Self {
            committed: isr.to_vec(),
            min_isr,
            version,
            pending: None,
            quiet_until_ms: 0,
        }
    }

    /// A newer row of the same epoch: what was proposed on an older one will not happen any more.
    pub(crate) fn settle(&mut self, isr: &[IsrMember], min_isr: u16, version: u64) {
        let quiet_until_ms = self.quiet_until_ms;
        *self = Self::new(isr, min_isr, version);
        self.quiet_until_ms = quiet_until_ms;
    }

    /// MaxISR (H1).
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn counted(&self) -> Vec<IsrMember> {
        let pending = self.pending.iter();
        let wanted = pending.flat_map(|pending| pending.wanted.iter().map(|one| one.member));
        self.committed.iter().copied().chain(wanted).collect()
    }

    /// H2: the largest position that every member holds, if enough of them are in sync.
    pub(crate) fn agreed(
        &self,
        acked: impl Fn(&IsrMember) -> LogPosition,
    ) -> Option<(Offset, Option<LeaderEpoch>)> {
        let is_enough = self.committed.len() >= usize::from(self.min_isr);
        if !guard::holds(Guard::CommitMinIsr, is_enough) {
            return None;
        }
        let mut least: Option<(Offset, Option<LeaderEpoch>)> = None;
        let wanted = self
            .pending
            .as_ref()
            .filter(|_| !guard::holds(Guard::PendingCounts, false));
        let wanted = wanted.map_or(&[][..], |pending| &pending.wanted);
        let proposed = wanted.iter().map(|candidate| &candidate.member);
        for member in self.committed.iter().chain(proposed) {
            let at = acked(member);
            least = Some(match least {
                // Both are the least of their kind: members ack the two together, but not at once.
                Some((end, epoch)) => (end.min(at.end), epoch.min(at.last_epoch)),
                None => (at.end, at.last_epoch),
            });
        }
        least
    }

    pub(crate) const fn has_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a proposal may be made now.
    pub(crate) fn may_propose(&self, now_ms: u64) -> bool {
        self.pending.is_none() && self.quiet_until_ms <= now_ms
    }

    pub(crate) fn propose(&mut self, wanted: Vec<IsrCandidate>, now_ms: u64) {
        self.pending = Some(Pending {
            wanted,
            cancel: None,
            said_ms: now_ms,
        });
    }

    /// Whom the pending proposal would add, unless it is given up already.
    pub(crate) fn added(&self) -> impl Iterator<Item = &IsrMember> {
        let open = self
            .pending
            .iter()
            .filter(|pending| pending.cancel.is_none());
        let members = open.flat_map(|pending| pending.wanted.iter().map(|one| &one.member));
        members.filter(|member| !self.committed.contains(member))
    }

    /// Gives the pending proposal up; its members count until a row settles it.
    pub(crate) fn cancel(&mut self, committed: Vec<IsrCandidate>, now_ms: u64) {
        if let Some(pending) = &mut self.pending {
            pending.cancel = Some(committed);
            pending.said_ms = now_ms;
        }
    }

    /// Whether the pending proposal waits to be said again.
    pub(crate) fn is_due(&mut self, now_ms: u64) -> bool {
        let late = |at: &&mut Pending| now_ms.saturating_sub(at.said_ms) >= PROPOSAL_RETRY_MS;
        let due = self.pending.as_mut().filter(late);
        due.map(|pending| pending.said_ms = now_ms).is_some()
    }

    /// The controllers refused what was proposed on this version; true when it has to be given up.
    pub(crate) fn refused(&mut self, version: u64, now_ms: u64) -> bool {
        let is_it = version == self.version && self.pending.is_some();
        if is_it {
            self.quiet_until_ms = now_ms.saturating_add(PROPOSAL_RETRY_MS);
        }
        is_it
            && self
                .pending
                .as_ref()
                .is_some_and(|pending| pending.cancel.is_none())
    }

    /// What H1 forbids: that an answer settles a proposal.
    pub(crate) fn forget(&mut self, version: u64) {
        self.pending.take_if(|_| version == self.version);
    }

    /// What is to be said to the controllers, if anything.
    pub(crate) fn proposal(
        &self,
        key: ReplicaKey,
        leader_epoch: LeaderEpoch,
    ) -> Option<IsrProposal> {
        let pending = self.pending.as_ref()?;
        Some(IsrProposal {
            key,
            leader_epoch,
            version: self.version,
            isr: pending.cancel.as_ref().unwrap_or(&pending.wanted).clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};

    use super::*;

    fn member(spu: u32) -> IsrMember {
        IsrMember {
            spu: SpuId(spu),
            incarnation: Incarnation(7),
        }
    }

    fn candidate(spu: u32) -> IsrCandidate {
        IsrCandidate {
            member: member(spu),
            replica_gen: ReplicaGen::from_bytes([1; 16]),
        }
    }

    /// Member n holds 10 n.
    fn agreed(set: &InSync) -> Option<u64> {
        let acked = |member: &IsrMember| LogPosition {
            end: Offset::new(10 * u64::from(member.spu.0)),
            last_epoch: None,
        };
        set.agreed(acked).map(|(end, _)| end.get())
    }

    #[test]
    fn the_slowest_member_decides_and_below_the_minimum_nobody_does() {
        assert_eq!(
            agreed(&InSync::new(&[member(3), member(2)], 2, 1)),
            Some(20)
        );
        assert_eq!(agreed(&InSync::new(&[member(3)], 2, 1)), None);
    }

    #[test]
    fn who_was_proposed_counts_until_a_newer_row_whatever_was_answered() {
        let mut set = InSync::new(&[member(3), member(2)], 2, 1);
        set.propose(vec![candidate(3), candidate(2), candidate(1)], 0);
        assert_eq!(agreed(&set), Some(10));
        assert!(set.refused(1, 5));
        set.cancel(vec![candidate(3), candidate(2)], 5);
        assert!(
            !set.refused(1, 6),
            "a cancel is said again, and not cancelled"
        );
        assert_eq!(agreed(&set), Some(10));
        set.settle(&[member(3), member(2)], 2, 2);
        assert_eq!(agreed(&set), Some(20));
        assert!(!set.may_propose(PROPOSAL_RETRY_MS), "refused a moment ago");
        assert!(set.may_propose(6 + PROPOSAL_RETRY_MS));
    }

    #[test]
    fn who_would_leave_counts_too() {
        let mut set = InSync::new(&[member(3), member(1)], 1, 1);
        set.propose(vec![candidate(3)], 0);
        assert_eq!(agreed(&set), Some(10));
    }
}
