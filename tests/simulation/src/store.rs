//! The metadata store as controllers see it: conditional commits, one after the other, and a lease.
//!
//! The state is the core's own model, whose check decides what fits. It may be down, lose answers, and do
//! what was asked later than anybody hoped. Invariant: a commit is made once or never, and whoever looks
//! it up is told the last word.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidegate_proto::id::ClusterId;
use tidegate_sc_core::change::{Change, Guard};
use tidegate_sc_core::invariant::{check_state, check_step};
use tidegate_sc_core::model::Model;

use crate::queue::Time;

/// What is to be committed, and on what condition.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    pub(crate) id: u64,
    pub(crate) changes: Vec<Change>,
    pub(crate) guards: Vec<Guard>,
    /// Nothing may have changed since that revision.
    pub(crate) at_revision: Option<u64>,
    /// The lease must be held in this epoch.
    pub(crate) lease: Option<u64>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Made,
    Conflict,
    Fenced,
    /// A look-up: it was not made, and never will be.
    NotMade,
}

/// Who controls, and until when.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lease {
    pub(crate) holder: u32,
    pub(crate) epoch: u64,
    until: Time,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) model: Arc<Model>,
    made: BTreeMap<u64, ()>,
    /// Asked for and not made yet; the answer is lost.
    hanging: BTreeMap<u64, Commit>,
    lease: Lease,
    /// How many faults keep it down, and lose its answers.
    pub(crate) down: u32,
    pub(crate) unknown: u32,
}

impl Store {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self {
            model: Arc::new(Model::empty(cluster)),
            made: BTreeMap::new(),
            hanging: BTreeMap::new(),
            lease: Lease::default(),
            down: 0,
            unknown: 0,
        }
    }

    /// Makes a commit, or does not. An error is a broken invariant.
    pub(crate) fn apply(&mut self, commit: &Commit) -> Result<Fate, String> {
        if self.made.contains_key(&commit.id) {
            return Ok(Fate::Made);
        }
        if commit.lease.is_some_and(|epoch| epoch != self.lease.epoch) {
            return Ok(Fate::Fenced);
        }
        let at = commit.at_revision;
        let is_there = at.is_none_or(|revision| revision == self.model.revision);
        if !is_there || !self.model.accepts(&commit.changes, &commit.guards) {
            return Ok(Fate::Conflict);
        }
        let mut after = (*self.model).clone();
        after.commit(self.model.revision + 1, &commit.changes);
        check_state(&after).map_err(|breach| format!("{breach:?}"))?;
        check_step(&self.model, &after).map_err(|breach| format!("{breach:?}"))?;
        self.model = Arc::new(after);
        self.made.insert(commit.id, ());
        Ok(Fate::Made)
    }

    pub(crate) fn hang(&mut self, commit: Commit) {
        self.hanging.insert(commit.id, commit);
    }

    /// Makes what hangs, if nobody looked it up before.
    pub(crate) fn let_through(&mut self, id: u64) -> Result<(), String> {
        match self.hanging.remove(&id) {
            Some(commit) => self.apply(&commit).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The last word on a commit.
    pub(crate) fn look_up(&mut self, id: u64) -> Result<Fate, String> {
        self.let_through(id)?;
        Ok(if self.made.contains_key(&id) {
            Fate::Made
        } else {
            Fate::NotMade
        })
    }

    /// Takes or renews the lease; none while another holds it.
    pub(crate) fn acquire(&mut self, holder: u32, now: Time, duration: Time) -> Option<u64> {
        let lease = &mut self.lease;
        if lease.epoch > 0 && lease.holder == holder && now < lease.until {
            lease.until = now + duration;
            return Some(lease.epoch);
        }
        if now < lease.until {
            return None;
        }
        *lease = Lease {
            holder,
            epoch: lease.epoch + 1,
            until: now + duration,
        };
        Some(lease.epoch)
    }
}
