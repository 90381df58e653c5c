//! What a leader does about the other copies: sessions, proposals, reports (E2, I1, I2, A4).
//!
//! It brings what followers and controllers say to the sessions and the in-sync set, and counts anew. A
//! partition with a single copy never gets here, but for a newer row.

use tidegate_proto::control::{IsrOutcome, IsrRefusal};
use tidegate_proto::position::{LogPosition, Offset};

use super::Leader;
use crate::attach::{AttachRequest, MemberStatus, SessionId};
use crate::effect::{Effect, Effects};
use crate::guard::{self, Guard};
use crate::input::{Assignment, Now};
use crate::proposals::Wish;
use crate::standing::Standing;

impl Leader {
    /// A newer row of the same epoch.
    pub(crate) fn reassigned(
        &mut self,
        standing: &mut Standing,
        now: Now,
        row: &Assignment,
        out: &mut Effects,
    ) {
        let now_ms = now.monotonic_ms;
        self.in_sync.settle(&row.isr, row.min_isr, row.version);
        self.peers.follow(&row.replicas, standing.own, now_ms, out);
        self.progress(standing, out);
        self.review(standing, now_ms, out);
    }

    pub(crate) fn attach(
        &mut self,
        standing: &mut Standing,
        now: Now,
        (session, request, readable_from): (SessionId, &AttachRequest, Offset),
        out: &mut Effects,
    ) {
        let now_ms = now.monotonic_ms;
        self.peers
            .attach(standing, now_ms, session, request, readable_from, out);
        self.review(standing, now_ms, out);
    }

    pub(crate) fn acked(
        &mut self,
        standing: &mut Standing,
        now: Now,
        session: SessionId,
        (position, ledger_as_of): (LogPosition, Option<Offset>),
        out: &mut Effects,
    ) {
        // Nobody holds more of a log than there is.
        let position = position.min(standing.position());
        if self.peers.acked_in(session, position, ledger_as_of) {
            self.peers.look(now.monotonic_ms, standing.position());
            self.progress(standing, out);
            self.review(standing, now.monotonic_ms, out);
        }
    }

    pub(crate) fn detached(
        &mut self,
        standing: &Standing,
        now: Now,
        session: SessionId,
        out: &mut Effects,
    ) {
        self.peers.detach(session, now.monotonic_ms);
        self.review(standing, now.monotonic_ms, out);
    }

    pub(crate) fn isr_answered(
        &mut self,
        standing: &Standing,
        now: Now,
        version: u64,
        outcome: IsrOutcome,
        out: &mut Effects,
    ) {
        if guard::holds(Guard::SettleByVersion, false) {
            self.in_sync.forget(version);
        }
        let is_stale = match outcome {
            IsrOutcome::Accepted { .. } => true,
            IsrOutcome::Refused { reason, .. } => reason == IsrRefusal::Stale,
        };
        if !is_stale && self.in_sync.refused(version, now.monotonic_ms) {
            self.cancel(standing, now.monotonic_ms, out);
        }
    }

    /// A4: sizes when quorum appends must be refused.
    pub(super) fn shortage(&self, standing: &Standing, now: Now) -> Option<(u16, u16)> {
        let required = self.in_sync.min_isr.max(1);
        let in_sync = self.wish(standing, now.monotonic_ms).attached();
        let is_enough = guard::holds(Guard::EnoughAttached, in_sync >= required);
        (!is_enough).then_some((in_sync, required))
    }

    fn wish<'a>(&'a self, standing: &'a Standing, now_ms: u64) -> Wish<'a> {
        Wish {
            standing,
            in_sync: &self.in_sync,
            peers: &self.peers,
            now_ms,
        }
    }

    /// I1, I2: proposes what the in-sync set should be, or gives up what was proposed.
    pub(super) fn review(&mut self, standing: &Standing, now_ms: u64, out: &mut Effects) {
        if self.peers.peers.is_empty() {
            return;
        }
        let wish = self.wish(standing, now_ms);
        if self.in_sync.added().any(|member| wish.is_lost(member)) {
            self.cancel(standing, now_ms, out);
        } else if self.in_sync.may_propose(now_ms)
            && let Some(set) = wish.set()
        {
            self.in_sync.propose(set, now_ms);
            self.say(standing, out);
        }
    }

    fn cancel(&mut self, standing: &Standing, now_ms: u64, out: &mut Effects) {
        let committed = self.wish(standing, now_ms).committed();
        self.in_sync.cancel(committed, now_ms);
        self.say(standing, out);
    }

    pub(super) fn say(&self, standing: &Standing, out: &mut Effects) {
        let epoch = standing.meta.leader_epoch;
        out.extend(
            self.in_sync
                .proposal(standing.key, epoch)
                .map(Effect::ProposeIsr),
        );
    }

    /// Whether lagging copies are being timed, or a proposal waits for its row.
    pub(crate) fn is_unsettled(&self, standing: &Standing) -> bool {
        let wish = self.wish(standing, self.ticked_ms);
        let is_timed = |member| {
            let is_behind = self.peers.acked(member) < Some(standing.position());
            member.spu != standing.own && is_behind && !wish.lags(member)
        };
        self.in_sync.has_pending() || self.in_sync.committed.iter().any(is_timed)
    }

    pub(crate) fn members(&self, standing: &Standing, now: Now) -> Vec<MemberStatus> {
        let committed = &self.in_sync.committed;
        let is_in_sync = |spu| committed.iter().any(|member| member.spu == spu);
        let others = self.peers.peers.iter().map(|peer| MemberStatus {
            spu: peer.spu,
            is_in_sync: is_in_sync(peer.spu),
            is_attached: peer.session.is_some(),
            acked: peer.session.as_ref().and_then(|session| session.acked),
            lag_ms: peer.lag_ms_now(now.monotonic_ms, standing.position()),
        });
        let own = MemberStatus {
            spu: standing.own,
            is_in_sync: is_in_sync(standing.own),
            is_attached: true,
            acked: Some(standing.own_position()),
            lag_ms: 0,
        };
        std::iter::once(own).chain(others).collect()
    }
}
