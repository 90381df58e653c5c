//! The session of one socket, as a pure machine: what happened goes in, what to do comes out.
//!
//! It holds subscriptions, credits and the count of produces in flight; it reads no clock (`now` is
//! the time since the socket opened), touches no socket and waits for nothing. The loop in
//! [`super::pump`] carries its effects out in list order and brings results back as inputs, marked
//! with the generation of the positions they were asked for; results of another one are dropped.
//!
//! Invariants: at most [`super::limits::WINDOW_BYTES`] and one frame are handed over between two flushes; no
//! effect comes after a `Close`; every operation is answered at most once.

mod appending;
mod away;
mod lifetime;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_proto::api::socket::{Ack, CloseCode, SUBPROTOCOL_BATCH, ServerFrame};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;

use super::credit::Window;
use super::effect::{Effect, Effects, Input, Of, SessionTimes, Speech};
use super::limits::{PRODUCE_BYTES_IN_FLIGHT_MAX, PRODUCES_IN_FLIGHT_MAX, SUBSCRIPTIONS_MAX};
use super::protocol::{self, Op, encode, error_text};
use super::subscription::{Opening, Resolution, Subscription};
use crate::encode::codecs::Codecs;
use crate::position::Start;

#[derive(Debug)]
pub(crate) struct Session {
    times: SessionTimes,
    speech: Speech,
    subscriptions: BTreeMap<TopicName, Subscription>,
    /// The topic in the path of the socket: when it goes, the socket goes.
    home: Option<TopicName>,
    last_generation: u64,
    produces_in_flight: usize,
    produce_bytes_in_flight: usize,
    unflushed_bytes: usize,
    unflushed_records: u64,
    /// Subscriptions that stopped because of the window of the socket.
    held_back: BTreeSet<TopicName>,
    /// Partitions that have something to read when less was read and not sent.
    waiting: VecDeque<(Of, PartitionId)>,
    heard_at: Duration,
    pinged_at: Duration,
    draining: bool,
    closed: bool,
}

impl Session {
    pub(crate) fn new(times: SessionTimes, speech: Speech) -> Self {
        Self {
            times,
            speech,
            subscriptions: BTreeMap::new(),
            home: None,
            last_generation: 0,
            produces_in_flight: 0,
            produce_bytes_in_flight: 0,
            unflushed_bytes: 0,
            unflushed_records: 0,
            held_back: BTreeSet::new(),
            waiting: VecDeque::new(),
            heard_at: Duration::ZERO,
            pinged_at: Duration::ZERO,
            draining: false,
            closed: false,
        }
    }

    /// Subscribes as the path of the socket says, with positions that were looked up already.
    /// Gives the generation that the tails are to be followed for.
    pub(crate) fn open_home(
        &mut self,
        topic: TopicName,
        wanted: Option<Vec<PartitionId>>,
        codecs: Codecs,
        resolution: Resolution,
    ) -> (Of, Effects) {
        let opening = self.opening(None);
        let subscription = Subscription::new(opening, wanted, Window::default(), codecs);
        self.subscriptions.insert(topic.clone(), subscription);
        self.home = Some(topic.clone());
        let of = Of {
            topic,
            generation: opening.generation,
        };
        let mut effects = Effects::new();
        self.resolved(&of, Ok(resolution), &mut effects);
        (of, effects)
    }

    /// Whether another message may be taken: the produces in flight are bounded.
    pub(crate) fn accepts_input(&self) -> bool {
        !self.draining
            && self.produces_in_flight < PRODUCES_IN_FLIGHT_MAX
            && self.produce_bytes_in_flight < PRODUCE_BYTES_IN_FLIGHT_MAX
    }

    pub(crate) fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// In frames that were read and not sent.
    #[cfg(test)]
    fn pending_bytes(&self) -> usize {
        let subscriptions = self.subscriptions.values();
        subscriptions.map(Subscription::pending_bytes).sum()
    }

    /// Topics that are subscribed now.
    pub(crate) fn topics(&self) -> Vec<TopicName> {
        self.subscriptions.keys().cloned().collect()
    }

    /// Takes one input. `now` is the time since the socket opened.
    pub(crate) fn step(&mut self, now: Duration, input: Input) -> Effects {
        let mut effects = Effects::new();
        if self.closed {
            return effects;
        }
        let out = &mut effects;
        match input {
            Input::Text(text) => {
                self.heard_at = now;
                self.read_text(&text, out);
            }
            Input::Binary(message) => {
                self.heard_at = now;
                self.read_binary(&message, out);
            }
            Input::Unreadable(code) => self.close(code, out),
            Input::Alive => self.heard_at = now,
            Input::Resolved { of, outcome } => self.resolved(&of, outcome, out),
            Input::Tail {
                of,
                partition,
                tail,
            } => {
                let Some(subscription) = self.current(&of) else {
                    return effects;
                };
                subscription.tail_moved(partition, tail);
                self.serve_one(&of.topic, partition, out);
            }
            Input::Joined { of, start } => self.joined(&of, start, out),
            Input::Refused { of, problem } => {
                if self.current(&of).is_some() {
                    out.push(Effect::Send(error_text(None, Some(&of.topic), problem)));
                    self.end(&of.topic, out);
                }
            }
            Input::Read {
                of,
                partition,
                outcome,
            } => self.read_done(&of, partition, outcome, out),
            Input::Retry { of, partition } => {
                let Some(subscription) = self.current(&of) else {
                    return effects;
                };
                subscription.has_rested(partition);
                self.serve_one(&of.topic, partition, out);
            }
            Input::Produced { id, bytes, outcome } => self.produced(id, bytes, outcome, out),
            Input::Reauthenticated { id, outcome } => self.reauthenticated(id, outcome, out),
            Input::Topology(topology) => self.topology_changed(&topology, out),
            Input::Tick => self.tick(now, out),
            Input::Flushed => self.flushed(now, out),
            Input::Stuck(let_go) => {
                self.let_go(let_go);
                return effects;
            }
            Input::Drain { retry_after_ms } => self.drain(retry_after_ms, out),
        }
        self.serve_waiting(out);
        effects
    }

    fn read_text(&mut self, text: &str, out: &mut Effects) {
        let op = match protocol::parse(text) {
            Ok(op) => op,
            Err(refused) => {
                out.push(Effect::Send(error_text(refused.id, None, refused.problem)));
                return;
            }
        };
        match op {
            Op::Subscribe {
                id,
                topic,
                partitions,
                at,
                credit,
                codecs,
                on_slow,
            } => {
                if codecs.is_some() && self.speech == Speech::Json {
                    let problem = Problem::new(
                        ErrorCode::InvalidParameter,
                        format!("`codecs` is for the subprotocol {SUBPROTOCOL_BATCH}"),
                    )
                    .at("/codecs", "not in this subprotocol");
                    out.push(Effect::Send(error_text(id, Some(&topic), problem)));
                    return;
                }
                let opening = self.opening(id);
                let (window, codecs) = (Window::new(credit), codecs.unwrap_or(Codecs::ANY));
                let mut subscription = Subscription::new(opening, partitions, window, codecs);
                subscription.watch(on_slow);
                self.subscribe(topic, subscription, opening, at, out);
            }
            Op::Seek { id, topic, at } => self.seek(id, &topic, at, out),
            Op::Credit { id, topic, credit } => {
                if self.with(id, &topic, out, |subscription| {
                    subscription.window.grant(credit)
                }) {
                    self.serve_all(&topic, out);
                }
            }
            Op::Pause { id, topic } => {
                self.with(id, &topic, out, |subscription| subscription.paused = true);
            }
            Op::Resume { id, topic } => {
                let resume = |subscription: &mut Subscription| {
                    subscription.owes_caught_up |= subscription.paused;
                    subscription.paused = false;
                };
                if self.with(id, &topic, out, resume) {
                    self.serve_all(&topic, out);
                }
            }
            Op::Unsubscribe { id, topic } => {
                if self.with(id, &topic, out, |_| {}) {
                    self.end(&topic, out);
                }
            }
            Op::Produce(produce) => self.produce(produce, out),
            Op::Auth { id, token } => out.push(Effect::Reauthenticate { id, token }),
        }
    }

    fn subscribe(
        &mut self,
        topic: TopicName,
        subscription: Subscription,
        opening: Opening,
        at: Start,
        out: &mut Effects,
    ) {
        let id = opening.id;
        let refused = if self.subscriptions.contains_key(&topic) {
            Some(Problem::new(
                ErrorCode::AlreadyExists,
                format!("{topic} is subscribed already; use seek"),
            ))
        } else if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            Some(Problem::new(
                ErrorCode::InvalidParameter,
                format!("a socket holds at most {SUBSCRIPTIONS_MAX} subscriptions"),
            ))
        } else {
            None
        };
        if let Some(problem) = refused {
            out.push(Effect::Send(error_text(id, Some(&topic), problem)));
            return;
        }
        let of = Of {
            topic: topic.clone(),
            generation: opening.generation,
        };
        let partitions = subscription.wanted.clone();
        self.subscriptions.insert(topic, subscription);
        out.push(Effect::Resolve { of, partitions, at });
    }

    fn seek(&mut self, id: Option<u32>, topic: &TopicName, at: Start, out: &mut Effects) {
        let opening = self.opening(id);
        let Some(subscription) = self.subscriptions.get_mut(topic) else {
            out.push(Effect::Send(error_text(
                id,
                Some(topic),
                not_subscribed(topic),
            )));
            return;
        };
        if subscription.opening.is_some() {
            let problem = Problem::new(
                ErrorCode::InvalidParameter,
                "the answer to subscribe or seek is still due",
            );
            out.push(Effect::Send(error_text(id, Some(topic), problem)));
            return;
        }
        subscription.opening = Some(opening);
        let of = Of {
            topic: topic.clone(),
            generation: opening.generation,
        };
        out.push(Effect::Resolve {
            of,
            partitions: subscription.wanted.clone(),
            at,
        });
    }

    /// Does something to a subscription and acknowledges it when it has an id.
    fn with(
        &mut self,
        id: Option<u32>,
        topic: &TopicName,
        out: &mut Effects,
        act: impl FnOnce(&mut Subscription),
    ) -> bool {
        let Some(subscription) = self.subscriptions.get_mut(topic) else {
            out.push(Effect::Send(error_text(
                id,
                Some(topic),
                not_subscribed(topic),
            )));
            return false;
        };
        act(subscription);
        acknowledge(id, Map::new(), out);
        true
    }

    fn close(&mut self, code: CloseCode, out: &mut Effects) {
        if !self.closed {
            self.closed = true;
            out.push(Effect::Close(code));
        }
    }

    fn end(&mut self, topic: &TopicName, out: &mut Effects) {
        if let Some(subscription) = self.subscriptions.remove(topic) {
            out.push(Effect::Forget {
                generation: subscription.generation,
            });
            if let Some(opening) = subscription.opening {
                out.push(Effect::Forget {
                    generation: opening.generation,
                });
            }
        }
        self.held_back.remove(topic);
    }

    fn opening(&mut self, id: Option<u32>) -> Opening {
        self.last_generation += 1;
        Opening {
            generation: self.last_generation,
            id,
        }
    }

    fn current(&mut self, of: &Of) -> Option<&mut Subscription> {
        let subscription = self.subscriptions.get_mut(&of.topic)?;
        (subscription.generation == of.generation && subscription.topic_id().is_some())
            .then_some(subscription)
    }
}

fn acknowledge(id: Option<u32>, body: Map<String, Value>, out: &mut Effects) {
    if id.is_some() {
        out.push(Effect::Send(encode(&ServerFrame::Ack(Ack { id, body }))));
    }
}

fn not_subscribed(topic: &TopicName) -> Problem {
    Problem::new(
        ErrorCode::InvalidParameter,
        format!("{topic} is not subscribed on this socket"),
    )
    .at("/topic", "not subscribed")
}
