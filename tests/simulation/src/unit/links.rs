//! What units tell each other: attaching, pushing, acknowledging, proposing in-sync sets.
//!
//! A stream is what one attempt of a follower and one session of its leader make: pushes are counted, and
//! after one that is lost nothing of the stream is taken any more. What belongs to an earlier attempt goes
//! to the machine all the same, which has to know it as late. Invariant: a session pushes its leader's log
//! in order, each batch once.

mod leading;

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::{AttachAnswer, AttachRequest, Effect, Input, SessionId};

use super::Unit;
use crate::client;
use crate::message::{Context, Message, Note, Timer};
use crate::network::Node;
use crate::plant::Plant;
use crate::queue::{MS, Time};

/// Attempts come no faster.
const ATTACH_PAUSE: Time = 60 * MS;
/// Silence after which a follower takes its connection for gone.
const LEADER_PATIENCE: Time = 1_000 * MS;
/// How often each side says that it lives.
const HEARTBEAT: Time = 400 * MS;
/// Proposals are gathered for so long (I3).
const PROPOSE_PAUSE: Time = 50 * MS;

/// One attach of a follower, seen from its leader.
#[derive(Debug)]
struct Session {
    key: ReplicaKey,
    follower: Node,
    attempt: u64,
    /// Place of the next batch, counted from the first that the log of memory ever had; none until it is
    /// attached.
    cursor: Option<u64>,
    pushes: u64,
    acks: u64,
    heard_at: Time,
    pushed_at: Time,
    told: (Offset, Offset),
}

/// The same, seen from the follower.
#[derive(Debug)]
struct Attempt {
    number: u64,
    leader: Node,
    request: AttachRequest,
    is_sent: bool,
    is_answered: bool,
    pushes: u64,
    acks: u64,
    heard_at: Time,
    acked_at: Time,
}

/// Both kinds of a unit.
#[derive(Debug, Default)]
pub(crate) struct Links {
    sessions: BTreeMap<SessionId, Session>,
    last_session: u64,
    attempts: BTreeMap<ReplicaKey, Attempt>,
    /// When a replica attached last.
    attached_at: BTreeMap<ReplicaKey, Time>,
}

impl Links {
    pub(crate) fn forget(&mut self, key: ReplicaKey) {
        self.sessions.retain(|_, session| session.key != key);
        self.attempts.remove(&key);
    }

    fn session_of(&self, key: ReplicaKey, follower: Node, attempt: u64) -> Option<SessionId> {
        let found = self.sessions.iter().find(|(_, session)| {
            (session.key, session.follower, session.attempt) == (key, follower, attempt)
        });
        found.map(|(id, _)| *id)
    }
}

impl Unit {
    /// Effects that concern other nodes.
    pub(super) fn link_effect(&mut self, cx: &mut Context, key: ReplicaKey, effect: Effect) {
        match effect {
            Effect::Attach {
                attempt,
                leader,
                request,
            } => {
                self.attach(cx, key, attempt, Node::Unit(leader.0), request);
            }
            Effect::Ack {
                attempt,
                position,
                ledger_as_of,
            } => {
                let Some(link) = self.links.attempts.get_mut(&key) else {
                    return;
                };
                if link.number == attempt {
                    if let Some(hosted) = self.replicas.get(&key) {
                        let (epoch, end) =
                            (hosted.machine.status().meta.leader_epoch, position.end);
                        cx.note(Note::Acked { key, epoch, end });
                    }
                    link.acked_at = cx.now;
                    link.acks += 1;
                    let (number, position) = (link.acks, Some((position, ledger_as_of)));
                    let attempt = attempt.wrapping_add(self.salt);
                    cx.send(
                        link.leader,
                        Message::Ack {
                            key,
                            attempt,
                            number,
                            position,
                        },
                    );
                }
            }
            Effect::StopFollowing => {
                if let Some(link) = self.links.attempts.remove(&key) {
                    let attempt = link.number.wrapping_add(self.salt);
                    cx.send(link.leader, Message::Detach { key, attempt });
                }
            }
            Effect::Attached { session, answer } => self.answer_attach(cx, session, answer),
            Effect::Detach { session } => {
                if let Some(link) = self.links.sessions.remove(&session) {
                    let attempt = link.attempt;
                    cx.send(link.follower, Message::Ended { key, attempt });
                }
            }
            Effect::ProposeIsr(proposal) => {
                if self.proposals.is_empty() {
                    cx.after(PROPOSE_PAUSE, Timer::Propose);
                }
                self.proposals.retain(|other| other.key != key);
                self.proposals.push(proposal);
            }
            Effect::Persist(_)
            | Effect::Submit(_)
            | Effect::Snapshot { .. }
            | Effect::Checkpoint { .. }
            | Effect::Trim { .. }
            | Effect::Truncate(_)
            | Effect::Reply { .. }
            | Effect::Publish
            | Effect::Became(_)
            | Effect::Alarm(_) => {}
        }
    }

    fn attach(
        &mut self,
        cx: &mut Context,
        key: ReplicaKey,
        number: u64,
        leader: Node,
        request: AttachRequest,
    ) {
        let link = Attempt {
            number,
            leader,
            request,
            is_sent: false,
            is_answered: false,
            pushes: 0,
            acks: 0,
            heard_at: cx.now,
            acked_at: cx.now,
        };
        self.links.attempts.insert(key, link);
        let last = self.links.attached_at.get(&key).copied();
        let wait = last.map_or(0, |at| (at + ATTACH_PAUSE).saturating_sub(cx.now));
        if wait == 0 {
            self.attach_again(cx, key, number);
        } else {
            let attempt = number;
            cx.after(wait, Timer::AttachAgain { key, attempt });
        }
    }

    pub(super) fn attach_again(&mut self, cx: &mut Context, key: ReplicaKey, attempt: u64) {
        let Some(link) = self.links.attempts.get_mut(&key) else {
            return;
        };
        if link.number == attempt && !link.is_sent && cx.plant != Some(Plant::NeverAttaches) {
            link.is_sent = true;
            link.heard_at = cx.now;
            let request = link.request;
            self.links.attached_at.insert(key, cx.now);
            cx.say(|| format!("{key} attaches to {:?}: {request:?}", link.leader));
            let attempt = attempt.wrapping_add(self.salt);
            cx.send(
                link.leader,
                Message::Attach {
                    key,
                    attempt,
                    request,
                },
            );
        }
    }

    /// The leader answered.
    pub(crate) fn attach_answered(
        &mut self,
        cx: &mut Context,
        key: ReplicaKey,
        attempt: u64,
        answer: AttachAnswer,
        snapshot: Option<(Offset, Bytes)>,
    ) {
        let attempt = attempt.wrapping_sub(self.salt);
        let link = self.links.attempts.get_mut(&key);
        if let Some(link) = link.filter(|link| link.number == attempt) {
            link.heard_at = cx.now;
            link.is_answered = true;
        }
        self.step(
            cx,
            key,
            Input::AttachAnswered {
                attempt,
                answer,
                snapshot,
            },
        );
    }

    /// The leader pushed.
    pub(crate) fn pushed(
        &mut self,
        cx: &mut Context,
        key: ReplicaKey,
        (attempt, number): (u64, u64),
        mut batches: Vec<Batch>,
        (high_watermark, log_start): (Offset, Offset),
    ) {
        let attempt = attempt.wrapping_sub(self.salt);
        let link = self.links.attempts.get_mut(&key);
        if let Some(link) = link.filter(|link| link.number == attempt) {
            link.heard_at = cx.now;
            link.pushes += 1;
            if link.pushes != number || !link.is_answered {
                // Something before it is lost, so this is not on the connection any more.
                return self.step(cx, key, Input::Unlinked { attempt });
            }
        }
        if cx.plant == Some(Plant::AltersBatches) {
            batches.iter_mut().for_each(alter);
        }
        let input = Input::Pushed {
            attempt,
            batches,
            high_watermark,
            log_start,
        };
        self.step(cx, key, input);
    }

    /// The leader ended the session, or knows of none.
    pub(crate) fn ended(&mut self, cx: &mut Context, key: ReplicaKey, attempt: u64) {
        let attempt = attempt.wrapping_sub(self.salt);
        self.step(cx, key, Input::Unlinked { attempt });
    }

    /// Signs of life, and their absence.
    pub(super) fn watch_links(&mut self, cx: &mut Context) {
        let mut lost = Vec::new();
        for (key, link) in &mut self.links.attempts {
            if !link.is_sent {
                continue;
            }
            if cx.now > link.heard_at + LEADER_PATIENCE {
                lost.push((*key, link.number));
            } else if link.is_answered && cx.now > link.acked_at + HEARTBEAT {
                link.acked_at = cx.now;
                link.acks += 1;
                let attempt = link.number.wrapping_add(self.salt);
                let (number, position) = (link.acks, None);
                cx.send(
                    link.leader,
                    Message::Ack {
                        key: *key,
                        attempt,
                        number,
                        position,
                    },
                );
            }
        }
        for (key, attempt) in lost {
            self.step(cx, key, Input::Unlinked { attempt });
        }
        let lag = self.terms.replica_lag_ms * MS;
        let silent = self
            .links
            .sessions
            .iter()
            .filter(|(_, link)| cx.now > link.heard_at + lag);
        let silent: Vec<SessionId> = silent.map(|(id, _)| *id).collect();
        for session in silent {
            self.end_session(cx, session);
        }
        for key in self.keys() {
            self.push(cx, key);
        }
    }

    /// Connections break; what is under way on them may still arrive.
    pub(crate) fn reset_links(&mut self, cx: &mut Context) {
        let attempts = self.links.attempts.iter();
        let attempts: Vec<_> = attempts.map(|(key, link)| (*key, link.number)).collect();
        for (key, attempt) in attempts {
            self.step(cx, key, Input::Unlinked { attempt });
        }
    }

    /// Whether a follower of this replica waits for an answer or is being read from afar.
    pub(crate) fn attaches(&self, key: ReplicaKey) -> bool {
        self.links
            .attempts
            .get(&key)
            .is_some_and(|link| !link.is_answered)
    }
}

/// Other records in the place of these.
fn alter(batch: &mut Batch) {
    if batch.client.is_control() {
        return;
    }
    let values = vec![0; batch.client.record_count() as usize];
    batch.client = client::batch(None, None, &values);
}
