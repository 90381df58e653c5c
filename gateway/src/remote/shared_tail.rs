//! One partition as all its readers in this process see it: bounds that move, and the newest batches.
//!
//! Fed by the link to the leader. While no link says how far the partition is (the leader is changing),
//! the bounds stay as they were and nothing is read here. Batches are only asked for while somebody reads
//! at the tail. Invariant: a move is shown after the batches that it makes visible are here, unless
//! they will not come.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tidegate_data_plane::partitions::{Chunk, Held, Tail};
use tidegate_kit::clock;
use tidegate_proto::batch::Batch;
use tidegate_proto::error::Problem;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::private::tail::Bounds;
use tokio::sync::{Notify, watch};

use super::limits::{TAIL_LINGER, WINDOW_BYTES_MAX, WINDOW_LINGER};
use super::window::Window;

/// Where a tail is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) spu: SpuId,
    pub(super) handle: u32,
    pub(super) leader_epoch: LeaderEpoch,
}

/// What is here for a reader.
#[derive(Debug)]
pub(super) enum Look {
    /// This.
    Here(Chunk),
    /// It is on its way.
    Soon,
    /// Nothing: ask the leader.
    Elsewhere,
}

/// A partition that is followed.
#[derive(Debug)]
pub(super) struct SharedTail {
    pub(super) key: ReplicaKey,
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    /// None until the leader has told the bounds for the first time.
    bounds: Option<watch::Sender<Tail>>,
    window: Window,
    place: Option<Place>,
    is_live: bool,
    /// It was let go: it is followed nowhere any more.
    is_gone: bool,
    wants_batches: bool,
    refused: Option<Problem>,
    last_follower: Instant,
    last_read: Instant,
}

impl SharedTail {
    pub(super) fn new(key: ReplicaKey) -> Self {
        let now = clock::monotonic();
        Self {
            key,
            inner: Mutex::new(Inner {
                bounds: None,
                window: Window::default(),
                place: None,
                is_live: false,
                is_gone: false,
                wants_batches: false,
                refused: None,
                last_follower: now,
                last_read: now,
            }),
            changed: Notify::new(),
        }
    }

    /// Somebody is about to follow.
    pub(super) fn touch(&self) {
        self.lock().last_follower = clock::monotonic();
    }

    /// A follower, once the bounds are known; why they are not, when the leader said so.
    pub(super) fn follower(&self) -> Result<Option<watch::Receiver<Tail>>, Problem> {
        let mut inner = self.lock();
        inner.last_follower = clock::monotonic();
        match (&inner.bounds, &inner.refused) {
            (Some(bounds), _) => Ok(Some(bounds.subscribe())),
            (None, Some(problem)) if !problem.is_retryable() => Err(problem.clone()),
            (None, _) => Ok(None),
        }
    }

    /// Ends at the next change. Create it before looking.
    pub(super) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.lock().place
    }

    /// It is followed at `place` from now on, or nowhere. False, and nothing changes, when somebody else
    /// has placed it since it was `seen`, or it was let go.
    pub(super) fn put(&self, seen: Option<Place>, place: Option<Place>) -> bool {
        let mut inner = self.lock();
        let may = !inner.is_gone && inner.place == seen;
        if may {
            inner.place = place;
            inner.go_quiet();
        }
        may
    }

    /// From where on batches are wanted on a new stream.
    pub(super) fn lost(&self) {
        self.lock().go_quiet();
    }

    /// It is not followed at this place any more.
    pub(super) fn ended(&self, handle: u32, problem: Problem) {
        let mut inner = self.lock();
        if inner.place.is_some_and(|place| place.handle == handle) {
            inner.place = None;
            inner.go_quiet();
            inner.refused = Some(problem);
        }
        drop(inner);
        self.changed.notify_waiters();
    }

    /// New batches came.
    pub(super) fn push(&self, batches: Vec<Batch>) {
        let mut inner = self.lock();
        if inner.wants_batches {
            for batch in batches {
                inner.window.push(batch, WINDOW_BYTES_MAX);
            }
        }
    }

    /// Batches are missing: what comes next does not follow on what is here.
    pub(super) fn skipped(&self) {
        self.lock().window.clear();
    }

    /// The leader told where it stands.
    pub(super) fn moved(&self, bounds: Bounds) {
        let mut inner = self.lock();
        let mut tail = Tail {
            log_start: bounds.log_start,
            high_watermark: bounds.high_watermark,
            leader_epoch: bounds.leader_epoch,
        };
        match &inner.bounds {
            None => inner.bounds = Some(watch::Sender::new(tail)),
            Some(sender) => {
                let before = *sender.borrow();
                if before.leader_epoch > tail.leader_epoch {
                    // Of somebody who does not lead any more.
                    return;
                }
                if before.leader_epoch == tail.leader_epoch {
                    // An answer to a question may have overtaken it.
                    tail.log_start = tail.log_start.max(before.log_start);
                    tail.high_watermark = tail.high_watermark.max(before.high_watermark);
                }
                sender.send_if_modified(|now| std::mem::replace(now, tail) != tail);
                if before.leader_epoch != tail.leader_epoch {
                    inner.window.clear();
                }
            }
        }
        inner.is_live = true;
        inner.refused = None;
        drop(inner);
        self.changed.notify_waiters();
    }

    /// A question was answered with newer bounds than those that have come by themselves.
    pub(super) fn advance(&self, tail: Tail) {
        let inner = self.lock();
        let Some(sender) = &inner.bounds else {
            return;
        };
        sender.send_if_modified(|now| {
            let is_newer = tail.leader_epoch == now.leader_epoch
                && (tail.high_watermark > now.high_watermark || tail.log_start > now.log_start);
            if is_newer {
                now.high_watermark = now.high_watermark.max(tail.high_watermark);
                now.log_start = now.log_start.max(tail.log_start);
            }
            is_newer
        });
    }

    /// What is here at and after `from`.
    pub(super) fn look(&self, from: Offset, bytes_max: usize) -> Look {
        let mut inner = self.lock();
        let Some(tail) = inner.bounds.as_ref().map(|bounds| *bounds.borrow()) else {
            return Look::Elsewhere;
        };
        if !inner.is_live || from < tail.log_start || from > tail.high_watermark {
            return Look::Elsewhere;
        }
        let batches = if from == tail.high_watermark {
            Vec::new()
        } else {
            match inner.window.read(from, tail.high_watermark, bytes_max) {
                Some(batches) => batches,
                None if inner.wants_batches && inner.window.end() == Some(from) => {
                    return Look::Soon;
                }
                None => return Look::Elsewhere,
            }
        };
        inner.last_read = clock::monotonic();
        let next = batches.last().map_or(from, Batch::next_offset);
        Look::Here(Chunk {
            batches,
            next,
            log_start: tail.log_start,
            high_watermark: tail.high_watermark,
            leader_epoch: tail.leader_epoch,
            held: Held::default(),
        })
    }

    /// A reader has come to `next` by asking the leader. The place that is to send batches from there on,
    /// when it does not do so yet.
    pub(super) fn reached(&self, next: Offset) -> Option<Place> {
        let mut inner = self.lock();
        let high_watermark = inner.bounds.as_ref()?.borrow().high_watermark;
        if next < high_watermark || inner.wants_batches || !inner.is_live {
            return None;
        }
        inner.wants_batches = true;
        inner.last_read = clock::monotonic();
        inner.window.clear();
        inner.place
    }

    /// The place that need not send batches any more, since nobody reads them.
    pub(super) fn rest(&self, now: Instant) -> Option<Place> {
        let mut inner = self.lock();
        let idle = now.saturating_duration_since(inner.last_read);
        if !inner.wants_batches || idle < WINDOW_LINGER {
            return None;
        }
        inner.wants_batches = false;
        inner.window.clear();
        inner.place
    }

    /// It is let go: its followers see the end. Where it was followed until now.
    pub(super) fn gone(&self) -> Option<Place> {
        let mut inner = self.lock();
        inner.is_gone = true;
        inner.bounds = None;
        inner.go_quiet();
        let place = inner.place.take();
        drop(inner);
        self.changed.notify_waiters();
        place
    }

    /// Whether nobody has followed it for a while.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let mut inner = self.lock();
        let followers = inner
            .bounds
            .as_ref()
            .map_or(0, watch::Sender::receiver_count);
        if followers > 0 {
            inner.last_follower = now;
        }
        now.saturating_duration_since(inner.last_follower) >= TAIL_LINGER
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // It is whole after every statement.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Nobody tells where the partition stands.
    fn go_quiet(&mut self) {
        self.is_live = false;
        self.wants_batches = false;
        self.window.clear();
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{PartitionId, TopicId};
    use uuid::Uuid;

    use super::*;

    fn tail() -> SharedTail {
        SharedTail::new(ReplicaKey {
            topic_id: TopicId(Uuid::nil()),
            partition: PartitionId(0),
        })
    }

    fn bounds(epoch: u64, log_start: u64, high_watermark: u64) -> Bounds {
        Bounds {
            log_start: Offset::new(log_start),
            high_watermark: Offset::new(high_watermark),
            leader_epoch: LeaderEpoch(epoch),
        }
    }

    #[test]
    fn of_two_that_place_a_tail_at_once_one_loses_and_nobody_places_what_was_let_go() {
        let tail = tail();
        let place = |handle| {
            Some(Place {
                spu: SpuId(1),
                handle,
                leader_epoch: LeaderEpoch(1),
            })
        };
        let seen = tail.place();
        assert!(tail.put(seen, place(1)));
        assert!(!tail.put(seen, place(2)));
        assert_eq!(tail.place(), place(1));
        assert!(tail.put(place(1), None));
        assert!(tail.put(None, place(3)));
        assert_eq!(tail.gone(), place(3));
        assert!(!tail.put(None, place(4)));
        assert_eq!(tail.place(), None);
    }

    #[test]
    fn bounds_of_one_epoch_never_go_back_and_those_of_an_older_one_say_nothing() {
        let tail = tail();
        tail.moved(bounds(2, 3, 10));
        let follower = tail.follower().unwrap().unwrap();
        let now = || {
            let now = *follower.borrow();
            (
                now.leader_epoch.0,
                now.log_start.get(),
                now.high_watermark.get(),
            )
        };
        tail.moved(bounds(2, 4, 9));
        assert_eq!(now(), (2, 4, 10));
        tail.moved(bounds(2, 1, 12));
        assert_eq!(now(), (2, 4, 12));
        tail.lost();
        tail.moved(bounds(1, 0, 20));
        assert_eq!(now(), (2, 4, 12));
        assert!(matches!(tail.look(Offset::new(12), 1), Look::Elsewhere));
        tail.moved(bounds(3, 0, 11));
        assert_eq!(now(), (3, 0, 11));
        assert!(matches!(tail.look(Offset::new(11), 1), Look::Here(_)));
    }
}
