//! What a read of a replica found, as readers are told it.
//!
//! Pure but for what is counted and logged of records that cannot be read.

use tidegate_data_plane::partitions::{Chunk, Held, Tail};
use tidegate_log::ReadError;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::Damage;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::{Offset, ReplicaKey};

use crate::shard::Reader;
use crate::{metrics, refusal};

pub(super) fn chunk(batches: Vec<Batch>, from: Offset, tail: Tail, held: Held) -> Chunk {
    let next = batches
        .last()
        .map_or(from, |batch| batch.next_offset().max(from));
    debug_assert!(
        next <= tail.high_watermark.max(from),
        "a read passed the high watermark"
    );
    Chunk {
        batches,
        next,
        log_start: tail.log_start,
        high_watermark: tail.high_watermark,
        leader_epoch: tail.leader_epoch,
        held,
    }
}

pub(super) fn read_problem(error: &ReadError, from: Offset, reader: &Reader) -> Problem {
    let tail = reader.tail();
    match error {
        ReadError::Trimmed { log_start, .. } => refusal::truncated(from, *log_start, reader.end()),
        ReadError::BeyondEnd { end, .. } => refusal::out_of_range(from, tail.log_start, *end),
        ReadError::Corrupt { at, until, .. } => {
            metrics::read_failed("corrupt");
            unreadable(error, reader.key);
            reader.damaged(Damage {
                read_only: false,
                from: Some(*at),
                until: *until,
            });
            refusal::damaged(*at, *until)
        }
        ReadError::Io { .. } => {
            metrics::read_failed("io");
            unreadable(error, reader.key);
            Problem::new(
                ErrorCode::Internal,
                "the records cannot be read from this node's disk",
            )
        }
    }
}

/// The paths in it are for the operator, not for the client.
fn unreadable(error: &ReadError, key: ReplicaKey) {
    tracing::error!(topic_id = %key.topic_id, partition = %key.partition, %error,
        "records cannot be read");
}
