//! What a shard is told by other nodes' replicas: attaches, acknowledgements, batches.

use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::{Input, Now, SessionId};

use super::super::message::{Acked, AttachAnswered, AttachMessage, Pushed};
use super::super::peers::SessionEvent;
use super::Shard;

impl Shard {
    pub(super) fn attach(&mut self, now: Now, message: AttachMessage) {
        let AttachMessage {
            key,
            session,
            request,
            readable_from,
        } = message;
        let Some(hosted) = self.hosted.get_mut(&key) else {
            return session.tell(SessionEvent::Over);
        };
        let id = session.id;
        hosted.sessions.push(session);
        let input = Input::Attach {
            session: id,
            request,
            readable_from,
        };
        self.step(now, key, input);
    }

    pub(super) fn acked(&mut self, now: Now, acks: Vec<Acked>) {
        for acked in acks {
            let input = Input::Acked {
                session: acked.session,
                position: acked.position,
                ledger_as_of: acked.ledger_as_of,
            };
            self.step(now, acked.key, input);
        }
    }

    pub(super) fn detached(&mut self, now: Now, ended: Vec<(ReplicaKey, SessionId)>) {
        for (key, session) in ended {
            if let Some(hosted) = self.hosted.get_mut(&key) {
                hosted.session(session, false);
            }
            self.step(now, key, Input::Detached { session });
        }
    }

    pub(super) fn attach_answered(&mut self, now: Now, answered: AttachAnswered) {
        let key = answered.key;
        let input = Input::AttachAnswered {
            attempt: answered.attempt,
            answer: answered.answer,
            snapshot: answered.snapshot,
        };
        self.told(now, key, input);
        if let Some(hosted) = self.hosted.get_mut(&key)
            && hosted.machine.holds_shipped()
        {
            // One before it was given up with its attempt; of one that comes late the machine took nothing.
            hosted.shipped = hosted.shipped.take().or(answered.permit);
        }
    }

    pub(super) fn pushed(&mut self, now: Now, pushed: Pushed) {
        let input = Input::Pushed {
            attempt: pushed.attempt,
            batches: pushed.batches,
            high_watermark: pushed.high_watermark,
            log_start: pushed.log_start,
        };
        self.told(now, pushed.key, input);
        if let Some(hosted) = self.hosted.get_mut(&pushed.key) {
            let end = hosted.machine.end();
            if end > hosted.machine.durable_end() {
                let held = pushed.permit.map(|permit| (end, permit));
                hosted.arrived.extend(held);
            }
        }
    }

    /// Something after which the log may end elsewhere.
    pub(super) fn told(&mut self, now: Now, key: ReplicaKey, input: Input) {
        let before = self.hosted.get_mut(&key).map(|hosted| {
            hosted.release_shipped();
            hosted.machine.end()
        });
        self.step(now, key, input);
        if let Some(hosted) = self.hosted.get_mut(&key) {
            hosted.release_shipped();
            let end = hosted.machine.end();
            if before != Some(end) {
                let appended_ms = hosted.machine.status().last_append_ms;
                hosted.reader.ends_at(end, appended_ms);
            }
        }
    }
}
