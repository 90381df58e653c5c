//! The newest revisions in memory, from which every watcher reads at its own pace.
//!
//! One writer pushes each revision once; its lines are encoded once, by whoever needs them first. A
//! watcher holds a position and nothing else, so a slow one costs nothing: when what it needs has left,
//! it is told so. Invariant: revisions are dense from the one after `base` to the newest.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use tidegate_proto::api::metadata::{self, ChangeOp, WatchEntry};
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{Seen, TopologyChange, WatchLine};
use tidegate_proto::id::TopicId;
use tidegate_proto::limits::WATCH_CHANGES_PER_LINE_MAX;
use tidegate_proto::name::TopicName;
use tidegate_sc_core::change::{Change, Kind};
use tokio::sync::watch;

use crate::limits::{HISTORY_CHANGES_MAX, HISTORY_REVISIONS_MAX};

/// One commit as it is told to watchers.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) revision: u64,
    /// Over the whole history up to it.
    pub(crate) hash: ChainHash,
    pub(crate) changes: Vec<Change>,
    /// Names of the topics whose partitions it changed.
    names: BTreeMap<TopicId, TopicName>,
    lines: OnceLock<Vec<Bytes>>,
    entries: OnceLock<Vec<Entry>>,
}

/// One change as clients are told.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Whose business it is: those who may describe this topic, or else the cluster.
    pub(crate) topic: Option<TopicName>,
    /// A [`WatchEntry`] as JSON.
    pub(crate) json: Bytes,
}

impl Revision {
    /// `name_of` tells the names of topics that are there after it or were before.
    pub(crate) fn new(
        revision: u64,
        hash: ChainHash,
        changes: Vec<Change>,
        name_of: impl Fn(TopicId) -> Option<TopicName>,
    ) -> Self {
        let mut names = BTreeMap::new();
        for change in &changes {
            match change {
                Change::PutPartition(row) if !names.contains_key(&row.topic_id) => {
                    names.extend(name_of(row.topic_id).map(|name| (row.topic_id, name)));
                }
                Change::PutTopic(row) => {
                    names.insert(row.id, row.name.clone());
                }
                _ => {}
            }
        }
        Self {
            revision,
            hash,
            changes,
            names,
            lines: OnceLock::new(),
            entries: OnceLock::new(),
        }
    }

    /// What clients are told of it.
    pub(crate) fn entries(&self) -> &[Entry] {
        self.entries.get_or_init(|| {
            let changes = self.changes.iter();
            changes.filter_map(|change| self.entry(change)).collect()
        })
    }

    fn entry(&self, change: &Change) -> Option<Entry> {
        let topic = match change {
            Change::PutTopic(row) => Some(row.name.clone()),
            Change::DeleteTopic(gone) => Some(gone.name.clone()),
            // A topic that is gone for so long that its name is not known was told to be gone.
            Change::PutPartition(row) => Some(self.names.get(&row.topic_id)?.clone()),
            Change::PutSpu(_)
            | Change::PutSpuGroup(_)
            | Change::PutOperation(_)
            | Change::DeleteOperation(_) => None,
        };
        let key = match (change, &topic) {
            (Change::PutPartition(row), Some(name)) => format!("{name}/{}", row.partition),
            _ => change.key(),
        };
        let is_gone = change.is_delete()
            || matches!(change, Change::PutSpu(row) if row.removed)
            || matches!(change, Change::PutSpuGroup(row) if row.removed);
        let value = (!is_gone).then(|| change.payload().ok()).flatten();
        let told = metadata::Change {
            revision: self.revision,
            key,
            op: if is_gone {
                ChangeOp::Delete
            } else {
                ChangeOp::Put
            },
            value: value.and_then(|text| serde_json::from_str(&text).ok()),
            more: false,
        };
        let entry = match change.kind() {
            Kind::Spu => WatchEntry::Spu(told),
            Kind::SpuGroup => WatchEntry::SpuGroup(told),
            Kind::Topic => WatchEntry::Topic(told),
            Kind::Partition => WatchEntry::Partition(told),
            Kind::Operation => WatchEntry::Operation(told),
        };
        let json = serde_json::to_vec(&entry).expect("entries have string keys only");
        let json = json.into();
        Some(Entry { topic, json })
    }

    /// Its lines in a watch stream of nodes.
    pub(crate) fn lines(&self) -> &[Bytes] {
        self.lines.get_or_init(|| {
            let changes = self.changes.iter().filter_map(Change::topology);
            encode(self.revision, self.hash, changes)
        })
    }
}

/// A revision as lines; the hash is in the last.
pub(crate) fn encode(
    revision: u64,
    hash: ChainHash,
    changes: impl Iterator<Item = TopologyChange>,
) -> Vec<Bytes> {
    let mut changes = changes.peekable();
    let mut lines = Vec::new();
    loop {
        let part: Vec<_> = changes.by_ref().take(WATCH_CHANGES_PER_LINE_MAX).collect();
        let is_last = changes.peek().is_none();
        lines.push(line(&WatchLine::Changes {
            revision,
            changes: part,
            hash: is_last.then_some(hash),
        }));
        if is_last {
            return lines;
        }
    }
}

/// A line with its end.
pub(crate) fn line(line: &WatchLine) -> Bytes {
    let mut text = serde_json::to_vec(line).expect("lines have string keys only");
    text.push(b'\n');
    text.into()
}

/// How far the history is. The generation grows when it begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) generation: u64,
    pub(crate) seen: Seen,
    /// Nothing more comes: the controller stops.
    pub(crate) is_ended: bool,
}

/// What comes after a revision.
#[derive(Debug)]
pub(crate) enum After {
    Next(Arc<Revision>),
    /// Nothing yet.
    UpToDate,
    /// It has left; those after `floor` are here.
    Gone {
        floor: u64,
    },
    /// That revision is not here yet.
    Ahead,
}

#[derive(Debug)]
struct Ring {
    base: Seen,
    revisions: VecDeque<Arc<Revision>>,
    changes: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct History {
    ring: Mutex<Ring>,
    newest: watch::Sender<Newest>,
}

impl History {
    /// Begins after `base`.
    pub(crate) fn new(base: Seen) -> Self {
        let newest = Newest {
            generation: 0,
            seen: base,
            is_ended: false,
        };
        Self {
            ring: Mutex::new(Ring {
                base,
                revisions: VecDeque::new(),
                changes: 0,
            }),
            newest: watch::channel(newest).0,
        }
    }

    /// Begins anew after `base`, under a later generation: what watchers know may not be so.
    pub(crate) fn restart(&self, base: Seen, generation: u64) {
        *self.ring() = Ring {
            base,
            revisions: VecDeque::new(),
            changes: 0,
        };
        self.newest.send_modify(|newest| {
            newest.generation = generation;
            newest.seen = base;
        });
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.newest.send_modify(|newest| newest.is_ended = true);
    }

    /// Adds the next revision.
    ///
    /// # Panics
    /// When it is not the next.
    pub(crate) fn push(&self, revision: Revision) {
        let mut ring = self.ring();
        let last = ring.newest();
        assert_eq!(revision.revision, last.revision + 1, "revisions are dense");
        let seen = Seen {
            revision: revision.revision,
            hash: revision.hash,
            ..last
        };
        ring.changes += revision.changes.len();
        ring.revisions.push_back(Arc::new(revision));
        while ring.revisions.len() > 1
            && (ring.changes > HISTORY_CHANGES_MAX || ring.revisions.len() > HISTORY_REVISIONS_MAX)
        {
            ring.drop_oldest();
        }
        drop(ring);
        self.newest.send_modify(|newest| newest.seen = seen);
    }

    /// Keeps the newest revisions that have no more than so many changes in all, which may be none.
    pub(crate) fn shed(&self, changes_max: usize) {
        let mut ring = self.ring();
        while ring.changes > changes_max {
            ring.drop_oldest();
        }
    }

    /// What comes after that revision.
    pub(crate) fn after(&self, revision: u64) -> After {
        let ring = self.ring();
        let floor = ring.base.revision;
        if revision < floor {
            return After::Gone { floor };
        }
        let at = usize::try_from(revision - floor).unwrap_or(usize::MAX);
        match ring.revisions.get(at) {
            Some(next) => After::Next(Arc::clone(next)),
            None if at == ring.revisions.len() => After::UpToDate,
            None => After::Ahead,
        }
    }

    /// The hash at that revision, if it is known here.
    pub(crate) fn hash_at(&self, revision: u64) -> Option<ChainHash> {
        let ring = self.ring();
        if revision == ring.base.revision {
            return Some(ring.base.hash);
        }
        let at = revision.checked_sub(ring.base.revision + 1)?;
        let found = ring.revisions.get(usize::try_from(at).ok()?)?;
        Some(found.hash)
    }

    /// How far it is.
    pub(crate) fn newest(&self) -> Newest {
        *self.newest.borrow()
    }

    /// How far it is, now and later.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Newest> {
        self.newest.subscribe()
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        // Nothing is left half done while it is held.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn newest(&self) -> Seen {
        self.revisions.back().map_or(self.base, |last| Seen {
            revision: last.revision,
            hash: last.hash,
            ..self.base
        })
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.revisions.pop_front() {
            self.changes -= oldest.changes.len();
            self.base.revision = oldest.revision;
            self.base.hash = oldest.hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{OperationId, StoreId};
    use tidegate_sc_core::change::DeletedOperation;
    use uuid::Uuid;

    use super::*;

    fn base(revision: u64) -> Seen {
        Seen {
            store_id: StoreId(Uuid::from_u128(1)),
            revision,
            hash: hash(revision),
        }
    }

    fn hash(revision: u64) -> ChainHash {
        ChainHash([(revision % 251) as u8; 32])
    }

    #[test]
    fn what_was_pushed_is_found_until_it_leaves() {
        let history = History::new(base(5));
        assert!(matches!(history.after(5), After::UpToDate));
        assert!(matches!(history.after(4), After::Gone { floor: 5 }));
        assert!(matches!(history.after(6), After::Ahead));
        let count = HISTORY_REVISIONS_MAX as u64 + 10;
        for revision in 6..6 + count {
            history.push(Revision::new(revision, hash(revision), Vec::new(), |_| {
                None
            }));
        }
        let newest = 5 + count;
        assert_eq!(history.newest().seen, base(newest));
        assert!(matches!(history.after(14), After::Gone { floor: 15 }));
        assert!(matches!(history.after(15), After::Next(next) if next.revision == 16));
        assert!(matches!(history.after(newest), After::UpToDate));
        assert_eq!(history.hash_at(15), Some(hash(15)));
        assert_eq!(history.hash_at(newest), Some(hash(newest)));
        assert_eq!(
            (history.hash_at(14), history.hash_at(newest + 1)),
            (None, None)
        );
        history.restart(base(3), 1);
        assert_eq!(history.newest().generation, 1);
        assert!(matches!(history.after(newest), After::Ahead));
    }

    #[test]
    fn what_is_shed_is_gone_and_the_next_revision_follows_the_newest() {
        let history = History::new(base(0));
        let made = |revision, changes: u128| {
            let gone = |id| {
                Change::DeleteOperation(DeletedOperation {
                    id: OperationId(Uuid::from_u128(id)),
                    version: 1,
                })
            };
            Revision::new(
                revision,
                hash(revision),
                (0..changes).map(gone).collect(),
                |_| None,
            )
        };
        for (revision, changes) in [(1, 5), (2, 1), (3, 2)] {
            history.push(made(revision, changes));
        }
        history.shed(3);
        assert!(matches!(history.after(0), After::Gone { floor: 1 }));
        assert!(matches!(history.after(1), After::Next(next) if next.revision == 2));
        history.shed(1);
        assert!(matches!(history.after(2), After::Gone { floor: 3 }));
        assert!(matches!(history.after(3), After::UpToDate));
        assert_eq!(history.newest().seen, base(3));
        assert_eq!(history.hash_at(3), Some(hash(3)));
        history.push(made(4, 1));
        assert!(matches!(history.after(3), After::Next(next) if next.revision == 4));
    }

    #[test]
    fn a_revision_without_a_topology_change_is_one_line_with_its_hash() {
        let revision = Revision::new(9, hash(9), Vec::new(), |_| None);
        let [only] = revision.lines() else {
            panic!("one line")
        };
        let read: WatchLine = serde_json::from_slice(only).unwrap();
        let expected = WatchLine::Changes {
            revision: 9,
            changes: Vec::new(),
            hash: Some(hash(9)),
        };
        assert_eq!((read, only.last()), (expected, Some(&b'\n')));
    }
}
