//! What a leader says inside an attach, but for batches and snapshots: frames of a fixed form.

use super::{
    ATTACHED, AttachRefusal, DIVERGED, ENDED, EndReason, HEARTBEAT, MOVED, REFUSED, RESET,
    of_number, offset_of, put_u64s, take_flag,
};
use crate::position::{LeaderEpoch, Offset};
use crate::private::append::put_frame;
use crate::private::fault::FrameError;
use crate::private::frame::whole;
use crate::private::pieces::Pieces;

/// What a leader says, but for batches and snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The follower is attached; batches follow.
    Attached {
        /// Which attach.
        handle: u32,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// Where the next batches begin.
        from: Offset,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's first offset.
        log_start: Offset,
        /// A snapshot of the ledger comes before the batches.
        ships_snapshot: bool,
    },
    /// The logs part: the follower cuts (T1, T2) and attaches again.
    Diverged {
        /// Which attach.
        handle: u32,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The leader's greatest epoch that is not above the follower's last one; 0 for none.
        epoch: LeaderEpoch,
        /// Where it ends.
        end: Offset,
    },
    /// The follower ends below what the leader still has (T5).
    Reset {
        /// Which attach.
        handle: u32,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch,
        /// The leader's first offset.
        log_start: Offset,
    },
    /// It is not attached.
    Refused {
        /// Which attach.
        handle: u32,
        /// The epoch that was accepted there.
        leader_epoch: LeaderEpoch,
        /// Why.
        reason: AttachRefusal,
    },
    /// The bounds moved, and there is nothing else to send.
    Moved {
        /// Which attach.
        handle: u32,
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's first offset.
        log_start: Offset,
    },
    /// Nothing more is sent inside this attach, and nothing more is to be said in it.
    Ended {
        /// Which attach.
        handle: u32,
        /// Why.
        reason: EndReason,
    },
    /// A sign of life.
    Heartbeat,
}

impl Event {
    /// Puts the whole frame behind what waits.
    pub fn encode(&self, out: &mut Pieces) {
        let (kind, handle, numbers, last): (u8, u32, &[u64], Option<u8>) = match *self {
            Self::Attached {
                handle,
                leader_epoch,
                from,
                high_watermark,
                log_start,
                ships_snapshot,
            } => (
                ATTACHED,
                handle,
                &[
                    leader_epoch.0,
                    from.get(),
                    high_watermark.get(),
                    log_start.get(),
                ],
                Some(u8::from(ships_snapshot)),
            ),
            Self::Diverged {
                handle,
                leader_epoch,
                epoch,
                end,
            } => (
                DIVERGED,
                handle,
                &[leader_epoch.0, epoch.0, end.get()],
                None,
            ),
            Self::Reset {
                handle,
                leader_epoch,
                log_start,
            } => (RESET, handle, &[leader_epoch.0, log_start.get()], None),
            Self::Refused {
                handle,
                leader_epoch,
                reason,
            } => (REFUSED, handle, &[leader_epoch.0], Some(reason as u8)),
            Self::Moved {
                handle,
                high_watermark,
                log_start,
            } => (
                MOVED,
                handle,
                &[high_watermark.get(), log_start.get()],
                None,
            ),
            Self::Ended { handle, reason } => (ENDED, handle, &[], Some(reason as u8)),
            Self::Heartbeat => return put_frame(out, HEARTBEAT, &[]),
        };
        let mut payload = Vec::with_capacity(40);
        payload.extend_from_slice(&handle.to_le_bytes());
        put_u64s(&mut payload, numbers);
        payload.extend(last);
        put_frame(out, kind, &payload);
    }

    /// Reads the payload of a frame of that kind, which is neither [`PUSH`] nor [`SNAPSHOT`].
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Self, FrameError> {
        let (count, has_last) = match kind {
            ATTACHED => (4, true),
            DIVERGED => (3, false),
            RESET | MOVED => (2, false),
            REFUSED => (1, true),
            ENDED => (0, true),
            HEARTBEAT => return whole(kind, payload, |_| Some(Self::Heartbeat)),
            _ => return Err(FrameError::Kind { kind }),
        };
        let (handle, [a, b, c, d], last) = whole(kind, payload, |reader| {
            let (handle, mut numbers) = (reader.u32()?, [0; 4]);
            for number in numbers.iter_mut().take(count) {
                *number = reader.u64()?;
            }
            let last = if has_last { reader.u8()? } else { 0 };
            Some((handle, numbers, last))
        })?;
        let reason = FrameError::Field {
            kind,
            field: "reason",
        };
        let offset = |number| offset_of(kind, number);
        Ok(match kind {
            ATTACHED => Self::Attached {
                handle,
                leader_epoch: LeaderEpoch(a),
                from: offset(b)?,
                high_watermark: offset(c)?,
                log_start: offset(d)?,
                ships_snapshot: take_flag(kind, last)?,
            },
            DIVERGED => Self::Diverged {
                handle,
                leader_epoch: LeaderEpoch(a),
                epoch: LeaderEpoch(b),
                end: offset(c)?,
            },
            RESET => Self::Reset {
                handle,
                leader_epoch: LeaderEpoch(a),
                log_start: offset(b)?,
            },
            REFUSED => Self::Refused {
                handle,
                leader_epoch: LeaderEpoch(a),
                reason: of_number(&AttachRefusal::ALL, last).ok_or(reason)?,
            },
            MOVED => Self::Moved {
                handle,
                high_watermark: offset(a)?,
                log_start: offset(b)?,
            },
            _ => Self::Ended {
                handle,
                reason: of_number(&EndReason::ALL, last).ok_or(reason)?,
            },
        })
    }
}
