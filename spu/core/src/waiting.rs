//! Requests that wait until their records are durable or committed.
//!
//! Kept in order of the end that they wait for, so that progress answers a prefix. Every request that
//! enters leaves exactly once: answered, expired or ended with the replica's role.

use std::collections::VecDeque;

use tidegate_proto::position::Offset;
use tidegate_proto::produce::Durable;

use crate::effect::{Acknowledged, Effect, Effects, Refusal, RequestId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct WaitingRequest {
    pub(crate) request: RequestId,
    pub(crate) deadline_ms: u64,
    /// Given when progress reaches its end.
    pub(crate) answer: Acknowledged,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Waiting {
    requests: VecDeque<WaitingRequest>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Gives back what past requests took, once none waits: most of ten thousand replicas are idle.
    pub(crate) fn rest(&mut self) {
        if self.requests.is_empty() {
            self.requests.shrink_to_fit();
        }
    }

    pub(crate) fn insert(&mut self, request: WaitingRequest) {
        // New appends end behind all others; only duplicates of older ones go in between.
        let behind = self
            .requests
            .back()
            .is_none_or(|last| last.answer.end <= request.answer.end);
        if behind {
            self.requests.push_back(request);
        } else {
            let at = self
                .requests
                .partition_point(|other| other.answer.end <= request.answer.end);
            self.requests.insert(at, request);
        }
    }

    /// Answers everything that ends at or below `reached`. What is not on the disk yet is not said to
    /// be: the topic may have stopped waiting for it since the request came.
    pub(crate) fn complete(&mut self, reached: Offset, durable_end: Offset, effects: &mut Effects) {
        let is_due = |first: &&WaitingRequest| first.answer.end <= reached;
        while let Some(first) = self.requests.front().filter(is_due) {
            let mut answer = first.answer;
            if answer.end > durable_end {
                answer.durable = Durable::Memory;
            }
            effects.push(Effect::Reply {
                request: first.request,
                outcome: Ok(answer),
            });
            self.requests.pop_front();
        }
    }

    /// Ends what has waited until its deadline.
    pub(crate) fn expire(&mut self, monotonic_ms: u64, effects: &mut Effects) {
        self.requests.retain(|waiting| {
            let late = waiting.deadline_ms <= monotonic_ms;
            if late {
                effects.push(unknown(waiting));
            }
            !late
        });
    }

    /// E3: ends everything.
    pub(crate) fn end(&mut self, effects: &mut Effects) {
        effects.extend(self.requests.drain(..).map(|waiting| unknown(&waiting)));
    }
}

fn unknown(waiting: &WaitingRequest) -> Effect {
    Effect::Reply {
        request: waiting.request,
        outcome: Err(Refusal::OutcomeUnknown),
    }
}
