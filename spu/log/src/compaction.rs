//! Compaction: takes superseded records out of closed segments, one replica at a time, the dirtiest
//! first, a step at a time.
//!
//! Only [`Compactor::step`] works; a thread or a simulation calls it. Reads and the new segment are
//! its own; names change in the segment writer's hands. A segment that cannot be read ends the pass,
//! not the log. Offsets stay: what went leaves a hole that takes them.

mod keys;

mod output;

mod choice;

mod pass;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use choice::candidate;
use pass::{Halt, Pass, Progress};

use crate::config::CompactionStats;
use crate::error::DiskError;
use crate::limits::COMPACTION_RETRY_MS;
use crate::registry::Registry;
use crate::replica::Replica;
use crate::snapshot;
use crate::writer::{Exchanged, SegmentWriter};

/// What a step of compaction came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionStep {
    /// Bytes read. A caller that paces waits as long as these should take.
    pub read_bytes: u64,
    /// True when there was nothing to do.
    pub is_idle: bool,
}

#[derive(Debug)]
pub(crate) struct Compactor {
    registry: Arc<Registry>,
    map_bytes: usize,
    work: Mutex<Work>,
    stats: Mutex<CompactionStats>,
}

#[derive(Debug, Default)]
struct Work {
    pass: Option<Pass>,
    /// Replicas left alone until a time, by the number of the open replica.
    resting: HashMap<u64, i64>,
    /// Replicas with an exchange that there was no room to finish.
    unsettled: Vec<Arc<Replica>>,
}

const IDLE: CompactionStep = CompactionStep {
    read_bytes: 0,
    is_idle: true,
};

impl Compactor {
    pub(crate) fn new(registry: Arc<Registry>, map_bytes: usize) -> Self {
        Self {
            registry,
            map_bytes,
            work: Mutex::default(),
            stats: Mutex::default(),
        }
    }

    /// Goes on with the pass under way, or begins one. Fails as the log does.
    pub(crate) fn step(
        &self,
        writer: &SegmentWriter,
        now_ms: i64,
    ) -> Result<CompactionStep, DiskError> {
        let mut work = self.lock();
        let pass = match work.pass.take() {
            Some(pass) => Some(pass),
            None => self.choose(writer, &mut work, now_ms)?,
        };
        let Some(mut pass) = pass else {
            return Ok(IDLE);
        };
        let before = pass.read_bytes;
        let outcome = self.advance(writer, &mut pass, now_ms);
        let read_bytes = pass.read_bytes - before;
        self.count(|stats| stats.read_bytes += read_bytes);
        match outcome {
            Ok(true) => work.pass = Some(pass),
            Ok(false) => {}
            Err(halt) => {
                if matches!(halt, Halt::Unsettled) {
                    work.unsettled.push(Arc::clone(&pass.replica));
                }
                let what = halt.reason().or_else(|error| pass.end_of(error))?;
                let key = pass.replica.key();
                tracing::warn!(replica = %key, what, "a compaction pass is given up");
                let number = pass.replica.home.number;
                let until_ms = now_ms.saturating_add(COMPACTION_RETRY_MS);
                work.resting.insert(number, until_ms);
                self.count(|stats| stats.abandoned += 1);
                match pass.discard() {
                    // It is removed by the next pass over it, or at the next opening.
                    Err(error) if error.is_passing() => {
                        tracing::debug!(%error, "a staged segment stays");
                    }
                    other => other?,
                }
            }
        }
        Ok(CompactionStep {
            read_bytes,
            is_idle: false,
        })
    }

    /// Gives up the pass under way.
    pub(crate) fn abandon(&self) {
        let pass = self.lock().pass.take();
        if let Some(Err(error)) = pass.map(Pass::discard) {
            // It is removed at the next opening.
            tracing::debug!(%error, "a staged segment stays");
        }
    }

    pub(crate) fn stats(&self) -> CompactionStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dirtiest replica that is due and may be read as far as that helps.
    fn choose(
        &self,
        writer: &SegmentWriter,
        work: &mut Work,
        now_ms: i64,
    ) -> Result<Option<Pass>, DiskError> {
        work.resting.retain(|_, until_ms| *until_ms > now_ms);
        for replica in std::mem::take(&mut work.unsettled) {
            let is_resting = work.resting.contains_key(&replica.home.number);
            if is_resting || !writer.settle_exchange(&replica)? {
                work.unsettled.push(replica);
            }
        }
        let replicas = self.registry.all();
        let awake = replicas
            .iter()
            .filter(|replica| !work.resting.contains_key(&replica.home.number));
        let mut due: Vec<_> = awake
            .filter_map(|replica| candidate(replica, now_ms))
            .collect();
        due.sort_by_key(|candidate| std::cmp::Reverse(candidate.dirty_percent));
        for mut candidate in due {
            let replica = Arc::clone(&candidate.replica);
            if !writer.settle_exchange(&replica)? {
                continue;
            }
            candidate.compacted.exchange = None;
            let home = &replica.home;
            // Batches above it tell the next start what producers did (D3).
            let as_of = snapshot::load(home.pool.vfs(), &home.dir()).map(|(as_of, _)| as_of);
            let pass = Pass::new(candidate, as_of.unwrap_or_default(), now_ms, self.map_bytes);
            if !pass.is_empty() {
                return Ok(Some(pass));
            }
            replica.ask_for_snapshot();
        }
        Ok(None)
    }

    /// True when the pass goes on.
    fn advance(&self, writer: &SegmentWriter, pass: &mut Pass, now_ms: i64) -> Result<bool, Halt> {
        match pass.step()? {
            Progress::More => Ok(true),
            Progress::Exchange { inputs, output } => {
                let before: u64 = inputs.iter().map(|input| input.info.len).sum();
                let exchanged = writer.exchange(&pass.replica, pass.cuts, &inputs, output);
                let exchanged = exchanged.map_err(Halt::Disk)?;
                let is_placed = match exchanged {
                    Exchanged::Refused => {
                        let what = "its segments changed meanwhile, or the disk is full";
                        return Err(Halt::Unreadable(what.to_owned()));
                    }
                    Exchanged::Done => true,
                    Exchanged::Unsettled { is_placed } => is_placed,
                };
                let removed = pass.leave_staged();
                if is_placed {
                    self.count(|stats| {
                        stats.freed_bytes += before.saturating_sub(output.info.len);
                        stats.removed_records += removed;
                    });
                }
                if exchanged == Exchanged::Done {
                    return Ok(true);
                }
                Err(Halt::Unsettled)
            }
            Progress::Done => {
                let noted = writer.note_pass(&pass.replica, pass.cuts, pass.outcome(now_ms));
                if !noted.map_err(Halt::Disk)? {
                    // Without a rest the same records would be read over and over.
                    let what = "what it came to cannot be noted";
                    return Err(Halt::Unreadable(what.to_owned()));
                }
                self.count(|stats| stats.passes += 1);
                Ok(false)
            }
        }
    }

    fn count(&self, change: impl FnOnce(&mut CompactionStats)) {
        change(&mut self.stats.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
