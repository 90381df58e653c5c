//! What other copies and the controllers say, brought to the role that it is meant for.
//!
//! What comes for a role that is not held any more, or not yet, is refused or ignored here, explicitly.

use super::{Replica, Role};
use crate::attach::{AttachAnswer, AttachRefusal};
use crate::effect::{Effect, Effects, Refusal};
use crate::follower::Violation;
use crate::input::{Input, Now, Truncated};

impl Replica {
    pub(super) fn heard_as_leader(&mut self, now: Now, input: Input, out: &mut Effects) {
        let standing = &mut self.standing;
        let Role::Leading(leader) = &mut self.role else {
            if let Input::Attach { session, .. } = input {
                let is_opening = matches!(self.role, Role::Opening(_) | Role::Idle);
                let reason = if is_opening {
                    AttachRefusal::NotReady
                } else {
                    AttachRefusal::NotLeading
                };
                let leader_epoch = standing.meta.leader_epoch;
                let answer = AttachAnswer::Refused {
                    leader_epoch,
                    reason,
                };
                out.push(Effect::Attached { session, answer });
            }
            return;
        };
        match input {
            Input::Attach {
                session,
                request,
                readable_from,
            } => leader.attach(standing, now, (session, &request, readable_from), out),
            Input::Acked {
                session,
                position,
                ledger_as_of,
            } => leader.acked(standing, now, session, (position, ledger_as_of), out),
            Input::Detached { session } => leader.detached(standing, now, session, out),
            Input::IsrAnswered { version, outcome } => {
                leader.isr_answered(standing, now, version, outcome, out);
            }
            _ => {}
        }
    }

    pub(super) fn heard_as_follower(&mut self, now: Now, input: Input, out: &mut Effects) {
        let standing = &mut self.standing;
        let Role::Following(follower) = &mut self.role else {
            return;
        };
        if self.stopping {
            return;
        }
        match input {
            Input::AttachAnswered {
                attempt,
                answer,
                snapshot,
            } => {
                let heard = follower.answered(standing, now, (attempt, answer), snapshot, out);
                if let Err(Violation(what)) = heard {
                    out.push(Effect::Alarm(what));
                    self.end_role(Refusal::Closed, out);
                    self.role = Role::Failed { no_space: false };
                }
            }
            Input::Pushed {
                attempt,
                batches,
                high_watermark,
                log_start,
            } => {
                let said = (high_watermark, log_start);
                follower.pushed(standing, now, attempt, batches, said, out);
            }
            Input::Unlinked { attempt } => follower.unlinked(standing, now, attempt, out),
            _ => {}
        }
    }

    /// The log is as it was asked to be.
    pub(super) fn truncated(&mut self, now: Now, found: Truncated, out: &mut Effects) {
        if !self.is_dead() && self.standing.truncated(found, out) {
            self.go_on(now, out);
        }
    }

    /// Nobody knows what the log holds now: this replica ends, and the others of the node go on.
    pub(super) fn truncation_failed(&mut self, out: &mut Effects) {
        if !self.is_dead() && self.standing.truncation_failed() {
            out.push(Effect::Alarm(
                "what a cut left of the log cannot be read: the replica fails, and keeps it",
            ));
            self.end_role(Refusal::LogFailed { no_space: false }, out);
            self.role = Role::Failed { no_space: false };
        }
    }
}
