//! The high watermark: how far the log is committed (H1, H2).
//!
//! It is computed over a set of members, of which a single replica is the smallest case; followers
//! are members whose acknowledged end arrives by message. It holds no log and moves nothing itself.

use tidegate_proto::control::IsrMember;
use tidegate_proto::id::{Incarnation, SpuId};
use tidegate_proto::position::Offset;

/// A member of the in-sync set, and how far it acknowledged in this epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Member {
    spu: SpuId,
    incarnation: Incarnation,
    acked: Offset,
}

/// The members that must hold a record before it is committed (MaxISR).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InSync {
    members: Vec<Member>,
    committed_len: u16,
    min_isr: u16,
}

impl InSync {
    /// The set of a row. Acknowledgements count only inside their epoch, so all start from zero.
    pub(crate) fn new(isr: &[IsrMember], min_isr: u16) -> Self {
        let member = |at: &IsrMember| Member {
            spu: at.spu,
            incarnation: at.incarnation,
            acked: Offset::ZERO,
        };
        let committed_len = u16::try_from(isr.len()).unwrap_or(u16::MAX);
        Self {
            members: isr.iter().map(member).collect(),
            committed_len,
            min_isr,
        }
    }

    /// A newer row of the same epoch: members that stay keep what they acknowledged.
    pub(crate) fn replace(&mut self, isr: &[IsrMember], min_isr: u16) {
        let before = std::mem::replace(self, Self::new(isr, min_isr));
        for old in before.members {
            self.acknowledge(old.spu, old.incarnation, old.acked);
        }
    }

    /// A member holds everything below `end` durably. Others, and other incarnations, do not count.
    pub(crate) fn acknowledge(&mut self, spu: SpuId, incarnation: Incarnation, end: Offset) {
        let same = |at: &&mut Member| at.spu == spu && at.incarnation == incarnation;
        if let Some(member) = self.members.iter_mut().find(same) {
            member.acked = member.acked.max(end);
        }
    }

    /// H2: the largest offset that every member holds, if enough of them are in sync.
    pub(crate) fn committed(&self) -> Option<Offset> {
        let least = self.members.iter().map(|member| member.acked).min();
        least.filter(|_| self.committed_len >= self.min_isr)
    }

    /// A4: sizes when quorum appends must be refused.
    pub(crate) fn shortage(&self) -> Option<(u16, u16)> {
        let required = self.min_isr.max(1);
        (self.committed_len < required).then_some((self.committed_len, required))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(spu: u32, incarnation: u64) -> IsrMember {
        IsrMember {
            spu: SpuId(spu),
            incarnation: Incarnation(incarnation),
        }
    }

    #[test]
    fn the_slowest_member_decides() {
        let mut set = InSync::new(&[member(1, 7), member(2, 8)], 2);
        set.acknowledge(SpuId(1), Incarnation(7), Offset::new(10));
        assert_eq!(set.committed(), Some(Offset::ZERO));
        set.acknowledge(SpuId(2), Incarnation(8), Offset::new(4));
        assert_eq!(set.committed(), Some(Offset::new(4)));
    }

    #[test]
    fn an_older_life_of_a_member_does_not_count() {
        let mut set = InSync::new(&[member(1, 7)], 1);
        set.acknowledge(SpuId(1), Incarnation(6), Offset::new(10));
        assert_eq!(set.committed(), Some(Offset::ZERO));
    }

    #[test]
    fn below_the_minimum_nothing_is_committed() {
        let mut set = InSync::new(&[member(1, 7)], 2);
        set.acknowledge(SpuId(1), Incarnation(7), Offset::new(10));
        assert_eq!((set.committed(), set.shortage()), (None, Some((1, 2))));
        set.replace(&[member(1, 7), member(2, 1)], 2);
        assert_eq!(
            (set.committed(), set.shortage()),
            (Some(Offset::ZERO), None)
        );
        set.replace(&[member(1, 7)], 1);
        assert_eq!(set.committed(), Some(Offset::new(10)));
    }
}
