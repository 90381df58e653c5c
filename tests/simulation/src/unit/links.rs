//! What units tell each other: attaching, pushing, acknowledging, proposing in-sync sets.
//!
//! A stream is what one attempt of a follower and one session of its leader make: pushes are counted, and
//! after one that is lost nothing of the stream is taken any more. What belongs to an earlier attempt goes
//! to the machine all the same, which has to know it as late. Invariant: a session pushes its leader's log
//! in order, each batch once.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::IsrOutcome;
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_sc_core::decision::{Outcome, Request};
use tidegate_sc_core::refusal::Refusal as ControlRefusal;
use tidegate_spu_core::{AttachAnswer, AttachRequest, Effect, Input, SessionId};

use super::Unit;
use crate::message::{Context, Message, Note, Timer};
use crate::network::Node;
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
        if link.number == attempt && !link.is_sent {
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

    /// A follower wants to attach here.
    pub(crate) fn attach_wanted(
        &mut self,
        cx: &mut Context,
        follower: Node,
        key: ReplicaKey,
        attempt: u64,
        request: AttachRequest,
    ) {
        let Some(hosted) = self.replicas.get(&key) else {
            return cx.send(follower, Message::Ended { key, attempt });
        };
        let first = hosted.log.first().map(|batch| batch.placement.base_offset);
        let readable_from = first.unwrap_or(hosted.log_start).min(hosted.log_start);
        self.links.last_session += 1;
        let session = SessionId(self.links.last_session);
        let link = Session {
            key,
            follower,
            attempt,
            cursor: None,
            pushes: 0,
            acks: 0,
            heard_at: cx.now,
            pushed_at: cx.now,
            told: (Offset::ZERO, Offset::ZERO),
        };
        self.links.sessions.insert(session, link);
        self.step(
            cx,
            key,
            Input::Attach {
                session,
                request,
                readable_from,
            },
        );
    }

    fn answer_attach(&mut self, cx: &mut Context, session: SessionId, answer: AttachAnswer) {
        let Some(link) = self.links.sessions.get_mut(&session) else {
            return;
        };
        let (key, attempt, follower) = (link.key, link.attempt, link.follower);
        let mut snapshot = None;
        if let AttachAnswer::Attached {
            from,
            ships_snapshot,
            ..
        } = answer
        {
            let Some(hosted) = self.replicas.get(&key) else {
                return;
            };
            let before = hosted
                .log
                .partition_point(|batch| batch.placement.base_offset < from.end);
            link.cursor = Some(hosted.dropped + before as u64);
            if ships_snapshot {
                snapshot = hosted.snapshot.clone();
                cx.note(Note::Reached("a leader ships its snapshot"));
            }
        } else {
            self.links.sessions.remove(&session);
        }
        cx.say(|| format!("{key} answers {follower:?}: {answer:?}"));
        cx.send(
            follower,
            Message::Attached {
                key,
                attempt,
                answer,
                snapshot,
            },
        );
        self.push(cx, key);
    }

    /// Sends followers what they have not got.
    pub(super) fn push(&mut self, cx: &mut Context, key: ReplicaKey) {
        let Some(hosted) = self.replicas.get(&key) else {
            return;
        };
        let status = hosted.machine.status();
        let told = (status.high_watermark, status.log_start);
        let mut lost = Vec::new();
        for (id, link) in &mut self.links.sessions {
            let Some(cursor) = link.cursor.filter(|_| link.key == key) else {
                continue;
            };
            let Some(skip) = cursor.checked_sub(hosted.dropped) else {
                lost.push(*id);
                continue;
            };
            let behind = hosted.log.get(usize::try_from(skip).unwrap_or_default()..);
            let mut behind = behind.unwrap_or_default();
            let is_due = cx.now >= link.pushed_at + HEARTBEAT;
            let mut is_first = true;
            while !behind.is_empty() || (is_first && (told != link.told || is_due)) {
                is_first = false;
                let (some, rest) = behind.split_at(behind.len().min(self.terms.push_max));
                behind = rest;
                link.told = told;
                link.pushed_at = cx.now;
                link.pushes += 1;
                let push = Message::Push {
                    key,
                    attempt: link.attempt,
                    number: link.pushes,
                    batches: some.to_vec(),
                    high_watermark: told.0,
                    log_start: told.1,
                };
                cx.send(link.follower, push);
            }
            link.cursor = Some(hosted.dropped + hosted.log.len() as u64);
        }
        for session in lost {
            self.end_session(cx, session);
        }
    }

    fn end_session(&mut self, cx: &mut Context, session: SessionId) {
        if let Some(link) = self.links.sessions.remove(&session) {
            let (key, attempt) = (link.key, link.attempt);
            cx.send(link.follower, Message::Ended { key, attempt });
            self.step(cx, key, Input::Detached { session });
        }
    }

    /// A follower says how far it is, or only that it lives.
    pub(crate) fn acked(
        &mut self,
        cx: &mut Context,
        follower: Node,
        key: ReplicaKey,
        (attempt, number): (u64, u64),
        position: Option<(LogPosition, Option<Offset>)>,
    ) {
        let Some(session) = self.links.session_of(key, follower, attempt) else {
            return;
        };
        if let Some(link) = self.links.sessions.get_mut(&session) {
            link.heard_at = cx.now;
            link.acks += 1;
            if link.acks != number {
                // Something before it is lost: the connection is gone.
                return self.end_session(cx, session);
            }
        }
        if let Some((position, ledger_as_of)) = position {
            self.step(
                cx,
                key,
                Input::Acked {
                    session,
                    position,
                    ledger_as_of,
                },
            );
        }
    }

    /// A follower leaves.
    pub(crate) fn detached(
        &mut self,
        cx: &mut Context,
        follower: Node,
        key: ReplicaKey,
        attempt: u64,
    ) {
        if let Some(session) = self.links.session_of(key, follower, attempt) {
            self.links.sessions.remove(&session);
            self.step(cx, key, Input::Detached { session });
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
        batches: Vec<Batch>,
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

    /// Whether a follower of this replica waits for an answer or is being read from afar.
    pub(crate) fn attaches(&self, key: ReplicaKey) -> bool {
        self.links
            .attempts
            .get(&key)
            .is_some_and(|link| !link.is_answered)
    }
}
