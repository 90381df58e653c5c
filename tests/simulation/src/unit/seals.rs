//! Surveys: copies that nobody leads say what they hold (L3).
//!
//! Invariant: an answer is of the epoch that it was asked at.

use tidegate_proto::control::SealAnswer;
use tidegate_sc_core::decision::Request;

use super::{BEATS_PER_HELLO, Unit, now};
use crate::message::{Context, Message};
use crate::network::Node;

impl Unit {
    /// L3: copies that nobody leads say what they hold, again and again while they are asked.
    pub(super) fn answer_seals(&mut self, cx: &mut Context) {
        let (Some(model), Some(member)) = (self.model.clone(), self.member()) else {
            return;
        };
        if !self.beats.is_multiple_of(BEATS_PER_HELLO) {
            return;
        }
        let mut answers = Vec::new();
        let now = now(cx);
        for (key, hosted) in &mut self.replicas {
            let seal = model.partition(*key).and_then(|row| row.seal.as_ref());
            let Some(found) = seal.and_then(|seal| hosted.machine.survey(now, seal.epoch)) else {
                continue;
            };
            answers.push(SealAnswer {
                key: *key,
                member,
                replica_gen: hosted.replica_gen,
                sealed_at: found.epoch,
                last_epoch: found.last_epoch,
                end: found.end,
                log_start: found.log_start,
                intact: found.intact,
                remembers: found.remembers_ms > 0,
                remembers_ms: found.remembers_ms,
            });
        }
        if !answers.is_empty() {
            let call = cx.random.next();
            let request = Box::new(Request::SealAnswers(answers));
            cx.send(
                Node::Controller(self.controller),
                Message::Call { call, request },
            );
        }
    }
}
