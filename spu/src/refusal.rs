//! From what a machine refused to what a client is told. The only mapping of its kind here.

use tidegate_proto::error::{ErrorCode, Problem, SideEffects};
use tidegate_proto::id::SpuId;
use tidegate_proto::limits::RETRY_AFTER_DISK_FULL_S;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_spu_core::Refusal;

use crate::limits::RETRY_AFTER_S;

/// The problem that a refused append is answered with.
pub(crate) fn problem(refusal: Refusal) -> Problem {
    let detail = refusal.to_string();
    let code = match refusal {
        Refusal::NotLeader { .. } => ErrorCode::NotLeader,
        Refusal::NotReady | Refusal::Closed | Refusal::LogFailed { .. } | Refusal::Damaged => {
            ErrorCode::Unavailable
        }
        Refusal::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        Refusal::Fenced { .. } => ErrorCode::ProducerFenced,
        Refusal::OutOfOrder { .. } => ErrorCode::OutOfOrder,
        Refusal::UnknownProducer { .. } => ErrorCode::UnknownProducer,
        Refusal::TooManyProducers => ErrorCode::Throttled,
        Refusal::KeyReused => ErrorCode::IdempotencyKeyReused,
        Refusal::Unordered => ErrorCode::NotSupported,
        Refusal::PreconditionFailed { .. } => ErrorCode::PreconditionFailed,
        Refusal::DeadlinePassed => ErrorCode::Overloaded,
        Refusal::OutcomeUnknown => return outcome_unknown(detail),
    };
    extras(
        Problem::new(code, detail).side_effects(SideEffects::None),
        refusal,
    )
}

fn extras(problem: Problem, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NotLeader {
            leader: Some(leader),
        } => problem.with("leader", leader.0),
        Refusal::NotEnoughReplicas { in_sync, required } => {
            problem.with("in_sync", in_sync).with("required", required)
        }
        Refusal::Fenced { current } => problem.with("current", current),
        Refusal::OutOfOrder { expected, received } => problem
            .with("expected", expected)
            .with("received", received),
        Refusal::PreconditionFailed { end } => problem.with("end", end.get()),
        // It lasts until somebody mends it: whoever sends again would wait for nothing.
        Refusal::Damaged => problem.retryable(false).with("damaged", true),
        // A disk that failed stays so until an operator says otherwise, also when it is full.
        Refusal::LogFailed { .. } => problem.retryable(false).with("disk_failed", true),
        Refusal::TooManyProducers | Refusal::DeadlinePassed => problem.retry_after(RETRY_AFTER_S),
        Refusal::NotLeader { leader: None }
        | Refusal::NotReady
        | Refusal::UnknownProducer { .. }
        | Refusal::KeyReused
        | Refusal::Unordered
        | Refusal::Closed
        | Refusal::OutcomeUnknown => problem,
    }
}

/// The records were handed to the log, and nobody knows whether they stay.
pub(crate) fn outcome_unknown(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::OutcomeUnknown, detail).side_effects(SideEffects::Possible)
}

/// Somebody else leads, or this node does and does not know it yet.
pub(crate) fn behind(found: LeaderEpoch, wanted: LeaderEpoch) -> Problem {
    let detail = format!("this node knows the partition in epoch {found}, not yet in {wanted}");
    Problem::new(ErrorCode::NotLeader, detail)
}

/// Somebody else leads, or nobody does.
pub(crate) fn elsewhere(leader: Option<SpuId>, own: SpuId) -> Problem {
    let detail = "this node does not lead the partition";
    let problem = Problem::new(ErrorCode::NotLeader, detail);
    // It may lead by now, and be about to find out.
    match leader.filter(|leader| *leader != own) {
        Some(leader) => problem.with("leader", leader.0),
        None => problem,
    }
}

/// Too many bytes are under way.
pub(crate) fn throttled() -> Problem {
    let detail = "too many bytes of produce requests are under way on this node";
    Problem::new(ErrorCode::Throttled, detail).retry_after(RETRY_AFTER_S)
}

/// A request that would be refused whenever it came.
pub(crate) fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("one request may hold at most {bytes_max} bytes of batches on this node");
    Problem::new(ErrorCode::TooLarge, detail).with("limit", bytes_max)
}

/// Too many requests are waiting for their shard.
pub(crate) fn overloaded(detail: &str) -> Problem {
    Problem::new(ErrorCode::Overloaded, detail).retry_after(RETRY_AFTER_S)
}

/// The disk is full, and nothing was done.
pub(crate) fn disk_full() -> Problem {
    let detail = "the disk of this node is full: records are refused until there is space again, \
                  reading goes on";
    Problem::new(ErrorCode::DiskFull, detail)
        .side_effects(SideEffects::None)
        .retry_after(RETRY_AFTER_DISK_FULL_S)
}

/// Not now, and nothing was done.
pub(crate) fn unavailable(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::Unavailable, detail).retry_after(RETRY_AFTER_S)
}

/// No topic of the topology has this partition.
pub(crate) fn no_such_partition(key: ReplicaKey, topic_known: bool) -> Problem {
    if topic_known {
        let detail = format!("the topic has no partition {}", key.partition);
        Problem::new(ErrorCode::PartitionNotFound, detail)
    } else {
        Problem::new(
            ErrorCode::TopicNotFound,
            "the topic does not exist (any more)",
        )
    }
}

/// The topic waits for nodes: no replica of it has a place.
pub(crate) fn unplaced(wanted: u16) -> Problem {
    let detail = format!(
        "the partition has no replicas yet: the topic's replication factor is {wanted}, and the cluster \
         has not enough storage nodes for it. Add nodes, or alter the topic to a lower replication_factor."
    );
    Problem::new(ErrorCode::NotEnoughReplicas, detail)
        .retry_after(RETRY_AFTER_S)
        .with("required", wanted)
}

/// The offset was there once.
pub(crate) fn truncated(from: Offset, log_start: Offset, end: Offset) -> Problem {
    let detail = format!("offset {from} is below the log's start {log_start}: it was removed");
    bounds(
        Problem::new(ErrorCode::LogTruncated, detail),
        log_start,
        end,
    )
}

/// What was there cannot be given, and no other bytes in its place. A client that can do without it
/// goes on at `damaged_until`, when that is known.
pub(crate) fn damaged(at: Offset, until: Option<Offset>) -> Problem {
    let whole = until.map_or_else(
        || format!("from offset {at} on are damaged"),
        |until| format!("from offset {at} up to {until} are damaged"),
    );
    let detail = format!("the records {whole} on this node's disk");
    let problem = Problem::new(ErrorCode::Internal, detail)
        .retryable(false)
        .side_effects(SideEffects::None)
        .with("damaged_at", at.get());
    match until {
        Some(until) => problem.with("damaged_until", until.get()),
        None => problem,
    }
}

/// The offset was never there.
pub(crate) fn out_of_range(from: Offset, log_start: Offset, end: Offset) -> Problem {
    let detail = format!("offset {from} is outside of {log_start}..={end}");
    bounds(
        Problem::new(ErrorCode::OffsetOutOfRange, detail),
        log_start,
        end,
    )
}

fn bounds(problem: Problem, log_start: Offset, end: Offset) -> Problem {
    problem
        .with("log_start", log_start.get())
        .with("end", end.get())
}
