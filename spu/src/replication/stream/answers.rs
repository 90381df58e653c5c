//! What machines say of sessions, and how the follower hears it.

use tidegate_proto::private::replicate::{AttachRefusal, EndReason, Event};
use tidegate_spu_core::{AttachAnswer, AttachRefusal as Refusal};

use super::{Cursor, FollowerStream, State};

impl FollowerStream {
    pub(super) fn over(&mut self, handle: u32) {
        if let Some(sending) = self.sending.remove(&handle)
            && !matches!(sending.state, State::Over)
        {
            let reason = EndReason::Over;
            self.say(Event::Ended { handle, reason });
        }
        self.ship_no_more(handle);
    }

    pub(super) fn answered(&mut self, handle: u32, answer: AttachAnswer) {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return;
        };
        if let AttachAnswer::Attached {
            leader_epoch,
            from,
            high_watermark,
            log_start,
            ships_snapshot,
        } = answer
        {
            let cursor = Cursor {
                epoch: leader_epoch,
                at: from,
                told: (high_watermark, log_start),
                is_reading: false,
            };
            sending.state = if ships_snapshot {
                State::Awaiting(cursor)
            } else {
                State::Open(cursor)
            };
            self.say(event_of(handle, answer));
            if ships_snapshot {
                self.shipments.stand_in_line(handle);
                self.ship_next();
            } else {
                self.push(handle);
            }
            return;
        }
        self.sending.remove(&handle);
        self.say(event_of(handle, answer));
    }

    /// Nothing more is sent in that session.
    pub(super) fn end(&mut self, handle: u32, reason: EndReason) {
        if let Some(sending) = self.sending.get_mut(&handle) {
            sending.state = State::Over;
            self.say(Event::Ended { handle, reason });
        }
        self.ship_no_more(handle);
    }
}

fn event_of(handle: u32, answer: AttachAnswer) -> Event {
    match answer {
        AttachAnswer::Attached {
            leader_epoch,
            from,
            high_watermark,
            log_start,
            ships_snapshot,
        } => Event::Attached {
            handle,
            leader_epoch,
            from: from.end,
            high_watermark,
            log_start,
            ships_snapshot,
        },
        AttachAnswer::Diverged {
            leader_epoch,
            epoch,
            end,
        } => Event::Diverged {
            handle,
            leader_epoch,
            epoch,
            end,
        },
        AttachAnswer::Reset {
            leader_epoch,
            log_start,
        } => Event::Reset {
            handle,
            leader_epoch,
            log_start,
        },
        AttachAnswer::Refused {
            leader_epoch,
            reason,
        } => Event::Refused {
            handle,
            leader_epoch,
            reason: match reason {
                Refusal::NotLeading => AttachRefusal::NotLeading,
                Refusal::NotReady | Refusal::SnapshotPending => AttachRefusal::Busy,
                Refusal::EpochBehind | Refusal::EpochAhead => AttachRefusal::Epoch,
                Refusal::NotReplica => AttachRefusal::NotReplica,
                Refusal::Superseded => AttachRefusal::Incarnation,
            },
        },
    }
}
