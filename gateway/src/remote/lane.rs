//! One lane of appends to one storage unit: a connection with one stream, made anew when it ends.
//!
//! Whoever has an append puts it into the lane's queue, connected or not. When no connection can be made
//! those that wait are told so, and may try elsewhere; the next try to connect waits for the backoff.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tidegate_kit::backoff::Backoff;
use tidegate_kit::frames::{FrameFault, FrameReader, Keep};
use tidegate_kit::outlet::Outlet;
use tidegate_kit::tasks::TaskKind;
use tidegate_proto::limits::FRAME_PROBLEM_BYTES_MAX;
use tidegate_proto::private::append::Answer;
use tidegate_proto::private::{APPEND_PATH, FrameError, FrameHeader};
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::Span;

use super::dial::{DialError, Dialer};
use super::limits::{CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN, LANE_WAITING_MAX};
use super::queue::{AppendQueue, Fate, Queued, drop_left};

/// Longest payload of an answer.
const ANSWER_PAYLOAD_MAX: usize = 8 + FRAME_PROBLEM_BYTES_MAX;

/// Entries are looked through when one in so many of them may have been left: a look costs every one that
/// leaves so many steps at most.
const LEFT_SHARE: usize = 8;

enum Phase {
    /// No stream is open; these wait for one.
    Waiting(VecDeque<Queued>),
    Open(Outlet<AppendQueue>),
}

/// One lane.
pub(super) struct AppendLane {
    dialer: Dialer,
    phase: Mutex<Phase>,
    work: Notify,
    /// Callers that left since the queue was looked through.
    left: AtomicUsize,
}

impl AppendLane {
    pub(super) fn new(dialer: Dialer) -> Arc<Self> {
        Arc::new(Self {
            dialer,
            phase: Mutex::new(Phase::Waiting(VecDeque::new())),
            work: Notify::new(),
            left: AtomicUsize::new(0),
        })
    }

    /// Puts an append into the queue; false when it is full.
    pub(super) fn submit(&self, queued: Queued) -> bool {
        let mut phase = self.lock();
        match &mut *phase {
            Phase::Waiting(waiting) => {
                if waiting.len() >= LANE_WAITING_MAX {
                    return false;
                }
                waiting.push_back(queued);
                drop(phase);
                self.work.notify_one();
                true
            }
            Phase::Open(outlet) => outlet.with(|queue| {
                let has_room = queue.waiting() < LANE_WAITING_MAX;
                if has_room {
                    queue.push(queued);
                }
                has_room
            }),
        }
    }

    /// A caller does not wait any more: what it left behind is not kept for long.
    pub(super) fn left(&self) {
        let left = self.left.fetch_add(1, Ordering::Relaxed) + 1;
        let mut phase = self.lock();
        let all = match &*phase {
            Phase::Waiting(waiting) => waiting.len(),
            Phase::Open(outlet) => outlet.look(|queue| queue.len()),
        };
        if left * LEFT_SHARE < all {
            return;
        }
        self.left.store(0, Ordering::Relaxed);
        match &mut *phase {
            Phase::Waiting(waiting) => drop_left(waiting),
            Phase::Open(outlet) => outlet.look(AppendQueue::drop_left),
        }
    }

    /// Keeps a stream open as long as there is something to send.
    pub(super) async fn run(self: Arc<Self>, seed: u64) {
        let mut backoff = Backoff::new(CONNECT_PAUSE_MIN, CONNECT_PAUSE_MAX, seed);
        loop {
            while !self.has_work() {
                self.work.notified().await;
            }
            match self.open().await {
                Ok((outlet, answers)) => {
                    backoff.reset();
                    self.serve(outlet, answers).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "no lane for appends");
                    self.turn_away(&error.to_string());
                    let pause: Duration = backoff.next_delay();
                    sleep(pause).await;
                }
            }
        }
    }

    fn has_work(&self) -> bool {
        matches!(&*self.lock(), Phase::Waiting(waiting) if !waiting.is_empty())
    }

    async fn open(&self) -> Result<(Outlet<AppendQueue>, Incoming), DialError> {
        let (outlet, body) = Outlet::new(AppendQueue::default());
        let answers = self.dialer.open(APPEND_PATH, body.boxed_unsync()).await?;
        let mut phase = self.lock();
        if let Phase::Waiting(waiting) = &mut *phase {
            let waiting = std::mem::take(waiting);
            outlet.with(|queue| queue.open(waiting));
        }
        *phase = Phase::Open(outlet.clone());
        Ok((outlet, answers))
    }

    /// Reads answers until the stream takes no more requests.
    async fn serve(&self, outlet: Outlet<AppendQueue>, answers: Incoming) {
        let mut reader = FrameReader::new(answers);
        let fault = loop {
            match next(&mut reader).await {
                Ok(Some(Answer::Goodbye(goodbye))) => {
                    self.leave(&outlet, |queue| queue.goodbye(goodbye.first_untaken));
                    outlet.end();
                    let rest = drain(reader, outlet);
                    let tasks = &self.dialer.tasks;
                    tasks.spawn(TaskKind::Channel, Span::current(), rest);
                    return;
                }
                Ok(Some(answer)) => settle(&outlet, answer),
                Ok(None) => break "the storage unit closed the stream".to_owned(),
                Err(fault) => break fault.to_string(),
            }
        };
        tracing::debug!(fault, "a lane for appends broke");
        self.leave(&outlet, AppendQueue::close);
        outlet.look(|queue| queue.lose(&fault));
        outlet.end();
    }

    /// What is left of the queue waits for the next stream from now on, before all that comes.
    fn leave(
        &self,
        outlet: &Outlet<AppendQueue>,
        close: impl FnOnce(&mut AppendQueue) -> VecDeque<Queued>,
    ) {
        let mut phase = self.lock();
        let waiting = outlet.look(close);
        *phase = Phase::Waiting(waiting);
    }

    fn turn_away(&self, reason: &str) {
        let waiting = match &mut *self.lock() {
            Phase::Waiting(waiting) => std::mem::take(waiting),
            Phase::Open(_) => return,
        };
        for queued in waiting {
            let _ = queued.fate.send(Fate::Unsent(reason.to_owned()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Phase> {
        // It is whole after every statement.
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AppendLane {
    fn drop(&mut self) {
        self.turn_away("the storage unit was removed");
    }
}

async fn next(reader: &mut FrameReader<Incoming>) -> Result<Option<Answer>, FrameFault> {
    let keep = |header: FrameHeader| -> Result<Keep, FrameError> {
        header.check(ANSWER_PAYLOAD_MAX)?;
        Ok(Keep::Shared)
    };
    let Some(arrived) = reader.next(keep).await? else {
        return Ok(None);
    };
    Ok(Some(Answer::decode(arrived.kind, &arrived.payload)?))
}

fn settle(outlet: &Outlet<AppendQueue>, answer: Answer) {
    if outlet.look(|queue| queue.settle(answer)) {
        outlet.with(|_| ());
    }
}

/// The last answers of a stream that takes nothing more.
async fn drain(mut reader: FrameReader<Incoming>, outlet: Outlet<AppendQueue>) {
    let fault = loop {
        match next(&mut reader).await {
            Ok(Some(answer)) => settle(&outlet, answer),
            Ok(None) => break "the storage unit stopped".to_owned(),
            Err(fault) => break fault.to_string(),
        }
    };
    outlet.look(|queue| queue.lose(&fault));
}
