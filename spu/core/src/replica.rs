//! The machine itself: its roles, and the only place that matches on them.
//!
//! Each input goes to the role that is held; what a role does not understand is refused or ignored
//! here, explicitly. Persisting comes before acting: an epoch is led only after it is durable (E1).

use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};

use crate::attach::{AttachAnswer, AttachRefusal, MemberStatus};
use crate::effect::{Effect, Effects, Refusal, ReplicaMeta, RoleName, Survey};
use crate::epoch::EpochIndex;
use crate::follower::Follower;
use crate::input::{Append, Assignment, Facts, Input, Now};
use crate::invariant;
use crate::leader::Leader;
use crate::ledger::Ledger;
use crate::standing::Standing;
use crate::status::Status;

/// One replica of one partition.
#[derive(Clone, Debug)]
pub struct Replica {
    standing: Standing,
    role: Role,
    stopping: bool,
}

#[derive(Clone, Debug)]
enum Role {
    /// Nothing was confirmed since the start: what is committed may be read, nothing more (S6).
    Idle,
    /// The epoch that this replica is to lead is not durable yet.
    Opening(Box<Assignment>),
    Leading(Box<Leader>),
    Following(Follower),
    /// The log takes nothing any more.
    Failed {
        no_space: bool,
    },
    Closed,
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
            is_latest_known: true,
        }
    }

    /// How far its log reaches.
    pub fn position(&self) -> LogPosition {
        LogPosition {
            end: self.standing.end,
            last_epoch: self.standing.ledger.epochs().last(),
        }
    }

    /// All copies in the eyes of this one, if it leads; empty otherwise.
    pub fn members(&self, _now: Now) -> Vec<MemberStatus> {
        Vec::new()
    }

    /// Whether copies lag, proposals are open or an attach is to be tried again, so that
    /// [`Input::Tick`] is wanted every [`crate::limits::UNSETTLED_TICK_MS`].
    pub fn is_unsettled(&self) -> bool {
        false
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
            Role::Opening(_) => true,
            Role::Following(follower) => !follower.is_durable,
            Role::Idle | Role::Leading(_) | Role::Failed { .. } | Role::Closed => false,
        }
    }

    /// What it holds, when nobody leads in `epoch` and that is durable here (L3).
    pub fn survey(&mut self, now: Now, epoch: LeaderEpoch) -> Option<Survey> {
        let is_sealed = matches!(
            &self.role,
            Role::Following(Follower {
                leader: None,
                is_barred: false,
                is_durable: true
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
            Input::Durable { position, .. } => {
                self.moved(out, |standing| standing.durable(position.end));
            }
            Input::Written { position, .. } => {
                self.moved(out, |standing| standing.written(position.end));
            }
            Input::Attach { session, .. } => out.push(Effect::Attached {
                session,
                answer: AttachAnswer::Refused {
                    leader_epoch: self.standing.meta.leader_epoch,
                    reason: AttachRefusal::NotLeading,
                },
            }),
            Input::Acked { .. }
            | Input::Detached { .. }
            | Input::IsrAnswered { .. }
            | Input::AttachAnswered { .. }
            | Input::Pushed { .. }
            | Input::Unlinked { .. }
            | Input::Truncated(_) => {}
            Input::Assigned(assignment) => self.assigned(assignment, out),
            Input::Persisted { epoch } => self.persisted(epoch, out),
            Input::LogFailed { no_space } => self.log_failed(no_space, out),
            Input::Tick => self.tick(now, out),
            Input::Configure(config) => {
                self.standing.config = config;
                self.progress(out);
            }
            Input::Retain { to } => {
                if !self.is_dead() {
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
            Role::Following(follower) => return follower.append(&append, out),
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
        if let Role::Leading(leader) = &mut self.role {
            leader.progress(&mut self.standing, out);
        }
    }

    fn tick(&mut self, now: Now, out: &mut Effects) {
        if let Role::Leading(leader) = &mut self.role {
            leader.tick(now, out);
            self.standing.sweep(now);
        }
    }

    /// E1-E3: only a greater epoch changes the role; within an epoch only the set may change.
    fn assigned(&mut self, row: Assignment, out: &mut Effects) {
        let accepted = self.standing.meta.leader_epoch;
        if self.is_dead() {
            return;
        }
        if row.leader_epoch < accepted {
            // A delayed row while one of this epoch is held; else the metadata went back in time.
            if matches!(self.role, Role::Idle) {
                out.push(Effect::Alarm(
                    "the control plane names an epoch older than the journal's",
                ));
            }
            return;
        }
        let leads = row.leader == Some(self.standing.own);
        if row.leader_epoch == accepted {
            match &mut self.role {
                Role::Leading(leader) if leads => {
                    if row.version > self.standing.meta.version {
                        self.standing.meta.version = row.version;
                        leader.reassigned(&mut self.standing, &row, out);
                    }
                    return;
                }
                Role::Opening(pending) if leads => {
                    if row.version > pending.version {
                        **pending = row;
                    }
                    return;
                }
                Role::Following(follower) if !leads && follower.leader == row.leader => return,
                Role::Following(follower) if leads && follower.is_barred => return,
                Role::Leading(_) | Role::Opening(_) | Role::Following(_) => {
                    out.push(Effect::Alarm("one epoch names two leaders"));
                    self.end_role(Refusal::NotLeader { leader: None }, out);
                    self.role = Role::Idle;
                    return;
                }
                Role::Idle | Role::Failed { .. } | Role::Closed => {}
            }
        }
        self.adopt(row, leads, out);
    }

    fn adopt(&mut self, row: Assignment, leads: bool, out: &mut Effects) {
        invariant::epoch_is_monotone(self.standing.meta.leader_epoch, row.leader_epoch);
        self.end_role(Refusal::NotLeader { leader: row.leader }, out);
        self.standing.begin_at(row.begins_at, out);
        self.standing.meta = ReplicaMeta {
            replica_gen: self.standing.meta.replica_gen,
            leader_epoch: row.leader_epoch,
            version: row.version,
            recovery_gen: row.recovery_gen,
        };
        out.push(Effect::Persist(self.standing.meta));
        self.role = match (leads, self.standing.intact) {
            (true, true) => Role::Opening(Box::new(row)),
            (true, false) => {
                out.push(Effect::Alarm(
                    "a damaged replica is named leader: it does not lead",
                ));
                Role::Following(Follower::barred())
            }
            (false, _) => Role::Following(Follower::new(row.leader)),
        };
        out.push(Effect::Publish);
    }

    fn persisted(&mut self, epoch: LeaderEpoch, out: &mut Effects) {
        if epoch != self.standing.meta.leader_epoch {
            return;
        }
        match &mut self.role {
            Role::Opening(row) => {
                let mut leader = Box::new(Leader::new(row));
                self.standing.meta.version = row.version;
                leader.progress(&mut self.standing, out);
                self.role = Role::Leading(leader);
                out.push(Effect::Publish);
            }
            Role::Following(follower) => follower.is_durable = true,
            Role::Idle | Role::Leading(_) | Role::Failed { .. } | Role::Closed => {}
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
        if let Role::Leading(leader) = &mut self.role {
            leader.stop(out);
        }
        if !self.is_dead() && self.standing.outgrew_snapshot() {
            self.standing.take_snapshot(out);
        }
    }

    fn end_role(&mut self, refusal: Refusal, out: &mut Effects) {
        if let Role::Leading(leader) = &mut self.role {
            leader.end(refusal, out);
        }
    }

    fn is_dead(&self) -> bool {
        matches!(self.role, Role::Failed { .. } | Role::Closed)
    }
}

#[cfg(test)]
mod tests;
