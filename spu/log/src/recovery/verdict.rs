//! Says durably that a replica is not intact, before recovery takes away what shows it: an opening
//! that is cut short after that must not be followed by one that finds nothing wrong.
//!
//! Invariant: nothing but the verdict changes in the checkpoint; its position stays, so the journal
//! is folded again.

use crate::checkpoint::{Checkpoint, ReplicaState};
use crate::error::DiskError;
use crate::vfs::Place;

#[derive(Debug)]
pub(crate) struct Verdicts {
    root: Place,
    checkpoint: Checkpoint,
}

impl Verdicts {
    /// `checkpoint` is the one that is on disk.
    pub(crate) fn new(root: Place, checkpoint: Checkpoint) -> Self {
        Self { root, checkpoint }
    }

    pub(super) fn not_intact(&mut self, state: &ReplicaState) -> Result<(), DiskError> {
        let replicas = &mut self.checkpoint.replicas;
        let known = replicas.iter_mut().find(|known| known.key == state.key);
        let made = ReplicaState::new(state.key, state.meta.replica_gen);
        match known {
            Some(known) if known.meta.replica_gen == made.meta.replica_gen => {
                if !known.intact {
                    return Ok(());
                }
                known.intact = false;
            }
            // The journal alone knows it: it was made after the checkpoint, as was all it holds.
            Some(before) => {
                *before = ReplicaState {
                    intact: false,
                    ..made
                }
            }
            None => replicas.push(ReplicaState {
                intact: false,
                ..made
            }),
        }
        replicas.sort_by_key(|state| (state.key, state.meta.replica_gen));
        self.checkpoint.save(&self.root)
    }
}
