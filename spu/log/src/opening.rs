//! Opens a data directory: lock, identity, checkpoint, fold, apply, sync, new checkpoint, in that
//! order (rule J4). Reports facts; decides nothing about who may lead.
//!
//! Nothing that it does not understand is removed: it goes to `quarantine/` or stays.

mod directories;

mod format;

use format::{load_or_make, sync_names};

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use crate::ballast::Ballast;
use crate::checkpoint::{Checkpoint, JournalPosition, ReplicaState};
use crate::config::LogConfig;
use crate::damage::FileDamage;
use crate::error::{DiskError, DiskFailure, OpenError};
use crate::failure;
use crate::files::{FilePool, Unsynced};
use crate::fold::Fold;
use crate::identity::Identity;
use crate::journal::{self, Journal};
use crate::layout;
use crate::limits::SPACE_CRITICAL_BYTES;
use crate::recovery::{Recovered, Recovery, Verdicts};
use crate::registry::Replicas;
use crate::replay::{self, Bodies};
use crate::replica::Replica;
use crate::segment::Home;
use crate::snapshot::{self, Untold};
use crate::tail::TailBudget;
use crate::vfs::{FileSystem, HeldVfs, Place, Vfs, VfsFile};

/// What a replica turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaFacts {
    /// Which partition.
    pub key: ReplicaKey,
    /// For which membership.
    pub replica_gen: ReplicaGen,
    /// Greatest accepted epoch.
    pub leader_epoch: LeaderEpoch,
    /// Version of the row it came from.
    pub version: u64,
    /// Operator recovery it has seen.
    pub recovery_gen: u64,
    /// High watermark, by checkpoint or a batch that was stored.
    pub high_watermark: Offset,
    /// First offset kept.
    pub log_start: Offset,
    /// Next offset.
    pub end: Offset,
    /// False when anything durable is missing or damaged, now or at an earlier opening, or the
    /// producer snapshot is needed and cannot be had: it may follow, it may not lead (rule S2).
    pub intact: bool,
    /// Bytes that a crash had torn, cut; normal after a power loss.
    pub torn_bytes: u64,
    /// What of its files could not be read, or was not what had been written: the first that was met, now
    /// or at an earlier opening, where that is known. It is then not intact.
    pub damage: Option<FileDamage>,
    /// Append time of the newest batch, in epoch milliseconds.
    pub last_append_ms: Option<i64>,
    /// Newest producer snapshot.
    pub snapshot: Option<(Offset, Bytes)>,
}

/// A replica that the checkpoint or the journal knows, without a directory (rule S4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingReplica {
    /// Which partition.
    pub key: ReplicaKey,
    /// For which membership.
    pub replica_gen: ReplicaGen,
    /// Where it ended.
    pub end: Offset,
    /// Batches of the journal that were put into quarantine.
    pub quarantined_batches: usize,
}

/// The parts of an opened directory.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) root: Place,
    /// Empty: what opening did is synced.
    pub(crate) unsynced: Unsynced,
    pub(crate) lock: Arc<dyn VfsFile>,
    pub(crate) identity: Identity,
    /// The marker that was found.
    pub(crate) clean: Option<crate::identity::Clean>,
    /// Nothing that was written before is lost for not having been synced.
    pub(crate) is_same_boot: bool,
    pub(crate) checkpoint: u64,
    pub(crate) ballast: Ballast,
    pub(crate) journal: Journal,
    pub(crate) pool: Arc<FilePool>,
    pub(crate) budget: Arc<TailBudget>,
    pub(crate) replicas: Replicas,
    pub(crate) next_number: u64,
    pub(crate) facts: Vec<ReplicaFacts>,
    pub(crate) missing: Vec<MissingReplica>,
    pub(crate) journal_rot: bool,
}

pub(crate) fn open(vfs: Arc<dyn Vfs>, dir: &Path, config: &LogConfig) -> Result<Parts, OpenError> {
    let root = Place::new(vfs, dir);
    root.vfs
        .create_dir(dir)
        .map_err(|source| OpenError::io(dir, source))?;
    let lock = take_lock(&root)?;
    if let Some(failure) = DiskFailure::load(&root)? {
        let dir = dir.to_path_buf();
        return Err(OpenError::Failed { dir, failure });
    }
    let is_accepted = failure::is_accepted(&root)?;
    let ballast = Ballast::open(root.clone())?;
    let available = root.vfs.space(dir).map(|space| space.available);
    if available.is_ok_and(|available| available < SPACE_CRITICAL_BYTES) {
        ballast.release()?;
    }
    let mut identity = load_or_make(&root, config)?;
    let path = root.path(layout::CHECKPOINT);
    let Some(checkpoint) = Checkpoint::load(&root)? else {
        return Err(OpenError::corrupt(&path, "it is missing"));
    };
    if checkpoint.storage_id != identity.storage_id {
        return Err(OpenError::corrupt(&path, "it is another directory's"));
    }
    let clean = identity
        .clean
        .filter(|clean| clean.checkpoint == checkpoint.generation && !is_accepted);
    let boot = root.vfs.boot_id();
    // Then nothing was only in memory.
    let is_whole = clean.is_some_and(|clean| clean.incarnation == identity.last_incarnation);
    let is_same_boot = is_whole || (boot.is_some() && boot == identity.boot);
    if identity.clean.take().is_some() {
        if is_whole {
            identity.boot = boot;
        }
        // From here on the directory is not clean, whatever happens.
        identity.save(&root)?;
    } else {
        // A process that was killed may have put them there and not synced the names, which what comes
        // now must not outlive.
        sync_names(&root)?;
    }
    let held = root.vfs.file_system(dir);
    let held = held.map_err(|source| OpenError::io(dir, source))?;
    let root = Place::new(HeldVfs::around(root.vfs, held.as_ref()), dir);
    let files_max = config.open_files_max.min(root.vfs.open_files_max());
    Opening {
        file_system: held,
        pool: Arc::new(FilePool::new(root.clone(), files_max)),
        budget: Arc::new(TailBudget::new(config.tail_cache_bytes)),
        journal_place: Place::new(Arc::clone(&root.vfs), &root.path(layout::JOURNAL)),
        root,
        config,
        lock,
        identity,
        clean,
        is_same_boot,
        is_accepted,
    }
    .run(checkpoint, ballast)
}

struct Opening<'a> {
    root: Place,
    journal_place: Place,
    config: &'a LogConfig,
    lock: Arc<dyn VfsFile>,
    file_system: Option<Arc<dyn FileSystem>>,
    identity: Identity,
    clean: Option<crate::identity::Clean>,
    is_same_boot: bool,
    is_accepted: bool,
    pool: Arc<FilePool>,
    budget: Arc<TailBudget>,
}

impl Opening<'_> {
    fn run(self, checkpoint: Checkpoint, ballast: Ballast) -> Result<Parts, OpenError> {
        journal::remove_leftover(&self.journal_place);
        let files = replay::list_files(&self.journal_place)?;
        let (mut generation, covered) = (checkpoint.generation, checkpoint.position);
        let mut position = covered;
        let mut fold = Fold::new(checkpoint.replicas.iter().copied());
        let mut verdicts = Verdicts::new(self.root.clone(), checkpoint);
        let mut journal_rot = false;
        let mut is_changed = self.clean.is_none();
        if self.clean.is_none() {
            let storage_id = self.identity.storage_id;
            let end = replay::replay(&self.journal_place, storage_id, &files, position, |round| {
                fold.round(round);
            })?;
            replay::sync_last(&self.journal_place, &end)?;
            journal_rot = end.rot;
            // Which replicas the missing round spoke of, nobody knows; nor what a disk that failed kept.
            fold.doubt_all(end.rot || self.is_accepted);
            let last_file = files.last().map_or(position.file_seq, |file| file.file_seq);
            // A new file, and one number left out: whatever a crash left of the next round can
            // never be taken for it.
            position = JournalPosition {
                file_seq: last_file.max(position.file_seq) + 1,
                at: 0,
                round_seq: end.last_round + 2,
            };
        }
        let mut unsynced = Unsynced::new(self.file_system.clone());
        let mut parts = self.replicas(fold, &mut unsynced, &mut verdicts, &mut is_changed)?;
        unsynced.sync(&*self.root.vfs, &self.root.root)?;
        if is_changed {
            generation += 1;
            let mut replicas = parts.states;
            replicas.sort_by_key(|state| (state.key, state.meta.replica_gen));
            let storage_id = self.identity.storage_id;
            Checkpoint {
                storage_id,
                generation,
                position,
                replicas,
            }
            .save(&self.root)?;
        }
        if self.is_accepted {
            failure::forget_accepted(&self.root)?;
        }
        let others = self.other_journal_files(files, covered, position, journal_rot)?;
        let journal = Journal::open(
            self.journal_place,
            self.identity.storage_id,
            self.config.journal_sizes(),
            position,
            others,
        )?;
        parts.facts.sort_by_key(|facts| facts.key);
        Ok(Parts {
            root: self.root,
            unsynced,
            lock: self.lock,
            identity: self.identity,
            clean: self.clean,
            is_same_boot: self.is_same_boot,
            checkpoint: generation,
            ballast,
            journal,
            pool: self.pool,
            budget: self.budget,
            replicas: parts.replicas,
            next_number: parts.next_number,
            facts: parts.facts,
            missing: parts.missing,
            journal_rot,
        })
    }

    fn replicas(
        &self,
        fold: Fold,
        unsynced: &mut Unsynced,
        verdicts: &mut Verdicts,
        is_changed: &mut bool,
    ) -> Result<OpenedReplicas, DiskError> {
        let mut bodies = Bodies::new(self.journal_place.clone());
        let mut dirs = self.directories(&fold, &mut bodies, is_changed)?;
        let mut opened = OpenedReplicas::default();
        for (key, folded) in fold.replicas {
            let replica_gen = folded.state.meta.replica_gen;
            if dirs.remove(&(key, replica_gen)).is_none() {
                let quarantine = self.root.path(layout::QUARANTINE);
                let quarantined_batches = self.save_batches(&folded, &mut bodies, &quarantine)?;
                let end = folded.state.end;
                opened.missing.push(MissingReplica {
                    key,
                    replica_gen,
                    end,
                    quarantined_batches,
                });
                let state = ReplicaState {
                    intact: false,
                    ..folded.state
                };
                opened.replicas.missing.push(state);
                opened.states.push(state);
                continue;
            }
            let home = Home {
                key,
                number: opened.next_number,
                replica_gen,
                pool: Arc::clone(&self.pool),
            };
            opened.next_number += 1;
            let was_intact = folded.state.intact;
            let recovery = Recovery {
                home: home.clone(),
                config: self.config.segment,
                unsynced,
                bodies: &mut bodies,
                verdicts: &mut *verdicts,
                is_compaction_unknown: false,
                damage: None,
            };
            let recovered = recovery.run(folded)?;
            *is_changed |= recovered.is_changed || recovered.state.intact != was_intact;
            opened.facts.push(self.facts(&home, &recovered));
            opened.states.push(recovered.state);
            let budget = Arc::clone(&self.budget);
            let (segments, state) = (recovered.segments, recovered.state);
            let meta = Some(state.meta);
            let config = self.config.segment;
            let replica = Replica::new(home, config, segments, state, meta, budget);
            replica.lock_applied().compacted = recovered.compacted;
            if let Some(damage) = recovered.damage {
                replica.note_damage(damage);
            }
            opened.replicas.by_key.insert(key, Arc::new(replica));
        }
        Ok(opened)
    }

    fn facts(&self, home: &Home, recovered: &Recovered) -> ReplicaFacts {
        let state = &recovered.state;
        let compacted = recovered.compacted.as_ref();
        let untold = Untold {
            log_start: state.log_start,
            thinned_end: compacted.map(|known| known.thinned_end).unwrap_or_default(),
        };
        let snapshot = snapshot::recover(&self.root.vfs, &home.dir(), untold);
        if let Err(what) = snapshot {
            let key = state.key;
            tracing::error!(replica = %key, what, "what producers did before is not known any more");
        }
        ReplicaFacts {
            key: state.key,
            replica_gen: state.meta.replica_gen,
            leader_epoch: state.meta.leader_epoch,
            version: state.meta.version,
            recovery_gen: state.meta.recovery_gen,
            high_watermark: state.high_watermark,
            log_start: state.log_start,
            end: state.end,
            intact: state.intact && snapshot.is_ok(),
            torn_bytes: recovered.torn_bytes,
            damage: recovered.damage.clone(),
            last_append_ms: state.last_append_ms,
            snapshot: snapshot
                .ok()
                .flatten()
                .filter(|(as_of, _)| *as_of <= state.end),
        }
    }
}

#[derive(Debug, Default)]
struct OpenedReplicas {
    replicas: Replicas,
    states: Vec<ReplicaState>,
    facts: Vec<ReplicaFacts>,
    missing: Vec<MissingReplica>,
    next_number: u64,
}

fn take_lock(root: &Place) -> Result<Arc<dyn VfsFile>, OpenError> {
    let path = root.path(layout::LOCK);
    let fault = |source| OpenError::io(&path, source);
    let lock = root.vfs.create(&path).map_err(fault)?;
    if lock.try_lock().map_err(fault)? {
        Ok(lock)
    } else {
        Err(OpenError::InUse {
            dir: root.root.to_path_buf(),
        })
    }
}
