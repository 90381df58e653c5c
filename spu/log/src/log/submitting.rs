//! What callers hand in: replicas made and given up, and entries of theirs.
//!
//! Invariant: what is queued about a key is queued under the registry's lock, so that the queue and
//! the registry, which every checkpoint is made from, never tell different stories.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::Log;
use crate::checkpoint::ReplicaState;
use crate::durable;
use crate::entry::{Entry, Item, Submission};
use crate::error::{CreateError, SubmitError};
use crate::layout;
use crate::replica::Replica;
use crate::segment::{Home, SegmentConfig};
use crate::segments::Segments;

impl Log {
    /// Makes a replica with an empty log. Blocks: makes its directory. What makes it known after a
    /// restart is in the journal before any entry of it.
    pub fn create_replica(
        &self,
        key: ReplicaKey,
        replica_gen: ReplicaGen,
        config: SegmentConfig,
    ) -> Result<Arc<Replica>, CreateError> {
        let inner = &self.inner;
        inner.check_alive()?;
        if inner.registry.get(key).is_some() {
            return Err(CreateError::Exists(key));
        }
        let path = inner.root.path(layout::REPLICAS);
        let name = layout::replica_dir(key, replica_gen);
        durable::create_dir(&*inner.root.vfs, &path, &name).map_err(|error| inner.kill(&error))?;
        let home = Home {
            key,
            number: inner.next_number.fetch_add(1, Ordering::Relaxed),
            dir: path.join(name).into(),
            pool: Arc::clone(&inner.pool),
        };
        let segments = Segments {
            home: home.clone(),
            closed: Arc::default(),
            active: None,
            end: Offset::ZERO,
        };
        let state = ReplicaState::new(key, replica_gen);
        let budget = Arc::clone(&inner.budget);
        let replica = Arc::new(Replica::new(home, config, segments, state, None, budget));
        let item = Item::Created { key, replica_gen };
        let mut replicas = inner.registry.write();
        if replicas.by_key.contains_key(&key) {
            return Err(CreateError::Exists(key));
        }
        // Under the lock: a checkpoint that covers the round of this knows the replica, and no entry
        // of it is queued before.
        inner.enqueue(None, vec![(Arc::clone(&replica), item)])?;
        replicas.missing.retain(|missing| missing.key != key);
        replicas.by_key.insert(key, Arc::clone(&replica));
        Ok(replica)
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
        replicas.retiring.push(Arc::clone(&replica));
        let item = Item::Retired {
            key,
            replica_gen: replica.replica_gen(),
        };
        inner.enqueue(None, vec![(replica, item)])?;
        Ok(())
    }

    /// Hands entries to the journal, all of them in one round, and makes their batches visible.
    /// Never blocks. All of it is refused, or none. Entries of one replica come from one thread at
    /// a time: the shard that owns it.
    pub fn submit(&self, submission: Submission) -> Result<(), SubmitError> {
        let inner = &self.inner;
        inner.check_alive()?;
        let mut items = Vec::with_capacity(submission.entries.len());
        let replicas = inner.registry.read();
        // Entries of one replica mostly stand together: the map holds the ends of earlier ones.
        let mut current: Option<(Arc<Replica>, Offset)> = None;
        let mut ends: BTreeMap<ReplicaKey, Offset> = BTreeMap::new();
        for entry in submission.entries {
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
        for (replica, item) in &items {
            if let Item::Entry(entry) = item {
                replica.submitted(entry);
            }
        }
        inner.enqueue(Some(submission.shard), items)?;
        Ok(())
    }
}
