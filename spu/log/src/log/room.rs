//! Room on the disk: what is tried again when there was none, how full the disk is, the ballast; and
//! the end of a log whose disk failed.
//!
//! A refusal for lack of space is no failure: the round or the flush that met it waits, whole, and is
//! tried again at every look. Invariant: nothing here announces anything as durable.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Log;
use super::inner::{Inner, Waiting};
use crate::ballast::Ballast;
use crate::config::LogConfig;
use crate::error::{DeadCause, DiskError, DiskFailure, LogDead};
use crate::limits::SPACE_CRITICAL_BYTES;
use crate::space::{Gauge, Marks, Space, SpaceConfig, SpaceLevel};

#[derive(Debug)]
pub(super) struct Room {
    config: SpaceConfig,
    pub(super) ballast: Ballast,
    /// For everybody to see without a lock.
    level: AtomicU8,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gauge: Gauge,
    space: Option<Space>,
    /// The failure that could not be kept yet.
    unsaved: Option<DiskFailure>,
}

impl Room {
    pub(super) fn new(config: &LogConfig, ballast: Ballast) -> Self {
        let state = State {
            // The next journal file, and a checkpoint.
            gauge: Gauge::new(2 * config.journal_file_bytes_first),
            space: None,
            unsaved: None,
        };
        Self {
            config: config.space,
            ballast,
            level: AtomicU8::new(SpaceLevel::Plenty as u8),
            state: Mutex::new(state),
        }
    }

    pub(super) fn level(&self) -> SpaceLevel {
        let level = self.level.load(Ordering::Relaxed);
        [SpaceLevel::Low, SpaceLevel::Full]
            .into_iter()
            .find(|known| *known as u8 == level)
            .unwrap_or_default()
    }

    pub(super) fn space(&self) -> Option<Space> {
        self.lock().space
    }

    fn publish(&self, level: SpaceLevel, space: Option<Space>) {
        let before = self.level();
        self.level.store(level as u8, Ordering::Relaxed);
        if level == before {
            return;
        }
        let available = space.map_or(0, |space| space.available);
        match level {
            SpaceLevel::Plenty => tracing::info!(available, "there is space on the disk again"),
            SpaceLevel::Low => tracing::warn!(available, "the disk is nearly full"),
            SpaceLevel::Full => {
                tracing::error!(
                    available,
                    "the disk is full: appends are refused, reads go on"
                );
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// How full the disk is, as far as is known. At [`SpaceLevel::Full`] appends should be refused;
    /// metadata, cuts and trims still work. Never blocks.
    #[must_use]
    pub fn space_level(&self) -> SpaceLevel {
        self.inner.room.level()
    }

    /// Looks at the disk's space, and tries again what was refused for lack of it. Blocks; call it
    /// about once a second.
    pub fn poll_space(&self) -> SpaceLevel {
        let inner = &self.inner;
        if let Some(dead) = inner.dead.get() {
            if dead.cause != DeadCause::Closed {
                inner.save_failure();
            }
            return inner.room.level();
        }
        inner.look();
        inner.resume();
        inner.room.level()
    }
}

impl Inner {
    /// Does work that takes space; when there is none, gives up the ballast and does it again.
    pub(super) fn with_reserve<T>(
        &self,
        mut work: impl FnMut() -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let error = match work() {
            Err(error) if error.is_passing() && error.is_no_space() => error,
            other => return other,
        };
        self.ran_out(&error);
        if self.room.ballast.release()? {
            tracing::warn!("the ballast was given up");
            return work();
        }
        Err(error)
    }

    /// An error of the writing side: final for the log, unless it passes.
    pub(super) fn fail(&self, error: &DiskError) -> LogDead {
        if error.is_passing() {
            error.to_dead(&self.root.root)
        } else {
            self.kill(error)
        }
    }

    /// Ends the log for good; tells the listener the first time, then keeps it for the next start.
    pub(crate) fn kill(&self, error: &DiskError) -> LogDead {
        let mut is_first = false;
        let dead = self.dead.get_or_init(|| {
            is_first = true;
            error.to_dead(&self.root.root)
        });
        if is_first {
            tracing::error!(dir = %self.root.root.display(), %error, "the log is stopped");
            self.listener.failed(dead);
            self.stop();
            if error.is_change() && !error.is_passing() {
                self.room.lock().unsaved = Some(DiskFailure::new(dead, self.writer.now_ms()));
                self.save_failure();
            }
        }
        dead.clone()
    }

    /// Keeps the failure on the disk, if that was not possible before: a disk may come back.
    pub(super) fn save_failure(&self) {
        let mut state = self.room.lock();
        let Some(failure) = state.unsaved.take() else {
            return;
        };
        if let Err(error) = failure.save(&self.root) {
            tracing::warn!(%error, "that the disk failed cannot be written on it");
            state.unsaved = Some(failure);
        }
    }

    /// Puts back what a round could not take, in front, until the next look.
    pub(super) fn park(&self, taken: Vec<Waiting>) {
        let mut queue = self.lock_queue();
        for waiting in taken.into_iter().rev() {
            queue.bytes += waiting.bytes as u64;
            queue.count += waiting.items.len();
            queue.waiting.push_front(waiting);
        }
        queue.is_parked = true;
    }

    fn ran_out(&self, error: &DiskError) {
        let mut state = self.room.lock();
        state.gauge.ran_out();
        let space = state.space;
        drop(state);
        if self.room.level() != SpaceLevel::Full {
            tracing::error!(%error, "no space");
        }
        self.room.publish(SpaceLevel::Full, space);
    }

    fn look(&self) {
        let root = &*self.root.root;
        let space = match self.root.vfs.space(root) {
            Ok(space) => space,
            Err(error) => {
                tracing::warn!(%error, "the disk does not say how much space it has");
                return;
            }
        };
        if space.is_read_only {
            let source = std::io::ErrorKind::ReadOnlyFilesystem.into();
            let path = root.to_path_buf();
            let operation = "write";
            self.kill(&DiskError {
                operation,
                path,
                source,
            });
            return;
        }
        let marks = Marks::new(self.room.config, space.total);
        let missing = marks.ballast.saturating_sub(self.room.ballast.held());
        let level = {
            let mut state = self.room.lock();
            state.space = Some(space);
            state.gauge.observe(marks, space, missing)
        };
        self.room.publish(level, Some(space));
        let outcome = if level == SpaceLevel::Full {
            let critical = space.available < SPACE_CRITICAL_BYTES;
            critical.then(|| self.room.ballast.release()).transpose()
        } else {
            Some(self.room.ballast.approach(marks.ballast)).transpose()
        };
        match outcome {
            Err(error) if !error.is_passing() => drop(self.kill(&error)),
            _ => {}
        }
    }

    /// Lets threads try again what was refused.
    fn resume(&self) {
        self.journal.allow_spare();
        self.writer.resume();
        self.lock_queue().is_parked = false;
        self.wake.notify_all();
    }
}
