//! The loop of one socket: brings inputs to its [`Session`] and carries the effects out in order.
//!
//! One task per socket and no other: tails, reads, look-ups and produces of the socket are futures
//! polled by this loop. Frames are fed as they come and flushed once per wake. Every wait has an
//! end: a write by the stall limit, a drain and a close by theirs.
//!
//! Invariant: only this loop calls `step`, and only [`Pump::carry_out`] acts on effects.

mod following;

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::ws::{Message, WebSocket};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tidegate_kit::auth::Principal;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_proto::api::socket::CloseCode;
use tidegate_proto::control::Topology;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, Sleep, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::consume;
use super::effect::{Effect, Effects, Input};
use super::limits::{DRAIN_WAIT, RETRY_AFTER, SOCKET_BYTES_MAX, WAKES_PER_FLUSH_MAX};
use super::metrics::OpenSubscriptions;
use super::produce;
use super::session::Session;
use super::sockets::Sockets;
use super::wake::{Done, Followed, Home, Woken};
use super::wire::{Goal, Over, Wire};

pub(crate) struct Pump {
    pub(super) sockets: Arc<Sockets>,
    pub(super) wire: Wire,
    memory: ByteBudget,
    pub(super) session: Session,
    principal: Principal,
    pub(super) opened_at: Instant,
    ends_at: Instant,
    pub(super) work: FuturesUnordered<BoxFuture<'static, Done>>,
    generations: HashMap<u64, CancellationToken>,
    topology: watch::Receiver<Arc<Topology>>,
    tick: Interval,
    pub(super) stop: CancellationToken,
    stopping: bool,
    drain_expired: Option<Pin<Box<Sleep>>>,
    subscriptions: OpenSubscriptions,
}

impl Pump {
    pub(crate) fn new(
        sockets: Arc<Sockets>,
        socket: WebSocket,
        session: Session,
        principal: Principal,
    ) -> Self {
        let ends_at = sockets.data.next_end();
        let topology = sockets.data.topology_watch();
        let stop = sockets.data.tasks().token();
        let mut tick = tokio::time::interval(sockets.times.tick_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let of_principal = sockets.data.config().memory.sockets.of(&principal.name);
        let memory = of_principal.child("connection", SOCKET_BYTES_MAX);
        let wire = Wire::new(socket, of_principal);
        Self {
            sockets,
            wire,
            memory,
            session,
            principal,
            opened_at: clock::monotonic(),
            ends_at,
            work: FuturesUnordered::new(),
            generations: HashMap::new(),
            topology,
            tick,
            stop,
            stopping: false,
            drain_expired: None,
            subscriptions: OpenSubscriptions::default(),
        }
    }

    /// Runs the socket to its end. `home` is what its path subscribes to, looked up before.
    ///
    /// An idle socket is to be small, and a future is as large as the largest wait in it: all but the
    /// wait for the next thing to happen is boxed for as long as it takes.
    pub(crate) async fn run(&mut self, home: Option<Box<Home>>) {
        let over = match self.serve(home).await {
            Err(over) => over,
            Ok(never) => match never {},
        };
        tracing::debug!(?over, "socket ends");
        Box::pin(self.wire.finish(over)).await;
    }

    async fn serve(&mut self, home: Option<Box<Home>>) -> Result<std::convert::Infallible, Over> {
        if let Some(home) = home {
            Box::pin(self.start(home)).await?;
        }
        loop {
            Box::pin(self.settle()).await?;
            let woken = self.next_wake().await;
            Box::pin(self.take(woken)).await?;
        }
    }

    async fn start(&mut self, home: Box<Home>) -> Result<(), Over> {
        let Home {
            of,
            opened,
            effects,
        } = *home;
        self.follow_all(&of, opened);
        self.carry_out(effects).await
    }

    async fn next_wake(&mut self) -> Woken {
        let may_read = self.session.accepts_input();
        let drain_expired = async {
            match &mut self.drain_expired {
                Some(expired) => expired.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled(), if !self.stopping => Woken::Stop,
            () = drain_expired, if self.stopping => Woken::DrainExpired,
            message = self.wire.receive(), if may_read => Woken::Message(message),
            Some(done) = self.work.next(), if !self.work.is_empty() => Woken::Done(done),
            changed = self.topology.changed() => Woken::Topology(changed.is_ok()),
            _ = self.tick.tick() => Woken::Tick,
        }
    }

    /// Takes up what is ready and flushes, until there is nothing more to write for now.
    async fn settle(&mut self) -> Result<(), Over> {
        self.take_ready().await?;
        while self.wire.is_unflushed() {
            self.wire.begin_flush();
            self.write_out(Goal::Flushed, &mut VecDeque::new()).await?;
            self.step(Input::Flushed).await?;
            if self.wire.is_unflushed() {
                self.take_ready().await?;
                if self.stop.is_cancelled() && !self.stopping {
                    self.take(Woken::Stop).await?;
                }
                if self.tick.tick().now_or_never().is_some() {
                    self.take(Woken::Tick).await?;
                }
                // A client may pause or move while there is much to send.
                if self.session.accepts_input()
                    && let Some(message) = self.wire.receive_now()
                {
                    self.take(Woken::Message(message)).await?;
                }
            }
        }
        Ok(())
    }

    async fn take_ready(&mut self) -> Result<(), Over> {
        for _ in 0..WAKES_PER_FLUSH_MAX {
            let Some(Some(done)) = self.work.next().now_or_never() else {
                break;
            };
            self.take(Woken::Done(done)).await?;
        }
        Ok(())
    }

    async fn take(&mut self, woken: Woken) -> Result<(), Over> {
        match woken {
            Woken::Message(input) => self.step(input?).await,
            Woken::Done(done) => self.take_done(done).await,
            Woken::Topology(true) => {
                let topology = Arc::clone(&self.topology.borrow_and_update());
                self.step(Input::Topology(topology)).await
            }
            // Whoever publishes the topology is gone: the process is ending.
            Woken::Topology(false) => Err(Over::Close(CloseCode::Drain)),
            Woken::Tick if clock::monotonic() < self.ends_at || self.stopping => {
                self.step(Input::Tick).await
            }
            // The process stops, or the socket is old: the same to its client.
            Woken::Tick | Woken::Stop => {
                self.stopping = true;
                let limit = clock::monotonic() + DRAIN_WAIT;
                self.drain_expired = Some(Box::pin(sleep_until(limit.into())));
                let retry_after_ms = self.sockets.spread_ms();
                self.step(Input::Drain { retry_after_ms }).await
            }
            Woken::DrainExpired => {
                let effects = self.session.drain_expired();
                self.carry_out(effects).await
            }
        }
    }

    async fn take_done(&mut self, done: Done) -> Result<(), Over> {
        match done {
            Done::Input(input) => self.step(input).await,
            Done::Opened { of, outcome } => {
                let outcome = outcome.map(|opened| {
                    let resolution = opened.resolution.clone();
                    self.follow_all(&of, opened);
                    resolution
                });
                self.step(Input::Resolved { of, outcome }).await?;
                // Partitions that were added while it was looked up have been told to nobody yet.
                let topology = Arc::clone(&self.topology.borrow());
                self.step(Input::Topology(topology)).await
            }
            Done::Joined { of, present } => {
                let start = consume::start_place(&present);
                let (key, tail) = (present.key, present.tail);
                self.follow(Followed {
                    of: of.clone(),
                    key,
                    tail,
                    is_open: true,
                });
                self.step(Input::Joined { of, start }).await
            }
            Done::Tail(mut followed) => {
                let tail = *followed.tail.borrow_and_update();
                let (of, key) = (followed.of.clone(), followed.key);
                if followed.is_open {
                    self.follow(followed);
                } else {
                    self.follow_again(&of, key);
                }
                self.step(Input::Tail {
                    of,
                    partition: key.partition,
                    tail,
                })
                .await
            }
            Done::Reauthenticated { id, outcome } => {
                let outcome = outcome.map(|principal| {
                    let topics = self.session.topics().into_iter();
                    let denied =
                        topics.filter(|topic| consume::may_read(&principal, topic).is_err());
                    let denied = denied.collect();
                    self.principal = principal;
                    denied
                });
                self.step(Input::Reauthenticated { id, outcome }).await
            }
            Done::Nothing => Ok(()),
        }
    }

    async fn step(&mut self, input: Input) -> Result<(), Over> {
        let now = clock::monotonic().saturating_duration_since(self.opened_at);
        let effects = self.session.step(now, input);
        self.carry_out(effects).await
    }

    async fn carry_out(&mut self, effects: Effects) -> Result<(), Over> {
        let mut effects = VecDeque::from(effects);
        while let Some(first) = effects.front() {
            if let Some(bytes) = first.message_bytes() {
                self.write_out(Goal::Room(bytes), &mut effects).await?;
            }
            // It may have been let go.
            let Some(effect) = effects.pop_front() else {
                break;
            };
            match effect {
                Effect::Send(text) => self.wire.feed(Message::Text(text.into()), 0)?,
                Effect::SendRecords(sending) => {
                    let records = sending.frame.records;
                    self.wire.feed(sending.frame.into_message(), records)?;
                }
                Effect::Ping => self.wire.feed(Message::Ping(bytes::Bytes::new()), 0)?,
                Effect::Close(code) => return Err(Over::Close(code)),
                Effect::Forget { generation } => {
                    if let Some(token) = self.generations.remove(&generation) {
                        token.cancel();
                    }
                }
                other => self.start_work(other),
            }
        }
        self.subscriptions.set(self.session.subscription_count());
        Ok(())
    }

    /// Starts what takes time; its result comes back through [`Pump::take_done`].
    fn start_work(&mut self, effect: Effect) {
        let sockets = Arc::clone(&self.sockets);
        match effect {
            Effect::Resolve { of, partitions, at } => {
                let principal = self.principal.clone();
                self.spawn(of.generation, async move {
                    let outcome =
                        consume::open(&sockets, &principal, &of.topic, partitions, at).await;
                    Done::Opened { of, outcome }
                });
            }
            Effect::Follow { of, key } => self.follow_again(&of, key),
            Effect::Join { of, absent } => self.wait_for(of, absent),
            Effect::Read {
                of,
                key,
                from,
                form,
                latest,
            } => {
                self.spawn(of.generation, async move {
                    let outcome = consume::read(&sockets, &of.topic, key, from, form, latest).await;
                    Done::Input(Input::Read {
                        of,
                        partition: key.partition,
                        outcome,
                    })
                });
            }
            Effect::RetryLater { of, partition } => {
                self.spawn(of.generation, async move {
                    sleep(RETRY_AFTER).await;
                    Done::Input(Input::Retry { of, partition })
                });
            }
            Effect::Produce(op) => {
                let principal = self.principal.clone();
                let (id, bytes) = (op.id, op.bytes());
                let memory = self.memory.clone();
                self.work.push(Box::pin(async move {
                    let outcome = produce::produce(&sockets.data, &memory, &principal, op).await;
                    Done::Input(Input::Produced { id, bytes, outcome })
                }));
            }
            Effect::Reauthenticate { id, token } => {
                self.work.push(Box::pin(async move {
                    let outcome = sockets.authenticate(&token);
                    Done::Reauthenticated { id, outcome }
                }));
            }
            Effect::Send(_)
            | Effect::SendRecords(_)
            | Effect::Ping
            | Effect::Close(_)
            | Effect::Forget { .. } => {}
        }
    }

    /// Begins work that is dropped when its positions are no longer of interest. It is polled at once, so
    /// that a read is under way while what came before it is written.
    fn spawn(&mut self, generation: u64, work: impl Future<Output = Done> + Send + 'static) {
        let token = self.generations.entry(generation).or_default().clone();
        let work = async move { token.run_until_cancelled(work).await };
        let mut work = Box::pin(work.map(|done| done.unwrap_or(Done::Nothing)));
        match (&mut work).now_or_never() {
            Some(done) => self.work.push(Box::pin(std::future::ready(done))),
            None => self.work.push(work),
        }
    }
}
