//! Readers of several partitions of one topic: where each stands, and waiting until one may go on.
//!
//! A follower holds an offset and a tail watch, nothing read. Invariant: a move of the tail after
//! [`Follower::is_behind`] was asked is never missed by [`any_moved`].

use futures_util::future::select_all;
use tidegate_proto::control::{TopicSpec, Topology};
use tidegate_proto::cursor::{Cursor, CursorPosition};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::PartitionId;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tokio::sync::watch;

use crate::opening::{Absent, Present, Wanted, open};
use crate::partitions::{Chunk, Partitions, Tail};
use crate::position::{Start, encode_cursor};
use crate::topics::{of_partition, topic_not_found};

/// One partition of a read.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) partition: PartitionId,
    pub(crate) key: ReplicaKey,
    /// The next offset to show.
    pub(crate) next: Offset,
    /// The newest that its tail told of.
    epoch: LeaderEpoch,
    /// Whether `next` is there is to be found out by reading: the log may have come back shorter.
    is_unsure: bool,
    tail: watch::Receiver<Tail>,
}

/// A partition went away while it was followed.
#[derive(Debug)]
pub(crate) struct Gone;

impl From<Present> for Follower {
    fn from(present: Present) -> Self {
        let tail = *present.tail.borrow();
        Self {
            partition: present.partition,
            key: present.key,
            next: present.offset,
            epoch: tail.leader_epoch,
            is_unsure: present.offset > tail.high_watermark,
            tail: present.tail,
        }
    }
}

/// Waits until a tail has moved since it was last looked at.
pub(crate) async fn any_moved(followers: &mut [Follower]) -> Result<(), Gone> {
    if let [one] = followers {
        return one.tail.changed().await.map_err(|_| Gone);
    }
    if followers.is_empty() {
        return std::future::pending().await;
    }
    let moves = followers
        .iter_mut()
        .map(|follower| Box::pin(follower.tail.changed()));
    select_all(moves).await.0.map_err(|_| Gone)
}

/// The cursor of where all of them stand, and of what is wanted of those that are away.
pub(crate) fn cursor(
    topic: &TopicSpec,
    followers: &[Follower],
    absent: &[Absent],
) -> Result<String, Problem> {
    encode_cursor(&places(topic, followers, absent))
}

fn places(topic: &TopicSpec, followers: &[Follower], absent: &[Absent]) -> Cursor {
    let mut cursor = Cursor::new(topic.id);
    let present = followers.iter().map(|f| (f.partition, f.position()));
    cursor.positions.extend(present);
    for absent in absent {
        absent.from.note(absent.partition, &mut cursor);
    }
    cursor
}

/// The high watermarks as text: a number for one partition, an object for several.
pub(crate) fn high_watermark_text(followers: &[Follower], absent: &[Absent]) -> String {
    if let [one] = followers
        && absent.is_empty()
    {
        return one.high_watermark().to_string();
    }
    let each: Vec<String> = followers
        .iter()
        .map(|f| format!("\"{}\":{}", f.partition, f.high_watermark()))
        .collect();
    format!("{{{}}}", each.join(","))
}

/// Why a partition that was followed is gone.
pub(crate) fn gone(topology: &Topology, topic: &TopicSpec) -> Problem {
    match topology.topic(&topic.name).filter(|now| now.id == topic.id) {
        None => topic_not_found(&topic.name),
        Some(_) => Problem::new(
            ErrorCode::Unavailable,
            "a partition is moving, connect again",
        ),
    }
}

/// Says of a read that failed because its place is no longer there where to go on.
pub(crate) async fn lost(
    partitions: &dyn Partitions,
    topic: &TopicSpec,
    followers: &[Follower],
    absent: &[Absent],
    problem: Problem,
) -> Problem {
    if !matches!(
        problem.code(),
        ErrorCode::OffsetOutOfRange | ErrorCode::LogTruncated
    ) {
        return problem;
    }
    let followed = followers.iter().map(|follower| follower.partition);
    let waited_for = absent.iter().map(|absent| absent.partition);
    let mut chosen: Vec<_> = followed.chain(waited_for).collect();
    chosen.sort_unstable();
    let cursor = places(topic, followers, absent);
    match open(partitions, topic, Some(&chosen), &Start::Cursor(cursor)).await {
        Ok(_) => problem,
        Err(told) => told,
    }
}

impl Follower {
    /// Whether there is something to read, or to find out by reading. From here on a move counts for
    /// [`any_moved`].
    pub(crate) fn is_behind(&mut self) -> bool {
        let tail = *self.tail.borrow_and_update();
        if tail.leader_epoch > self.epoch {
            self.epoch = tail.leader_epoch;
            self.is_unsure = tail.high_watermark < self.next;
        }
        tail.high_watermark > self.next || self.is_unsure
    }

    /// The bounds of the partition as last told.
    pub(crate) fn peek(&self) -> Tail {
        *self.tail.borrow()
    }

    /// What stands at and after `next`: nothing where that is only not committed.
    pub(crate) async fn read(
        &mut self,
        partitions: &dyn Partitions,
        topic: &TopicSpec,
        bytes_max: usize,
    ) -> Result<Chunk, Problem> {
        let read = partitions.read(self.key, self.next, bytes_max).await;
        let chunk = read.map_err(|problem| of_partition(problem, topic, self.partition))?;
        self.is_unsure = false;
        Ok(chunk)
    }

    /// Where it stands.
    fn position(&self) -> CursorPosition {
        CursorPosition {
            offset: self.next,
            leader_epoch: self.peek().leader_epoch,
        }
    }

    /// Left for later, because it cannot be reached.
    pub(crate) fn into_absent(self, problem: Problem) -> Absent {
        Absent {
            partition: self.partition,
            from: Wanted::Place(self.position()),
            problem,
        }
    }

    /// One past the last committed record, as last told; never behind what was shown already.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.peek().high_watermark.max(self.next)
    }
}
