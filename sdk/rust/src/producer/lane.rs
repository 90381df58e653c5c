//! One partition of a producer: its queue, and the task that turns it into requests.
//!
//! The task is the only one that numbers and sends; `send` only fills the queue. Invariant: bytes
//! on the wire are made once, so that a repeat is the same batch under the same sequence number and
//! the server can tell that it has it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tokio::sync::{Notify, watch};
use tokio::time::Sleep;

use crate::backoff;
use crate::client::Client;
use crate::clock;
use crate::error::Error;
use crate::limits::REQUEST_BYTES_MAX;
use crate::producer::config::ProducerConfig;
use crate::producer::delivery::Placed;
use crate::producer::flight::{Flight, Flights, Passenger, Verdict};
use crate::producer::identity::{Identities, Identity};
use crate::producer::ledger::Ledger;
use crate::producer::partitioner::Partitioner;
use crate::producer::queue::{Closed, Queue};
use crate::producer::request::{self, Target};

/// What all lanes of a producer share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) topic: TopicName,
    pub(crate) config: ProducerConfig,
    pub(crate) identities: Identities,
    pub(crate) ledger: Ledger,
    pub(crate) partitioner: Partitioner,
}

/// The door between `send` and the task.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) partition: PartitionId,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Batches settled, in order, or `TASK_ENDED`.
    settled: watch::Sender<u64>,
}

impl Lane {
    pub(crate) fn new(partition: PartitionId, config: &ProducerConfig) -> Self {
        Self {
            partition,
            queue: Mutex::new(Queue::new(config)),
            wake: Notify::new(),
            settled: watch::Sender::new(0),
        }
    }

    /// Runs `change` on the queue and wakes the task if it says so.
    pub(crate) fn with_queue<T>(&self, change: impl FnOnce(&mut Queue) -> (T, bool)) -> T {
        let (value, wake) = change(&mut self.queue.lock().unwrap_or_else(PoisonError::into_inner));
        if wake {
            self.wake.notify_one();
        }
        value
    }

    /// Closes the open batch and waits until everything sent so far is settled.
    ///
    /// `Error::Closed` when the task is gone, and with it whoever could settle.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let target = self.with_queue(|queue| {
            queue.close();
            (queue.opened(), true)
        });
        let mut settled = self.settled.subscribe();
        match settled.wait_for(|settled| *settled >= target).await {
            Ok(settled) if *settled != TASK_ENDED => Ok(()),
            Ok(_) | Err(_) => Err(Error::Closed),
        }
    }
}

/// In place of the number of settled batches: none will be settled any more.
const TASK_ENDED: u64 = u64::MAX;

type Landing = BoxFuture<'static, (u64, Result<Placed, Error>)>;

/// The task of one lane.
pub(crate) struct Sender {
    shared: Arc<Shared>,
    lane: Arc<Lane>,
    target: Arc<Target>,
    flights: Flights,
    calls: FuturesUnordered<Landing>,
    linger: Option<Pin<Box<Sleep>>>,
    identity: Option<Identity>,
    broken: Option<Identity>,
    next_seq: u32,
    next_number: u64,
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.lane.settled.send_replace(TASK_ENDED);
    }
}

impl Sender {
    pub(crate) fn new(shared: Arc<Shared>, lane: Arc<Lane>) -> Self {
        let target = Arc::new(Target::new(
            shared.client.clone(),
            &shared.topic,
            lane.partition,
            &shared.config,
        ));
        Self {
            shared,
            lane,
            target,
            flights: Flights::default(),
            calls: FuturesUnordered::new(),
            linger: None,
            identity: None,
            broken: None,
            next_seq: 0,
            next_number: 0,
        }
    }

    /// Runs until dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.launch().await;
            tokio::select! {
                Some((number, answer)) = self.calls.next(), if !self.calls.is_empty() => {
                    self.flights.land(number, answer);
                    self.settle();
                }
                () = self.lane.wake.notified() => self.start_linger(),
                () = elapsed(&mut self.linger) => {
                    self.linger = None;
                    self.lane.with_queue(|queue| (queue.close(), false));
                    self.shared.partitioner.batch_closed(self.lane.partition);
                }
            }
        }
    }

    /// A batch that was opened while no linger ran gets one; a running one closes it even sooner.
    fn start_linger(&mut self) {
        if self.linger.is_none() && self.lane.with_queue(|queue| (queue.has_open(), false)) {
            self.linger = Some(Box::pin(tokio::time::sleep(self.shared.config.linger)));
        }
    }

    /// Sends what is closed while there is room in flight.
    async fn launch(&mut self) {
        while self.flights.len() < self.shared.config.in_flight {
            if !self.lane.with_queue(|queue| (queue.has_closed(), false)) {
                return;
            }
            let identity = match self.identify().await {
                Ok(identity) => identity,
                Err(error) => return self.give_up(&error),
            };
            let batches = self
                .lane
                .with_queue(|queue| (queue.take(REQUEST_BYTES_MAX), false));
            match self.board(batches, identity) {
                Ok((body, passengers)) => {
                    let number = self.next_number;
                    self.next_number += 1;
                    let deadline = clock::now() + self.shared.config.delivery_timeout;
                    self.flights
                        .push(Flight::new(number, body.clone(), passengers, deadline));
                    self.send(number, body, Duration::ZERO);
                }
                Err(error) => return self.give_up(&error),
            }
        }
    }

    /// Whatever the acknowledgements wait for: a request whose answer is lost is sent again, and
    /// only its numbers tell the server that it has it.
    async fn identify(&mut self) -> Result<Identity, Error> {
        if let Some(identity) = self.identity {
            return Ok(identity);
        }
        let patience = self.shared.config.delivery_timeout;
        let identity = self.shared.identities.get(self.broken, patience).await?;
        self.identity = Some(identity);
        self.next_seq = 0;
        Ok(identity)
    }

    /// Numbers the batches and makes the request's bytes.
    fn board(
        &mut self,
        batches: Vec<Closed>,
        identity: Identity,
    ) -> Result<(Bytes, Vec<Passenger>), Error> {
        let mut wire = Vec::new();
        let mut passengers = Vec::with_capacity(batches.len());
        let mut failure = None;
        for batch in batches {
            let Closed {
                builder,
                records,
                held_bytes,
                outcome,
            } = batch;
            passengers.push(Passenger {
                records,
                held_bytes,
                outcome,
            });
            let stamp = request::stamp(identity, self.next_seq);
            match request::encode(builder, stamp, &mut wire) {
                Ok(()) => self.next_seq = self.next_seq.wrapping_add(records),
                Err(error) => failure = Some(error),
            }
        }
        let Some(error) = failure else {
            return Ok((Bytes::from(wire), passengers));
        };
        for passenger in passengers {
            self.finish(passenger, Err(error.clone()));
        }
        Err(error)
    }

    fn send(&self, number: u64, body: Bytes, pause: Duration) {
        let target = self.target.clone();
        self.calls.push(Box::pin(async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            (number, target.produce(body).await)
        }));
    }

    fn settle(&mut self) {
        loop {
            match self.flights.judge(clock::now(), backoff::random()) {
                Verdict::Wait => return,
                Verdict::Delivered(flight, placed) => {
                    self.set_away(false);
                    let mut base_offset = placed.base_offset;
                    for passenger in flight.passengers {
                        let records = u64::from(passenger.records);
                        self.finish(passenger, Ok(Placed { base_offset }));
                        base_offset = base_offset.map(|base| base.plus(records));
                    }
                }
                Verdict::Repeat {
                    number,
                    body,
                    pause,
                } => {
                    self.shared.ledger.repeated();
                    // At once is only repeated what came before its turn.
                    if !pause.is_zero() {
                        self.set_away(true);
                    }
                    self.send(number, body, pause);
                }
                Verdict::Failed(error) => return self.give_up(&error),
            }
        }
    }

    /// Fails everything that waits: it was to follow in sequence and cannot any more. What is sent
    /// afterwards starts under a new identity.
    fn give_up(&mut self, error: &Error) {
        self.calls.clear();
        let abandoned: Vec<Passenger> = self.flights.abandon().collect();
        let waiting = self.lane.with_queue(|queue| (queue.take_all(), false));
        let waiting = waiting.into_iter().map(|batch| Passenger {
            records: batch.records,
            held_bytes: batch.held_bytes,
            outcome: batch.outcome,
        });
        for passenger in abandoned.into_iter().chain(waiting) {
            self.finish(passenger, Err(error.clone()));
        }
        self.broken = self.identity.take().or(self.broken);
        // Nothing is under way that would find out: the next batch does.
        self.set_away(false);
    }

    /// Has keyless records pass by this partition, or not any more.
    fn set_away(&self, is_away: bool) {
        let partitioner = &self.shared.partitioner;
        partitioner.set_away(self.lane.partition, is_away);
    }

    fn finish(&self, passenger: Passenger, outcome: Result<Placed, Error>) {
        self.shared
            .ledger
            .settled(&passenger, outcome.as_ref().err());
        passenger.outcome.send_replace(Some(outcome));
        self.lane.settled.send_modify(|settled| *settled += 1);
    }
}

async fn elapsed(linger: &mut Option<Pin<Box<Sleep>>>) {
    match linger {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}
