//! The log's threads: one writes rounds, one bounds how long they stay unsynced, one writes segments,
//! one compacts.
//!
//! They only call what a simulation calls by hand. Pacing is by condition variables: no clock is
//! read here. A panic in one kills the log like a failed write does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::error::{Context as _, LogDead};
use crate::limits::{COMPACTION_IDLE_MS, IDLE_ROUND_MS};
use crate::log::{Inner, Log, Wake};

impl Log {
    /// Starts the journal, the pace, the segment-writer and the compaction thread. They end with [`Log::close`], with
    /// the last clone of the log, or when it dies.
    pub fn start_threads(&self) -> Result<(), LogDead> {
        let spawn = |name: &str, body: fn(&Inner) -> Result<(), LogDead>| {
            let inner = Arc::clone(&self.inner);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || guard(&inner, body))
                .during("start a thread for", std::path::Path::new(name))
                .map_err(|error| self.inner.kill(&error))
        };
        let journal = spawn("tidegate-journal", write_rounds)?;
        let pace = spawn("tidegate-pace", pace_syncs)?;
        let writer = spawn("tidegate-segments", write_segments)?;
        let compaction = spawn("tidegate-compaction", compact)?;
        let mut threads = self
            .inner
            .threads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        threads.extend([journal, pace, writer, compaction]);
        Ok(())
    }
}

fn guard(inner: &Inner, body: fn(&Inner) -> Result<(), LogDead>) {
    // An error has been told to the listener already.
    if catch_unwind(AssertUnwindSafe(|| body(inner))).is_err() {
        let broken = std::io::Error::other("a thread of the log panicked");
        let error = Err::<(), _>(broken).during("run", std::path::Path::new("the log"));
        if let Err(error) = error {
            inner.kill(&error);
        }
    }
}

fn write_rounds(inner: &Inner) -> Result<(), LogDead> {
    let idle = Duration::from_millis(IDLE_ROUND_MS);
    loop {
        match inner.wait(inner.wants_closing_round().then_some(idle)) {
            Wake::Submissions => {
                inner.run_round()?;
            }
            Wake::Sync => {
                inner.run_sync()?;
            }
            Wake::Idle => {
                inner.run_closing_round()?;
            }
            Wake::Stop => return Ok(()),
        }
    }
}

fn pace_syncs(inner: &Inner) -> Result<(), LogDead> {
    while inner.pace_syncs() {}
    Ok(())
}

fn compact(inner: &Inner) -> Result<(), LogDead> {
    let mut pause = Duration::from_millis(COMPACTION_IDLE_MS);
    while inner.pause_compaction(pause) {
        let now_ms = inner.writer.now_ms();
        pause = Duration::from_millis(COMPACTION_IDLE_MS);
        if now_ms == 0 {
            // Nobody has told the time yet.
            continue;
        }
        let step = inner.run_compaction_step(now_ms)?;
        if !step.is_idle {
            let micros = step.read_bytes.saturating_mul(1_000_000);
            pause = Duration::from_micros(micros / inner.compaction_bytes_per_s.max(1));
        }
    }
    Ok(())
}

fn write_segments(inner: &Inner) -> Result<(), LogDead> {
    while inner.writer.wait() {
        while !inner.writer.is_stopping() && inner.run_writer_step()? {}
    }
    Ok(())
}
