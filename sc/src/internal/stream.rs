//! One watch stream: a snapshot if asked for, then every revision, each encoded once for all watchers.
//!
//! A stream holds a position; it takes the next line when its connection has room, so nothing is kept
//! for a slow one. When what it needs has left memory, it ends with a reason. Invariant: revisions go
//! out densely and in order; after the store was adopted a stream begins anew with a snapshot.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream::{self, Stream};
use tidegate_proto::control::WatchLine;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::WATCH_ALIVE_MS;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::controller::{Condition, Controller, Shown};
use crate::history::{After, Newest, encode, line};
use crate::limits::WATCHERS_MAX;
use crate::metrics;

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A snapshot is due.
    Snapshot,
    /// This revision was told.
    After(u64),
    /// The last line was told.
    Ended,
}

/// A snapshot as lines.
#[derive(Debug)]
struct Snapshot {
    generation: u64,
    revision: u64,
    lines: Vec<Bytes>,
}

/// What the streams of one controller share.
#[derive(Debug, Clone)]
pub(super) struct Watchers {
    controller: Controller,
    /// The newest snapshot, as long as somebody reads it: many who begin at once share one.
    snapshot: Arc<Mutex<Weak<Snapshot>>>,
    count: Arc<AtomicUsize>,
}

impl Watchers {
    pub(super) fn new(controller: &Controller) -> Self {
        Self {
            controller: controller.clone(),
            snapshot: Arc::new(Mutex::new(Weak::new())),
            count: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// The lines from `place` on.
    pub(super) fn stream(
        &self,
        place: Place,
    ) -> Result<impl Stream<Item = Result<Bytes, std::convert::Infallible>> + use<>, Problem> {
        let counted = Counted::new(&self.count)?;
        let newest = self.controller.history().subscribe();
        let generation = newest.borrow().generation;
        let watcher = Watcher {
            watchers: self.clone(),
            condition: self.controller.condition(),
            newest,
            generation,
            place,
            waiting: VecDeque::new(),
            snapshot: None,
            _counted: counted,
        };
        Ok(stream::unfold(watcher, |mut watcher| async move {
            let line = watcher.next().await?;
            Some((Ok(line), watcher))
        }))
    }

    /// The lines of the whole state, made anew only when nobody reads such lines any more.
    fn snapshot(&self) -> Arc<Snapshot> {
        let mut kept = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = self.controller.shown();
        let history = self.controller.history();
        if let Some(snapshot) = kept.upgrade()
            && snapshot.generation == shown.generation
            && !matches!(history.after(snapshot.revision), After::Gone { .. })
        {
            return snapshot;
        }
        let made = Arc::new(make(&shown));
        *kept = Arc::downgrade(&made);
        made
    }
}

fn make(shown: &Shown) -> Snapshot {
    let Shown {
        model,
        seen,
        generation,
    } = shown;
    let reset = WatchLine::Reset {
        cluster_id: model.cluster_id,
        store_id: seen.store_id,
    };
    let mut lines = vec![line(&reset)];
    lines.extend(encode(seen.revision, seen.hash, model.topology_changes()));
    Snapshot {
        generation: *generation,
        revision: seen.revision,
        lines,
    }
}

struct Watcher {
    watchers: Watchers,
    condition: watch::Receiver<Condition>,
    newest: watch::Receiver<Newest>,
    generation: u64,
    place: Place,
    /// Lines of a revision that was begun.
    waiting: VecDeque<Bytes>,
    /// A snapshot that was begun, and how many of its lines were told.
    snapshot: Option<(Arc<Snapshot>, usize)>,
    _counted: Counted,
}

impl Watcher {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            if let Some(line) = self.snapshot_line() {
                return Some(line);
            }
            let now = *self.newest.borrow_and_update();
            if now.generation > self.generation && self.place != Place::Ended {
                self.place = Place::Snapshot;
            }
            match self.place {
                Place::Ended => return None,
                Place::Snapshot => {
                    let snapshot = self.watchers.snapshot();
                    self.generation = snapshot.generation;
                    self.snapshot = Some((snapshot, 0));
                }
                Place::After(revision) => {
                    if let Some(line) = self.step(revision).await {
                        return Some(line);
                    }
                }
            }
        }
    }

    fn snapshot_line(&mut self) -> Option<Bytes> {
        let (snapshot, told) = self.snapshot.as_mut()?;
        if let Some(line) = snapshot.lines.get(*told) {
            *told += 1;
            return Some(line.clone());
        }
        self.place = Place::After(snapshot.revision);
        self.snapshot = None;
        None
    }

    /// What comes after `revision`, or a word when nothing does for a while.
    async fn step(&mut self, revision: u64) -> Option<Bytes> {
        let after = if self.newest.borrow().generation < self.generation {
            // A new state is shown a moment before its history begins.
            After::Ahead
        } else {
            self.watchers.controller.history().after(revision)
        };
        match after {
            After::Next(next) => {
                self.waiting.extend(next.lines().iter().cloned());
                self.place = Place::After(next.revision);
                None
            }
            After::UpToDate | After::Ahead if self.newest.borrow().is_ended => {
                Some(self.end(ErrorCode::Unavailable, "the controller stops"))
            }
            After::UpToDate | After::Ahead => {
                let alive = Duration::from_millis(WATCH_ALIVE_MS);
                // The history lives as long as its watchers.
                let changed = timeout(alive, self.newest.changed()).await;
                changed.is_err().then(|| self.alive(revision))
            }
            After::Gone { floor } => Some(self.end(
                ErrorCode::Overloaded,
                &format!("the reader is too slow: revisions up to {floor} have left"),
            )),
        }
    }

    fn alive(&self, revision: u64) -> Bytes {
        let stale = self.condition.borrow().stale_for();
        line(&WatchLine::Alive {
            revision,
            stale_ms: stale.map(|stale| u64::try_from(stale.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    fn end(&mut self, code: ErrorCode, detail: &str) -> Bytes {
        self.place = Place::Ended;
        line(&WatchLine::End {
            problem: Problem::new(code, detail).retry_after(1),
        })
    }
}

/// One of the streams that are served.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Result<Self, Problem> {
        let counted = Self(Arc::clone(count));
        let now = count.fetch_add(1, Ordering::Relaxed) + 1;
        metrics::watching(now);
        if now > WATCHERS_MAX {
            return Err(Problem::new(
                ErrorCode::Overloaded,
                "this controller serves too many watchers",
            ));
        }
        Ok(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::watching(self.0.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}
