//! Who is told what: a message that arrived goes to the function of its receiver.
//!
//! Invariant: what the receiver asks for is carried out before anything else happens.

use super::World;
use crate::controller::Controller;
use crate::disk::Disk;
use crate::gateway::Gateway;
use crate::message::{Context, Message};
use crate::network::Node;
use crate::unit::Unit;

impl World {
    pub(super) fn deliver(&mut self, from: Node, to: Node, message: Message) {
        if to == Node::Store {
            return self.ask_store(from, message);
        }
        let mut cx = self.context(to);
        match to {
            Node::Unit(at) => {
                let (unit, disk) = (&mut self.units[at as usize], &mut self.disks[at as usize]);
                if let Some(unit) = unit {
                    deliver_to_unit(unit, disk, &mut cx, from, message);
                }
            }
            Node::Controller(at) => {
                if let Some(controller) = &mut self.controllers[at as usize] {
                    deliver_to_controller(controller, &mut cx, from, message);
                }
            }
            Node::Gateway(at) => {
                if let Some(gateway) = &mut self.gateways[at as usize] {
                    deliver_to_gateway(gateway, &mut cx, from, message);
                }
            }
            Node::Client(at) => self.deliver_to_client(at as usize, &mut cx, message),
            Node::Store => {}
        }
        self.carry_out(to, cx);
    }

    fn deliver_to_client(&mut self, at: usize, cx: &mut Context, message: Message) {
        let writers = self.writers.len();
        match message {
            Message::Produced { call, outcome } => {
                if let Some(writer) = self.writers.get_mut(at) {
                    writer.ended(cx, &mut self.history, call, outcome);
                }
            }
            Message::Fetched { call, page } => {
                if let Some(consumer) = self.consumers.get_mut(at.saturating_sub(writers)) {
                    consumer.fetched(&mut self.history, call, page);
                }
            }
            _ => {}
        }
    }
}

fn deliver_to_unit(
    unit: &mut Unit,
    disk: &mut Disk,
    cx: &mut Context,
    from: Node,
    message: Message,
) {
    match message {
        Message::News { model, standing } => unit.news(cx, disk, model, standing),
        Message::Answer { call, outcome } => unit.answered(cx, disk, call, outcome),
        Message::Attach {
            key,
            attempt,
            request,
        } => {
            unit.attach_wanted(cx, from, key, attempt, request);
        }
        Message::Ack {
            key,
            attempt,
            number,
            position,
        } => unit.acked(cx, from, key, (attempt, number), position),
        Message::Detach { key, attempt } => unit.detached(cx, from, key, attempt),
        Message::Attached {
            key,
            attempt,
            answer,
            snapshot,
        } => {
            unit.attach_answered(cx, key, attempt, answer, snapshot);
        }
        Message::Push {
            key,
            attempt,
            number,
            batches,
            high_watermark,
            log_start,
        } => {
            unit.pushed(
                cx,
                key,
                (attempt, number),
                batches,
                (high_watermark, log_start),
            );
        }
        Message::Ended { key, attempt } => unit.ended(cx, key, attempt),
        Message::Append {
            call,
            produce,
            patience,
        } => unit.append(cx, from, call, produce, patience),
        Message::Read {
            call,
            key,
            from: at,
        } => unit.read(cx, from, call, key, at),
        _ => {}
    }
}

fn deliver_to_controller(
    controller: &mut Controller,
    cx: &mut Context,
    from: Node,
    message: Message,
) {
    match message {
        Message::Hello { unit, revision } => controller.hello(cx, from, unit, revision),
        Message::Relay { spu, incarnation } => controller.hear(cx, spu, incarnation),
        Message::Call { call, request } => controller.call(cx, from, call, *request),
        Message::Told(told) => controller.told(cx, told),
        Message::Bell(model) => controller.rung(cx, &model),
        _ => {}
    }
}

fn deliver_to_gateway(gateway: &mut Gateway, cx: &mut Context, from: Node, message: Message) {
    match message {
        Message::News { model, .. } => gateway.news(cx, model),
        Message::Produce {
            call,
            produce,
            patience,
        } => gateway.produce(cx, from, call, produce, patience),
        Message::Fetch {
            call,
            key,
            from: at,
        } => gateway.fetch(cx, from, call, key, at),
        Message::Appended { call, outcome } => gateway.appended(cx, call, outcome),
        Message::ReadAnswer { call, answer } => gateway.read_answered(cx, call, answer),
        _ => {}
    }
}
