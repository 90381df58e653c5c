//! A controller's copy of the store, brought up to date by its events and published.
//!
//! Every controller follows: what it committed itself it takes in at once, the rest it reads. Each time
//! it compares the hash of its newest revision with the store's (X1): a store that lost commits, or
//! went another way, is found out before anything is decided on it. Invariant: what is published is what
//! the store holds at that revision, and revisions are published in order.

use std::sync::Arc;

use thiserror::Error;
use tidegate_proto::chain::ChainHash;
use tidegate_proto::control::{Seen, Topology};
use tidegate_proto::id::{StoreId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_sc_core::change::Change;
use tidegate_sc_core::model::Model;
use tokio::sync::watch;

use crate::history::{History, Revision};
use crate::limits::{FOLLOW_REVISIONS_MAX, HISTORY_REVISIONS_MAX};
use crate::metrics;
use crate::store::{ChainAt, Commit, Event, EventsError, MetaStore, StoreError, chain_after};

/// The store could not be followed.
#[derive(Debug, Error)]
pub(crate) enum FollowError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what it was; the sentence says how that is known.
    #[error("{0}")]
    Forked(String),
    /// It goes by another identity, and its history does not tell whether it is the one that was known.
    #[error("the metadata store is {0} now")]
    Renamed(StoreId),
}

/// The copy as it is shown, and the history that it is the end of.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) model: Arc<Model>,
    pub(crate) seen: Seen,
    /// That of the history: it grows when all begins anew.
    pub(crate) generation: u64,
}

/// Who looks at the copy.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) shown: watch::Sender<Shown>,
    pub(super) topologies: watch::Sender<Arc<Topology>>,
    pub(super) history: Arc<History>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Mirror {
    store: Arc<dyn MetaStore>,
    model: Arc<Model>,
    seen: Seen,
    generation: u64,
    published: Published,
    /// The store may be ahead: follow before deciding.
    is_behind: bool,
}

impl Mirror {
    /// Reads the store, and as much of its history as is kept for watchers.
    pub(super) async fn open(store: Arc<dyn MetaStore>) -> Result<Self, StoreError> {
        let standing = store.standing().await?;
        let (model, seen) = snapshot(&*store, standing.store_id).await?;
        let history = recent(&*store, &model, standing.events_floor, seen).await;
        let model = Arc::new(model);
        let generation = history.newest().generation;
        let shown = Shown {
            model: Arc::clone(&model),
            seen,
            generation,
        };
        let published = Published {
            shown: watch::channel(shown).0,
            topologies: watch::channel(Arc::new(topology(&model, seen))).0,
            history: Arc::new(history),
        };
        metrics::published(&model);
        Ok(Self {
            store,
            model,
            seen,
            generation,
            published,
            is_behind: false,
        })
    }

    pub(super) fn model(&self) -> &Arc<Model> {
        &self.model
    }

    pub(super) fn published(&self) -> &Published {
        &self.published
    }

    pub(super) fn store_id(&self) -> StoreId {
        self.seen.store_id
    }

    /// The newest revision that it shows, and the hash of the history up to it.
    pub(super) fn at(&self) -> (u64, ChainHash) {
        (self.seen.revision, self.seen.hash)
    }

    /// Somebody else may have committed.
    pub(super) fn set_behind(&mut self) {
        self.is_behind = true;
    }

    pub(super) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Takes in a commit of ours when it is the next, even while more may have been made; otherwise it is
    /// read like everybody's.
    pub(super) fn take_in(&mut self, revision: u64, commit: &Commit) {
        if revision != self.model.revision + 1 {
            self.is_behind = true;
            return;
        }
        let hash = chain_after(self.seen.hash, commit);
        self.put(vec![(revision, hash, commit.changes.clone())]);
    }

    /// Reads what the store has that we have not.
    pub(super) async fn follow(&mut self) -> Result<(), FollowError> {
        loop {
            let after = self
                .store
                .events_after(self.seen.revision, FOLLOW_REVISIONS_MAX);
            let events = match after.await {
                Ok(events) => events,
                Err(EventsError::Compacted { .. }) => return self.restart().await,
                Err(EventsError::Failed(error)) => return Err(error.into()),
            };
            // Asked after the events were read: they follow from what it answers now, or a later call
            // finds out.
            if self.compare().await? == Compared::Forgotten {
                return self.restart().await;
            }
            if events.is_empty() {
                self.is_behind = false;
                return Ok(());
            }
            self.put(by_revision(events));
        }
    }

    /// An operator took the store for good: what it holds is the truth, whatever we saw.
    pub(super) async fn adopt(&mut self, store_id: StoreId) -> Result<(), FollowError> {
        let (model, seen) = snapshot(&*self.store, store_id).await?;
        self.begin_anew(model, seen);
        Ok(())
    }

    /// Reads everything, after being away for longer than events are kept. Without events its hashes
    /// prove nothing, so it has to be the store that it was, before and after.
    async fn restart(&mut self) -> Result<(), FollowError> {
        self.refuse_another().await?;
        let (model, seen) = snapshot(&*self.store, self.seen.store_id).await?;
        self.refuse_another().await?;
        if seen.revision < self.seen.revision {
            return Err(went_back(self.seen.revision, seen.revision));
        }
        self.begin_anew(model, seen);
        Ok(())
    }

    async fn refuse_another(&self) -> Result<(), FollowError> {
        let found = self.store.standing().await?.store_id;
        if found == self.seen.store_id {
            return Ok(());
        }
        Err(FollowError::Renamed(found))
    }

    fn begin_anew(&mut self, model: Model, seen: Seen) {
        self.model = Arc::new(model);
        self.seen = seen;
        self.is_behind = false;
        self.generation += 1;
        // Whoever is woken by the history looks at the model.
        self.publish();
        self.published.history.restart(seen, self.generation);
    }

    async fn compare(&self) -> Result<Compared, FollowError> {
        let Seen { revision, hash, .. } = self.seen;
        match self.store.chain_at(revision).await? {
            ChainAt::Known(found) if found == hash => Ok(Compared::Same),
            ChainAt::Known(_) => Err(FollowError::Forked(format!(
                "revision {revision} of the metadata store is not the one that this controller has seen"
            ))),
            ChainAt::Ahead { revision: found } => Err(went_back(revision, found)),
            ChainAt::Compacted { .. } => Ok(Compared::Forgotten),
        }
    }

    fn put(&mut self, made: Vec<Made>) {
        let mut model = (*self.model).clone();
        for (revision, hash, changes) in made {
            model.commit(revision, &changes);
            self.seen.revision = revision;
            self.seen.hash = hash;
            let told = Revision::new(revision, hash, changes, |id| name_of(&model, id));
            self.published.history.push(told);
        }
        self.model = Arc::new(model);
        self.publish();
    }

    fn publish(&self) {
        metrics::published(&self.model);
        let topology = Arc::new(topology(&self.model, self.seen));
        self.published.topologies.send_replace(topology);
        self.published.shown.send_replace(Shown {
            model: Arc::clone(&self.model),
            seen: self.seen,
            generation: self.generation,
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    /// Too long ago for the store to tell.
    Forgotten,
}

fn went_back(seen: u64, found: u64) -> FollowError {
    FollowError::Forked(format!(
        "the metadata store is at revision {found}, and this controller has seen {seen}"
    ))
}

fn topology(model: &Model, seen: Seen) -> Topology {
    Topology {
        store_id: Some(seen.store_id),
        ..model.topology()
    }
}

async fn snapshot(store: &dyn MetaStore, store_id: StoreId) -> Result<(Model, Seen), StoreError> {
    // Between the two reads its events may be dropped, if a hundred thousand others were made.
    loop {
        let model = store.snapshot().await?;
        if let ChainAt::Known(hash) = store.chain_at(model.revision).await? {
            let seen = Seen {
                store_id,
                revision: model.revision,
                hash,
            };
            return Ok((model, seen));
        }
    }
}

/// The history up to `end`, as far back as it is kept in memory; nothing of it when it cannot be read.
async fn recent(store: &dyn MetaStore, model: &Model, floor: u64, end: Seen) -> History {
    let kept = HISTORY_REVISIONS_MAX as u64;
    let start = floor
        .max(end.revision.saturating_sub(kept))
        .min(end.revision);
    let hash = match store.chain_at(start).await {
        Ok(ChainAt::Known(hash)) => hash,
        Ok(ChainAt::Compacted { .. } | ChainAt::Ahead { .. }) | Err(_) => {
            return History::new(end);
        }
    };
    let mut at = start;
    let history = History::new(Seen {
        revision: start,
        hash,
        ..end
    });
    while at < end.revision {
        let wanted = FOLLOW_REVISIONS_MAX.min(end.revision - at);
        let events = match store.events_after(at, wanted).await {
            Ok(events) if !events.is_empty() => events,
            Ok(_) | Err(_) => return History::new(end),
        };
        for (revision, hash, changes) in by_revision(events) {
            at = revision;
            let told = Revision::new(revision, hash, changes, |id| name_of(model, id));
            history.push(told);
        }
    }
    let ends_alike = history.hash_at(end.revision) == Some(end.hash);
    if ends_alike {
        history
    } else {
        History::new(end)
    }
}

/// A commit as it was read: its revision, its hash, what it changed.
type Made = (u64, ChainHash, Vec<Change>);

fn by_revision(events: Vec<Event>) -> Vec<Made> {
    let mut made: Vec<Made> = Vec::new();
    for event in events {
        match made.last_mut() {
            Some((revision, _, changes)) if *revision == event.revision => {
                changes.push(event.change);
            }
            _ => made.push((event.revision, event.chain, vec![event.change])),
        }
    }
    made
}

fn name_of(model: &Model, id: TopicId) -> Option<TopicName> {
    let topic = model.topic_by_id(id)?;
    Some(topic.row.name.clone())
}
