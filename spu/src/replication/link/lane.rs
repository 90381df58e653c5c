//! One of the two streams to one leader: opens it while something is wanted there, says what is to be said,
//! and hands what comes to the shards.

use std::sync::Arc;
use std::time::Instant;

use tidegate_kit::backoff::Backoff;
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_kit::channel::ChannelBody;
use tidegate_kit::clock;
use tidegate_kit::frames::{Arrived, FrameFault, FrameReader};
use tidegate_kit::outlet::Outlet;
use tidegate_kit::secret::random_u64;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::NodeTls;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::Topology;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::private::replicate::{
    Acked, EndReason, Event, Lane, PUSH, Push, SNAPSHOT, SnapshotPiece, Wish, encode_acks,
};
use tidegate_proto::private::{FrameError, Pieces};
use tidegate_spu_core::{AttachAnswer, Input};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

use super::dial::Dialled;
use super::heard::{answer_of, attach, keep};
use super::parcel::{Delivered, Parcels, Progress};
use super::{Hint, Link, Wanted, after_rest, number};
use crate::limits::{
    ATTACH_REST, REPLICATION_CREDIT_BYTES, REPLICATION_HEARTBEAT, REPLICATION_HELD_BYTES_MAX,
    REPLICATION_RETRY_BASE, REPLICATION_RETRY_MAX, REPLICATION_SILENCE_MAX,
};
use crate::metrics;
use crate::shard::{AttachAnswered, Directory, Message, Pushed};

/// What one lane of a link is made of.
pub(super) struct LaneRun {
    pub(super) link: Arc<Link>,
    pub(super) lane: Lane,
    pub(super) tls: NodeTls,
    pub(super) topology: watch::Receiver<Arc<Topology>>,
    pub(super) directory: Directory,
    pub(super) shipped: ByteBudget,
    pub(super) tasks: Tasks,
}

/// What is known of the stream that is open.
struct Open {
    outlet: Outlet<Pieces>,
    /// Bytes that arrived since credit was given.
    taken: u32,
    parcels: Parcels,
    heard: Instant,
}

impl LaneRun {
    /// Runs until it is dropped.
    pub(super) async fn run(self) {
        let seed = random_u64().unwrap_or_default();
        let mut backoff = Backoff::new(REPLICATION_RETRY_BASE, REPLICATION_RETRY_MAX, seed);
        let mut dialled: Option<Dialled> = None;
        loop {
            while !self.is_wanted() {
                self.link.bells[number(self.lane)].notified().await;
            }
            match self.open(&mut dialled).await {
                Ok((outlet, body)) => {
                    backoff.reset();
                    if let Err(fault) = self.serve(outlet, body).await {
                        tracing::info!(%fault, "a leader's stream broke");
                    }
                    self.lost();
                }
                Err(reason) => tracing::debug!(reason, "no stream to a leader"),
            }
            sleep(backoff.next_delay()).await;
        }
    }

    fn is_wanted(&self) -> bool {
        self.link.lock().is_wanted(self.lane)
    }

    async fn serve(&self, outlet: Outlet<Pieces>, body: ChannelBody) -> Result<(), FrameFault> {
        let mut reader = FrameReader::new(body);
        let held = ByteBudget::new(REPLICATION_HELD_BYTES_MAX);
        let mut open = Open {
            outlet,
            taken: 0,
            parcels: Parcels::new(self.shipped.clone()),
            heard: clock::monotonic(),
        };
        let credit = Wish::Credit {
            bytes: REPLICATION_CREDIT_BYTES,
        };
        open.outlet.with(|pieces| credit.encode(pieces));
        let (mut beats, mut looks) = (interval(REPLICATION_HEARTBEAT), interval(ATTACH_REST));
        let bell = &self.link.bells[number(self.lane)];
        let mut has_resting = self.speak(&mut open);
        loop {
            tokio::select! {
                arrived = reader.next(|header| keep(header, &held)) => {
                    let Some(arrived) = arrived? else {
                        return Ok(());
                    };
                    open.heard = clock::monotonic();
                    self.take(arrived, &mut open)?;
                }
                () = bell.notified() => has_resting = self.speak(&mut open),
                _ = looks.tick(), if has_resting => has_resting = self.speak(&mut open),
                _ = beats.tick() => {
                    open.outlet.with(|pieces| encode_acks(&[], pieces));
                    let silence = clock::monotonic().saturating_duration_since(open.heard);
                    // While what came waits for the disk, nothing more is read.
                    if silence >= REPLICATION_SILENCE_MAX && held.held() == 0 {
                        tracing::info!("a leader is silent: its stream ends");
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Says what is to be said; whether an attach rests and is to be said later.
    fn speak(&self, open: &mut Open) -> bool {
        let at = number(self.lane);
        let (left, acks, (attaches, rests)) = {
            let mut state = self.link.lock();
            let left = std::mem::take(&mut state.left[at]);
            let acks: Vec<Acked> = state.acks[at].drain().map(|(_, acked)| acked).collect();
            (left, acks, state.attaches(self.lane, clock::monotonic()))
        };
        for handle in &left {
            open.parcels.give_up(*handle);
        }
        if left.is_empty() && acks.is_empty() && attaches.is_empty() {
            return rests;
        }
        open.outlet.with(|pieces| {
            for handle in left {
                Wish::Detach { handle }.encode(pieces);
            }
            if !acks.is_empty() {
                encode_acks(&acks, pieces);
            }
            for (handle, key, wanted) in &attaches {
                attach(*handle, *key, wanted).encode(pieces);
            }
        });
        rests
    }

    fn take(&self, arrived: Arrived, open: &mut Open) -> Result<(), FrameFault> {
        if matches!(arrived.kind, PUSH | SNAPSHOT) {
            metrics::replicated_in(self.lane.as_str(), arrived.payload_len as u64);
            open.taken += u32::try_from(arrived.payload_len).unwrap_or(u32::MAX / 2);
            if open.taken >= REPLICATION_CREDIT_BYTES / 4 {
                let bytes = std::mem::take(&mut open.taken);
                open.outlet
                    .with(|pieces| Wish::Credit { bytes }.encode(pieces));
            }
        }
        match arrived.kind {
            PUSH => self.pushed(arrived),
            SNAPSHOT => self.shipped(SnapshotPiece::decode(arrived.payload)?, open),
            kind => {
                let event = Event::decode(kind, &arrived.payload)?;
                self.event(event, open);
                Ok(())
            }
        }
    }

    fn pushed(&self, arrived: Arrived) -> Result<(), FrameFault> {
        let push = Push::decode(arrived.payload)?;
        for batch in &push.batches {
            batch.verify().map_err(FrameError::Batch)?;
        }
        self.give(
            push.handle,
            (push.high_watermark, push.log_start),
            push.batches,
            arrived.permit,
        );
        Ok(())
    }

    fn give(
        &self,
        handle: u32,
        (high_watermark, log_start): (Offset, Offset),
        batches: Vec<Batch>,
        permit: Option<BytePermit>,
    ) {
        if let Some((key, wanted)) = self.wanted(handle)
            && let Some(partition) = self.directory.get(key)
        {
            let pushed = Pushed {
                key,
                attempt: wanted.attempt,
                batches,
                high_watermark,
                log_start,
                permit,
            };
            partition.shard.tell(Message::Pushed(Box::new(pushed)));
        }
    }

    /// Who is behind a handle, if it is still the partition's attach.
    fn wanted(&self, handle: u32) -> Option<(ReplicaKey, Wanted)> {
        let state = self.link.lock();
        let key = *state.handles[number(self.lane)].get(&handle)?;
        let wanted = *state.wanted.get(&key)?;
        (wanted.handle == Some(handle)).then_some((key, wanted))
    }

    fn event(&self, event: Event, open: &mut Open) {
        match event {
            Event::Heartbeat => {}
            Event::Moved {
                handle,
                high_watermark,
                log_start,
            } => self.give(handle, (high_watermark, log_start), Vec::new(), None),
            Event::Ended { handle, reason } => {
                let (lane, not_before) = match reason {
                    EndReason::Behind => (Lane::CatchUp, clock::monotonic()),
                    EndReason::CaughtUp => (Lane::Tail, clock::monotonic()),
                    EndReason::Over | EndReason::Unreadable => (self.lane, after_rest()),
                };
                open.parcels.give_up(handle);
                self.unlinked(handle, Hint { lane, not_before });
            }
            Event::Attached { handle, .. }
            | Event::Diverged { handle, .. }
            | Event::Reset { handle, .. }
            | Event::Refused { handle, .. } => {
                let Some((_, wanted)) = self.wanted(handle) else {
                    return;
                };
                let answer = answer_of(event, &wanted);
                let ships = matches!(
                    event,
                    Event::Attached {
                        ships_snapshot: true,
                        ..
                    }
                );
                if ships {
                    open.parcels.begin(handle, answer);
                } else {
                    self.answered(handle, answer, None);
                }
            }
        }
    }

    /// The answer goes to the machine; unless batches follow, the handle is free.
    fn answered(&self, handle: u32, answer: AttachAnswer, shipped: Option<Delivered>) {
        let Some((key, wanted)) = self.wanted(handle) else {
            return;
        };
        if !matches!(answer, AttachAnswer::Attached { .. }) {
            let mut state = self.link.lock();
            state.handles[number(self.lane)].remove(&handle);
            let hint = Hint {
                lane: self.lane,
                not_before: clock::monotonic(),
            };
            state.over(key, handle, hint);
        }
        let (snapshot, permit) = shipped.map_or((None, None), |shipped| {
            (Some((shipped.as_of, shipped.bytes)), shipped.permit)
        });
        if let Some(partition) = self.directory.get(key) {
            let answered = AttachAnswered {
                key,
                attempt: wanted.attempt,
                answer,
                snapshot,
                permit,
            };
            let message = Message::AttachAnswered(Box::new(answered));
            partition.shard.tell(message);
        }
    }

    fn shipped(&self, piece: SnapshotPiece, open: &mut Open) -> Result<(), FrameFault> {
        let handle = piece.handle;
        match open.parcels.take(piece)? {
            Progress::Unknown | Progress::Incomplete => {}
            Progress::Whole(answer, delivered) => self.answered(handle, answer, Some(delivered)),
            Progress::NoRoom(rest) => {
                // Others that were shipped wait for their logs: it is asked for again when they gave room.
                self.leave(handle);
                let hint = Hint {
                    lane: self.lane,
                    not_before: clock::monotonic() + rest,
                };
                self.unlinked(handle, hint);
            }
        }
        Ok(())
    }

    /// The leader is told that nothing more is wanted in an attach.
    fn leave(&self, handle: u32) {
        self.link.lock().left[number(self.lane)].push(handle);
        self.link.ring(self.lane);
    }

    /// An attach came to its end.
    fn unlinked(&self, handle: u32, hint: Hint) {
        let Some((key, wanted)) = self.wanted(handle) else {
            return;
        };
        {
            let mut state = self.link.lock();
            let at = number(self.lane);
            state.handles[at].remove(&handle);
            state.acks[at].remove(&handle);
            state.over(key, handle, hint);
        }
        let attempt = wanted.attempt;
        self.tell(key, Input::Unlinked { attempt });
    }

    /// The stream broke: so did every attach on it.
    fn lost(&self) {
        let at = number(self.lane);
        let handles: Vec<u32> = {
            let mut state = self.link.lock();
            state.left[at].clear();
            state.handles[at].keys().copied().collect()
        };
        for handle in handles {
            let hint = Hint {
                lane: self.lane,
                not_before: after_rest(),
            };
            self.unlinked(handle, hint);
        }
        let mut state = self.link.lock();
        state.handles[at].clear();
        state.acks[at].clear();
    }

    fn tell(&self, key: ReplicaKey, input: Input) {
        if let Some(partition) = self.directory.get(key) {
            partition.shard.tell(Message::Input(key, Box::new(input)));
        }
    }
}
