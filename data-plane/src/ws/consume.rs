//! The reading half of the loop: where a subscription starts, and one chunk of one partition.
//!
//! Futures only, no state: what they find goes back to the session as an input. Reads never go
//! above the high watermark because the partitions do not.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_kit::auth::{Op, Principal, require};
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::TopicSpec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::sync::watch;
use tracing::Span;

use super::effect::{Form, ReadOutcome};
use super::limits::{CHUNK_BYTES, FOLLOWED_PARTITIONS_MAX};
use super::sockets::Sockets;
use super::subscription::{Resolution, StartPlace};
use crate::encode::frame::{Frame, FrameCache};
use crate::encode::latest;
use crate::opening::{self, Absent, Present};
use crate::partitions::{Chunk, Tail};
use crate::position::Start;
use crate::topics::{check_partition, find_topic, of_partition};

/// Positions that were looked up, and the tails to follow from there.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) resolution: Resolution,
    pub(crate) tails: Vec<(ReplicaKey, watch::Receiver<Tail>)>,
}

/// 403 unless `principal` may read `topic`.
pub(crate) fn may_read(principal: &Principal, topic: &TopicName) -> Result<(), Problem> {
    require(principal, Op::Consume, Some(topic))
}

/// Looks up where a subscription starts.
pub(crate) async fn open(
    sockets: &Sockets,
    principal: &Principal,
    name: &TopicName,
    wanted: Option<Vec<PartitionId>>,
    start: Start,
) -> Result<Opened, Problem> {
    may_read(principal, name)?;
    let data = &sockets.data;
    let topic = find_topic(data, name)?;
    let chosen = choose(&topic, wanted.as_deref())?;
    let partitions = data.partitions().as_ref();
    let opened = opening::open(partitions, &topic, Some(&chosen), &start).await?;
    let starts = opened.present.iter().map(start_place).collect();
    let tails = opened.present.into_iter();
    let tails = tails.map(|present| (present.key, present.tail)).collect();
    let resolution = Resolution {
        topic_id: topic.id,
        topic_number: sockets.numbers.of(topic.id, &data.topology()),
        all_partitions: wanted.is_none(),
        starts,
        absent: opened.absent,
    };
    Ok(Opened { resolution, tails })
}

/// Waits until a partition is there that could not be reached, or never will be.
pub(crate) async fn join(
    sockets: &Sockets,
    name: &TopicName,
    absent: Absent,
) -> Option<Result<Present, Problem>> {
    // Without its topic there is nothing to wait for: the topology tells the session so.
    let topic = find_topic(&sockets.data, name).ok()?;
    let (partitions, seed) = (
        Arc::clone(sockets.data.partitions()),
        sockets.data.next_turn(),
    );
    Some(opening::join(partitions, seed, topic, absent).await)
}

/// Where a session starts to read.
pub(crate) fn start_place(present: &Present) -> StartPlace {
    let tail = *present.tail.borrow();
    StartPlace {
        partition: present.partition,
        offset: present.offset,
        leader_epoch: tail.leader_epoch,
        tail,
    }
}

fn choose(topic: &TopicSpec, wanted: Option<&[PartitionId]>) -> Result<Vec<PartitionId>, Problem> {
    let chosen: BTreeSet<PartitionId> = match wanted {
        None => topic.partitions.iter().map(|spec| spec.partition).collect(),
        Some(wanted) => wanted
            .iter()
            .map(|partition| check_partition(topic, *partition))
            .collect::<Result<_, _>>()?,
    };
    if chosen.len() > FOLLOWED_PARTITIONS_MAX {
        let detail = format!("a socket follows at most {FOLLOWED_PARTITIONS_MAX} partitions");
        return Err(Problem::new(ErrorCode::InvalidParameter, detail).at("/partitions", "too many"));
    }
    Ok(chosen.into_iter().collect())
}

/// Reads one chunk and turns it into frames that others may share.
pub(crate) async fn read(
    sockets: &Sockets,
    topic: &TopicName,
    key: ReplicaKey,
    from: Offset,
    form: Form,
    latest: bool,
) -> ReadOutcome {
    match read_frames(sockets, topic, key, from, form, latest).await {
        // Without its topic the topology tells what became of it.
        ReadOutcome::Failed(problem) => match find_topic(&sockets.data, topic) {
            Ok(topic) => ReadOutcome::Failed(of_partition(problem, &topic, key.partition)),
            Err(_) => ReadOutcome::Failed(problem),
        },
        outcome => outcome,
    }
}

async fn read_frames(
    sockets: &Sockets,
    topic: &TopicName,
    key: ReplicaKey,
    from: Offset,
    form: Form,
    latest: bool,
) -> ReadOutcome {
    let read = sockets.data.partitions().read(key, from, CHUNK_BYTES).await;
    let read = match read {
        Ok(chunk) if latest => only_latest(sockets, chunk, from).await,
        other => other,
    };
    match read {
        Ok(chunk) => match frames(sockets, topic, &chunk, from, form).await {
            Ok(Made { frames, next }) => {
                let tail = Tail {
                    log_start: chunk.log_start,
                    high_watermark: chunk.high_watermark,
                    leader_epoch: chunk.leader_epoch,
                };
                ReadOutcome::Frames { frames, next, tail }
            }
            Err(problem) => ReadOutcome::Failed(problem),
        },
        Err(problem) => match problem.code() {
            ErrorCode::OffsetOutOfRange | ErrorCode::LogTruncated | ErrorCode::CursorExpired => {
                gap(sockets, topic, key, from, problem).await
            }
            // The topology says what became of it: deleted, or led by another node.
            ErrorCode::TopicNotFound | ErrorCode::PartitionNotFound => {
                ReadOutcome::Failed(Problem::new(ErrorCode::Unavailable, problem.detail()))
            }
            _ => ReadOutcome::Failed(problem),
        },
    }
}

/// The last record of each key of a chunk, and all without one. Unpacks batches, so not on the thread where
/// other sockets wait.
async fn only_latest(sockets: &Sockets, chunk: Chunk, from: Offset) -> Result<Chunk, Problem> {
    let work = move || match latest::of(&chunk.batches, from) {
        Ok(batches) => Ok(Chunk { batches, ..chunk }),
        Err(error) => Err(Problem::new(ErrorCode::Internal, error.to_string())),
    };
    let tasks = sockets.data.tasks();
    let made = tasks.spawn_blocking(TaskKind::Blocking, Span::current(), work);
    let gave_up = |error| Err(Problem::new(ErrorCode::Internal, format!("{error}")));
    made.await.unwrap_or_else(gave_up)
}

/// What was made of a chunk, and where to go on.
struct Made {
    frames: Vec<Frame>,
    next: Offset,
}

impl Made {
    /// Up to the end of `chunk`, or to where there was no room for more.
    fn of(chunk: &Chunk, frames: Vec<Frame>) -> Self {
        let has_records =
            |batch: &&Batch| !batch.client.is_control() && batch.client.record_count() > 0;
        let end = chunk
            .batches
            .iter()
            .rfind(has_records)
            .map(Batch::next_offset);
        let made = frames.last().map(|frame| frame.next_offset);
        let next = match (made, end) {
            (Some(made), Some(end)) if made < end => made,
            _ => chunk.next,
        };
        Self { frames, next }
    }
}

async fn frames(
    sockets: &Sockets,
    topic: &TopicName,
    chunk: &Chunk,
    from: Offset,
    form: Form,
) -> Result<Made, Problem> {
    let frames = match form {
        Form::Text => {
            let mut frames: Vec<Frame> = Vec::new();
            for batch in &chunk.batches {
                match sockets.frames.frames_from(topic, batch, from) {
                    Ok(made) => frames.extend(made),
                    Err(problem) if frames.is_empty() => return Err(problem),
                    Err(_) => break,
                }
                // There was no room for more of it.
                let is_cut = |frame: &Frame| {
                    frame.next_offset > batch.placement.base_offset
                        && frame.next_offset < batch.next_offset()
                };
                if frames.last().is_some_and(is_cut) {
                    break;
                }
            }
            frames
        }
        Form::Batches {
            topic_number,
            codecs,
        } if FrameCache::is_cheap(&chunk.batches, codecs) => {
            sockets
                .frames
                .batches_from(topic_number, &chunk.batches, from, codecs)?
        }
        Form::Batches {
            topic_number,
            codecs,
        } => {
            // Unpacking and packing a large batch takes as long as a thousand small reads: not here,
            // where other sockets wait for the thread.
            let (cache, batches) = (Arc::clone(&sockets.frames), chunk.batches.clone());
            let work = move || cache.batches_from(topic_number, &batches, from, codecs);
            let tasks = sockets.data.tasks();
            let made = tasks.spawn_blocking(TaskKind::Blocking, Span::current(), work);
            let gave_up = |error| Err(Problem::new(ErrorCode::Internal, format!("{error}")));
            made.await.unwrap_or_else(gave_up)?
        }
    };
    Ok(Made::of(chunk, frames))
}

/// The offset is gone: finds the next that can be read.
async fn gap(
    sockets: &Sockets,
    topic: &TopicName,
    key: ReplicaKey,
    from: Offset,
    problem: Problem,
) -> ReadOutcome {
    let status = match sockets.data.partitions().offsets(key).await {
        Ok(status) => status,
        Err(problem) => return ReadOutcome::Failed(problem),
    };
    if from < status.log_start {
        let partitions = sockets.data.partitions().as_ref();
        let reason = match opening::is_truncated(partitions, key, topic, from) {
            true => "truncation",
            false => "retention",
        };
        ReadOutcome::Gap {
            to: status.log_start,
            reason,
        }
    } else if from > status.end {
        ReadOutcome::Gap {
            to: status.high_watermark,
            reason: "truncation",
        }
    } else {
        // It came back between the two looks: try again a little later.
        ReadOutcome::Failed(Problem::new(ErrorCode::Unavailable, problem.detail()))
    }
}
