//! The leader's side of links: sessions, what is pushed in them, and what is acknowledged.
//!
//! Invariant: a session pushes its leader's log in order, each batch once.

use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::{AttachAnswer, AttachRequest, Input, SessionId};

use super::{HEARTBEAT, Session};
use crate::message::{Context, Message, Note};
use crate::network::Node;
use crate::plant::Plant;
use crate::unit::Unit;

impl Unit {
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

    pub(super) fn answer_attach(
        &mut self,
        cx: &mut Context,
        session: SessionId,
        answer: AttachAnswer,
    ) {
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
    pub(in super::super) fn push(&mut self, cx: &mut Context, key: ReplicaKey) {
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

    pub(super) fn end_session(&mut self, cx: &mut Context, session: SessionId) {
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
        if cx.plant == Some(Plant::CountsForAll)
            && let Some((position, ledger_as_of)) = position
        {
            let others = self.links.sessions.iter();
            let others = others.filter(|(id, link)| link.key == key && **id != session);
            let others: Vec<SessionId> = others.map(|(id, _)| *id).collect();
            for session in others {
                let input = Input::Acked {
                    session,
                    position,
                    ledger_as_of,
                };
                self.step(cx, key, input);
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
}
