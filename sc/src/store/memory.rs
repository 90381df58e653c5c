//! A metadata store in memory that can fail on purpose: for tests and simulation, never for keeping.
//!
//! One [`MemoryDatabase`] is what all controllers of a cluster share; each opens a [`MemoryStore`] on it,
//! whose faults are its own. Faults come from a script or from a seed, latency from the same seed, and
//! the lease's clock is set by hand, so a run repeats exactly. Nothing is bounded but the undo log: a
//! simulation keeps as much as it commits.

mod backup;
mod faults;
mod lease;
mod ledger;
mod state;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidegate_proto::id::{ClusterId, LeaseEpoch, StoreId, TopicId};
use tidegate_sc_core::model::Model;
use tokio::sync::watch;
use uuid::Uuid;

use super::fault::{BoxFuture, StoreError};
use super::lease::{Acquired, Leases};
use super::meta_store::{
    ApplyError, ChainAt, Commit, Doorbell, Event, EventsError, Kept, MetaStore,
};
use super::standing::{Durability, Standing};
use faults::Faults;
use state::State;

pub use faults::{Fault, Weather};

/// What the controllers of one cluster share.
#[derive(Debug, Clone)]
pub struct MemoryDatabase {
    state: Arc<Mutex<State>>,
    committed: Arc<watch::Sender<u64>>,
}

impl MemoryDatabase {
    /// An empty one, whose clock stands at 0.
    #[must_use]
    pub fn new(cluster_id: ClusterId, store_id: StoreId) -> Self {
        let (committed, _) = watch::channel(0);
        Self {
            state: Arc::new(Mutex::new(State::new(cluster_id, store_id))),
            committed: Arc::new(committed),
        }
    }

    /// A store on it, without faults.
    #[must_use]
    pub fn open(&self) -> MemoryStore {
        MemoryStore {
            database: Mutex::new(self.clone()),
            faults: Mutex::new(Faults::none()),
        }
    }

    /// Sets the clock by which the lease expires, in milliseconds.
    pub fn set_clock_ms(&self, now_ms: i64) {
        self.state().now_ms = now_ms;
        self.make_what_hangs(false);
    }

    /// Makes the commit that hangs, if there is one; see [`Fault::MadeLater`].
    pub fn let_through(&self) {
        self.make_what_hangs(true);
    }

    fn make_what_hangs(&self, is_now: bool) {
        let made = self.state().let_through(is_now);
        if let Some(revision) = made {
            self.committed.send_replace(revision);
        }
    }

    /// Takes the last commits back, as a failover to a standby that had not got them does. The lease and
    /// the counter of producer ids go back with them; the ledger does not.
    ///
    /// # Panics
    /// When there are not so many, or more than [`UNDO_MAX`](state::UNDO_MAX).
    pub fn lose_last(&self, commits: u64) {
        let mut state = self.state();
        for _ in 0..commits {
            state.undo_last();
        }
        self.committed.send_replace(state.revision);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked says so itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One controller's way to a [`MemoryDatabase`].
#[derive(Debug)]
pub struct MemoryStore {
    database: Mutex<MemoryDatabase>,
    faults: Mutex<Faults>,
}

impl MemoryStore {
    /// What happens to the next commits, one each; those after them go well again.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults().script.extend(faults);
    }

    /// What of that has not happened yet does not happen.
    pub fn clear_script(&self) {
        self.faults().script.clear();
    }

    /// From now on things go wrong by chance, the same way for the same seed.
    pub fn set_weather(&self, weather: Weather) {
        self.faults().set_weather(weather);
    }

    /// Whether every call is refused: the database is down, or cannot be reached from here.
    pub fn set_down(&self, is_down: bool) {
        self.faults().is_down = is_down;
    }

    /// Bells made from now on never ring, as when the listening connection is lost.
    pub fn set_deaf(&self) {
        self.faults().is_deaf = true;
    }

    /// From now on it leads to another database: the name of the server was given to it. Bells stay.
    pub fn lead_to(&self, other: &MemoryDatabase) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = other.clone();
    }

    /// Bells made from now on ring without a pause.
    pub fn set_ringing(&self) {
        self.faults().is_ringing = true;
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to the database: takes its time, and may be barred.
    async fn pass(&self) -> Result<(), StoreError> {
        let latency = self.faults().latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if self.faults().is_refused() {
            return Err(StoreError::Refused);
        }
        Ok(())
    }

    async fn reach<T>(&self, act: impl FnOnce(&mut State) -> T) -> Result<T, StoreError> {
        self.pass().await?;
        Ok(act(&mut self.database().state()))
    }

    fn commit(&self, commit: &Commit) -> Result<u64, ApplyError> {
        let database = self.database();
        let revision = database.state().apply(commit)?;
        database.committed.send_replace(revision);
        Ok(revision)
    }

    fn database(&self) -> MemoryDatabase {
        let database = self.database.lock();
        database.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl MetaStore for MemoryStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn standing(&self) -> BoxFuture<'_, Result<Standing, StoreError>> {
        Box::pin(self.reach(|state| Standing {
            cluster_id: state.cluster_id,
            store_id: state.store_id,
            revision: state.revision,
            chain: state.chain,
            events_floor: state.events_floor,
            is_writable: true,
            durability: Durability {
                survives_power_loss: false,
                synchronous_copies: 0,
                settings: BTreeMap::new(),
            },
        }))
    }

    fn snapshot(&self) -> BoxFuture<'_, Result<Model, StoreError>> {
        Box::pin(async { self.reach(|state| state.snapshot()).await? })
    }

    fn apply<'a>(&'a self, commit: &'a Commit) -> BoxFuture<'a, Result<u64, ApplyError>> {
        Box::pin(async move {
            self.pass().await?;
            let fault = self.faults().next();
            match fault {
                None => return self.commit(commit),
                Some(Fault::Conflict) => return Err(ApplyError::Conflict),
                Some(Fault::Refused) => return Err(ApplyError::Failed(StoreError::Refused)),
                Some(Fault::NotMadeUnknown) => {}
                Some(Fault::MadeUnknown) => drop(self.commit(commit)?),
                Some(Fault::MadeUnreachable) => {
                    self.commit(commit)?;
                    self.faults().lookups_refused += 1;
                }
                Some(Fault::MadeUnread) => {
                    self.commit(commit)?;
                    self.faults().readings_refused += 1;
                }
                Some(Fault::MadeLater) => self.database().state().hang(commit)?,
            }
            Err(ApplyError::Unknown(StoreError::Refused))
        })
    }

    fn committed(&self, id: Uuid) -> BoxFuture<'_, Result<Option<u64>, StoreError>> {
        Box::pin(async move {
            if self.faults().is_lookup_refused() {
                return Err(StoreError::Refused);
            }
            self.reach(|state| state.committed(id)).await?
        })
    }

    fn events_after(
        &self,
        revision: u64,
        revisions_max: u64,
    ) -> BoxFuture<'_, Result<Vec<Event>, EventsError>> {
        Box::pin(async move {
            if self.faults().is_reading_refused() {
                return Err(EventsError::Failed(StoreError::Refused));
            }
            self.reach(|state| state.events_after(revision, revisions_max))
                .await?
        })
    }

    fn chain_at(&self, revision: u64) -> BoxFuture<'_, Result<ChainAt, StoreError>> {
        Box::pin(self.reach(move |state| state.chain_at(revision)))
    }

    fn doorbell(&self) -> Box<dyn Doorbell> {
        if self.faults().is_deaf {
            return Box::new(Bell(watch::channel(0).1));
        }
        if self.faults().is_ringing {
            return Box::new(EndlessBell);
        }
        Box::new(Bell(self.database().committed.subscribe()))
    }

    fn compact_events(&self, kept: Kept) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move { self.reach(|state| state.compact_events(kept)).await? })
    }

    fn lease_producer_ids(&self, count: u64) -> BoxFuture<'_, Result<Range<u64>, StoreError>> {
        Box::pin(async move {
            let leased = self.reach(|state| {
                state.take_turn()?;
                let start = state.next_producer_id;
                state.next_producer_id += count;
                Ok(start..start + count)
            });
            leased.await?
        })
    }

    fn is_deleted(&self, id: TopicId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| state.is_deleted(id)))
    }

    fn adopt<'a>(
        &'a self,
        actor: &'a str,
        at_ms: i64,
    ) -> BoxFuture<'a, Result<StoreId, StoreError>> {
        let id = StoreId(Uuid::new_v4());
        Box::pin(async move {
            let adopted = self.reach(|state| {
                state.take_turn()?;
                state.adopt(id, actor, at_ms);
                Ok(id)
            });
            adopted.await?
        })
    }

    fn has_been(&self, id: StoreId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| state.has_been(id)))
    }

    fn answer_for(&self, id: StoreId, at_ms: i64) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.reach(move |state| state.answer_for(id, at_ms)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

impl Leases for MemoryStore {
    fn acquire_lease<'a>(
        &'a self,
        holder: &'a str,
        duration: Duration,
    ) -> BoxFuture<'a, Result<Acquired, StoreError>> {
        Box::pin(async move {
            self.reach(|state| state.acquire_lease(holder, duration))
                .await?
        })
    }

    fn renew_lease(
        &self,
        epoch: LeaseEpoch,
        duration: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.reach(move |state| state.renew_lease(epoch, duration)))
    }

    fn release_lease(&self, epoch: LeaseEpoch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.reach(move |state| state.release_lease(epoch)))
    }
}

/// Rings at each commit, by whichever store on the database.
struct Bell(watch::Receiver<u64>);

impl Doorbell for Bell {
    fn rung(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            if self.0.changed().await.is_err() {
                // The database is gone: nothing will ever ring again.
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Rings without a pause.
struct EndlessBell;

impl Doorbell for EndlessBell {
    fn rung(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(tokio::task::yield_now())
    }
}

#[cfg(test)]
mod tests;
