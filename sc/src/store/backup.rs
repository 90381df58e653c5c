//! A backup: everything that a store holds, at one revision, in a form that any kind of store takes.
//!
//! In it are the rows of every kind, what was deleted and whom this store was before, and the ledger
//! (answers, hashes of join tokens, certificates). Not in it: the events before its revision, of which it
//! has the hash; who holds the lease; keys and secrets, which no store has; records.
//! Invariant: a store that was restored is another store to every node until an operator adopts it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId};
use tidegate_sc_core::change::{Change, Kind};
use tidegate_sc_core::model::{Model, ModelError};

use super::fault::{BoxFuture, StoreError};
use super::ledger::{JoinToken, NodeCertificate, Receipt};
use super::rows::{table, value, version_after};
use crate::limits::PRODUCER_IDS_PER_ADOPTION;

/// The revision of an adoption that was not made yet: the identity counts once the store is adopted.
pub(super) const NOT_YET: i64 = -1;

/// Epochs of the lease that a restore passes over: those of its holders since the backup. A million
/// takeovers, one every ten seconds, are four months of them.
pub(super) const LEASE_EPOCHS_PER_RESTORE: u64 = 1 << 20;

/// Which store, and how far it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupHead {
    pub cluster_id: ClusterId,
    pub store_id: StoreId,
    pub revision: u64,
    /// Over the history up to and including that revision.
    pub chain: ChainHash,
    pub next_producer_id: u64,
    pub lease_epoch: u64,
}

/// A topic that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    pub kind: String,
    pub row_key: String,
    pub name: String,
    pub revision: u64,
    pub deleted_at_ms: i64,
}

/// An identity of the store that an operator adopted, or adopted away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adoption {
    pub store_id: StoreId,
    /// Empty for one that was adopted away.
    pub actor: String,
    /// Of the store then; negative while that has not happened.
    pub revision: i64,
    pub at_ms: i64,
}

/// One row of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    Row(Change),
    Tombstone(Tombstone),
    Adoption(Adoption),
    Receipt(Receipt),
    JoinToken(JoinToken),
    Certificate(NodeCertificate),
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub head: BackupHead,
    /// By table and key.
    pub records: Vec<Record>,
}

/// Nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The store holds something already.
    #[error(
        "the metadata store is not empty: it is at revision {revision}. Restore into a new one"
    )]
    NotEmpty { revision: u64 },
    /// The rows of the backup cannot be of one state.
    #[error("the rows of the backup do not fit together")]
    Unfit(#[from] ModelError),
    /// A row of the backup is there twice.
    #[error("the backup has two rows {key} in its table {table}")]
    Twice { table: &'static str, key: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores that can be copied and made anew.
pub trait Backups {
    /// Everything in the store, at one revision.
    fn backup(&self) -> BoxFuture<'_, Result<Backup, StoreError>>;

    /// Makes an empty store the one that was backed up, under a new identity, in one transaction; it passes
    /// over producer ids and epochs of the lease that the old one may have given out since, and takes no
    /// join tokens along: they may have been used or taken back since. Open it anew afterwards.
    fn restore<'a>(
        &'a self,
        backup: &'a Backup,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, RestoreError>>;
}

impl Backup {
    /// One of what a store holds, in whatever order it was read.
    #[must_use]
    pub fn new(head: BackupHead, mut records: Vec<Record>) -> Self {
        records.sort_by_cached_key(|record| (record.place(), record.key()));
        Self { head, records }
    }

    /// The control state in it.
    ///
    /// # Errors
    /// Rows that cannot be of one state.
    pub fn model(&self) -> Result<Model, ModelError> {
        let rows = self.records.iter().filter_map(|record| match record {
            Record::Row(put) => Some(put.clone()),
            Record::Tombstone(_)
            | Record::Adoption(_)
            | Record::Receipt(_)
            | Record::JoinToken(_)
            | Record::Certificate(_) => None,
        });
        Model::from_puts(self.head.cluster_id, self.head.revision, rows)
    }

    /// Whether a store can be made of it.
    ///
    /// # Errors
    /// [`RestoreError::Unfit`], [`RestoreError::Twice`].
    pub fn check(&self) -> Result<(), RestoreError> {
        self.model()?;
        let mut known = BTreeSet::new();
        for record in &self.records {
            let (table, key) = (record.table(), record.key());
            if !known.insert((table, key.clone())) {
                let key = format!("{} {}", key.0, key.1).trim_end().to_owned();
                return Err(RestoreError::Twice { table, key });
            }
        }
        Ok(())
    }

    /// What the store that is made of it holds: the identity of the one that was backed up waits to be
    /// adopted, so that nodes which have seen that one stop all changes until then. Nothing that was given
    /// out since the backup is given out again, and no secret is good again.
    pub(super) fn restored(&self, at_ms: i64) -> Self {
        let origin = self.head.store_id;
        let is_kept = |record: &&Record| match record {
            Record::Adoption(it) => it.store_id != origin,
            Record::JoinToken(_) => false,
            Record::Row(_) | Record::Tombstone(_) | Record::Receipt(_) | Record::Certificate(_) => {
                true
            }
        };
        let mut records: Vec<Record> = self.records.iter().filter(is_kept).cloned().collect();
        records.push(Record::Adoption(Adoption {
            store_id: origin,
            actor: String::new(),
            revision: NOT_YET,
            at_ms,
        }));
        let mut head = self.head.clone();
        head.next_producer_id = head
            .next_producer_id
            .saturating_add(PRODUCER_IDS_PER_ADOPTION);
        head.lease_epoch = head.lease_epoch.saturating_add(LEASE_EPOCHS_PER_RESTORE);
        Self::new(head, records)
    }
}

/// How a column is written in JSON and in SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Text,
    Number,
    /// A UUID where the database knows them.
    Id,
    /// Hexadecimal in JSON.
    Bytes,
    /// A document.
    Document,
}

/// A table, as SQL and files name it.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: &'static [(&'static str, Column)],
}

const ROW: &[(&str, Column)] = &[
    ("row_key", Column::Text),
    ("version", Column::Number),
    ("value", Column::Document),
];

const fn rows_of(kind: Kind) -> Table {
    Table {
        name: table(kind),
        columns: ROW,
    }
}

// Each kind has its table below, and there are five more.
const _: () = assert!(Kind::ALL.len() + 5 == TABLES.len());

/// All that is in a backup; what others belong to comes before them.
pub(super) const TABLES: [Table; 10] = [
    rows_of(Kind::ALL[0]),
    rows_of(Kind::ALL[1]),
    rows_of(Kind::ALL[2]),
    rows_of(Kind::ALL[3]),
    rows_of(Kind::ALL[4]),
    Table {
        name: "tombstones",
        columns: &[
            ("kind", Column::Text),
            ("row_key", Column::Text),
            ("name", Column::Text),
            ("revision", Column::Number),
            ("deleted_at_ms", Column::Number),
        ],
    },
    Table {
        name: "adoptions",
        columns: &[
            ("store_id", Column::Id),
            ("actor", Column::Text),
            ("revision", Column::Number),
            ("at_ms", Column::Number),
        ],
    },
    Table {
        name: "receipts",
        columns: &[
            ("principal", Column::Text),
            ("key", Column::Text),
            ("request_hash", Column::Bytes),
            ("answer", Column::Text),
            ("expires_at_ms", Column::Number),
        ],
    },
    Table {
        name: "join_tokens",
        columns: &[
            ("hash", Column::Bytes),
            ("role", Column::Text),
            ("scope", Column::Text),
            ("created_by", Column::Text),
            ("created_at_ms", Column::Number),
            ("expires_at_ms", Column::Number),
            ("used_by", Column::Text),
            ("used_at_ms", Column::Number),
        ],
    },
    Table {
        name: "node_certificates",
        columns: &[
            ("serial", Column::Text),
            ("node", Column::Text),
            ("issued_at_ms", Column::Number),
            ("expires_at_ms", Column::Number),
            ("revoked_at_ms", Column::Number),
        ],
    },
];

/// A row of the control state as its table has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RowForm {
    row_key: String,
    version: u64,
    value: Box<RawValue>,
}

/// What every row of the control state has.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl Record {
    /// The table that it is in.
    pub(super) const fn table(&self) -> &'static str {
        match self {
            Self::Row(put) => table(put.kind()),
            Self::Tombstone(_) => "tombstones",
            Self::Adoption(_) => "adoptions",
            Self::Receipt(_) => "receipts",
            Self::JoinToken(_) => "join_tokens",
            Self::Certificate(_) => "node_certificates",
        }
    }

    fn place(&self) -> usize {
        let place = TABLES.iter().position(|table| table.name == self.table());
        place.expect("every record is in a table")
    }

    fn key(&self) -> (String, String) {
        match self {
            Self::Row(put) => (put.row_key(), String::new()),
            Self::Tombstone(gone) => (gone.kind.clone(), gone.row_key.clone()),
            Self::Adoption(it) => (it.store_id.to_string(), String::new()),
            Self::Receipt(it) => (it.principal.clone(), it.key.clone()),
            Self::JoinToken(it) => (ChainHash(it.hash).to_string(), String::new()),
            Self::Certificate(it) => (it.serial.clone(), String::new()),
        }
    }

    /// The columns of its table, as JSON.
    pub(super) fn encode(&self) -> String {
        let encoded = match self {
            Self::Row(put) => serde_json::to_string(&RowForm {
                row_key: put.row_key(),
                version: version_after(put),
                value: RawValue::from_string(value(put)).expect("rows are JSON"),
            }),
            Self::Tombstone(it) => serde_json::to_string(it),
            Self::Adoption(it) => serde_json::to_string(it),
            Self::Receipt(it) => serde_json::to_string(it),
            Self::JoinToken(it) => serde_json::to_string(it),
            Self::Certificate(it) => serde_json::to_string(it),
        };
        encoded.expect("rows have string keys only")
    }

    /// The other way round.
    pub(super) fn decode(table_name: &str, text: &str) -> Result<Self, String> {
        let words = |error: serde_json::Error| error.to_string();
        if let Some(kind) = Kind::ALL
            .into_iter()
            .find(|kind| table(*kind) == table_name)
        {
            let form: RowForm = serde_json::from_str(text).map_err(words)?;
            let Versioned { version } = serde_json::from_str(form.value.get()).map_err(words)?;
            let put = Change::from_event(kind, false, form.value.get())
                .map_err(|error| format!("{error}"))?;
            if version == 0 || version != form.version || put.row_key() != form.row_key {
                return Err(format!(
                    "row {} is not of its key and version",
                    form.row_key
                ));
            }
            return Ok(Self::Row(put));
        }
        match table_name {
            "tombstones" => serde_json::from_str(text).map(Self::Tombstone),
            "adoptions" => serde_json::from_str(text).map(Self::Adoption),
            "receipts" => serde_json::from_str(text).map(Self::Receipt),
            "join_tokens" => serde_json::from_str(text).map(Self::JoinToken),
            "node_certificates" => serde_json::from_str(text).map(Self::Certificate),
            other => return Err(format!("there is no table {other:?}")),
        }
        .map_err(words)
    }
}
