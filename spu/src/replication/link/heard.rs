//! Between frames and what machines say and hear. Pure.

use tidegate_kit::budget::ByteBudget;
use tidegate_kit::frames::Keep;
use tidegate_proto::position::ReplicaKey;
use tidegate_proto::private::replicate::{
    AttachRefusal, Event, FIXED_PAYLOAD_MAX, PUSH, PUSH_PAYLOAD_MAX, SNAPSHOT,
    SNAPSHOT_PAYLOAD_MAX, Wish,
};
use tidegate_proto::private::{FrameError, FrameHeader};
use tidegate_spu_core::{AttachAnswer, AttachRefusal as Refusal};

use super::Wanted;

pub(super) fn keep(header: FrameHeader, held: &ByteBudget) -> Result<Keep, FrameError> {
    let max = match header.kind {
        PUSH => {
            header.check(PUSH_PAYLOAD_MAX)?;
            return Ok(Keep::PaidAtMost(held.clone()));
        }
        SNAPSHOT => SNAPSHOT_PAYLOAD_MAX,
        _ => FIXED_PAYLOAD_MAX,
    };
    header.check(max)?;
    Ok(Keep::Shared)
}

pub(super) fn attach(handle: u32, key: ReplicaKey, wanted: &Wanted) -> Wish {
    let request = wanted.request;
    Wish::Attach {
        handle,
        key,
        replica_gen: request.replica_gen,
        leader_epoch: request.leader_epoch,
        incarnation: request.follower.incarnation,
        position: request.position,
        log_start: request.log_start,
        is_whole: request.is_whole,
        is_intact: request.is_intact,
    }
}

/// What the leader said, as a machine hears it.
pub(super) fn answer_of(event: Event, wanted: &Wanted) -> AttachAnswer {
    match event {
        Event::Attached {
            leader_epoch,
            high_watermark,
            log_start,
            ships_snapshot,
            ..
        } => AttachAnswer::Attached {
            leader_epoch,
            // The leader goes on where the follower said that it is.
            from: wanted.request.position,
            high_watermark,
            log_start,
            ships_snapshot,
        },
        Event::Diverged {
            leader_epoch,
            epoch,
            end,
            ..
        } => AttachAnswer::Diverged {
            leader_epoch,
            epoch,
            end,
        },
        Event::Reset {
            leader_epoch,
            log_start,
            ..
        } => AttachAnswer::Reset {
            leader_epoch,
            log_start,
        },
        Event::Refused {
            leader_epoch,
            reason,
            ..
        } => AttachAnswer::Refused {
            leader_epoch,
            reason: match reason {
                AttachRefusal::Epoch if leader_epoch > wanted.request.leader_epoch => {
                    Refusal::EpochBehind
                }
                AttachRefusal::Epoch => Refusal::EpochAhead,
                AttachRefusal::NotLeading => Refusal::NotLeading,
                AttachRefusal::NotReplica => Refusal::NotReplica,
                AttachRefusal::Incarnation => Refusal::Superseded,
                AttachRefusal::Busy => Refusal::NotReady,
            },
        },
        Event::Moved { .. } | Event::Ended { .. } | Event::Heartbeat => AttachAnswer::Refused {
            leader_epoch: wanted.request.leader_epoch,
            reason: Refusal::NotReady,
        },
    }
}
