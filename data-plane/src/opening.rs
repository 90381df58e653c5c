//! Where a reader starts in each partition of a topic, and the tails to follow from there.
//!
//! Partitions are looked up side by side. Those that cannot be reached while others can are left for later:
//! [`join`] ends when one is there again. Never a silent jump: a place that is no longer there is 410 with
//! the cursor that goes on behind the gap. Invariant: tails are taken before the places, so that no move is
//! missed between the two, and what is written after a reader came is in reach of it, also where it had to
//! wait.

use std::sync::Arc;

use futures_util::future::join_all;
use tidegate_kit::backoff::Backoff;
use tidegate_kit::clock;
use tidegate_proto::api::away::AwayPartitions;
use tidegate_proto::control::{PartitionSpec, PartitionStatus, TopicSpec, Topology};
use tidegate_proto::cursor::{Cursor, CursorPosition, CursorStart};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{Offset, ReplicaKey, StartPosition};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::limits::{JOIN_PAUSE_MAX, JOIN_PAUSE_MIN, OPENED_AT_ONCE_MAX};
use crate::partitions::{Partitions, Tail};
use crate::position::{Start, cut_off, encode_cursor, resolve_at, resolve_start};
use crate::query::invalid;
use crate::topics::of_partition;

/// The partitions of a reader.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// In order of their numbers, as all that follows.
    pub(crate) present: Vec<Present>,
    pub(crate) absent: Vec<Absent>,
}

/// A partition that can be read.
#[derive(Debug)]
pub(crate) struct Present {
    pub(crate) partition: PartitionId,
    pub(crate) key: ReplicaKey,
    pub(crate) offset: Offset,
    pub(crate) tail: watch::Receiver<Tail>,
}

/// A partition that cannot be reached, and why.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Absent {
    pub(crate) partition: PartitionId,
    pub(crate) from: Wanted,
    pub(crate) problem: Problem,
}

/// Where a reader wants to start in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Nothing of it was read.
    Start(StartPosition),
    /// The same, and they had to wait since.
    Since(CursorStart),
    /// Behind what was read.
    Place(CursorPosition),
}

impl Opened {
    /// Partitions none of which can be reached.
    pub(crate) fn all_absent(
        chosen: &[PartitionId],
        position: StartPosition,
        problem: &Problem,
    ) -> Self {
        let absent = |partition: &PartitionId| Absent {
            partition: *partition,
            from: later(Wanted::Start(position)),
            problem: problem.clone(),
        };
        Self {
            present: Vec::new(),
            absent: chosen.iter().map(absent).collect(),
        }
    }
}

impl Wanted {
    /// Says it in a cursor, so that whoever goes on from there gets no other records than those who waited.
    pub(crate) fn note(self, partition: PartitionId, cursor: &mut Cursor) {
        match self {
            Self::Place(position) => {
                cursor.positions.insert(partition, position);
            }
            Self::Since(start) => {
                cursor.starts.insert(partition, start);
            }
            // The first record is what a cursor means of those that it does not name.
            Self::Start(_) => {}
        }
    }
}

/// Why a partition is away that the topology says to be.
pub(crate) fn missed(
    topology: &Topology,
    topic: &TopicSpec,
    row: &PartitionSpec,
) -> Option<Problem> {
    let unit = topology.missed_unit(row)?;
    let detail = format!("nobody leads it: storage unit {unit} has its copy and is offline");
    let problem = Problem::new(ErrorCode::Unavailable, detail).retry_after(1);
    Some(of_partition(problem, topic, row.partition))
}

/// What clients are told of them; none when there are none.
pub(crate) fn away(absent: &[Absent]) -> Option<AwayPartitions> {
    let first = absent.first()?;
    Some(AwayPartitions {
        partitions: absent.iter().map(|absent| absent.partition.0).collect(),
        error: first.problem.clone(),
    })
}

/// Whether a partition that was asked for is out of reach, whoever asks and whatever for. One that is led
/// elsewhere is not: whoever was asked has nothing to do with it.
pub(crate) fn is_absence(problem: &Problem) -> bool {
    match problem.code() {
        ErrorCode::Unavailable | ErrorCode::NotEnoughReplicas => true,
        ErrorCode::NotLeader => problem.extra("leader").is_none(),
        _ => false,
    }
}

/// Whether whoever waits for a partition that answers so waits in vain. What is led elsewhere never comes
/// to who was asked.
fn is_lasting(problem: &Problem) -> bool {
    let is_elsewhere = problem.code() == ErrorCode::NotLeader;
    !is_absence(problem) && (is_elsewhere || !problem.is_retryable())
}

/// Looks up the chosen partitions, all with `None`.
///
/// # Errors
/// 400 `invalid_parameter` for a number with several partitions, 410 `cursor_expired` or
/// `log_truncated` with `next_cursor`, 416 `offset_out_of_range` with `log_start` and `end`, and
/// whatever the partitions answer; that they cannot be reached only when none of them can.
pub(crate) async fn open(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    chosen: Option<&[PartitionId]>,
    start: &Start,
) -> Result<Opened, Problem> {
    let all: Vec<PartitionId>;
    let chosen = match chosen {
        Some(chosen) => chosen,
        None => {
            all = topic.partitions.iter().map(|spec| spec.partition).collect();
            &all
        }
    };
    if matches!(start, Start::At(StartPosition::Offset(_))) && chosen.len() != 1 {
        let detail = "is a number, which needs exactly one partition";
        return Err(invalid("from", detail));
    }
    let mut looks = Vec::with_capacity(chosen.len());
    for some in chosen.chunks(OPENED_AT_ONCE_MAX) {
        let some = some.iter().map(|partition| {
            let wanted = wanted(topic, *partition, start);
            look(partitions, topic, *partition, wanted)
        });
        looks.extend(join_all(some).await);
    }
    gather(topic, chosen, start, looks)
}

fn wanted(topic: &TopicSpec, partition: PartitionId, start: &Start) -> Wanted {
    match start {
        Start::At(position) => Wanted::Start(*position),
        Start::Cursor(cursor) if cursor.topic_id != topic.id => {
            Wanted::Start(StartPosition::Earliest)
        }
        Start::Cursor(cursor) => match cursor.positions.get(&partition) {
            Some(position) => Wanted::Place(*position),
            None => match cursor.starts.get(&partition) {
                Some(start) => Wanted::Since(*start),
                // It is younger than the cursor.
                None => Wanted::Start(StartPosition::Earliest),
            },
        },
    }
}

/// What was found of one partition.
struct Look {
    present: Present,
    status: PartitionStatus,
    /// Why it does not start where it was to.
    lost: Option<Problem>,
}

async fn look(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    partition: PartitionId,
    wanted: Wanted,
) -> Result<Look, Problem> {
    let key = topic.key(partition);
    let named = |problem| of_partition(problem, topic, partition);
    let tail = partitions.tail(key).await.map_err(named)?;
    let status = partitions.offsets(key).await.map_err(named)?;
    let (offset, lost) = match wanted {
        Wanted::Start(position) => {
            let found = resolve_at(partitions, key, position, &status).await;
            (found.map_err(named)?, None)
        }
        Wanted::Since(start) => {
            let found = resolve_start(partitions, key, start, &status).await;
            (found.map_err(named)?, None)
        }
        Wanted::Place(position) => {
            let asked = position.offset;
            let kept = given_up(partitions, key, topic, position).unwrap_or(asked);
            let reachable = kept.max(status.log_start).min(status.end);
            let lost = (reachable != asked).then(|| {
                let truncated = is_truncated(partitions, key, &topic.name, asked);
                cut_off(partition, asked, &status, truncated)
            });
            (reachable, lost)
        }
    };
    let present = Present {
        partition,
        key,
        offset,
        tail,
    };
    Ok(Look {
        present,
        status,
        lost,
    })
}

/// Whether records there were given up by a truncation, by the topology as it is now: the reader's own look
/// at it may be of before.
pub(crate) fn is_truncated(
    partitions: &dyn Partitions,
    key: ReplicaKey,
    name: &TopicName,
    offset: Offset,
) -> bool {
    let topology = partitions.topology();
    let topology = topology.borrow();
    let topic = topology
        .topic(name)
        .filter(|topic| topic.id == key.topic_id);
    let row = topic.and_then(|topic| topic.partition(key.partition));
    row.is_some_and(|row| offset < row.truncate_before)
}

/// Where what was read up to there goes on, when some of it was given up since by an operator.
fn given_up(
    partitions: &dyn Partitions,
    key: ReplicaKey,
    topic: &TopicSpec,
    position: CursorPosition,
) -> Option<Offset> {
    let topology = partitions.topology();
    let topology = topology.borrow();
    let now = topology.topic(&topic.name).filter(|now| now.id == topic.id);
    let row = now.and_then(|now| now.partition(key.partition))?;
    row.kept_before(position.offset, position.leader_epoch)
}

fn gather(
    topic: &TopicSpec,
    chosen: &[PartitionId],
    start: &Start,
    looks: Vec<Result<Look, Problem>>,
) -> Result<Opened, Problem> {
    let is_stranger = matches!(start, Start::Cursor(cursor) if cursor.topic_id != topic.id);
    let mut lost = is_stranger.then(|| {
        let detail = "the cursor is of an earlier topic of this name, which was deleted";
        Problem::new(ErrorCode::CursorExpired, detail)
    });
    let mut opened = Opened::default();
    let mut next = Cursor::new(topic.id);
    for (partition, look) in chosen.iter().zip(looks) {
        match look {
            Ok(look) => {
                let place = CursorPosition {
                    offset: look.present.offset,
                    leader_epoch: look.status.leader_epoch,
                };
                next.positions.insert(*partition, place);
                lost = lost.or(look.lost);
                opened.present.push(look.present);
            }
            Err(problem) if is_absence(&problem) => {
                let from = later(wanted(topic, *partition, start));
                from.note(*partition, &mut next);
                opened.absent.push(Absent {
                    partition: *partition,
                    from,
                    problem,
                });
            }
            Err(problem) => return Err(problem),
        }
    }
    if opened.present.is_empty()
        && let Some(first) = opened.absent.first()
    {
        return Err(first.problem.clone());
    }
    let Some(lost) = lost else {
        return Ok(opened);
    };
    Err(lost.with("next_cursor", encode_cursor(&next)?))
}

/// What somebody wants who has to wait: the end is the one that there was when they came.
fn later(wanted: Wanted) -> Wanted {
    let since = |time_ms, back| Wanted::Since(CursorStart { time_ms, back });
    match wanted {
        Wanted::Start(StartPosition::Latest) => since(clock::now_ms(), 0),
        Wanted::Start(StartPosition::FromEnd(count)) => since(clock::now_ms(), count),
        Wanted::Start(StartPosition::Time(time_ms)) => since(time_ms, 0),
        // A number is for one partition, which nobody waits for.
        Wanted::Start(StartPosition::Earliest | StartPosition::Offset(_))
        | Wanted::Since(_)
        | Wanted::Place(_) => wanted,
    }
}

/// Waits until an absent partition can be read. A place that it does not have any more is found out by
/// reading there.
///
/// # Errors
/// What says that waiting has no sense: it is gone, led elsewhere for good, or unreadable.
pub(crate) async fn join(
    partitions: Arc<dyn Partitions>,
    seed: usize,
    topic: Arc<TopicSpec>,
    absent: Absent,
) -> Result<Present, Problem> {
    let mut pauses = Backoff::new(JOIN_PAUSE_MIN, JOIN_PAUSE_MAX, seed as u64);
    let partitions = &*partitions;
    loop {
        sleep(pauses.next_delay()).await;
        // A tail alone may be one from before.
        let found = look(partitions, &topic, absent.partition, absent.from);
        match found.await {
            Ok(Look {
                mut present, lost, ..
            }) => {
                if let Wanted::Place(position) = absent.from {
                    // What was written in its place since would be taken for it.
                    if given_up(partitions, present.key, &topic, position).is_some()
                        && let Some(lost) = lost
                    {
                        return Err(lost);
                    }
                    present.offset = position.offset;
                }
                return Ok(present);
            }
            Err(problem) if is_lasting(&problem) => return Err(problem),
            Err(_) => {}
        }
    }
}
