//! Copies of the database in memory, and one made of a copy.

use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::StoreId;
use tidegate_sc_core::change::{Change, Kind};
use uuid::Uuid;

use super::MemoryStore;
use super::state::{Made, Row, State};
use crate::limits::{PRODUCER_IDS_PER_ADOPTION, REVISIONS_PER_ADOPTION};
use crate::store::backup::{
    Adoption, Backup, BackupHead, Backups, NOT_YET, Record, RestoreError, Tombstone,
};
use crate::store::fault::{BoxFuture, StoreError};
use crate::store::meta_store::revision_at_least;
use crate::store::rows::version_after;

impl Backups for MemoryStore {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>> {
        Box::pin(self.reach(|state| state.backup()))
    }

    fn restore<'a>(
        &'a self,
        backup: &'a Backup,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, RestoreError>> {
        Box::pin(async move {
            backup.check()?;
            let backup = backup.restored(at_ms);
            let restored = self.reach(move |state| state.restore(backup)).await?;
            if let Ok((_, revision)) = restored {
                self.database().committed.send_replace(revision);
            }
            restored.map(|(id, _)| id)
        })
    }
}

impl State {
    /// An operator takes the database for good, under the identity `id`.
    pub(super) fn adopt(&mut self, id: StoreId, actor: &str, at_ms: i64) {
        let passed = self.revision + REVISIONS_PER_ADOPTION;
        self.revision = passed.max(revision_at_least(at_ms));
        self.events_floor = self.revision;
        self.begin_at(self.revision, self.chain);
        let revision = i64::try_from(self.revision).unwrap_or(i64::MAX);
        for waiting in self.adoptions.values_mut() {
            if waiting.revision == NOT_YET {
                waiting.revision = revision;
            }
        }
        for (store_id, actor) in [(self.store_id, ""), (id, actor)] {
            let adoption = Adoption {
                store_id,
                actor: actor.to_owned(),
                revision,
                at_ms,
            };
            self.adoptions.entry(store_id).or_insert(adoption);
        }
        self.store_id = id;
        self.next_producer_id += PRODUCER_IDS_PER_ADOPTION;
    }

    /// See the trait.
    pub(super) fn answer_for(&mut self, store_id: StoreId, at_ms: i64) {
        let revision = i64::try_from(self.revision).unwrap_or(i64::MAX);
        let adoption = self.adoptions.entry(store_id).or_insert(Adoption {
            store_id,
            actor: String::new(),
            revision,
            at_ms,
        });
        adoption.revision = adoption.revision.max(0);
    }

    pub(super) fn has_been(&self, id: StoreId) -> bool {
        let adopted = self.adoptions.get(&id);
        self.store_id == id || adopted.is_some_and(|adopted| adopted.revision != NOT_YET)
    }

    fn backup(&self) -> Backup {
        let head = BackupHead {
            cluster_id: self.cluster_id,
            store_id: self.store_id,
            revision: self.revision,
            chain: self.chain,
            next_producer_id: self.next_producer_id,
            lease_epoch: self.lease.epoch,
        };
        let tombstones = self.tombstones.values().cloned().map(Record::Tombstone);
        let adoptions = self.adoptions.values().cloned().map(Record::Adoption);
        let receipts = self.ledger.receipts.values().cloned().map(Record::Receipt);
        let tokens = self.ledger.tokens.values().cloned().map(Record::JoinToken);
        let certificates = self.ledger.certificates.values().cloned();
        let certificates = certificates.map(Record::Certificate);
        let records = self.rows.values().map(|row| Record::Row(row.put.clone()));
        let records = records.chain(tombstones).chain(adoptions);
        let records = records.chain(receipts).chain(tokens).chain(certificates);
        Backup::new(head, records.collect())
    }

    fn restore(&mut self, backup: Backup) -> Result<(StoreId, u64), RestoreError> {
        if self.revision > 0 || !self.backup().records.is_empty() {
            let revision = self.revision;
            return Err(RestoreError::NotEmpty { revision });
        }
        let damaged = |what: &str| RestoreError::Store(StoreError::Damaged(what.to_owned()));
        let Backup { head, records } = backup;
        let mut new = Self::restored(&head, StoreId(Uuid::new_v4()), self.now_ms);
        for record in records {
            match record {
                Record::Row(put) => new.put_row(put),
                Record::Tombstone(gone) => {
                    let kind = Kind::parse(&gone.kind);
                    new.bury(
                        kind.ok_or_else(|| damaged("the kind of a tombstone"))?,
                        gone,
                    );
                }
                Record::Adoption(it) => drop(new.adoptions.insert(it.store_id, it)),
                Record::Receipt(it) => {
                    let key = (it.principal.clone(), it.key.clone());
                    new.ledger.receipts.insert(key, it);
                }
                Record::JoinToken(it) => drop(new.ledger.tokens.insert(it.hash, it)),
                Record::Certificate(it) => {
                    new.ledger.certificates.insert(it.serial.clone(), it);
                }
            }
        }
        *self = new;
        Ok((self.store_id, self.revision))
    }

    /// One that was made of a backup and has no rows yet.
    fn restored(head: &BackupHead, store_id: StoreId, now_ms: i64) -> Self {
        let mut state = Self::new(head.cluster_id, store_id);
        state.now_ms = now_ms;
        state.revision = head.revision;
        state.chain = head.chain;
        state.events_floor = head.revision;
        state.next_producer_id = head.next_producer_id;
        state.lease.epoch = head.lease_epoch;
        if head.revision > 0 {
            state.begin_at(head.revision, head.chain);
        }
        state
    }

    /// Notes where the history begins; what was made before it is not taken back any more.
    fn begin_at(&mut self, revision: u64, chain: ChainHash) {
        let made = Made {
            id: Uuid::new_v4(),
            events: Vec::new(),
            chain,
        };
        self.commits.insert(revision, made);
        self.undo.clear();
    }

    fn put_row(&mut self, put: Change) {
        let key = (put.kind(), put.row_key());
        let version = version_after(&put);
        self.set(key, Some(Row { version, put }));
    }

    fn bury(&mut self, kind: Kind, tombstone: Tombstone) {
        let key = (kind, tombstone.row_key.clone());
        self.tombstones.insert(key, tombstone);
    }
}
