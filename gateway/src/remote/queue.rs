//! The appends of one lane: those that wait, and those that were sent.
//!
//! It is what the body of a stream is made from: whenever the connection can send, all that waits goes out
//! in one piece. Whether a request was sent is known exactly, because it is encoded when the connection
//! asks for it: what was not can go elsewhere. Invariant: every request that is here ends with one fate.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tidegate_data_plane::partitions::Appended;
use tidegate_kit::budget::BytePermit;
use tidegate_kit::clock;
use tidegate_kit::outlet::Feed;
use tidegate_proto::error::Problem;
use tidegate_proto::private::Pieces;
use tidegate_proto::private::append::{Answer, Append};
use tokio::sync::oneshot;

use super::limits::{LANE_SENT_MAX, PIECE_BYTES_TARGET};

/// What became of an append on one lane.
#[derive(Debug)]
pub(super) enum Fate {
    /// The storage unit said so.
    Answered(Result<Appended, Problem>),
    /// It was not sent, or certainly not taken.
    Unsent(String),
    /// It was sent, and nobody knows.
    Lost(String),
}

/// An append that waits for a lane.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) append: Append,
    pub(super) deadline: Instant,
    pub(super) is_sent: Arc<AtomicBool>,
    pub(super) fate: oneshot::Sender<Fate>,
    /// What was paid for the batches: they may stay here longer than the caller waits.
    pub(super) _permit: Arc<BytePermit>,
}

/// Drops those for whom nobody waits any more, and with them what they hold.
pub(super) fn drop_left(waiting: &mut VecDeque<Queued>) {
    waiting.retain(|queued| !queued.fate.is_closed());
}

/// The requests of one stream.
#[derive(Debug, Default)]
pub(super) struct AppendQueue {
    waiting: VecDeque<Queued>,
    /// By their numbers, whole: the other side may say that it did not take them. None when nobody waits
    /// for the answer any more.
    sent: BTreeMap<u64, Option<Queued>>,
    next_id: u64,
    pieces: Pieces,
    /// Nothing is sent before the stream is open, nor after it said goodbye.
    is_open: bool,
}

impl AppendQueue {
    pub(super) fn push(&mut self, queued: Queued) {
        self.waiting.push_back(queued);
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// All that is here.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    pub(super) fn drop_left(&mut self) {
        drop_left(&mut self.waiting);
        for sent in self.sent.values_mut() {
            // Its answer is still to come; what it holds is not needed for that.
            sent.take_if(|queued| queued.fate.is_closed());
        }
    }

    /// The stream is open: all of these go first.
    pub(super) fn open(&mut self, waiting: VecDeque<Queued>) {
        self.waiting = waiting;
        self.is_open = true;
    }

    /// Tells the sender of a request what became of it; whether more can be sent now than before.
    pub(super) fn settle(&mut self, answer: Answer) -> bool {
        let was_full = self.sent.len() >= LANE_SENT_MAX;
        let (id, outcome) = match answer {
            Answer::Taken(taken) => {
                let appended = Appended {
                    base_offset: taken.base_offset,
                    count: taken.count,
                    timestamp_ms: taken.timestamp_ms,
                    durable: taken.durable,
                    duplicate: taken.duplicate,
                };
                (taken.id, Ok(appended))
            }
            Answer::Refused(refused) => (refused.id, Err(refused.problem)),
            // It is what ends the stream, and settles nothing that was taken.
            Answer::Goodbye(_) => return false,
        };
        if let Some(Some(queued)) = self.sent.remove(&id) {
            let _ = queued.fate.send(Fate::Answered(outcome));
        }
        was_full
    }

    /// No more is sent. What waits for another stream: first what was sent and not taken, in its order,
    /// so that nothing overtakes it.
    pub(super) fn goodbye(&mut self, first_untaken: u64) -> VecDeque<Queued> {
        let untaken = self.sent.split_off(&first_untaken);
        let mut waiting: VecDeque<Queued> = untaken.into_values().flatten().collect();
        for queued in &waiting {
            queued.is_sent.store(false, Ordering::SeqCst);
        }
        waiting.append(&mut self.close());
        waiting
    }

    /// No more is sent; what waits, for another stream.
    pub(super) fn close(&mut self) -> VecDeque<Queued> {
        self.is_open = false;
        std::mem::take(&mut self.waiting)
    }

    /// The stream broke: nobody will tell what became of what was sent.
    pub(super) fn lose(&mut self, reason: &str) {
        self.is_open = false;
        for queued in std::mem::take(&mut self.sent).into_values().flatten() {
            let _ = queued.fate.send(Fate::Lost(reason.to_owned()));
        }
    }

    fn encode_waiting(&mut self) {
        let now = clock::monotonic();
        while self.pieces.len() < PIECE_BYTES_TARGET && self.sent.len() < LANE_SENT_MAX {
            let Some(mut queued) = self.waiting.pop_front() else {
                return;
            };
            // Before the look whether somebody waits: who gives up closes first, and looks at this then.
            queued.is_sent.store(true, Ordering::SeqCst);
            if queued.fate.is_closed() {
                continue;
            }
            let left = queued.deadline.saturating_duration_since(now);
            if left.is_zero() {
                let late = "its deadline passed before it could be sent".to_owned();
                let _ = queued.fate.send(Fate::Unsent(late));
                continue;
            }
            queued.append.timeout_ms = u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1);
            queued.append.id = self.next_id;
            queued.append.encode(&mut self.pieces);
            self.sent.insert(self.next_id, Some(queued));
            self.next_id += 1;
        }
    }
}

impl Feed for AppendQueue {
    fn next(&mut self) -> Option<Bytes> {
        if self.is_open && self.pieces.is_empty() {
            self.encode_waiting();
        }
        self.pieces.take()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_kit::budget::ByteBudget;
    use tidegate_proto::error::ErrorCode;
    use tidegate_proto::id::{PartitionId, TopicId};
    use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
    use tidegate_proto::private::append::Refused;
    use tidegate_proto::produce::Acks;
    use uuid::Uuid;

    use super::super::tests::batch;
    use super::*;

    fn queued(value: &str, left: Duration) -> (Queued, oneshot::Receiver<Fate>, Arc<AtomicBool>) {
        let (fate, told) = oneshot::channel();
        let is_sent = Arc::new(AtomicBool::new(false));
        let append = Append {
            id: 0,
            key: ReplicaKey {
                topic_id: TopicId(Uuid::nil()),
                partition: PartitionId(0),
            },
            leader_epoch: LeaderEpoch(1),
            acks: Acks::Quorum,
            timeout_ms: 0,
            expected_end: Some(Offset::ZERO),
            batches: vec![batch(&[value], None)],
        };
        let queued = Queued {
            append,
            deadline: clock::monotonic() + left,
            is_sent: Arc::clone(&is_sent),
            fate,
            _permit: Arc::new(ByteBudget::new(1).try_acquire(1).unwrap()),
        };
        (queued, told, is_sent)
    }

    const LONG: Duration = Duration::from_secs(60);

    fn opened(waiting: Vec<Queued>) -> AppendQueue {
        let mut queue = AppendQueue::default();
        queue.open(waiting.into());
        queue
    }

    #[test]
    fn what_was_sent_when_the_stream_breaks_is_lost_and_the_rest_goes_elsewhere() {
        let large = "x".repeat(PIECE_BYTES_TARGET);
        let (first, mut first_told, first_sent) = queued(&large, LONG);
        let (second, mut second_told, second_sent) = queued("b", LONG);
        let mut queue = opened(vec![first, second]);
        assert!(queue.next().is_some());
        assert_eq!(
            queue.close().len(),
            1,
            "the second waits for another stream"
        );
        queue.lose("cut");
        assert!(matches!(first_told.try_recv(), Ok(Fate::Lost(_))));
        assert!(second_told.try_recv().is_err());
        assert!(first_sent.load(Ordering::SeqCst) && !second_sent.load(Ordering::SeqCst));
    }

    #[test]
    fn who_gave_up_is_not_sent_and_who_is_late_is_told_so() {
        let (given_up, told, _) = queued("a", LONG);
        drop(told);
        let (late, mut late_told, _) = queued("b", Duration::ZERO);
        let mut queue = opened(vec![given_up, late]);
        assert!(queue.next().is_none());
        assert!(matches!(late_told.try_recv(), Ok(Fate::Unsent(_))));
    }

    #[test]
    fn what_was_sent_and_not_taken_goes_first_on_the_next_stream_in_its_order() {
        let all: Vec<_> = ["a", "b", "c", "d", "e"]
            .map(|value| queued(value, LONG))
            .into();
        let (mut waiting, mut told, mut are_sent) = (Vec::new(), Vec::new(), Vec::new());
        for (queued, fate, is_sent) in all {
            waiting.push(queued);
            told.push(fate);
            are_sent.push(is_sent);
        }
        let late = waiting.split_off(4);
        let mut queue = opened(waiting);
        while queue.next().is_some() {}
        late.into_iter().for_each(|queued| queue.push(queued));
        // Nobody waits for the third any more.
        drop(told.remove(2));
        let next = queue.goodbye(1);
        assert!(are_sent[0].load(Ordering::SeqCst) && !are_sent[1].load(Ordering::SeqCst));
        assert!(queue.next().is_none(), "nothing is sent after it");
        let problem = Problem::new(ErrorCode::DiskFull, "full");
        queue.settle(Answer::Refused(Refused { id: 0, problem }));
        assert!(matches!(told[0].try_recv(), Ok(Fate::Answered(Err(_)))));
        let mut queue = AppendQueue::default();
        queue.open(next);
        while queue.next().is_some() {}
        assert_eq!(queue.sent.len(), 3);
        for (id, fate) in (0..).zip(&mut told[1..]) {
            assert!(fate.try_recv().is_err());
            let problem = Problem::new(ErrorCode::DiskFull, "full");
            queue.settle(Answer::Refused(Refused { id, problem }));
            assert!(matches!(fate.try_recv(), Ok(Fate::Answered(Err(_)))));
        }
    }

    #[test]
    fn what_a_caller_left_holds_nothing_and_keeps_its_place_until_it_is_answered() {
        let memory = ByteBudget::new(10);
        let (mut first, told, _) = queued("a", LONG);
        first._permit = Arc::new(memory.try_acquire(10).unwrap());
        let mut queue = opened(vec![first]);
        while queue.next().is_some() {}
        drop(told);
        queue.drop_left();
        assert_eq!((memory.available(), queue.len()), (10, 1));
        let problem = Problem::new(ErrorCode::DiskFull, "full");
        queue.settle(Answer::Refused(Refused { id: 0, problem }));
        assert_eq!(queue.len(), 0);
    }
}
