//! The one loop of a controller: it follows the store, carries out commands, and, while it holds the
//! lease, does its duties.
//!
//! When the store turns out to be elsewhere (another controller wrote, or the fate of a commit is
//! unknown), it follows and decides again, a bounded number of times. Invariant: nothing is committed
//! while the store is not to be believed.

use std::sync::Arc;
use std::time::Instant;

use tidegate_kit::clock;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::api::topic::Setting;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{LeaseEpoch, StoreId};
use tidegate_sc_core::decision::Request;
use tidegate_sc_core::health::HealthCounts;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::commands::{Command, Reply, stopping};
use super::condition::Conditions;
use super::holder::Lease;
use super::mirror::{FollowError, Mirror};
use super::roster::Roster;
use crate::limits::{APART_PARTITIONS_MIN, HISTORY_ALONE_REST, HISTORY_CHANGES_ALONE_MAX, Pace};
use crate::metrics;
use crate::store::{ApplyError, Commit, MetaStore, StoreError};

pub(super) struct Task {
    /// Where heavy work is done.
    pub(super) tasks: Tasks,
    pub(super) store: Arc<dyn MetaStore>,
    pub(super) mirror: Mirror,
    pub(super) conditions: Arc<Conditions>,
    pub(super) roster: Arc<Roster>,
    pub(super) lease: Arc<watch::Sender<Lease>>,
    pub(super) times: Times,
    pub(super) pace: Pace,
    /// Nobody else changes the store.
    pub(super) is_alone: bool,
    /// The epoch under which it began to control; none while it does not.
    pub(super) controls: Option<LeaseEpoch>,
}

/// When things were done last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    followed: Instant,
    standing: Instant,
    /// When the revision was first seen that is the newest.
    newest: (u64, Instant),
    pub(super) swept: Option<Instant>,
}

impl Times {
    pub(super) fn now() -> Self {
        let now = clock::monotonic();
        Self {
            followed: now,
            standing: now,
            newest: (0, now),
            swept: None,
        }
    }
}

/// How a commit ended.
pub(super) enum Fate {
    Made(u64),
    Lost,
    /// The lease it was made under has gone.
    Fenced,
}

impl Task {
    pub(super) async fn run(
        mut self,
        mut queue: mpsc::Receiver<Command>,
        bell: Arc<Notify>,
        stop: CancellationToken,
    ) {
        let mut beats = interval(self.pace.tick);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = beats.tick() => {
                    self.beat(&mut queue).await;
                    // One that took longer than the pace would be followed by the next at once, and
                    // commands would never have their turn.
                    beats.reset();
                }
                () = bell.notified() => {
                    self.look().await;
                    // A bell that never stops is not to keep others waiting for ever.
                    if let Ok(command) = queue.try_recv() {
                        self = self.answer(command).await;
                    }
                }
                command = queue.recv() => {
                    let Some(command) = command else { break };
                    self = self.answer(command).await;
                }
            }
        }
        queue.close();
        while let Some(command) = queue.recv().await {
            command.refuse(stopping());
        }
        self.mirror.published().history.end();
        tracing::info!(
            revision = self.mirror.model().revision,
            "controller stopped"
        );
    }

    /// Apart when it touches many rows, which are megabytes for a moment.
    async fn answer(mut self, command: Command) -> Self {
        if !self.is_heavy(&command.request) {
            self.carry_out_for(command).await;
            return self;
        }
        let tasks = self.tasks.clone();
        let work = async move {
            self.carry_out_for(command).await;
            self
        };
        tasks.apart(work).await
    }

    /// Whatever is changed, the topology of all partitions is made anew.
    fn is_heavy(&self, request: &Request) -> bool {
        let asked = match request {
            Request::CreateTopic(write) | Request::EnsureTopic(write) => {
                match write.request.partitions {
                    Setting::Value(count) => u64::from(count),
                    Setting::Absent | Setting::Null => 0,
                }
            }
            _ => 0,
        };
        self.mirror.model().partition_count().saturating_add(asked) >= APART_PARTITIONS_MIN
    }

    async fn carry_out_for(&mut self, command: Command) {
        let Command {
            request,
            origin,
            last,
            reply,
        } = command;
        // Nobody may be listening any more; what was decided is done all the same.
        match reply {
            Reply::Decided(reply) => {
                let is_awaited = || !reply.is_closed();
                let done = self.carry_out(&request, &origin, last, &is_awaited).await;
                let _ = reply.send(done);
            }
            Reply::Once(once, reply) => {
                let _ = reply.send(self.carry_out_once(&request, &origin, &once).await);
            }
        }
    }

    /// What is done by the clock.
    async fn beat(&mut self, queue: &mut mpsc::Receiver<Command>) {
        let now = clock::monotonic();
        metrics::holds_lease(self.lease.borrow().epoch());
        let is_away = self.conditions.now().away_since.is_some();
        if is_away {
            self.come_back(queue).await;
        } else if now - self.times.followed >= self.pace.poll {
            self.look().await;
        }
        if now - self.times.standing >= self.pace.standing {
            self.times.standing = now;
            self.identify().await;
            metrics::health(HealthCounts::of(self.mirror.model()));
            self.roster.retain(self.mirror.model());
        }
        if self.is_alone {
            self.forget(now);
        }
        self.control().await;
    }

    /// Lets go of most of the history once nothing has happened for a while.
    fn forget(&mut self, now: Instant) {
        let (revision, _) = self.mirror.at();
        let (newest, since) = self.times.newest;
        if revision != newest {
            self.times.newest = (revision, now);
        } else if now - since >= HISTORY_ALONE_REST {
            let history = &self.mirror.published().history;
            history.shed(HISTORY_CHANGES_ALONE_MAX);
        }
    }

    /// Follows the store.
    pub(super) async fn look(&mut self) {
        self.times.followed = clock::monotonic();
        self.follow().await.ok();
    }

    /// Follows it, and finds out at once which store it is when that is in doubt.
    async fn follow(&mut self) -> Result<(), Problem> {
        let followed = self.mirror.follow().await;
        let noted = self.note(followed).await;
        if self.conditions.take_doubt() {
            self.identify().await;
        }
        noted
    }

    /// Follows a store that was away; whoever wants something meanwhile is told at once.
    async fn come_back(&mut self, queue: &mut mpsc::Receiver<Command>) {
        self.times.followed = clock::monotonic();
        let refusal = self.conditions.now().refusal();
        let followed = {
            let mut follow = std::pin::pin!(self.mirror.follow());
            loop {
                tokio::select! {
                    followed = &mut follow => break followed,
                    Some(command) = queue.recv() => {
                        command.refuse(refusal.clone().unwrap_or_else(stopping));
                    }
                }
            }
        };
        self.note(followed).await.ok();
        if self.conditions.take_doubt() {
            self.identify().await;
        }
    }

    /// Brings what is to be decided on up to date, or says why nothing is decided now.
    pub(super) async fn be_ready(&mut self) -> Result<(), Problem> {
        if self.mirror.is_behind() {
            self.follow().await?;
        }
        self.conditions.now().refusal().map_or(Ok(()), Err)
    }

    /// Draws the conclusions from following.
    async fn note(&self, followed: Result<(), FollowError>) -> Result<(), Problem> {
        match followed {
            Ok(()) => {
                self.conditions.set_reachable(true);
                Ok(())
            }
            Err(FollowError::Store(error)) => {
                self.conditions.set_reachable(false);
                Err(failed(error))
            }
            Err(error @ FollowError::Renamed(_)) => {
                self.conditions.set_reachable(true);
                self.conditions.doubt();
                Err(Problem::new(ErrorCode::Unavailable, error.to_string()))
            }
            Err(FollowError::Forked(detail)) => {
                self.conditions.set_reachable(true);
                // It may be another store altogether: when the right one is back, that is no alarm.
                let standing = self.store.standing().await;
                let known = self.mirror.store_id();
                let found = standing.map_or(known, |standing| standing.store_id);
                let expected = Some(known).filter(|known| *known != found);
                self.conditions.raise(found, expected, detail.clone());
                Err(Problem::new(ErrorCode::MetadataForked, detail))
            }
        }
    }

    /// Asks which store it is: an operator may have adopted it, or it may be another one (X2).
    async fn identify(&mut self) {
        let Ok(standing) = self.store.standing().await else {
            return;
        };
        let (known, found) = (self.mirror.store_id(), standing.store_id);
        if known == found {
            self.believe_again(found).await;
            return;
        }
        match self.is_adopted(found, known).await {
            Ok(true) => {
                let adopted = self.mirror.adopt(found).await;
                if self.note(adopted).await.is_ok() {
                    tracing::warn!(store_id = %found, revision = standing.revision,
                                   "an operator adopted the metadata store: going on with it");
                    self.conditions.clear(Some(known));
                }
            }
            Ok(false) => self.conditions.raise(
                found,
                Some(known),
                format!("the metadata store is {found}; this controller has worked on {known}"),
            ),
            Err(error) => drop(failed(error)),
        }
    }

    /// Whether the store, which is `found` now, is to be gone on with instead of the one that was `known`:
    /// it was that one, or it was the one that there is an alarm about, and so was adopted after all that had
    /// been seen. Then it answers for what the alarm was raised with, which nodes may have seen too.
    async fn is_adopted(&self, found: StoreId, known: StoreId) -> Result<bool, StoreError> {
        let alarm = self.conditions.now().alarm;
        let alarm = alarm.filter(|alarm| alarm.store_id != found);
        let answered = match alarm {
            Some(alarm) if self.store.has_been(alarm.store_id).await? => alarm.expected,
            _ => None,
        };
        if let Some(expected) = answered
            && !self.store.has_been(expected).await?
        {
            self.store.answer_for(expected, clock::now_ms()).await?;
        }
        self.store.has_been(known).await
    }

    /// The store that it worked on is back: if it is as it was, an alarm about another one is over.
    async fn believe_again(&mut self, found: StoreId) {
        if !self.conditions.is_about_another(found) {
            return;
        }
        let followed = self.mirror.follow().await;
        if self.note(followed).await.is_ok() {
            tracing::warn!(store_id = %found, "the metadata store is the right one again");
            self.conditions.clear(None);
        }
    }

    /// Makes a commit, and finds out what became of it.
    pub(super) async fn send(&mut self, commit: &Commit) -> Result<Fate, Problem> {
        let began = clock::monotonic();
        let error = match self.store.apply(commit).await {
            Ok(revision) => {
                metrics::committed(clock::monotonic() - began, commit.changes.len());
                return Ok(Fate::Made(revision));
            }
            // Repeated: a twin was faster; the next look finds its receipt.
            Err(ApplyError::Conflict | ApplyError::Repeated) => return Ok(Fate::Lost),
            Err(ApplyError::Fenced(_)) => return Ok(Fate::Fenced),
            Err(ApplyError::Failed(error)) => {
                // Whether it is away is told by the next look.
                self.mirror.set_behind();
                return Err(failed(error));
            }
            Err(ApplyError::Unknown(error)) => error,
        };
        self.mirror.set_behind();
        metrics::store_failed();
        tracing::warn!(%error, commit_id = %commit.id, "the answer to a commit was lost");
        match self.store.committed(commit.id).await {
            Ok(Some(revision)) => Ok(Fate::Made(revision)),
            Ok(None) => Err(failed(error)),
            Err(_) => Err(Problem::new(
                ErrorCode::OutcomeUnknown,
                "the metadata store did not say whether the change was made",
            )),
        }
    }

    /// Publishes a commit of ours, and whatever else was made with it.
    ///
    /// # Errors
    /// [`ErrorCode::OutcomeUnknown`] when the store cannot be read: it is made, but what it came to cannot be
    /// shown here.
    pub(super) async fn take_in(&mut self, revision: u64, commit: &Commit) -> Result<(), Problem> {
        self.mirror.take_in(revision, commit);
        if self.mirror.model().revision < revision {
            self.look().await;
        }
        if self.mirror.model().revision >= revision {
            return Ok(());
        }
        let detail = format!(
            "the change was made at revision {revision}, and the metadata store cannot be read now"
        );
        Err(Problem::new(ErrorCode::OutcomeUnknown, detail))
    }
}

pub(super) fn failed(error: StoreError) -> Problem {
    metrics::store_failed();
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "the metadata store failed"
    );
    error.into()
}
