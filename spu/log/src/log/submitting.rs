//! What callers hand in: replicas made and given up, and entries of theirs.
//!
//! Invariant: what is queued about a key is queued under the registry's lock, so that the queue and
//! the registry, which every checkpoint is made from, never tell different stories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::Log;
use super::items::Items;
use crate::checkpoint::ReplicaState;
use crate::entry::{Entry, Item, Submission};
use crate::error::{Context as _, CreateError, LogDead, SubmitError};
use crate::layout;
use crate::replica::Replica;
use crate::segment::{Home, SegmentConfig};
use crate::segments::{Segments, none_closed};

/// A replica that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewReplica {
    /// Which partition.
    pub key: ReplicaKey,
    /// For which membership.
    pub replica_gen: ReplicaGen,
    /// When its segments are closed.
    pub config: SegmentConfig,
}

impl Log {
    /// Makes a replica with an empty log. Blocks: makes its directory. What makes it known after a
    /// restart is in the journal before any entry of it.
    pub fn create_replica(
        &self,
        key: ReplicaKey,
        replica_gen: ReplicaGen,
        config: SegmentConfig,
    ) -> Result<Arc<Replica>, CreateError> {
        let mut made = self.create_replicas(&[NewReplica {
            key,
            replica_gen,
            config,
        }])?;
        made.pop().unwrap_or(Err(CreateError::Exists(key)))
    }

    /// Makes many, with one sync of their names and one submission; an answer for each, in order.
    pub fn create_replicas(
        &self,
        wanted: &[NewReplica],
    ) -> Result<Vec<Result<Arc<Replica>, CreateError>>, LogDead> {
        let inner = &self.inner;
        inner.check_alive()?;
        let made = self.make_directories(wanted)?;
        let mut items = Items::default();
        let mut answers = Vec::with_capacity(made.len());
        let mut replicas = inner.registry.write();
        for (made, new) in made.into_iter().zip(wanted) {
            let replica = match made {
                Ok(replica) if !replicas.by_key.contains_key(&new.key) => replica,
                Ok(_) => {
                    answers.push(Err(CreateError::Exists(new.key)));
                    continue;
                }
                Err(refused) => {
                    answers.push(Err(refused));
                    continue;
                }
            };
            let (key, replica_gen) = (new.key, new.replica_gen);
            items.push((Arc::clone(&replica), Item::Created { key, replica_gen }));
            replicas.by_key.insert(key, Arc::clone(&replica));
            answers.push(Ok(replica));
        }
        // Under the lock: a checkpoint that covers the round of this knows the replicas, and no entry
        // of theirs is queued before.
        if let Err(dead) = inner.enqueue(None, items) {
            for made in answers.iter().flatten() {
                replicas.by_key.remove(&made.key());
            }
            return Err(dead);
        }
        if !replicas.missing.is_empty() {
            let made: BTreeSet<ReplicaKey> =
                answers.iter().flatten().map(|made| made.key()).collect();
            replicas
                .missing
                .retain(|missing| !made.contains(&missing.key));
        }
        Ok(answers)
    }

    /// The directories of new replicas, their names synced; an error for a key that is there already,
    /// or when there is no room for it.
    fn make_directories(
        &self,
        wanted: &[NewReplica],
    ) -> Result<Vec<Result<Arc<Replica>, CreateError>>, LogDead> {
        let inner = &self.inner;
        let path = inner.root.path(layout::REPLICAS);
        let mut made = Vec::with_capacity(wanted.len());
        for NewReplica {
            key,
            replica_gen,
            config,
        } in wanted
        {
            if inner.registry.get(*key).is_some() {
                made.push(Err(CreateError::Exists(*key)));
                continue;
            }
            let dir = path.join(layout::replica_dir(*key, *replica_gen));
            let create = || inner.root.vfs.create_dir(&dir);
            match inner.with_reserve(|| create().during("create directory", &dir)) {
                Ok(()) => {}
                Err(error) if error.is_passing() => {
                    made.push(Err(CreateError::NoRoom(inner.fail(&error))));
                    continue;
                }
                Err(error) => return Err(inner.kill(&error)),
            }
            let home = Home {
                key: *key,
                number: inner.next_number.fetch_add(1, Ordering::Relaxed),
                replica_gen: *replica_gen,
                pool: Arc::clone(&inner.pool),
            };
            let segments = Segments {
                home: home.clone(),
                closed: none_closed(),
                active: None,
                end: Offset::ZERO,
            };
            let state = ReplicaState::new(*key, *replica_gen);
            let budget = Arc::clone(&inner.budget);
            let replica = Replica::new(home, *config, segments, state, None, budget);
            made.push(Ok(Arc::new(replica)));
        }
        if made.iter().any(Result::is_ok) {
            let synced = inner.root.vfs.sync_dir(&path);
            synced
                .during("sync directory", &path)
                .map_err(|error| inner.kill(&error))?;
        }
        Ok(made)
    }

    /// Gives a replica up: it is gone for callers at once, and its directory is moved to `trash/`
    /// when the journal says so durably.
    pub fn retire_replica(&self, key: ReplicaKey) -> Result<(), SubmitError> {
        let inner = &self.inner;
        inner.check_alive()?;
        // Held while queuing: whatever is queued about the key later is of its successor.
        let mut replicas = inner.registry.write();
        let replica = replicas
            .by_key
            .remove(&key)
            .ok_or(SubmitError::UnknownReplica(key))?;
        replicas
            .retiring
            .insert(replica.home.number, Arc::clone(&replica));
        let item = Item::Retired {
            key,
            replica_gen: replica.replica_gen(),
        };
        let mut items = Items::default();
        items.push((replica, item));
        inner.enqueue(None, items)?;
        Ok(())
    }

    /// Hands entries to the journal, all of them in one round, and makes their batches visible.
    /// Never blocks. All of it is refused, or none. Entries of one replica come from one thread at
    /// a time: the shard that owns it.
    pub fn submit(&self, mut submission: Submission) -> Result<(), SubmitError> {
        self.submit_from(submission.shard, &mut submission.entries)
    }

    /// As [`Self::submit`], for those who use the room of `entries` again: it is empty afterwards.
    pub fn submit_from(&self, shard: u16, entries: &mut Vec<Entry>) -> Result<(), SubmitError> {
        // Whatever becomes of them.
        let entries = entries.drain(..);
        let inner = &self.inner;
        inner.check_alive()?;
        let mut items = Items::default();
        let replicas = inner.registry.read();
        // Entries of one replica mostly stand together: the map holds the ends of earlier ones.
        let mut current: Option<(Arc<Replica>, Offset)> = None;
        let mut ends: BTreeMap<ReplicaKey, Offset> = BTreeMap::new();
        for entry in entries {
            let key = entry.key();
            let (replica, end) = match &mut current {
                Some((replica, end)) if replica.key() == key => (&*replica, end),
                _ => {
                    let found = replicas
                        .by_key
                        .get(&key)
                        .ok_or(SubmitError::UnknownReplica(key))?;
                    let end = ends.get(&key).copied().unwrap_or_else(|| found.end());
                    if let Some((before, end)) = current.replace((Arc::clone(found), end)) {
                        ends.insert(before.key(), end);
                    }
                    let (replica, end) = current.as_mut().expect("it was set just now");
                    (&*replica, end)
                }
            };
            match &entry {
                Entry::Batch(batch) => {
                    replica.check_next(*end, batch)?;
                    *end = batch.next_offset();
                }
                Entry::Cut { to, .. } => *end = (*end).min(*to),
                Entry::Trim { to, .. } => *end = (*end).max(*to),
                Entry::Meta { .. } | Entry::Snapshot { .. } | Entry::HighWatermark { .. } => {}
            }
            items.push((Arc::clone(replica), Item::Entry(entry)));
        }
        for (replica, item) in items.iter() {
            if let Item::Entry(entry) = item {
                replica.submitted(entry);
            }
        }
        inner.enqueue(Some(shard), items)?;
        Ok(())
    }
}
