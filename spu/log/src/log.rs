//! The log of one data directory: submissions in, durable rounds out.
//!
//! Every public function either only touches memory (`submit`, `replica`, `tick`) or says that it
//! blocks on the disk. A failure of the writing side kills the log once and for all.

mod ends;

mod gathering;

mod items;

mod inner;

mod pace;

mod registration;

mod room;

mod rounds;

mod submitting;

pub(crate) use inner::{Inner, Wake};
pub use submitting::NewReplica;

use room::Room;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tidegate_proto::id::{Incarnation, StorageId};
use tidegate_proto::position::ReplicaKey;

use crate::compaction::{CompactionStep, Compactor};
use crate::config::{LogConfig, LogStats, RoundListener};
use crate::damage::FileDamage;
use crate::durable;
use crate::error::{Context as _, DeadCause, LogDead, OpenError};
use crate::failure;
use crate::identity::Clean;
use crate::layout;
use crate::opening::{self, MissingReplica, Parts, ReplicaFacts};
use crate::registry::Registry;
use crate::replica::{Replica, Sight};
use crate::vfs::{Place, Vfs};
use crate::writer::SegmentWriter;

/// What [`Log::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The log.
    pub log: Log,
    /// The directory's identity.
    pub storage_id: StorageId,
    /// Last registration recorded in it.
    pub last_incarnation: Option<Incarnation>,
    /// True when it was closed in order.
    pub clean: bool,
    /// The registration under which it was closed in order.
    pub clean_incarnation: Option<Incarnation>,
    /// True when it was closed in order under its last registration, or when it last served ([`Log::set_incarnation`]) under the
    /// same run of the system: what was written then and not synced is there. False after a power loss,
    /// and where the system cannot say: what rested on its memory alone may be gone.
    pub same_boot: bool,
    /// Replicas that serve, by key.
    pub replicas: Vec<ReplicaFacts>,
    /// Replicas whose directory is gone.
    pub missing: Vec<MissingReplica>,
    /// The journal lacks a round that had been durable; every replica says it is not intact.
    pub journal_rot: bool,
}

/// The log of one data directory. Cheap to clone; the last clone's end stops its threads, but only
/// [`Log::close`] leaves the directory in order.
#[derive(Debug, Clone)]
pub struct Log {
    pub(crate) inner: Arc<Inner>,
    _stop: Arc<StopOnDrop>,
}

#[derive(Debug)]
struct StopOnDrop {
    inner: Arc<Inner>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.inner.stop();
    }
}

impl Log {
    /// Opens a data directory, making it when it is empty. Blocks: folds the journal when the
    /// directory was not closed in order.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        config: LogConfig,
        listener: Arc<dyn RoundListener>,
    ) -> Result<Opened, OpenError> {
        let parts = opening::open(Arc::clone(&vfs), dir, &config).inspect_err(|error| {
            failure::keep(&Place::new(vfs, dir), error);
        })?;
        let Parts {
            root,
            lock,
            identity,
            clean,
            checkpoint,
            pool,
            budget,
            ..
        } = parts;
        let journal = Arc::new(parts.journal);
        let registry = Arc::new(Registry::default());
        let compactor = Compactor::new(Arc::clone(&registry), config.compaction_map_bytes);
        let compaction_bytes_per_s = config.compaction_bytes_per_s;
        let sync_interval = Duration::from_millis(config.sync_interval_ms);
        *registry.write() = parts.replicas;
        let room = Room::new(&config, parts.ballast);
        let writer = SegmentWriter::new(
            root.clone(),
            config,
            Arc::clone(&journal),
            Arc::clone(&registry),
            Arc::clone(&budget),
            parts.unsynced,
            checkpoint,
        );
        let inner = Arc::new(Inner {
            root,
            lock: Mutex::new(Some(lock)),
            identity: Mutex::new(identity),
            is_loss_told: AtomicBool::new(parts.is_same_boot),
            journal,
            registry,
            writer,
            compactor,
            compaction: Default::default(),
            compaction_bytes_per_s,
            pool,
            budget,
            room,
            listener,
            queue: Mutex::default(),
            wake: Condvar::new(),
            rounds: Mutex::default(),
            pace: Default::default(),
            sync_interval,
            dead: OnceLock::new(),
            next_number: AtomicU64::new(parts.next_number),
            threads: Mutex::default(),
        });
        let log = Self {
            _stop: Arc::new(StopOnDrop {
                inner: Arc::clone(&inner),
            }),
            inner,
        };
        Ok(Opened {
            log,
            storage_id: identity.storage_id,
            last_incarnation: identity.last_incarnation,
            clean: clean.is_some(),
            clean_incarnation: clean.and_then(|clean| clean.incarnation),
            same_boot: parts.is_same_boot,
            replicas: parts.facts,
            missing: parts.missing,
            journal_rot: parts.journal_rot,
        })
    }

    /// The replica of a partition, when this directory holds one.
    #[must_use]
    pub fn replica(&self, key: ReplicaKey) -> Option<Arc<Replica>> {
        self.inner.registry.get(key)
    }

    /// All replicas, by key.
    #[must_use]
    pub fn replicas(&self) -> Vec<Arc<Replica>> {
        self.inner.registry.all()
    }

    /// Writes one round with what waits, and syncs it unless all of it can wait for that
    /// ([`Replica::set_sync_deferred`]); false when nothing waits. Blocks. For simulations; in
    /// production [`Log::start_threads`] does it.
    pub fn run_round(&self) -> Result<bool, LogDead> {
        self.inner.run_round()
    }

    /// Syncs the rounds that are written and not synced; false when all are. Blocks. For simulations;
    /// in production [`Log::start_threads`] does it.
    pub fn run_sync(&self) -> Result<bool, LogDead> {
        self.inner.run_sync()
    }

    /// Writes an empty round after one that is not, as a quiet journal does by itself. Blocks.
    pub fn run_closing_round(&self) -> Result<bool, LogDead> {
        self.inner.run_closing_round()
    }

    /// Does one piece of the segment writer's work; false when there is none. Blocks.
    pub fn run_writer_step(&self) -> Result<bool, LogDead> {
        self.inner.run_writer_step()
    }

    /// Does one piece of compaction, with the time in epoch milliseconds. Blocks. For simulations; in
    /// production [`Log::start_threads`] does it, by the times passed to `tick`.
    pub fn run_compaction_step(&self, now_ms: i64) -> Result<CompactionStep, LogDead> {
        self.inner.run_compaction_step(now_ms)
    }

    /// Brings all that is durable into segments and makes a checkpoint. Blocks.
    pub fn checkpoint(&self) -> Result<(), LogDead> {
        self.inner.check_alive()?;
        let inner = &self.inner;
        let made = inner.with_reserve(|| inner.writer.checkpoint());
        made.map(drop).map_err(|error| inner.fail(&error))
    }

    /// Puts an index that was made anew in the place of a closed segment's; false when the segment has
    /// changed since it was seen, or there is no room. Blocks.
    pub(crate) fn replace_index(
        &self,
        replica: &Arc<Replica>,
        sight: &Sight,
        entries: &[u8],
    ) -> Result<bool, LogDead> {
        let inner = &self.inner;
        inner.check_alive()?;
        let replaced = inner.writer.replace_index(replica, sight, entries);
        replaced.map_err(|error| inner.kill(&error))
    }

    /// Takes note, durably, of damage to a replica's files; false when it was not intact before, and of a
    /// log that is dead: whoever opens it finds out again. Blocks.
    pub(crate) fn note_damage(&self, replica: &Replica, found: FileDamage) -> bool {
        let inner = &self.inner;
        if inner.check_alive().is_err() {
            return false;
        }
        let noted = inner.writer.note_damage(replica, found);
        noted.map_err(|error| inner.fail(&error)).unwrap_or(false)
    }

    /// Tells the time, in epoch milliseconds, about once a second: segments are closed and
    /// checkpoints made by age.
    pub fn tick(&self, now_ms: i64) {
        self.inner.writer.tick(now_ms);
    }

    /// Makes everything durable, leaves the clean marker, ends the threads, gives up the lock. Blocks.
    /// The marker carries the last registration; none while a loss of the system's memory
    /// ([`Opened::same_boot`]) has not been told by one: the next to open the directory has to.
    pub fn close(&self) -> Result<(), LogDead> {
        let inner = &self.inner;
        inner.stop();
        inner.join_threads();
        inner.compactor.abandon();
        while inner.run_round()? {}
        inner.run_sync()?;
        inner.run_closing_round()?;
        if inner.is_behind() {
            return Err(self.leave_behind());
        }
        if inner.writer.is_behind() {
            inner
                .with_reserve(|| inner.writer.checkpoint())
                .map_err(|error| inner.fail(&error))?;
        }
        let checkpoint = inner.writer.last_checkpoint();
        {
            let mut identity = inner
                .identity
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let is_told = inner.is_loss_told.load(Ordering::Acquire);
            identity.clean = Some(Clean {
                incarnation: identity.last_incarnation.filter(|_| is_told),
                checkpoint,
            });
            inner
                .with_reserve(|| identity.save(&inner.root))
                .map_err(|error| inner.fail(&error))?;
        }
        let _ = inner.dead.set(LogDead {
            dir: inner.root.root.to_path_buf(),
            operation: "close".to_owned(),
            message: "it was closed".to_owned(),
            cause: DeadCause::Closed,
        });
        inner
            .lock
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Ok(())
    }

    /// Ends without the clean marker: what waits found no room, and a directory that lacks it is not in
    /// order.
    fn leave_behind(&self) -> LogDead {
        let inner = &self.inner;
        let dead = LogDead {
            dir: inner.root.root.to_path_buf(),
            operation: "close".to_owned(),
            message: "what was submitted last found no room on the disk".to_owned(),
            cause: DeadCause::NoSpace,
        };
        let _ = inner.dead.set(dead.clone());
        let mut lock = inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.take();
        dead
    }

    /// Deletes what was retired before `older_than_ms`, in epoch milliseconds by the times passed
    /// to `tick`. Gives the number of directories. Blocks.
    pub fn purge_trash(&self, older_than_ms: i64) -> io::Result<usize> {
        let Place { vfs, .. } = &self.inner.root;
        let trash = self.inner.root.path(layout::TRASH);
        let mut purged = 0;
        for item in vfs.list_dir(&trash)? {
            let Some((when, name)) = item.name.split_once('_') else {
                continue;
            };
            let path = trash.join(&item.name);
            match when.parse::<i64>() {
                Ok(when_ms) if when_ms < older_than_ms => {
                    vfs.remove_dir_all(&path)?;
                    purged += 1;
                }
                Ok(_) => {}
                // Retired before anybody told the time: its delay begins now.
                Err(_) => {
                    let now_ms = self.inner.writer.now_ms();
                    if now_ms != 0 {
                        let name = format!("{now_ms:020}_{name}");
                        durable::move_aside(&**vfs, &path, &trash, &name)
                            .map_err(|error| error.source)?;
                    }
                }
            }
        }
        let synced = vfs.sync_dir(&trash).during("sync directory", &trash);
        synced.map_err(|error| {
            self.inner.kill(&error);
            error.source
        })?;
        Ok(purged)
    }

    /// Numbers for metrics. Never waits for the disk.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        let inner = &self.inner;
        // Two statements: the registry's lock comes before the queue's.
        let replicas = inner.registry.read().by_key.len();
        let waiting_bytes = inner.lock_queue().bytes;
        let (round, uncheckpointed_bytes) = inner.writer.progress();
        let (journal_bytes, journal_bytes_max) = inner.journal.bytes();
        LogStats {
            round,
            waiting_bytes,
            unflushed_bytes: inner.writer.unflushed(),
            tail_bytes: inner.budget.used(),
            journal_bytes,
            journal_bytes_max,
            uncheckpointed_bytes,
            replicas,
            space: inner.room.space(),
            space_level: inner.room.level(),
            ballast_bytes: inner.room.ballast.held(),
            is_dead: self
                .dead()
                .is_some_and(|dead| dead.cause != DeadCause::Closed),
            compaction: inner.compactor.stats(),
        }
    }

    /// Why the log takes nothing any more; `None` while it lives.
    #[must_use]
    pub fn dead(&self) -> Option<&LogDead> {
        self.inner.dead.get()
    }
}

#[cfg(test)]
mod tests;
