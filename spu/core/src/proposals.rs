//! Which in-sync set a leader wants: whom it proposes to add, and whom to drop (I1, I2).
//!
//! A pure question to the copies and the set; what came of earlier answers is the set's business. Invariant:
//! nothing is proposed that leaves fewer than `min_isr`, nor anybody who lacks what is committed.

use tidegate_proto::control::{IsrCandidate, IsrMember};

use crate::guard::{self, Guard};
use crate::sessions::{Peer, Peers};
use crate::standing::Standing;
use crate::watermark::InSync;

/// What the wish depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) standing: &'a Standing,
    pub(crate) in_sync: &'a InSync,
    pub(crate) peers: &'a Peers,
    pub(crate) now_ms: u64,
}

impl Wish<'_> {
    /// The set as it should be; none when it is so, or when this replica is not in it itself.
    pub(crate) fn set(&self) -> Option<Vec<IsrCandidate>> {
        let committed = &self.in_sync.committed;
        let is_own = |member: &&IsrMember| **member == self.own();
        committed.iter().find(is_own)?;
        let added: Vec<IsrMember> = self
            .peers
            .peers
            .iter()
            .filter_map(|peer| self.added(peer))
            .collect();
        let is_replaced = |member: &&IsrMember| added.iter().any(|new| new.spu == member.spu);
        let (mut stay, mut slow) = (Vec::new(), Vec::new());
        for member in committed.iter().filter(|member| !is_replaced(member)) {
            let is_good = !self.lags(member) && !self.is_damaged(member);
            if *member == self.own() || is_good {
                stay.push(*member);
            } else if self.peers.acked(member).is_some() {
                slow.push(*member);
            }
        }
        // Slow members hold the others up less than a frozen high watermark does.
        slow.sort_by_key(|member| {
            self.peers
                .peer(member.spu)
                .map(|peer| peer.lag_ms(self.now_ms))
        });
        let floor = usize::from(self.in_sync.min_isr);
        let missing = floor.saturating_sub(stay.len() + added.len());
        slow.truncate(missing);
        let reached = stay.len() + added.len() + slow.len();
        if guard::holds(Guard::ShrinkFloor, reached >= floor) {
            stay.extend(slow);
        } else {
            // Whoever would have to stay in spite of it freezes the high watermark: dropping the others
            // gains nothing, and costs candidates.
            stay = committed
                .iter()
                .filter(|member| !is_replaced(member))
                .copied()
                .collect();
        }
        stay.extend(added);
        let is_same =
            stay.len() == committed.len() && stay.iter().all(|one| committed.contains(one));
        (!is_same).then(|| self.candidates(&stay))
    }

    /// The committed set as candidates: proposed, it only makes the version grow.
    pub(crate) fn committed(&self) -> Vec<IsrCandidate> {
        self.candidates(&self.in_sync.committed)
    }

    /// Whether nothing speaks for a proposal any more that would add this member.
    pub(crate) fn is_lost(&self, member: &IsrMember) -> bool {
        self.peers.acked(member).is_none() || self.lags(member)
    }

    /// Members of the committed set that are attached, or were a moment ago, and not far behind, this replica among them (A4).
    pub(crate) fn attached(&self) -> u16 {
        let counts = |member: &&IsrMember| {
            let is_there =
                self.peers.acked(member).is_some() || self.peers.left_just_now(member, self.now_ms);
            member.spu == self.standing.own || (is_there && !self.lags(member))
        };
        let count = self.in_sync.committed.iter().filter(counts).count();
        u16::try_from(count).unwrap_or(u16::MAX)
    }

    /// Whether a member has not had for too long what there was.
    pub(crate) fn lags(&self, member: &IsrMember) -> bool {
        let peer = self.peers.peer(member.spu);
        peer.is_none_or(|peer| self.is_late(peer))
    }

    /// Whether a member says of itself that its log is not what it should be: it would not lead.
    fn is_damaged(&self, member: &IsrMember) -> bool {
        let peer = self.peers.peer(member.spu);
        peer.is_some_and(|peer| peer.is_damaged(member.incarnation))
    }

    fn is_late(&self, peer: &Peer) -> bool {
        peer.lag_ms(self.now_ms) >= self.standing.config.replica_lag_ms
    }

    /// I2: the member that a copy would be, if it may become one.
    fn added(&self, peer: &Peer) -> Option<IsrMember> {
        let session = peer.session.as_ref();
        let attached = session.and_then(|session| session.acked.zip(Some(session.incarnation)));
        let (acked, incarnation) = attached?;
        let member = IsrMember {
            spu: peer.spu,
            incarnation,
        };
        let mut committed = self.in_sync.committed.iter();
        let before = committed.find(|old| old.spu == peer.spu);
        let is_newer = before.is_none_or(|old| old.incarnation < incarnation);
        let epoch = Some(self.standing.meta.leader_epoch);
        let may_be = guard::holds(Guard::ExpandLastEpoch, acked.last_epoch == epoch)
            && guard::holds(
                Guard::ExpandCaughtUp,
                acked.end >= self.standing.high_watermark,
            )
            && peer.is_complete()
            && !self.is_late(peer);
        (is_newer && may_be).then_some(member)
    }

    fn own(&self) -> IsrMember {
        IsrMember {
            spu: self.standing.own,
            incarnation: self.standing.incarnation,
        }
    }

    /// Members that the row has no copy of any more are left out.
    fn candidates(&self, members: &[IsrMember]) -> Vec<IsrCandidate> {
        let candidate = |member: &IsrMember| {
            let own = self.standing.meta.replica_gen;
            let peer = self.peers.peer(member.spu).map(|peer| peer.replica_gen);
            let replica_gen = peer.or((member.spu == self.standing.own).then_some(own))?;
            Some(IsrCandidate {
                member: *member,
                replica_gen,
            })
        };
        members.iter().filter_map(candidate).collect()
    }
}
