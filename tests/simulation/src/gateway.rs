//! A gateway: leads requests to the leaders, and tries again where that cannot double anything (D7).
//!
//! It stamps what nobody stamped, so that a failover costs a pause and no question. Invariant: a request
//! that may have been appended is never said to have been refused.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_proto::batch::ProducerStamp;
use tidegate_proto::id::{ProducerId, SpuId};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_sc_core::model::Model;
use tidegate_spu_core::{Acknowledged, Refusal};

use crate::message::{Context, Message, Page, Produce, Produced, Timer};
use crate::network::Node;
use crate::options::CONTROLLERS;
use crate::plant::Plant;
use crate::queue::{MS, Time};

const BEAT: Time = 400 * MS;
const CONTROLLER_PATIENCE: Time = 1_200 * MS;
/// How long one attempt may take.
const ATTEMPT: Time = 1_500 * MS;
const PAUSE: Time = 60 * MS;

#[derive(Debug)]
struct Pending {
    client: Node,
    call: u64,
    produce: Produce,
    until: Time,
    /// Sent again without harm.
    is_repeatable: bool,
    may_be_done: bool,
    /// Names the attempt.
    sent: u64,
    refusal: Refusal,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Its own producer, new with each process.
    producer: ProducerId,
    sequences: BTreeMap<ReplicaKey, u32>,
    controller: u32,
    heard_at: Time,
    model: Option<Arc<Model>>,
    /// By number; what units answer names number and attempt.
    pending: BTreeMap<u64, Pending>,
    attempts: BTreeMap<u64, u64>,
    reads: BTreeMap<u64, (Node, u64)>,
    last: u64,
}

impl Gateway {
    pub(crate) const fn new(producer: ProducerId, controller: u32) -> Self {
        Self {
            producer,
            sequences: BTreeMap::new(),
            controller: controller % CONTROLLERS,
            heard_at: 0,
            model: None,
            pending: BTreeMap::new(),
            attempts: BTreeMap::new(),
            reads: BTreeMap::new(),
            last: 0,
        }
    }

    pub(crate) fn start(&mut self, cx: &mut Context) {
        self.heard_at = cx.now;
        self.beat(cx);
    }

    fn beat(&mut self, cx: &mut Context) {
        cx.after(BEAT, Timer::Beat);
        if cx.now > self.heard_at + CONTROLLER_PATIENCE {
            self.heard_at = cx.now;
            self.controller = (self.controller + 1) % CONTROLLERS;
        }
        let revision = self.model.as_ref().map_or(0, |model| model.revision);
        cx.send(
            Node::Controller(self.controller),
            Message::Hello {
                unit: None,
                revision,
            },
        );
    }

    pub(crate) fn wakes(&mut self, cx: &mut Context, timer: Timer) {
        match timer {
            Timer::Beat => self.beat(cx),
            Timer::TryAgain { call } => self.attempt(cx, call),
            Timer::GiveUp { call, sent } => self.give_up(cx, call, sent),
            Timer::Opened
            | Timer::Written { .. }
            | Timer::Synced { .. }
            | Timer::AttachAgain { .. }
            | Timer::Propose
            | Timer::Turn
            | Timer::Late { .. } => {}
        }
    }

    pub(crate) fn news(&mut self, cx: &Context, model: Option<Arc<Model>>) {
        self.heard_at = cx.now;
        let known = self.model.as_ref().map_or(0, |model| model.revision);
        if let Some(model) = model.filter(|model| model.revision > known) {
            self.model = Some(model);
        }
    }

    pub(crate) fn produce(
        &mut self,
        cx: &mut Context,
        client: Node,
        call: u64,
        mut produce: Produce,
        patience: Time,
    ) {
        let is_named = |batch: &tidegate_proto::batch::ClientBatch| {
            batch.producer().is_some() || batch.request_key().is_some()
        };
        let is_named = produce.batches.iter().all(is_named);
        if !is_named && !produce.is_bare {
            self.stamp(&mut produce);
        }
        self.last += 1;
        let pending = Pending {
            client,
            call,
            is_repeatable: is_named || !produce.is_bare,
            produce,
            until: cx.now + patience,
            may_be_done: false,
            sent: 0,
            refusal: Refusal::NotReady,
        };
        self.pending.insert(self.last, pending);
        self.attempt(cx, self.last);
    }

    fn stamp(&mut self, produce: &mut Produce) {
        let is_ordered = |batch: &tidegate_proto::batch::ClientBatch| {
            batch.producer().is_some_and(|stamp| !stamp.unordered) || batch.request_key().is_some()
        };
        if produce.is_bare || produce.batches.iter().any(is_ordered) {
            return;
        }
        let next = self.sequences.entry(produce.key).or_default();
        for batch in &mut produce.batches {
            let seq = *next;
            *next = next.wrapping_add(batch.record_count());
            let stamp = ProducerStamp {
                id: self.producer,
                epoch: 0,
                seq,
                unordered: true,
            };
            *batch = batch.clone().restamped(Some(stamp));
        }
    }

    fn leader(&self, key: ReplicaKey) -> Option<SpuId> {
        self.model.as_ref()?.partition(key)?.leader
    }

    fn attempt(&mut self, cx: &mut Context, number: u64) {
        let Some(mut produce) = self
            .pending
            .get(&number)
            .map(|pending| pending.produce.clone())
        else {
            return;
        };
        if cx.plant == Some(Plant::StampsAgain) {
            self.stamp(&mut produce);
        }
        let leader = self.leader(produce.key);
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        if cx.now >= pending.until {
            return self.end(cx, number);
        }
        let Some(leader) = leader else {
            return cx.after(PAUSE, Timer::TryAgain { call: number });
        };
        let patience = (pending.until - cx.now).min(ATTEMPT);
        let call = cx.random.next();
        pending.sent = call;
        self.attempts.insert(call, number);
        cx.send(
            Node::Unit(leader.0),
            Message::Append {
                call,
                produce,
                patience,
            },
        );
        cx.after(
            patience + PAUSE,
            Timer::GiveUp {
                call: number,
                sent: call,
            },
        );
    }

    /// A unit answered.
    pub(crate) fn appended(
        &mut self,
        cx: &mut Context,
        call: u64,
        outcome: Result<Acknowledged, Refusal>,
    ) {
        let Some(number) = self.attempts.remove(&call) else {
            return;
        };
        let Some(pending) = self.pending.get_mut(&number) else {
            return;
        };
        let refusal = match outcome {
            Ok(done) => return self.tell(cx, number, Produced::Done(done)),
            Err(_) if pending.sent != call => return,
            Err(refusal) => refusal,
        };
        pending.sent = 0;
        match refusal {
            Refusal::OutcomeUnknown => {
                pending.may_be_done = true;
                if pending.is_repeatable {
                    cx.after(PAUSE, Timer::TryAgain { call: number });
                } else {
                    self.end(cx, number);
                }
            }
            Refusal::NotLeader { .. }
            | Refusal::NotReady
            | Refusal::NotEnoughReplicas { .. }
            | Refusal::DeadlinePassed
            | Refusal::Damaged
            | Refusal::LogFailed { .. }
            | Refusal::Closed => {
                pending.refusal = refusal;
                cx.after(PAUSE, Timer::TryAgain { call: number });
            }
            _ => {
                pending.refusal = refusal;
                self.end(cx, number);
            }
        }
    }

    /// No answer to an attempt.
    fn give_up(&mut self, cx: &mut Context, number: u64, sent: u64) {
        let Some(pending) = self
            .pending
            .get_mut(&number)
            .filter(|pending| pending.sent == sent)
        else {
            return;
        };
        pending.may_be_done = true;
        pending.sent = 0;
        if pending.is_repeatable && cx.now < pending.until {
            self.attempt(cx, number);
        } else {
            self.end(cx, number);
        }
    }

    fn end(&mut self, cx: &mut Context, number: u64) {
        let Some(pending) = self.pending.get(&number) else {
            return;
        };
        let outcome = if pending.may_be_done {
            Produced::Unknown
        } else {
            Produced::Refused(pending.refusal)
        };
        self.tell(cx, number, outcome);
    }

    fn tell(&mut self, cx: &mut Context, number: u64, outcome: Produced) {
        if let Some(pending) = self.pending.remove(&number) {
            let call = pending.call;
            cx.send(pending.client, Message::Produced { call, outcome });
        }
    }

    pub(crate) fn fetch(
        &mut self,
        cx: &mut Context,
        client: Node,
        call: u64,
        key: ReplicaKey,
        from: Offset,
    ) {
        let Some(leader) = self.leader(key) else {
            return cx.send(client, Message::Fetched { call, page: None });
        };
        let read = cx.random.next();
        self.reads.insert(read, (client, call));
        cx.send(
            Node::Unit(leader.0),
            Message::Read {
                call: read,
                key,
                from,
            },
        );
    }

    pub(crate) fn read_answered(&mut self, cx: &mut Context, read: u64, page: Option<Page>) {
        if let Some((client, call)) = self.reads.remove(&read) {
            cx.send(client, Message::Fetched { call, page });
        }
    }
}
