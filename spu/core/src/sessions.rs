//! The other copies of a partition in the eyes of its leader: who is attached, and how far each is.
//!
//! It judges an attach (E2, T1, T5), keeps what each session acknowledged, and knows since when a copy has
//! not had all there was (I1). Invariant: what was acknowledged in one session counts in no other.

use tidegate_proto::control::{IsrMember, ReplicaSpec};
use tidegate_proto::id::{Incarnation, ReplicaGen, SpuId};
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset};

use crate::attach::{AttachAnswer, AttachRefusal, AttachRequest, SessionId};
use crate::effect::{Effect, Effects};
use crate::guard::{self, Guard};
use crate::limits::REATTACH_GRACE_MS;
use crate::standing::Standing;

/// One other copy.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peer {
    pub(crate) spu: SpuId,
    pub(crate) replica_gen: ReplicaGen,
    pub(crate) session: Option<Session>,
    /// The registration whose session ended last after it had acknowledged anything, and when.
    left: Option<(Incarnation, u64)>,
    /// When it last had all that there was; when this leader began, if never.
    caught_up_ms: u64,
    /// What there was at some moment after that: once it has this, it was caught up then.
    mark: (LogPosition, u64),
}

/// One attach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    id: SessionId,
    pub(crate) incarnation: Incarnation,
    pub(crate) acked: Option<LogPosition>,
    is_intact: bool,
    /// It counts only when its ledger is durable up to here (A2).
    needs_ledger: Option<Offset>,
}

impl Peer {
    /// Notes what it has now, against what there is.
    fn look(&mut self, now_ms: u64, position: LogPosition) {
        let Some(acked) = self.session.as_ref().and_then(|session| session.acked) else {
            return;
        };
        if acked >= position {
            self.caught_up_ms = now_ms;
            self.mark = (position, now_ms);
        } else if acked >= self.mark.0 {
            self.caught_up_ms = self.caught_up_ms.max(self.mark.1);
            self.mark = (position, now_ms);
        }
    }

    /// The same for reports, where the last look may be long ago.
    pub(crate) fn lag_ms_now(&self, now_ms: u64, position: LogPosition) -> u64 {
        let acked = self.session.as_ref().and_then(|session| session.acked);
        if acked >= Some(position) {
            0
        } else {
            self.lag_ms(now_ms)
        }
    }

    pub(crate) fn lag_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.caught_up_ms)
    }

    fn leave(&mut self, now_ms: u64) -> Option<Session> {
        let session = self.session.take()?;
        if session.acked.is_some() {
            self.left = Some((session.incarnation, now_ms));
        }
        Some(session)
    }

    /// Attached under this registration, and damaged.
    pub(crate) fn is_damaged(&self, incarnation: Incarnation) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|at| at.incarnation == incarnation && !at.is_intact)
    }

    /// Attached, not damaged, and with all that it needs besides the log.
    pub(crate) fn is_complete(&self) -> bool {
        let session = self.session.as_ref();
        session.is_some_and(|session| {
            let has_ledger = session.needs_ledger.is_none();
            session.is_intact && guard::holds(Guard::ShippedLedger, has_ledger)
        })
    }
}

/// All other copies; none where there is only one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Peers {
    pub(crate) peers: Vec<Peer>,
}

impl Peers {
    pub(crate) fn new(replicas: &[ReplicaSpec], own: SpuId, now_ms: u64) -> Self {
        let others = replicas.iter().filter(|replica| replica.spu != own);
        let peer = |replica: &ReplicaSpec| Peer {
            spu: replica.spu,
            replica_gen: replica.replica_gen,
            session: None,
            left: None,
            caught_up_ms: now_ms,
            mark: (LogPosition::default(), now_ms),
        };
        Self {
            peers: others.map(peer).collect(),
        }
    }

    /// A newer row of the same epoch: copies that it does not name are not talked to any more.
    pub(crate) fn follow(
        &mut self,
        replicas: &[ReplicaSpec],
        own: SpuId,
        now_ms: u64,
        effects: &mut Effects,
    ) {
        let mut before = std::mem::replace(self, Self::new(replicas, own, now_ms));
        for peer in &mut self.peers {
            let (spu, replica_gen) = (peer.spu, peer.replica_gen);
            let is_it = |old: &mut Peer| old.spu == spu && old.replica_gen == replica_gen;
            if let Some(old) = before.peers.extract_if(.., is_it).next() {
                *peer = old;
            }
        }
        before.end(effects);
    }

    /// Ends all sessions.
    pub(crate) fn end(&mut self, effects: &mut Effects) {
        let sessions = self.peers.iter_mut().filter_map(|peer| peer.session.take());
        effects.extend(sessions.map(|session| Effect::Detach {
            session: session.id,
        }));
    }

    pub(crate) fn peer(&self, spu: SpuId) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.spu == spu)
    }

    /// What a member acknowledged under the registration that makes it one.
    pub(crate) fn acked(&self, member: &IsrMember) -> Option<LogPosition> {
        let session = self.peer(member.spu)?.session.as_ref()?;
        let is_it = session.incarnation == member.incarnation;
        session
            .acked
            .filter(|_| guard::holds(Guard::AckIncarnation, is_it))
    }

    /// Notes who has all there is.
    pub(crate) fn look(&mut self, now_ms: u64, position: LogPosition) {
        for peer in &mut self.peers {
            peer.look(now_ms, position);
        }
    }

    /// Judges an attach, and opens a session when batches are to follow.
    pub(crate) fn attach(
        &mut self,
        standing: &mut Standing,
        now_ms: u64,
        session: SessionId,
        request: &AttachRequest,
        readable_from: Offset,
        effects: &mut Effects,
    ) {
        let answer = self.judge(standing, request, readable_from, effects);
        let position = standing.position();
        let at = self
            .peers
            .iter_mut()
            .find(|peer| peer.spu == request.follower.spu);
        let is_refused = matches!(answer, AttachAnswer::Refused { .. });
        if let Some(peer) = at.filter(|_| !is_refused) {
            let before = peer.leave(now_ms);
            effects.extend(before.iter().map(|old| Effect::Detach { session: old.id }));
            if let AttachAnswer::Attached { ships_snapshot, .. } = answer {
                peer.session = Some(Session {
                    id: session,
                    incarnation: request.follower.incarnation,
                    acked: None,
                    is_intact: request.is_intact,
                    needs_ledger: standing.ledger_as_of.filter(|_| ships_snapshot),
                });
                peer.mark = (position, now_ms);
            }
        }
        effects.push(Effect::Attached { session, answer });
    }

    fn judge(
        &self,
        standing: &mut Standing,
        request: &AttachRequest,
        readable_from: Offset,
        effects: &mut Effects,
    ) -> AttachAnswer {
        let leader_epoch = standing.meta.leader_epoch;
        let refused = |reason| AttachAnswer::Refused {
            leader_epoch,
            reason,
        };
        if !guard::holds(Guard::AttachEpoch, request.leader_epoch == leader_epoch) {
            return refused(if request.leader_epoch > leader_epoch {
                AttachRefusal::EpochAhead
            } else {
                AttachRefusal::EpochBehind
            });
        }
        let Some(peer) = self.peer(request.follower.spu) else {
            return refused(AttachRefusal::NotReplica);
        };
        let is_replica = peer.replica_gen == request.replica_gen;
        if !guard::holds(Guard::AttachReplicaGen, is_replica) {
            return refused(AttachRefusal::NotReplica);
        }
        let newest = peer.session.as_ref().map(|session| session.incarnation);
        let is_newest = newest <= Some(request.follower.incarnation);
        if !guard::holds(Guard::AttachIncarnation, is_newest) {
            return refused(AttachRefusal::Superseded);
        }
        if let Some(answer) = difference(standing, request, readable_from) {
            return answer;
        }
        let ships_snapshot = !request.is_whole && request.is_intact;
        let is_of_use = |as_of: &Offset| *as_of >= request.log_start;
        if ships_snapshot && standing.ledger_as_of.filter(is_of_use).is_none() {
            standing.want_snapshot(effects);
            return refused(AttachRefusal::SnapshotPending);
        }
        AttachAnswer::Attached {
            leader_epoch,
            from: request.position,
            high_watermark: standing.high_watermark,
            log_start: standing.log_start,
            ships_snapshot,
        }
    }

    /// Takes an acknowledgement; false when it belongs to no session.
    pub(crate) fn acked_in(
        &mut self,
        session: SessionId,
        position: LogPosition,
        ledger_as_of: Option<Offset>,
    ) -> bool {
        let sessions = self
            .peers
            .iter_mut()
            .filter_map(|peer| peer.session.as_mut());
        let is_it = |open: &&mut Session| guard::holds(Guard::AckEpoch, open.id == session);
        let Some(session) = sessions.into_iter().find(is_it) else {
            return false;
        };
        session.acked = session.acked.max(Some(position));
        let is_there = |needed: &mut Offset| ledger_as_of >= Some(*needed);
        session.needs_ledger.take_if(is_there);
        true
    }

    pub(crate) fn detach(&mut self, session: SessionId, now_ms: u64) {
        let is_it = |open: &Session| open.id == session;
        for peer in &mut self.peers {
            if peer.session.as_ref().is_some_and(is_it) {
                peer.leave(now_ms);
            }
        }
    }

    /// Whether a member was attached a moment ago, and so is likely to be again in another.
    pub(crate) fn left_just_now(&self, member: &IsrMember, now_ms: u64) -> bool {
        let left = self.peer(member.spu).and_then(|peer| peer.left);
        left.is_some_and(|(incarnation, at_ms)| {
            let since_ms = now_ms.saturating_sub(at_ms);
            incarnation == member.incarnation && since_ms < REATTACH_GRACE_MS
        })
    }
}

/// T5, T1: what the follower has to change before it can be sent anything.
fn difference(
    standing: &Standing,
    request: &AttachRequest,
    readable_from: Offset,
) -> Option<AttachAnswer> {
    let leader_epoch = standing.meta.leader_epoch;
    let LogPosition { end, last_epoch } = request.position;
    if end < readable_from {
        return Some(AttachAnswer::Reset {
            leader_epoch,
            log_start: readable_from,
        });
    }
    let asked = last_epoch.unwrap_or_default();
    let epochs = standing.ledger.epochs();
    let known = epochs.end_of(asked, standing.end);
    let (epoch, common_end) = match (known, epochs.first()) {
        (Some(found), _) => found,
        // Older than all that is known here: nothing but what is committed is surely the same.
        (None, Some((_, start))) if last_epoch.is_some() => (LeaderEpoch(0), start.min(end)),
        (None, _) => (asked, standing.end),
    };
    let has_epoch = last_epoch.is_none() || epoch == asked;
    let has_epoch = guard::holds(Guard::LookUpLastEpoch, has_epoch);
    (!has_epoch || common_end < end).then_some(AttachAnswer::Diverged {
        leader_epoch,
        epoch,
        end: common_end,
    })
}
