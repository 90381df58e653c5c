//! The database in memory: what the SQL stores do, written down plainly.
//!
//! The conformance suite and the generated histories hold it to them. Invariant: a commit that is
//! refused leaves no trace; one that is taken back leaves what there was before it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId, TopicId};
use tidegate_sc_core::change::{Change, Kind};
use tidegate_sc_core::model::Model;
use uuid::Uuid;

use super::lease::Lease;
use super::ledger::LedgerState;
use crate::limits::STORE_LOCK_TIMEOUT;
use crate::store::backup::{Adoption, Tombstone};
use crate::store::chain;
use crate::store::fault::StoreError;
use crate::store::meta_store::{ApplyError, ChainAt, Commit, Event, EventsError, Kept};
use crate::store::rows::{by_kind, end_of, leaves_tombstone, version_after};

/// Commits that can be taken back.
pub(crate) const UNDO_MAX: usize = 256;
/// How long a commit hangs by the database's clock: longer than anybody waits for a row.
const HANGING_MAX: Duration = Duration::from_secs(5);

pub(super) type RowKey = (Kind, String);

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) version: u64,
    pub(super) put: Change,
}

#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: Uuid,
    pub(super) events: Vec<Event>,
    pub(super) chain: ChainHash,
}

/// How to take a commit back: what there was in each row it touched, and beside them.
#[derive(Debug)]
pub(super) struct Undo {
    rows: Vec<(RowKey, Option<Row>)>,
    tombstones: Vec<RowKey>,
    chain: ChainHash,
    next_producer_id: u64,
    lease: Lease,
}

/// A commit that holds the row which all commits take, until its time has come.
#[derive(Debug)]
struct Hanging {
    commit: Commit,
    until_ms: i64,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) cluster_id: ClusterId,
    pub(super) store_id: StoreId,
    pub(super) adoptions: BTreeMap<StoreId, Adoption>,
    pub(super) revision: u64,
    pub(super) chain: ChainHash,
    pub(super) events_floor: u64,
    pub(super) next_producer_id: u64,
    pub(super) now_ms: i64,
    pub(super) ledger: LedgerState,
    pub(super) rows: BTreeMap<RowKey, Row>,
    /// The names by which events know the rows; no two rows have one name.
    names: BTreeMap<RowKey, String>,
    pub(super) tombstones: BTreeMap<RowKey, Tombstone>,
    pub(super) commits: BTreeMap<u64, Made>,
    pub(super) lease: Lease,
    pub(super) undo: VecDeque<Undo>,
    hanging: Option<Hanging>,
}

impl State {
    pub(super) fn new(cluster_id: ClusterId, store_id: StoreId) -> Self {
        Self {
            cluster_id,
            store_id,
            adoptions: BTreeMap::new(),
            revision: 0,
            chain: chain::start(cluster_id),
            events_floor: 0,
            next_producer_id: 1,
            now_ms: 0,
            ledger: LedgerState::default(),
            rows: BTreeMap::new(),
            names: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            commits: BTreeMap::new(),
            lease: Lease::default(),
            undo: VecDeque::new(),
            hanging: None,
        }
    }

    pub(super) fn snapshot(&self) -> Result<Model, StoreError> {
        let puts = self.rows.values().map(|row| row.put.clone());
        Model::from_puts(self.cluster_id, self.revision, puts)
            .map_err(|error| StoreError::Damaged(error.to_string()))
    }

    /// A commit that is to be made later; from now on nobody else commits.
    pub(super) fn hang(&mut self, commit: &Commit) -> Result<(), ApplyError> {
        self.take_turn()?;
        self.check(commit)?;
        // What can conflict conflicts now.
        let mut undo = self.before();
        let changed = self.change_rows(commit, &mut undo);
        self.put_back(undo.rows);
        changed?;
        let until_ms = self.until_ms(HANGING_MAX);
        let commit = commit.clone();
        self.hanging = Some(Hanging { commit, until_ms });
        Ok(())
    }

    /// Makes what hangs, when its time has come or `is_now`.
    pub(super) fn let_through(&mut self, is_now: bool) -> Option<u64> {
        let until_ms = self.hanging.as_ref()?.until_ms;
        if !is_now && self.now_ms < until_ms {
            return None;
        }
        let Hanging { commit, .. } = self.hanging.take()?;
        // Only a receipt may have been written meanwhile: then it is never made.
        self.apply(&commit).ok()
    }

    /// True while a commit under a lease holds that up.
    pub(super) fn holds_lease_up(&self) -> bool {
        let hanging = self.hanging.as_ref();
        hanging.is_some_and(|hanging| hanging.commit.lease.is_some())
    }

    /// Waits in vain for the row that all commits take, if one holds it.
    pub(super) fn take_turn(&self) -> Result<(), StoreError> {
        match self.hanging {
            Some(_) => Err(StoreError::Slow(STORE_LOCK_TIMEOUT)),
            None => Ok(()),
        }
    }

    pub(super) fn apply(&mut self, commit: &Commit) -> Result<u64, ApplyError> {
        self.take_turn()?;
        self.check(commit)?;
        let mut undo = self.before();
        if let Err(conflict) = self.change_rows(commit, &mut undo) {
            self.put_back(undo.rows);
            return Err(conflict);
        }
        if let Some(receipt) = &commit.receipt {
            self.ledger.put_receipt(receipt, commit.at_ms);
        }
        self.revision += 1;
        self.chain = chain::next(self.chain, chain::digest(commit));
        for gone in commit.changes.iter().filter(|change| change.is_delete()) {
            if leaves_tombstone(gone.kind()) {
                let key = (gone.kind(), gone.row_key());
                let tombstone = Tombstone {
                    kind: key.0.as_str().to_owned(),
                    row_key: key.1.clone(),
                    name: gone.key(),
                    revision: self.revision,
                    deleted_at_ms: commit.at_ms,
                };
                self.tombstones.insert(key.clone(), tombstone);
                undo.tombstones.push(key);
            }
        }
        self.note(commit);
        self.undo.push_back(undo);
        if self.undo.len() > UNDO_MAX {
            self.undo.pop_front();
        }
        Ok(self.revision)
    }

    /// As a failover does: what hangs is gone as well.
    pub(super) fn undo_last(&mut self) {
        self.hanging = None;
        let undo = self
            .undo
            .pop_back()
            .expect("a commit that can be taken back");
        self.put_back(undo.rows);
        for key in undo.tombstones {
            self.tombstones.remove(&key);
        }
        self.commits.remove(&self.revision);
        self.revision -= 1;
        self.events_floor = self.events_floor.min(self.revision);
        self.chain = undo.chain;
        self.next_producer_id = undo.next_producer_id;
        self.lease = undo.lease;
    }

    pub(super) fn committed(&self, id: Uuid) -> Result<Option<u64>, StoreError> {
        self.take_turn()?;
        let found = self.commits.iter().find(|(_, made)| made.id == id);
        Ok(found.map(|(revision, _)| *revision))
    }

    pub(super) fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> Result<Vec<Event>, EventsError> {
        if revision < self.events_floor {
            let floor = self.events_floor;
            return Err(EventsError::Compacted { floor });
        }
        let last = revision.saturating_add(revisions_max);
        if revision >= last {
            return Ok(Vec::new());
        }
        let made = self.commits.range(revision + 1..=last);
        Ok(made.flat_map(|(_, made)| made.events.clone()).collect())
    }

    pub(super) fn chain_at(&self, revision: u64) -> ChainAt {
        match self.commits.get(&revision) {
            Some(made) => ChainAt::Known(made.chain),
            None if revision > self.revision => ChainAt::Ahead {
                revision: self.revision,
            },
            None if revision == 0 => ChainAt::Known(chain::start(self.cluster_id)),
            None => ChainAt::Compacted {
                floor: self.events_floor,
            },
        }
    }

    pub(super) fn compact_events(&mut self, kept: Kept) -> Result<(), StoreError> {
        self.take_turn()?;
        let mut rows = 0;
        let beyond = self.commits.iter().rev().find(|(_, made)| {
            rows += made.events.len() as u64;
            rows > kept.rows
        });
        let by_rows = beyond.map_or(0, |(revision, _)| *revision);
        let wanted = by_rows.max(self.revision.saturating_sub(kept.revisions));
        let newest = self.revision.saturating_sub(1);
        self.events_floor = self.events_floor.max(wanted.min(newest));
        let floor = self.events_floor;
        self.commits.retain(|revision, _| *revision >= floor);
        if let Some(made) = self.commits.get_mut(&floor) {
            made.events.clear();
        }
        Ok(())
    }

    pub(super) fn is_deleted(&self, id: TopicId) -> bool {
        self.tombstones.contains_key(&(Kind::Topic, id.to_string()))
    }

    fn before(&self) -> Undo {
        Undo {
            rows: Vec::new(),
            tombstones: Vec::new(),
            chain: self.chain,
            next_producer_id: self.next_producer_id,
            lease: self.lease.clone(),
        }
    }

    fn check(&self, commit: &Commit) -> Result<(), ApplyError> {
        if let Some(epoch) = commit.lease
            && epoch.0 != self.lease.epoch
        {
            return Err(ApplyError::Fenced(epoch));
        }
        if let Some(receipt) = &commit.receipt
            && self.ledger.has_receipt(receipt, commit.at_ms)
        {
            return Err(ApplyError::Repeated);
        }
        let holds = commit.guards.iter().all(|guard| {
            let row = self.rows.get(&(guard.kind, guard.row_key.clone()));
            row.is_some_and(|row| row.version == guard.version)
        });
        let is_there = commit.at_revision.is_none_or(|at| at == self.revision);
        let is_seen = commit.seen.is_none_or(|(revision, hash)| {
            let made = self.commits.get(&revision);
            revision == 0 || made.is_some_and(|made| made.chain == hash)
        });
        if holds && is_there && is_seen {
            Ok(())
        } else {
            Err(ApplyError::Conflict)
        }
    }

    fn change_rows(&mut self, commit: &Commit, undo: &mut Undo) -> Result<(), ApplyError> {
        for rows in by_kind(&commit.changes) {
            for change in &rows.deletes {
                self.expect(change)?;
                undo.rows
                    .push(self.set((rows.kind, change.row_key()), None));
                let Some((kind, prefix)) = change.takes_along() else {
                    continue;
                };
                let range = (kind, prefix.clone())..(kind, end_of(&prefix));
                let along: Vec<RowKey> =
                    self.rows.range(range).map(|(key, _)| key.clone()).collect();
                for key in along {
                    undo.rows.push(self.set(key, None));
                }
            }
            for change in rows.inserts.iter().chain(&rows.updates) {
                self.expect(change)?;
                let key = (rows.kind, change.row_key());
                let name = self.names.get(&(rows.kind, change.key()));
                let is_taken = name.is_some_and(|owner| *owner != key.1);
                if is_taken || self.was_used(change) {
                    return Err(ApplyError::Conflict);
                }
                let row = Row {
                    version: version_after(change),
                    put: (*change).clone(),
                };
                undo.rows.push(self.set(key, Some(row)));
            }
        }
        Ok(())
    }

    /// True when what the change makes had a namesake that was deleted too late for it.
    fn was_used(&self, change: &Change) -> bool {
        change.name_unused_since().is_some_and(|since| {
            let mut gone = self.tombstones.values();
            gone.any(|gone| gone.name == change.key() && gone.revision > since)
        })
    }

    fn expect(&self, change: &Change) -> Result<(), ApplyError> {
        let row = self.rows.get(&(change.kind(), change.row_key()));
        if row.map_or(0, |row| row.version) == change.expected_version() {
            Ok(())
        } else {
            Err(ApplyError::Conflict)
        }
    }

    /// Puts a row in place, and gives what was there.
    pub(super) fn set(&mut self, key: RowKey, row: Option<Row>) -> (RowKey, Option<Row>) {
        let before = match row {
            Some(row) => {
                let name = (key.0, row.put.key());
                self.names.insert(name, key.1.clone());
                self.rows.insert(key.clone(), row)
            }
            None => self.rows.remove(&key),
        };
        if let Some(before) = &before {
            let name = (key.0, before.put.key());
            let is_still_named = self
                .rows
                .get(&key)
                .is_some_and(|row| row.put.key() == name.1);
            if !is_still_named {
                self.names.remove(&name);
            }
        }
        (key, before)
    }

    fn put_back(&mut self, rows: Vec<(RowKey, Option<Row>)>) {
        // Those that went last come back first: a name may have changed hands.
        for (key, row) in rows.into_iter().rev() {
            self.set(key, row);
        }
    }

    fn note(&mut self, commit: &Commit) {
        let event = |(change, seq): (&Change, u32)| Event {
            revision: self.revision,
            seq,
            change: change.clone(),
            actor: commit.actor.clone(),
            request_id: commit.request_id.clone(),
            at_ms: commit.at_ms,
            chain: self.chain,
        };
        let made = Made {
            id: commit.id,
            events: commit.changes.iter().zip(0..).map(event).collect(),
            chain: self.chain,
        };
        self.commits.insert(self.revision, made);
    }
}
