//! The stream of tails from one storage unit.
//!
//! All that this process follows there goes over one connection. When it breaks it is made anew and every
//! partition is followed again; until then their readers see bounds that stand still.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tidegate_kit::backoff::Backoff;
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::frames::{Arrived, FrameFault, FrameReader, Keep};
use tidegate_kit::outlet::Outlet;
use tidegate_proto::position::{LeaderEpoch, Offset};
use tidegate_proto::private::tail::{
    BATCHES, BATCHES_PAYLOAD_MAX, TAIL_PAYLOAD_MAX, TailEvent, TailWish, decode_batches,
};
use tidegate_proto::private::{FrameError, FrameHeader, Pieces, TAIL_PATH};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::dial::{DialError, Dialer};
use super::limits::{CONNECT_PAUSE_MAX, CONNECT_PAUSE_MIN, TAIL_CREDIT_BYTES};
use super::shared_tail::{Place, SharedTail};

/// The stream of one unit.
pub(super) struct TailLink {
    dialer: Dialer,
    /// What batches are paid for.
    memory: ByteBudget,
    state: Mutex<State>,
    work: Notify,
}

#[derive(Default)]
struct State {
    followed: HashMap<u32, (Arc<SharedTail>, LeaderEpoch)>,
    next_handle: u32,
    outlet: Option<Outlet<Pieces>>,
}

impl TailLink {
    pub(super) fn new(dialer: Dialer, memory: ByteBudget) -> Arc<Self> {
        Arc::new(Self {
            dialer,
            memory,
            state: Mutex::new(State::default()),
            work: Notify::new(),
        })
    }

    /// Follows a partition that is followed nowhere; does nothing when somebody was faster.
    pub(super) fn follow(&self, tail: &Arc<SharedTail>, leader_epoch: LeaderEpoch) {
        let mut state = self.lock();
        let handle = state.next_handle;
        let place = Place {
            spu: self.dialer.spu,
            handle,
            leader_epoch,
        };
        if !tail.put(None, Some(place)) {
            return;
        }
        // After four billion follows the oldest are long gone.
        state.next_handle = handle.wrapping_add(1);
        state
            .followed
            .insert(handle, (Arc::clone(tail), leader_epoch));
        state.say(&[follow(handle, tail, leader_epoch, None)]);
        drop(state);
        self.work.notify_one();
    }

    /// Batches are wanted from there on, or not at all any more.
    pub(super) fn want(&self, tail: &SharedTail, place: Place, batches_from: Option<Offset>) {
        let wish = follow(place.handle, tail, place.leader_epoch, batches_from);
        self.lock().say(&[wish]);
    }

    pub(super) fn leave(&self, handle: u32) {
        let mut state = self.lock();
        if state.followed.remove(&handle).is_some() {
            state.say(&[TailWish::Leave { handle }]);
        }
    }

    /// Keeps a stream open as long as something is followed.
    pub(super) async fn run(self: Arc<Self>, seed: u64) {
        let mut backoff = Backoff::new(CONNECT_PAUSE_MIN, CONNECT_PAUSE_MAX, seed);
        loop {
            while self.lock().followed.is_empty() {
                self.work.notified().await;
            }
            match self.open().await {
                Ok(events) => {
                    backoff.reset();
                    if let Err(fault) = self.serve(events).await {
                        tracing::debug!(%fault, "a stream of tails broke");
                    }
                    self.lose();
                }
                Err(error) => tracing::debug!(%error, "no stream of tails"),
            }
            sleep(backoff.next_delay()).await;
        }
    }

    async fn open(&self) -> Result<Incoming, DialError> {
        let (outlet, body) = Outlet::new(Pieces::default());
        let events = self.dialer.open(TAIL_PATH, body.boxed_unsync()).await?;
        let mut state = self.lock();
        state.outlet = Some(outlet);
        let mut wishes = vec![TailWish::Credit {
            bytes: TAIL_CREDIT_BYTES,
        }];
        for (handle, (tail, leader_epoch)) in &state.followed {
            wishes.push(follow(*handle, tail, *leader_epoch, None));
        }
        state.say(&wishes);
        Ok(events)
    }

    async fn serve(&self, events: Incoming) -> Result<(), FrameFault> {
        let mut reader = FrameReader::new(events);
        let mut consumed = 0;
        let keep = |header| self.keep(header);
        while let Some(arrived) = reader.next(keep).await? {
            if arrived.kind == BATCHES {
                consumed += self.take_batches(arrived)?;
                if consumed >= TAIL_CREDIT_BYTES / 4 {
                    self.lock().say(&[TailWish::Credit { bytes: consumed }]);
                    consumed = 0;
                }
                continue;
            }
            match TailEvent::decode(arrived.kind, &arrived.payload)? {
                TailEvent::Moved { handle, bounds } => {
                    if let Some(tail) = self.tail(handle) {
                        tail.moved(bounds);
                    }
                }
                TailEvent::Skipped { handle, .. } => {
                    if let Some(tail) = self.tail(handle) {
                        tail.skipped();
                    }
                }
                TailEvent::Ended { handle, problem } => {
                    let ended = self.lock().followed.remove(&handle);
                    if let Some((tail, _)) = ended {
                        tail.ended(handle, problem);
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&self, header: FrameHeader) -> Result<Keep, FrameError> {
        if header.kind == BATCHES {
            header.check(BATCHES_PAYLOAD_MAX)?;
            return Ok(Keep::IfRoom(self.memory.clone()));
        }
        header.check(TAIL_PAYLOAD_MAX)?;
        Ok(Keep::Shared)
    }

    /// Credit that they took.
    fn take_batches(&self, arrived: Arrived) -> Result<u32, FrameFault> {
        if arrived.is_skipped {
            // Its readers ask for themselves.
            let handle = arrived.payload.first_chunk();
            let tail = handle.and_then(|handle| self.tail(u32::from_le_bytes(*handle)));
            if let Some(tail) = tail {
                tail.skipped();
            }
            return Ok(u32::try_from(arrived.payload_len).unwrap_or(u32::MAX));
        }
        let (handle, batches) = decode_batches(arrived.payload)?;
        if let Some(tail) = self.tail(handle) {
            tail.push(batches);
        }
        Ok(u32::try_from(arrived.payload_len).unwrap_or(u32::MAX))
    }

    fn tail(&self, handle: u32) -> Option<Arc<SharedTail>> {
        let state = self.lock();
        let followed = state.followed.get(&handle);
        followed.map(|(tail, _)| Arc::clone(tail))
    }

    fn lose(&self) {
        let mut state = self.lock();
        if let Some(outlet) = state.outlet.take() {
            outlet.end();
        }
        for (tail, _) in state.followed.values() {
            tail.lost();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // It is whole after every statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says it on the stream, if there is one: a new one is told everything.
    fn say(&self, wishes: &[TailWish]) {
        if let Some(outlet) = &self.outlet {
            outlet.with(|pieces| wishes.iter().for_each(|wish| wish.encode(pieces)));
        }
    }
}

fn follow(
    handle: u32,
    tail: &SharedTail,
    leader_epoch: LeaderEpoch,
    batches_from: Option<Offset>,
) -> TailWish {
    TailWish::Follow {
        handle,
        key: tail.key,
        leader_epoch,
        batches_from,
    }
}
