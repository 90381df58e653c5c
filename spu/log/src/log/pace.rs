//! How long rounds may stay unsynced that nobody waits for: a sleeper that is started by the first of
//! them, and asks for a sync when it wakes.
//!
//! Reads no clock. Invariant: from a round that is noted to the asking passes no more than one
//! interval of the sleeper.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Inner;

#[derive(Debug, Default)]
pub(crate) struct Pace {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_started: bool,
    is_stopping: bool,
}

impl Pace {
    /// A round is written that nobody syncs by himself.
    pub(super) fn start(&self) {
        if !std::mem::replace(&mut self.lock().is_started, true) {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopping = true;
        self.wake.notify_one();
    }

    /// Waits for a start, and for the interval from there; false when it is to end.
    fn sleep(&self, interval: Duration) -> bool {
        let idle = |state: &mut State| !state.is_started && !state.is_stopping;
        let started = self.wake.wait_while(self.lock(), idle);
        let started = started.unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .wake
            .wait_timeout_while(started, interval, |state| !state.is_stopping);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // What is written from here on starts it again.
        state.is_started = false;
        !state.is_stopping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Waits until unsynced rounds are old enough, and asks for their sync; false when it is to end.
    pub(crate) fn pace_syncs(&self) -> bool {
        let is_due = self.pace.sleep(self.sync_interval);
        if is_due {
            self.ask_for_sync();
        }
        is_due
    }
}
