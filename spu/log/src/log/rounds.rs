//! Rounds: what waits is written, told as written where somebody wants to know, synced, and told as
//! durable.
//!
//! A round is synced at once when anything in it waits for that. Rounds in which nothing does stay
//! unsynced until one does, until they are many bytes, or until [`super::pace`] asks. Invariants:
//! nothing is told as written before the write returned, nor as durable before a sync that began after
//! it; what is durable is told in the order of rounds.

use std::sync::{MutexGuard, PoisonError};

use super::ends::Ends;
use super::inner::{Inner, Waiting};
use crate::error::{DiskError, LogDead};
use crate::guard::{self, Guard};
use crate::journal::Written;
use crate::limits::{ROUND_BYTES_MAX, UNSYNCED_BYTES_MAX};
use crate::round::RoundBuilder;

/// What rounds are made in, kept from round to round for its room; and those that are not synced.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    builder: RoundBuilder,
    ends: Ends,
    /// Written, not told as durable.
    unsynced: Vec<(Written, Vec<Waiting>)>,
    unsynced_bytes: u64,
    /// Entries in the round that is being written.
    count: usize,
}

/// What the entries of a round wait for.
#[derive(Debug, Clone, Copy, Default)]
struct Wants {
    /// Something is told as soon as it is written.
    write: bool,
    /// Something waits for the sync.
    sync: bool,
}

impl Wants {
    fn of(taken: &[Waiting]) -> Self {
        let mut wants = Self::default();
        for (replica, item) in taken.iter().flat_map(|waiting| waiting.items.iter()) {
            if replica.defers_sync(item) {
                wants.write = true;
            } else {
                wants.sync = true;
            }
        }
        wants
    }
}

impl Inner {
    /// Writes a round of what waits, and syncs it if anything in it waits for that.
    pub(crate) fn run_round(&self) -> Result<bool, LogDead> {
        self.check_alive()?;
        let mut rounds = self.lock_rounds();
        let taken = self.take_waiting();
        if taken.is_empty() {
            return Ok(false);
        }
        let synced = self.journal.synced();
        let synced = synced.filter(|_| guard::stands(Guard::NameSynced));
        rounds.builder.begin(synced);
        for (_, item) in taken.iter().flat_map(|waiting| waiting.items.iter()) {
            rounds.builder.push(item);
        }
        let wants = Wants::of(&taken);
        rounds.count = taken.iter().map(|waiting| waiting.items.len()).sum();
        self.write_and_tell(&mut rounds, taken, wants)
    }

    /// Writes and syncs an empty round behind one that is not.
    pub(crate) fn run_closing_round(&self) -> Result<bool, LogDead> {
        self.check_alive()?;
        let mut rounds = self.lock_rounds();
        if !self.journal.wants_closing_round() {
            return Ok(false);
        }
        rounds.builder.begin(None);
        let wants = Wants {
            write: false,
            sync: true,
        };
        self.write_and_tell(&mut rounds, Vec::new(), wants)
    }

    /// Syncs what is written; false when all of it is.
    pub(crate) fn run_sync(&self) -> Result<bool, LogDead> {
        self.check_alive()?;
        let mut rounds = self.lock_rounds();
        let is_behind = !rounds.unsynced.is_empty();
        if is_behind {
            self.sync_and_tell(&mut rounds)?;
        }
        Ok(is_behind)
    }

    fn write_and_tell(
        &self,
        rounds: &mut Rounds,
        taken: Vec<Waiting>,
        wants: Wants,
    ) -> Result<bool, LogDead> {
        let written = loop {
            let made_room = match self.with_reserve(|| self.write_once(&mut rounds.builder)) {
                Ok(Some(written)) => break written,
                // At its cap: what is in the way goes to segments first.
                Ok(None) => {
                    self.sync_and_tell(rounds)?;
                    self.with_reserve(|| self.writer.checkpoint()).map(drop)
                }
                Err(error) => Err(error),
            };
            match made_room {
                Ok(()) => {}
                Err(error) if error.is_passing() => {
                    self.park(taken);
                    return Ok(false);
                }
                Err(error) => return Err(self.kill(&error)),
            }
        };
        if wants.write {
            // The segment writer may have met its end meanwhile: nothing is acknowledged after it.
            self.check_alive()?;
            self.note_round(rounds);
            self.tell_written(written, &taken, &mut rounds.ends);
        }
        rounds.unsynced.push((written, taken));
        rounds.unsynced_bytes += written.bytes;
        if wants.sync || rounds.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.sync_and_tell(rounds)?;
        } else {
            self.pace.start();
        }
        Ok(true)
    }

    /// `None` when the journal is at its cap.
    fn write_once(&self, builder: &mut RoundBuilder) -> Result<Option<Written>, DiskError> {
        while self.writer.is_overfull() {
            self.writer.relieve()?;
        }
        self.journal.write(builder)
    }

    fn sync_and_tell(&self, rounds: &mut Rounds) -> Result<(), LogDead> {
        self.journal.sync().map_err(|error| self.kill(&error))?;
        self.check_alive()?;
        self.note_round(rounds);
        self.tell_durable(rounds);
        Ok(())
    }

    /// How many were under way: before they are told, as those who are told come back at once.
    fn note_round(&self, rounds: &mut Rounds) {
        let mut queue = self.lock_queue();
        let waiting = queue.count;
        let count = std::mem::take(&mut rounds.count);
        queue.gathering.told(count, waiting);
    }

    /// Tells the owners of entries that defer the sync that these are written.
    fn tell_written(&self, written: Written, taken: &[Waiting], ends: &mut Ends) {
        for Waiting { shard, items, .. } in taken {
            for (replica, item) in items.iter() {
                if replica.defers_sync(item)
                    && let Some(shard) = *shard
                {
                    ends.push(shard, replica.key(), replica.written(item));
                }
            }
        }
        ends.tell(|shard, ends| self.listener.written(shard, written.round_seq, ends));
    }

    /// Hands synced rounds to the writer, then tells each shard once.
    fn tell_durable(&self, rounds: &mut Rounds) {
        let Rounds {
            ends,
            unsynced,
            unsynced_bytes,
            ..
        } = rounds;
        *unsynced_bytes = 0;
        let mut last_round = 0;
        for (written, taken) in unsynced.drain(..) {
            last_round = written.round_seq;
            let items = taken.into_iter().flat_map(|waiting| {
                let shard = waiting.shard;
                waiting.items.into_iter().map(move |item| (shard, item))
            });
            self.writer.take_over(written, items, |shard, key, end| {
                if let Some(shard) = shard {
                    ends.push(shard, key, end);
                }
            });
        }
        if self.journal.wants_spare() {
            self.writer.nudge();
        }
        ends.tell(|shard, ends| self.listener.durable(shard, last_round, ends));
    }

    fn take_waiting(&self) -> Vec<Waiting> {
        let mut queue = self.lock_queue();
        let mut taken = Vec::with_capacity(queue.waiting.len());
        let (mut bytes, mut count) = (0, 0);
        while let Some(next) = queue.waiting.front() {
            if !taken.is_empty() && bytes + next.bytes > ROUND_BYTES_MAX {
                break;
            }
            bytes += next.bytes;
            count += next.items.len();
            taken.extend(queue.waiting.pop_front());
        }
        queue.bytes -= bytes as u64;
        queue.count -= count;
        taken
    }

    fn lock_rounds(&self) -> MutexGuard<'_, Rounds> {
        self.rounds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
