//! The machine itself: its roles, and the only place that matches on them.
//!
//! Each input goes to the role that is held; what a role does not understand is refused or ignored
//! here, explicitly. Persisting comes before acting: an epoch is led only after it is durable (E1).

use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};

use crate::attach::MemberStatus;
use crate::effect::{Effect, Effects, Refusal, RoleName, Survey};
use crate::epoch::EpochIndex;
use crate::follower::Follower;
use crate::input::{Append, Assignment, Facts, Input, Now};
use crate::leader::Leader;
use crate::ledger::Ledger;
use crate::standing::Standing;
use crate::status::Status;

mod adoption;
mod hearing;

/// One replica of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica {
    standing: Standing,
    role: Role,
    stopping: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Role {
    /// Nothing was confirmed since the start: what is committed may be read, nothing more (S6).
    Idle,
    /// The epoch that this replica is to lead is not durable yet.
    Opening(Box<Opening>),
    Leading(Box<Leader>),
    Following(Follower),
    /// The log takes nothing any more.
    Failed {
        no_space: bool,
    },
    Closed,
}

/// About to lead; the epoch is journalled, or it is not yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Opening {
    row: Assignment,
    is_durable: bool,
    /// An operator took what this copy has for all that there is (L3).
    accepts_loss: bool,
}

impl Replica {
    /// A replica as its log was found; it does nothing until it is assigned.
    pub fn new(facts: Facts) -> Self {
        Self {
            standing: Standing::new(facts),
            role: Role::Idle,
            stopping: false,
        }
    }

    /// Topic and partition.
    pub fn key(&self) -> ReplicaKey {
        self.standing.key
    }

    /// Where it stands now.
    pub fn status(&self) -> Status {
        let at = &self.standing;
        Status {
            role: self.role(),
            meta: at.meta,
            log_start: at.log_start,
            high_watermark: at.high_watermark,
            durable_end: at.durable_end,
            written_end: at.written_end,
            end: at.end,
            last_epoch: at.ledger.epochs().last(),
            last_append_ms: at.last_append_ms,
            is_latest_known: match &self.role {
                Role::Leading(leader) => leader.is_latest_known,
                Role::Idle
                | Role::Opening(_)
                | Role::Following(_)
                | Role::Failed { .. }
                | Role::Closed => true,
            },
        }
    }

    /// How far its log reaches.
    pub fn position(&self) -> LogPosition {
        self.standing.position()
    }

    /// All copies in the eyes of this one, if it leads; empty otherwise.
    pub fn members(&self, now: Now) -> Vec<MemberStatus> {
        match &self.role {
            Role::Leading(leader) => leader.members(&self.standing, now),
            Role::Idle
            | Role::Opening(_)
            | Role::Following(_)
            | Role::Failed { .. }
            | Role::Closed => Vec::new(),
        }
    }

    /// Whether copies lag, proposals are open or an attach is to be tried again, so that
    /// [`Input::Tick`] is wanted every [`crate::limits::UNSETTLED_TICK_MS`].
    pub fn is_unsettled(&self) -> bool {
        match &self.role {
            Role::Leading(leader) => leader.is_unsettled(&self.standing),
            Role::Following(follower) => follower.is_unsettled(),
            Role::Idle | Role::Opening(_) | Role::Failed { .. } | Role::Closed => false,
        }
    }

    /// Whether all that time does for it now is to ask anew what nobody answered.
    #[cfg(any(test, feature = "testing"))]
    pub fn awaits_answer(&self) -> bool {
        matches!(&self.role, Role::Following(follower) if follower.is_asked())
    }

    /// The members whose consent a commit needs (MaxISR), if it leads.
    #[cfg(any(test, feature = "testing"))]
    pub fn counted(&self) -> Vec<tidegate_proto::control::IsrMember> {
        match &self.role {
            Role::Leading(leader) => leader.in_sync.counted(),
            _ => Vec::new(),
        }
    }

    /// Exclusive end of its log.
    pub fn end(&self) -> Offset {
        self.standing.end
    }

    /// Exclusive end of what is durable of it.
    pub fn durable_end(&self) -> Offset {
        self.standing.durable_end
    }

    /// Exclusive end of what survives the end of the process.
    pub fn written_end(&self) -> Offset {
        self.standing.written_end
    }

    /// Its role now.
    pub fn role(&self) -> RoleName {
        match &self.role {
            Role::Idle => RoleName::Idle,
            Role::Opening(_) => RoleName::Opening,
            Role::Leading(_) => RoleName::Leading,
            Role::Following(_) => RoleName::Following,
            Role::Failed { .. } => RoleName::Failed,
            Role::Closed => RoleName::Closed,
        }
    }

    /// Whether requests wait here, so that [`Input::Tick`] is wanted soon.
    pub fn is_waiting(&self) -> bool {
        matches!(&self.role, Role::Leading(leader) if leader.is_waiting())
    }

    /// Whether [`Input::Persisted`] is wanted.
    pub fn awaits_epoch(&self) -> bool {
        match &self.role {
            Role::Opening(opening) => !opening.is_durable,
            Role::Following(follower) => !follower.is_durable,
            Role::Idle | Role::Leading(_) | Role::Failed { .. } | Role::Closed => false,
        }
    }

    /// Whether it keeps a snapshot that a leader shipped until its log has come up to it.
    pub fn holds_shipped(&self) -> bool {
        matches!(&self.role, Role::Following(follower) if follower.holds_shipped())
    }

    /// What it holds, when nobody leads in `epoch` and that is durable here (L3).
    pub fn survey(&mut self, now: Now, epoch: LeaderEpoch) -> Option<Survey> {
        let is_sealed = matches!(
            &self.role,
            Role::Following(Follower {
                leader: None,
                is_barred: false,
                is_durable: true,
                ..
            })
        );
        (is_sealed && self.standing.meta.leader_epoch == epoch)
            .then(|| self.standing.survey(now))
            .flatten()
    }

    /// Producers, request keys and epochs as they are now.
    pub fn ledger(&self) -> &Ledger {
        &self.standing.ledger
    }

    /// The epochs of its log.
    pub fn epochs(&self) -> &EpochIndex {
        self.standing.ledger.epochs()
    }

    /// Takes one input; the effects are to be carried out in order.
    pub fn step(&mut self, now: Now, input: Input) -> Effects {
        let mut out = Effects::new();
        self.step_into(now, input, &mut out);
        out
    }

    /// The same, behind the effects of earlier steps in a list that is used again and again.
    pub fn step_into(&mut self, now: Now, input: Input, out: &mut Effects) {
        let before = self.role();
        match input {
            Input::Append(append) => self.append(now, append, out),
            Input::Durable {
                position,
                snapshot_as_of,
                ..
            } => self.moved(out, |standing| standing.durable(position, snapshot_as_of)),
            Input::Written { position, .. } => {
                self.moved(out, |standing| standing.written(position));
            }
            Input::Attach { .. }
            | Input::Acked { .. }
            | Input::Detached { .. }
            | Input::IsrAnswered { .. } => self.heard_as_leader(now, input, out),
            Input::AttachAnswered { .. } | Input::Pushed { .. } | Input::Unlinked { .. } => {
                self.heard_as_follower(now, input, out);
            }
            Input::Truncated(found) => self.truncated(now, *found, out),
            Input::TruncationFailed => self.truncation_failed(out),
            Input::Assigned(assignment) => self.assigned(now, assignment, out),
            Input::Persisted { epoch } => self.persisted(now, epoch, out),
            Input::LogFailed { no_space } => self.log_failed(no_space, out),
            Input::Tick => self.tick(now, out),
            Input::Configure(config) => {
                self.standing.config = config;
                self.progress(out);
            }
            Input::Retain { to } => {
                // Of a copy the leader decides what goes.
                if !self.is_dead() && !matches!(self.role, Role::Following(_)) {
                    self.standing.retain(to, out);
                }
            }
            Input::Checkpoint => {
                if !self.is_dead() {
                    self.standing.checkpoint(out);
                }
            }
            Input::Snapshot => {
                if !self.is_dead() {
                    self.standing.take_snapshot(out);
                }
            }
            Input::Stop => self.stop(out),
            Input::Close => {
                self.end_role(Refusal::Closed, out);
                self.role = Role::Closed;
            }
        }
        if self.role() != before {
            out.push(Effect::Became(self.role()));
        }
    }

    fn append(&mut self, now: Now, append: Append, out: &mut Effects) {
        let refusal = match &mut self.role {
            Role::Leading(_) | Role::Following(_) if self.stopping => Refusal::Closed,
            Role::Leading(leader) => return leader.append(&mut self.standing, now, append, out),
            Role::Following(follower) => return follower.append(&self.standing, &append, out),
            Role::Idle | Role::Opening(_) => Refusal::NotReady,
            Role::Failed { no_space } => Refusal::LogFailed {
                no_space: *no_space,
            },
            Role::Closed => Refusal::Closed,
        };
        out.push(Effect::Reply {
            request: append.request,
            outcome: Err(refusal),
        });
    }

    /// The journal went on.
    fn moved(&mut self, out: &mut Effects, note: impl FnOnce(&mut Standing)) {
        if !self.is_dead() {
            note(&mut self.standing);
            self.progress(out);
        }
    }

    fn progress(&mut self, out: &mut Effects) {
        match &mut self.role {
            Role::Leading(leader) => leader.progress(&mut self.standing, out),
            Role::Following(follower) => follower.ack(&self.standing, out),
            Role::Idle | Role::Opening(_) | Role::Failed { .. } | Role::Closed => {}
        }
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        match &mut self.role {
            Role::Leading(leader) => {
                leader.tick(&self.standing, now, out);
                self.standing.sweep(now);
            }
            Role::Following(follower) => {
                follower.tick(&mut self.standing, now, out);
                self.standing.sweep(now);
            }
            Role::Idle | Role::Opening(_) | Role::Failed { .. } | Role::Closed => {}
        }
    }

    fn log_failed(&mut self, no_space: bool, out: &mut Effects) {
        if !matches!(self.role, Role::Closed) {
            self.end_role(Refusal::LogFailed { no_space }, out);
            self.role = Role::Failed { no_space };
        }
    }

    fn stop(&mut self, out: &mut Effects) {
        self.stopping = true;
        match &mut self.role {
            Role::Leading(leader) => leader.stop(out),
            Role::Following(follower) => follower.end(out),
            Role::Idle | Role::Opening(_) | Role::Failed { .. } | Role::Closed => {}
        }
        if !self.is_dead() && self.standing.outgrew_snapshot() {
            self.standing.take_snapshot(out);
        }
    }

    fn end_role(&mut self, refusal: Refusal, out: &mut Effects) {
        match &mut self.role {
            Role::Leading(leader) => leader.end(refusal, out),
            Role::Following(follower) => follower.end(out),
            Role::Idle | Role::Opening(_) | Role::Failed { .. } | Role::Closed => {}
        }
    }

    fn is_dead(&self) -> bool {
        matches!(self.role, Role::Failed { .. } | Role::Closed)
    }
}

#[cfg(test)]
mod tests;
