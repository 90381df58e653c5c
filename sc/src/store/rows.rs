//! How the rows of every kind are kept: each kind in a table of the same form.
//!
//! A table has the row's key, its version and the row itself as JSON; the columns beside them are
//! computed by the database, for people and for constraints. So a new kind of row costs a table and a
//! line here, and no store knows what is in a row.

use tidegate_sc_core::change::{Change, Kind};

/// The table of a kind.
pub(super) const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Spu => "spus",
        Kind::SpuGroup => "spu_groups",
        Kind::Topic => "topics",
        Kind::Partition => "partitions",
        Kind::Operation => "operations",
    }
}

/// True where it must stay known that a row was deleted, as opposed to never having been.
pub(super) const fn leaves_tombstone(kind: Kind) -> bool {
    matches!(kind, Kind::Topic)
}

/// The changes of a commit to rows of one kind. They are made in this order of fields.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) kind: Kind,
    pub(super) deletes: Vec<&'a Change>,
    pub(super) inserts: Vec<&'a Change>,
    pub(super) updates: Vec<&'a Change>,
}

/// The changes of a commit by kind, owners before what belongs to them; kinds without changes are left
/// out.
pub(super) fn by_kind(changes: &[Change]) -> Vec<Rows<'_>> {
    assert!(!changes.is_empty(), "a commit changes something");
    debug_assert!(changes_rows_once(changes), "a commit changes a row once");
    let of_kind = |kind| {
        let mut rows = Rows {
            kind,
            deletes: Vec::new(),
            inserts: Vec::new(),
            updates: Vec::new(),
        };
        for change in changes.iter().filter(|change| change.kind() == kind) {
            if change.is_delete() {
                rows.deletes.push(change);
            } else if change.expected_version() == 0 {
                rows.inserts.push(change);
            } else {
                rows.updates.push(change);
            }
        }
        rows
    };
    let all = Kind::ALL.into_iter().map(of_kind);
    all.filter(|rows| {
        !(rows.deletes.is_empty() && rows.inserts.is_empty() && rows.updates.is_empty())
    })
    .collect()
}

fn changes_rows_once(changes: &[Change]) -> bool {
    let rows: std::collections::BTreeSet<_> = changes
        .iter()
        .map(|change| (change.kind(), change.row_key()))
        .collect();
    rows.len() == changes.len()
}

/// The row as it is stored.
pub(super) fn value(change: &Change) -> String {
    change.payload().expect("rows have string keys only")
}

/// The version of the row afterwards.
pub(super) fn version_after(change: &Change) -> u64 {
    change.version_after()
}

/// Past every key that begins with `prefix`, in the order of bytes.
pub(super) fn end_of(prefix: &str) -> String {
    let mut end = prefix.to_owned();
    let last = end.pop().expect("prefixes are not empty");
    end.push(char::from_u32(last as u32 + 1).expect("prefixes end in ASCII"));
    end
}
