//! One stream of tails: all that one gateway follows on this node.
//!
//! Every partition that is followed waits for its own move; what moved while the peer did not take
//! anything is told once, with the newest bounds. Batches are only sent when they are in memory and there
//! is credit: a peer that misses some reads them for itself. Invariant: a move is told after the batches
//! that it makes visible.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use futures_util::future::{AbortHandle, Aborted, BoxFuture, abortable};
use futures_util::stream::FuturesUnordered;
use tidegate_data_plane::partitions::{Partitions, Tail};
use tidegate_kit::clock;
use tidegate_kit::frames::{Arrived, FrameFault, FrameReader, Keep};
use tidegate_kit::outlet::Outlet;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::private::tail::{
    Bounds, TAIL_PAYLOAD_MAX, TailEvent, TailWish, encode_batches,
};
use tidegate_proto::private::{FrameError, FrameHeader, Pieces};
use tokio::sync::watch;
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::queued;
use crate::limits::{STREAM_QUEUED_BYTES_MAX, TAIL_FOLLOWED_MAX, TAIL_PUSH_BYTES};
use crate::refusal;

/// A partition that the peer follows.
struct Followed {
    key: ReplicaKey,
    leader_epoch: LeaderEpoch,
    /// Where the next batches start; none for bounds alone.
    next: Option<Offset>,
    /// Where it stands; none until it was found.
    tail: Option<watch::Receiver<Tail>>,
    waits: AbortHandle,
}

/// What a partition waited for.
enum Woken {
    Found(u32, Result<watch::Receiver<Tail>, Problem>),
    /// It moved; false when it went away.
    Moved(u32, bool),
}

type Waits = FuturesUnordered<BoxFuture<'static, Result<Woken, Aborted>>>;

pub(super) struct TailStream {
    partitions: Arc<dyn Partitions>,
    outlet: Outlet<Pieces>,
    followed: HashMap<u32, Followed>,
    waits: Waits,
    /// Bytes of batches that may be sent; overdrawn by the last one at most.
    credit: i64,
}

impl TailStream {
    pub(super) fn new(partitions: Arc<dyn Partitions>, outlet: Outlet<Pieces>) -> Self {
        Self {
            partitions,
            outlet,
            followed: HashMap::new(),
            waits: Waits::new(),
            credit: 0,
        }
    }

    /// Runs until one side has enough.
    pub(super) async fn run(mut self, body: Body, stop: CancellationToken, age_max: Duration) {
        let mut reader = FrameReader::new(body);
        let outlet = self.outlet.clone();
        let too_old = sleep_until((clock::monotonic() + age_max).into());
        tokio::pin!(too_old);
        loop {
            let is_full = queued(&outlet) >= STREAM_QUEUED_BYTES_MAX;
            tokio::select! {
                biased;
                () = outlet.gone() => return,
                () = stop.cancelled() => break,
                () = &mut too_old => break,
                arrived = reader.next(keep), if !is_full => match self.wish(arrived) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(fault) => {
                        tracing::warn!(%fault, "a stream of tails is not understood and ends");
                        break;
                    }
                },
                () = outlet.taken(), if is_full => {}
                Some(woken) = self.waits.next(), if !is_full && !self.waits.is_empty() => {
                    // It was left meanwhile when it was aborted.
                    if let Ok(woken) = woken {
                        self.wake(woken);
                    }
                }
            }
        }
        outlet.end();
    }

    /// False at the end of the stream.
    fn wish(&mut self, arrived: Result<Option<Arrived>, FrameFault>) -> Result<bool, FrameFault> {
        let arrived = match arrived {
            Ok(Some(arrived)) => arrived,
            Ok(None) | Err(FrameFault::Broken(_)) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        match TailWish::decode(arrived.kind, &arrived.payload)? {
            TailWish::Follow {
                handle,
                key,
                leader_epoch,
                batches_from,
            } => self.follow(handle, key, leader_epoch, batches_from),
            TailWish::Leave { handle } => {
                if let Some(followed) = self.followed.remove(&handle) {
                    followed.waits.abort();
                }
            }
            TailWish::Credit { bytes } => self.credit = self.credit.saturating_add(bytes.into()),
        }
        Ok(true)
    }

    fn follow(
        &mut self,
        handle: u32,
        key: ReplicaKey,
        leader_epoch: LeaderEpoch,
        next: Option<Offset>,
    ) {
        if let Some(followed) = self.followed.get_mut(&handle)
            && followed.key == key
        {
            followed.next = next;
            self.tell(handle);
            return;
        }
        if self.followed.len() >= TAIL_FOLLOWED_MAX {
            let detail = "this stream follows as many partitions as it may";
            return self.end(handle, Problem::new(ErrorCode::Throttled, detail));
        }
        let partitions = Arc::clone(&self.partitions);
        let found = async move { Woken::Found(handle, partitions.tail(key).await) };
        let waits = self.wait(found);
        let followed = Followed {
            key,
            leader_epoch,
            next,
            tail: None,
            waits,
        };
        if let Some(before) = self.followed.insert(handle, followed) {
            before.waits.abort();
        }
    }

    fn wait(&self, what: impl Future<Output = Woken> + Send + 'static) -> AbortHandle {
        let (what, waits) = abortable(what);
        self.waits.push(Box::pin(what));
        waits
    }

    fn wake(&mut self, woken: Woken) {
        match woken {
            Woken::Found(handle, Ok(tail)) => {
                let Some(followed) = self.followed.get_mut(&handle) else {
                    return;
                };
                let found = tail.borrow().leader_epoch;
                if found < followed.leader_epoch {
                    let problem = refusal::behind(found, followed.leader_epoch);
                    return self.end(handle, problem);
                }
                followed.tail = Some(tail);
                self.await_move(handle);
                self.tell(handle);
            }
            Woken::Moved(handle, true) => {
                self.await_move(handle);
                self.tell(handle);
            }
            Woken::Found(handle, Err(problem)) => self.end(handle, problem),
            Woken::Moved(handle, false) => {
                let detail = "the partition is not on this node any more";
                self.end(handle, Problem::new(ErrorCode::NotLeader, detail));
            }
        }
    }

    /// What happens from here on wakes the stream again.
    fn await_move(&mut self, handle: u32) {
        let Some(followed) = self.followed.get_mut(&handle) else {
            return;
        };
        let Some(tail) = &mut followed.tail else {
            return;
        };
        tail.mark_unchanged();
        let mut tail = tail.clone();
        let moved = async move { Woken::Moved(handle, tail.changed().await.is_ok()) };
        let (moved, waits) = abortable(moved);
        followed.waits = waits;
        self.waits.push(Box::pin(moved));
    }

    /// Tells where a partition stands, with the batches that are wanted before it.
    fn tell(&mut self, handle: u32) {
        let Some(followed) = self.followed.get_mut(&handle) else {
            return;
        };
        let Some(tail) = followed.tail.as_ref().map(|tail| *tail.borrow()) else {
            return;
        };
        if let Some(next) = followed.next {
            let next = next.max(tail.log_start);
            let mut push = Push {
                partitions: &*self.partitions,
                outlet: &self.outlet,
                credit: &mut self.credit,
                handle,
                key: followed.key,
            };
            followed.next = Some(push.run(next, tail.high_watermark));
        }
        let bounds = Bounds {
            log_start: tail.log_start,
            high_watermark: tail.high_watermark,
            leader_epoch: tail.leader_epoch,
        };
        let moved = TailEvent::Moved { handle, bounds };
        self.outlet.with(|pieces| moved.encode(pieces));
    }

    fn end(&mut self, handle: u32, problem: Problem) {
        if let Some(followed) = self.followed.remove(&handle) {
            followed.waits.abort();
        }
        let ended = TailEvent::Ended { handle, problem };
        self.outlet.with(|pieces| ended.encode(pieces));
    }
}

/// Batches of one partition on their way. They leave with the move that follows them.
struct Push<'a> {
    partitions: &'a dyn Partitions,
    outlet: &'a Outlet<Pieces>,
    credit: &'a mut i64,
    handle: u32,
    key: ReplicaKey,
}

impl Push<'_> {
    /// Sends what is in memory between the two offsets; where the next batches start.
    fn run(&mut self, mut next: Offset, upto: Offset) -> Offset {
        while next < upto {
            let sent = if *self.credit > 0 {
                self.send(next)
            } else {
                None
            };
            let Some(end) = sent.filter(|end| *end > next) else {
                let skipped = TailEvent::Skipped {
                    handle: self.handle,
                    to: upto,
                };
                self.outlet.look(|pieces| skipped.encode(pieces));
                return upto;
            };
            next = end;
        }
        next
    }

    /// Where the batches that were sent end; none when they are not at hand.
    fn send(&mut self, from: Offset) -> Option<Offset> {
        // What is on the disk is read in turn by whoever wants it.
        let chunk = self
            .partitions
            .read_at_hand(self.key, from, TAIL_PUSH_BYTES)?;
        let handle = self.handle;
        let bytes = self
            .outlet
            .look(|pieces| encode_batches(handle, &chunk.batches, pieces));
        *self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        Some(chunk.next)
    }
}

fn keep(header: FrameHeader) -> Result<Keep, FrameError> {
    header.check(TAIL_PAYLOAD_MAX)?;
    Ok(Keep::Shared)
}
