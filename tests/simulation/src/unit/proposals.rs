//! In-sync sets that are proposed, all of a unit together (I3).
//!
//! Invariant: an answer is told to the machine with the version that its proposal was made on.

use tidegate_proto::control::IsrOutcome;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc_core::decision::{Outcome, Request};
use tidegate_sc_core::refusal::Refusal as ControlRefusal;
use tidegate_spu_core::Input;

use super::Unit;
use crate::message::{Context, Message};
use crate::network::Node;

impl Unit {
    /// I3: proposals go together.
    pub(super) fn propose(&mut self, cx: &mut Context) {
        let Some(member) = self.member() else { return };
        let proposals = std::mem::take(&mut self.proposals);
        if proposals.is_empty() {
            return;
        }
        let call = cx.random.next();
        let proposed = proposals.iter().map(|one| (one.key, one.version)).collect();
        self.proposed.insert(call, proposed);
        cx.say(|| format!("proposes {proposals:?}"));
        let request = Box::new(Request::ChangeIsr {
            leader: member.spu,
            incarnation: member.incarnation,
            proposals,
        });
        cx.send(
            Node::Controller(self.controller),
            Message::Call { call, request },
        );
    }

    pub(super) fn isr_answered(
        &mut self,
        cx: &mut Context,
        proposed: &[(ReplicaKey, u64)],
        outcome: Result<Outcome, ControlRefusal>,
    ) {
        let Ok(Outcome::Isr(outcomes)) = outcome else {
            return;
        };
        for ((key, version), outcome) in proposed.iter().zip(outcomes) {
            let outcome: IsrOutcome = outcome;
            self.step(
                cx,
                *key,
                Input::IsrAnswered {
                    version: *version,
                    outcome,
                },
            );
        }
    }

    /// Whether a proposal of this replica is under way, for the account of what was hit.
    pub(crate) fn proposes(&self, key: ReplicaKey) -> bool {
        let mut sent = self.proposed.values().flatten();
        self.proposals.iter().any(|one| one.key == key) || sent.any(|(other, _)| *other == key)
    }
}
