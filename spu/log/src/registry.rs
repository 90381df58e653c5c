//! The replicas of a log by key, with those on their way out and those whose directory is gone.
//!
//! Invariant: a replica that may still have entries in the journal is in exactly one of the three,
//! so that every checkpoint speaks of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tidegate_proto::position::ReplicaKey;

use crate::checkpoint::ReplicaState;
use crate::replica::Replica;

#[derive(Debug, Default)]
pub(crate) struct Registry {
    replicas: RwLock<Replicas>,
}

#[derive(Debug, Default)]
pub(crate) struct Replicas {
    pub(crate) by_key: HashMap<ReplicaKey, Arc<Replica>>,
    /// Given up, directory not yet in the trash; by the number of the open replica, so oldest first.
    pub(crate) retiring: BTreeMap<u64, Arc<Replica>>,
    /// Known to the checkpoint, directory missing.
    pub(crate) missing: Vec<ReplicaState>,
}

impl Registry {
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Replicas> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Replicas> {
        self.replicas
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, key: ReplicaKey) -> Option<Arc<Replica>> {
        self.read().by_key.get(&key).map(Arc::clone)
    }

    /// All replicas, sorted by key.
    pub(crate) fn all(&self) -> Vec<Arc<Replica>> {
        let mut all: Vec<_> = self.read().by_key.values().map(Arc::clone).collect();
        all.sort_by_key(|replica| replica.key());
        all
    }

    /// What a checkpoint that is about to be saved says: every replica's applied state, sorted by key. Of one key only the
    /// oldest that is not in the trash yet: it is given up, and its successor made, in rounds that
    /// the checkpoint does not cover.
    pub(crate) fn states(&self) -> Vec<ReplicaState> {
        let (retiring, open, mut states) = {
            let replicas = self.read();
            let open: Vec<_> = replicas
                .retiring
                .values()
                .chain(replicas.by_key.values())
                .map(Arc::clone)
                .collect();
            (replicas.retiring.len(), open, replicas.missing.clone())
        };
        let mut given_up = BTreeSet::new();
        for (number, replica) in open.iter().enumerate() {
            let applied = replica.lock_applied();
            if applied.is_retired || given_up.contains(&replica.key()) {
                continue;
            }
            if number < retiring {
                given_up.insert(replica.key());
            }
            let (tail_base, tail_len) = applied.segments.tail();
            let end = applied.segments.end;
            states.push(ReplicaState {
                end,
                tail_base,
                tail_len,
                ..applied.state
            });
        }
        states.sort_by_key(|state| (state.key, state.meta.replica_gen));
        states
    }

    /// Takes note of a checkpoint that is on disk, by its states in order. Not before it is: until then
    /// the next start compares with the one before.
    pub(crate) fn checkpointed(&self, states: &[ReplicaState]) {
        let open: Vec<_> = {
            let replicas = self.read();
            let open = replicas.retiring.values().chain(replicas.by_key.values());
            open.map(Arc::clone).collect()
        };
        for replica in open {
            let name = (replica.key(), replica.replica_gen());
            let found = states.binary_search_by_key(&name, |it| (it.key, it.meta.replica_gen));
            if let Ok(number) = found {
                replica.lock_applied().state.tail_base = states[number].tail_base;
            }
        }
    }
}
