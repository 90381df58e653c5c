//! How a replica takes the place that a row of the controllers gives it (E1-E3).
//!
//! Only a greater epoch changes the role, and only after it is durable; a log that is being changed is waited
//! for. Invariant: an epoch that this replica once led, in this life or an earlier one, it leads no second time
//! where there are other copies.

use tidegate_proto::position::LeaderEpoch;

use super::{Opening, Replica, Role};
use crate::effect::{Effect, Effects, Refusal, ReplicaMeta};
use crate::follower::Follower;
use crate::guard::{self, Guard};
use crate::input::{Assignment, Now};
use crate::invariant;
use crate::leader::Leader;

const DAMAGED_LEADER: &str = "a damaged replica is named leader: it does not lead";

impl Replica {
    /// E1-E3: only a greater epoch changes the role; within an epoch only the set may change.
    pub(super) fn assigned(&mut self, now: Now, row: Assignment, out: &mut Effects) {
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
                        leader.reassigned(&mut self.standing, now, &row, out);
                    }
                    return;
                }
                Role::Opening(pending) if leads => {
                    if row.version > pending.row.version {
                        pending.row = row;
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
        self.adopt(now, row, leads, out);
    }

    fn adopt(&mut self, now: Now, row: Assignment, leads: bool, out: &mut Effects) {
        invariant::epoch_is_monotone(self.standing.meta.leader_epoch, row.leader_epoch);
        self.end_role(Refusal::NotLeader { leader: row.leader }, out);
        self.standing.begin_at(row.begins_at, out);
        self.standing.remember(now);
        let before = self.standing.meta;
        self.standing.is_replicated = row.replicas.len() > 1;
        self.standing.meta = ReplicaMeta {
            replica_gen: before.replica_gen,
            leader_epoch: row.leader_epoch,
            version: row.version,
            // A copy takes over what an operator gave up when its log agrees with the leader's.
            recovery_gen: if leads {
                row.recovery_gen
            } else {
                before.recovery_gen
            },
        };
        let accepts_loss = row.recovery_gen > before.recovery_gen;
        if leads && accepts_loss {
            self.standing.commit_all(out);
        }
        out.push(Effect::Persist(self.standing.meta));
        self.role = self.role_in(&row, leads, accepts_loss, out);
        out.push(Effect::Publish);
        self.go_on(now, out);
    }

    /// With `accepts_loss`, an operator took what this copy has for all that there is (L3).
    fn role_in(
        &self,
        row: &Assignment,
        leads: bool,
        accepts_loss: bool,
        out: &mut Effects,
    ) -> Role {
        if !leads {
            return Role::Following(Follower::new(row));
        }
        let may_lead = self.standing.intact || accepts_loss;
        if !guard::holds(Guard::DamagedLeadsNot, may_lead) {
            out.push(Effect::Alarm(DAMAGED_LEADER));
            return Role::Following(Follower::barred(row));
        }
        if !self.standing.intact {
            out.push(Effect::Alarm(
                "a damaged replica leads: an operator accepted the loss",
            ));
        }
        // It led in this epoch before it was started anew, and others may have what it lost then: two
        // batches would have one name. The controllers know of the start and name a later epoch.
        let led_before = self.standing.ledger.epochs().last() >= Some(row.leader_epoch);
        if led_before && self.standing.is_replicated {
            return Role::Following(Follower::barred(row));
        }
        Role::Opening(Box::new(Opening {
            row: row.clone(),
            is_durable: false,
            accepts_loss,
        }))
    }

    pub(super) fn persisted(&mut self, now: Now, epoch: LeaderEpoch, out: &mut Effects) {
        if epoch != self.standing.meta.leader_epoch {
            return;
        }
        match &mut self.role {
            Role::Opening(opening) => opening.is_durable = true,
            Role::Following(follower) => {
                if std::mem::replace(&mut follower.is_durable, true) {
                    return;
                }
            }
            Role::Idle | Role::Leading(_) | Role::Failed { .. } | Role::Closed => return,
        }
        self.go_on(now, out);
    }

    /// Takes the place that the row names, when the epoch is durable and the log is what it should be.
    pub(super) fn go_on(&mut self, now: Now, out: &mut Effects) {
        if self.standing.is_truncating() {
            return;
        }
        match &mut self.role {
            Role::Opening(opening) => {
                if !guard::holds(Guard::PersistBeforeActing, opening.is_durable) {
                    return;
                }
                // What a cut left may have turned out to be damaged since it was named.
                let may_lead = self.standing.intact || opening.accepts_loss;
                if !guard::holds(Guard::DamagedLeadsNot, may_lead) {
                    out.push(Effect::Alarm(DAMAGED_LEADER));
                    let mut barred = Follower::barred(&opening.row);
                    barred.is_durable = opening.is_durable;
                    self.role = Role::Following(barred);
                    return;
                }
                self.standing.meta.version = opening.row.version;
                self.standing.is_whole = true; // Nobody knows better.
                if !self.standing.has_usable_snapshot() {
                    // Whoever is brought up to date needs one, and while few are in sync none is committed.
                    self.standing.take_snapshot(out);
                }
                let leader = Leader::new(&mut self.standing, now, &opening.row, out);
                self.role = Role::Leading(Box::new(leader));
                out.push(Effect::Publish);
            }
            Role::Following(follower) if !self.stopping => {
                follower.attach(&mut self.standing, now, out);
            }
            Role::Following(_)
            | Role::Idle
            | Role::Leading(_)
            | Role::Failed { .. }
            | Role::Closed => {}
        }
    }
}
