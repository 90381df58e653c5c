//! One stream of one follower at the leader: attaches, acknowledgements, and the batches that it lacks.
//!
//! Each attach is a session of the partition's machine with a cursor over the log. It is stirred when there
//! is something to send, and sends while there is credit and room. On the lane of the tail batches come out
//! of memory, on that of catching up out of the log's files; who is on the wrong one is told to attach on
//! the other. Invariant: what is sent in a session was in the log while its epoch was led here.

mod answers;
mod heard;
mod lag;
mod shipments;

mod pushing;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tidegate_data_plane::partitions::Held;
use tidegate_kit::clock;
use tidegate_kit::frames::{Arrived, FrameFault, FrameReader};
use tidegate_kit::outlet::Outlet;
use tidegate_proto::batch::Batch;
use tidegate_proto::control::IsrMember;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LeaderEpoch, LogPosition, Offset, ReplicaKey};
use tidegate_proto::private::replicate::{
    ACKS, ATTACH, AttachRefusal, EndReason, Event, Lane, Wish, decode_acks,
};
use tidegate_proto::private::{FrameError, Pieces};
use tidegate_spu_core::AttachRequest;
use tokio::time::{interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::feed::Feed;
use super::streams::Followers;
use crate::limits::{
    REPLICATION_HEARTBEAT, REPLICATION_SESSIONS_MAX, REPLICATION_SILENCE_MAX,
    STREAM_QUEUED_BYTES_MAX,
};
use crate::shard::{AttachMessage, FollowerQueue, Message, PartitionHandle, Session, SessionEvent};

use heard::keep;
use lag::Lag;
use shipments::Shipments;

/// One session on this stream.
struct Sending {
    session: Arc<Session>,
    partition: Arc<PartitionHandle>,
    state: State,
    /// Waits for credit or room.
    is_blocked: bool,
}

enum State {
    /// The machine has not answered.
    Opening,
    /// A snapshot goes first, which is waited for.
    Awaiting(Cursor),
    /// What is left of it.
    Shipping(Cursor, Snapshot),
    Open(Cursor),
    /// Nothing more is sent; the machine counts what was acknowledged until the follower attaches anew.
    Over,
}

/// A snapshot on its way.
struct Snapshot {
    as_of: Offset,
    rest: Bytes,
    /// Its memory.
    _held: Held,
}

/// How far a session has come.
#[derive(Clone, Copy)]
struct Cursor {
    epoch: LeaderEpoch,
    at: LogPosition,
    /// High watermark and start of the log, as last told.
    told: (Offset, Offset),
    is_reading: bool,
}

/// What the disk, or a machine, was waited for.
enum Found {
    Start(u32, Box<AttachRequest>, Option<Offset>),
    Batches(u32, Option<(Vec<Batch>, Held)>),
    Snapshot(u32, Option<(Offset, Bytes, Held)>),
}

pub(super) struct FollowerStream {
    followers: Followers,
    peer: SpuId,
    lane: Lane,
    outlet: Outlet<Pieces>,
    queue: Arc<FollowerQueue>,
    feed: Feed,
    sending: HashMap<u32, Sending>,
    blocked: VecDeque<u32>,
    shipments: Shipments,
    lag: Lag,
    reads: FuturesUnordered<BoxFuture<'static, Found>>,
    /// Bytes that may be sent; overdrawn by the last push at most.
    credit: i64,
    heard: Instant,
}

impl FollowerStream {
    pub(super) fn new(
        followers: Followers,
        (peer, lane): (SpuId, Lane),
        outlet: Outlet<Pieces>,
        feed: Feed,
    ) -> Self {
        Self {
            followers,
            peer,
            lane,
            outlet,
            queue: Arc::default(),
            feed,
            sending: HashMap::new(),
            blocked: VecDeque::new(),
            shipments: Shipments::default(),
            lag: Lag::default(),
            reads: FuturesUnordered::new(),
            credit: 0,
            heard: clock::monotonic(),
        }
    }

    /// Runs until one side has enough, or the follower is silent for too long.
    pub(super) async fn run(mut self, body: Body, stop: CancellationToken, age_max: Duration) {
        let mut reader = FrameReader::new(body);
        let (outlet, queue) = (self.outlet.clone(), Arc::clone(&self.queue));
        let too_old = sleep_until((clock::monotonic() + age_max).into());
        tokio::pin!(too_old);
        let mut beats = interval(REPLICATION_HEARTBEAT);
        loop {
            // Room may have come since the last push, with nobody to tell.
            if !self.blocked.is_empty() && self.credit > 0 && !self.is_full() {
                self.unblock();
            }
            let is_full = self.is_full();
            tokio::select! {
                biased;
                () = outlet.gone() => break,
                () = stop.cancelled() => break,
                () = &mut too_old => break,
                _ = beats.tick() => {
                    if self.beat() {
                        tracing::info!("a follower is silent: its stream ends");
                        break;
                    }
                }
                // Also when nothing can be sent: what it acknowledges is what others wait for.
                arrived = reader.next(keep) => match self.take(arrived) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(fault) => {
                        tracing::warn!(%fault, "a follower's stream is not understood and ends");
                        break;
                    }
                },
                () = queue.rung() => self.look(),
                Some(found) = self.reads.next(), if !self.reads.is_empty() => self.found(found),
                () = outlet.taken(), if is_full => self.unblock(),
            }
        }
        self.leave();
        outlet.end();
    }

    fn is_full(&self) -> bool {
        self.outlet.look(|pieces| pieces.len()) >= STREAM_QUEUED_BYTES_MAX
    }

    /// Whether the follower has been silent for too long.
    fn beat(&mut self) -> bool {
        if self.lane == Lane::CatchUp {
            self.lag.tell(self.sending.values());
        }
        self.say(Event::Heartbeat);
        let silence = clock::monotonic().saturating_duration_since(self.heard);
        silence >= REPLICATION_SILENCE_MAX
    }

    fn say(&self, event: Event) {
        self.outlet.with(|pieces| event.encode(pieces));
    }

    /// False at the end of the stream.
    fn take(&mut self, arrived: Result<Option<Arrived>, FrameFault>) -> Result<bool, FrameFault> {
        let arrived = match arrived {
            Ok(Some(arrived)) => arrived,
            Ok(None) | Err(FrameFault::Broken(_)) => return Ok(false),
            Err(fault) => return Err(fault),
        };
        self.heard = clock::monotonic();
        if arrived.kind == ACKS {
            self.acked(decode_acks(&arrived.payload)?);
            return Ok(true);
        }
        match Wish::decode(arrived.kind, &arrived.payload)? {
            Wish::Attach {
                handle,
                key,
                replica_gen,
                leader_epoch,
                incarnation,
                position,
                log_start,
                is_whole,
                is_intact,
            } => {
                let request = AttachRequest {
                    follower: IsrMember {
                        spu: self.peer,
                        incarnation,
                    },
                    replica_gen,
                    leader_epoch,
                    log_start,
                    position,
                    is_whole,
                    is_intact,
                };
                if self.sending.contains_key(&handle) {
                    let field = "a handle in use";
                    return Err(FrameError::Field {
                        kind: ATTACH,
                        field,
                    }
                    .into());
                }
                self.attach(handle, key, request);
            }
            Wish::Detach { handle } => self.detach(handle),
            Wish::Credit { bytes } => {
                self.credit = self.credit.saturating_add(bytes.into());
                self.unblock();
            }
        }
        Ok(true)
    }

    fn attach(&mut self, handle: u32, key: ReplicaKey, request: AttachRequest) {
        let refuse = |reason| Event::Refused {
            handle,
            leader_epoch: LeaderEpoch(0),
            reason,
        };
        // Of sessions that are given up reads and places in line may be left for a moment.
        let most = self.sending.len().max(self.reads.len());
        if most.max(self.blocked.len()) >= REPLICATION_SESSIONS_MAX {
            return self.say(refuse(AttachRefusal::Busy));
        }
        let Some(partition) = self.followers.directory().get(key) else {
            return self.say(refuse(AttachRefusal::NotLeading));
        };
        let log = &partition.reader.log;
        let is_behind = log.read_after_cached(request.position, 1).is_none();
        let lacks_something = request.position != log.durable_position();
        if self.lane == Lane::Tail
            && is_behind
            && lacks_something
            && request.position.end <= log.end()
        {
            let reason = EndReason::Behind;
            return self.say(Event::Ended { handle, reason });
        }
        let session = Session::new(
            self.followers.new_session(),
            handle,
            Arc::clone(&self.queue),
        );
        let reader = Arc::clone(&partition.reader);
        let sending = Sending {
            session: Arc::new(session),
            partition,
            state: State::Opening,
            is_blocked: false,
        };
        self.sending.insert(handle, sending);
        let feed = self.feed.clone();
        self.reads.push(Box::pin(async move {
            let end = request.position.end;
            let start = feed.readable_from(reader, end).await;
            Found::Start(handle, Box::new(request), start)
        }));
    }

    fn detach(&mut self, handle: u32) {
        if let Some(sending) = self.sending.remove(&handle) {
            let ended = vec![(sending.partition.reader.key, sending.session.id)];
            sending.partition.shard.tell(Message::Detached(ended));
            self.ship_no_more(handle);
        }
    }

    /// The stream ends: so do its sessions.
    fn leave(&mut self) {
        for (_, sending) in self.sending.drain() {
            let ended = vec![(sending.partition.reader.key, sending.session.id)];
            sending.partition.shard.tell(Message::Detached(ended));
        }
    }

    /// Looks at what machines said, and at what there is to send.
    fn look(&mut self) {
        let stirred = self.queue.take();
        for (handle, event) in stirred.events {
            match event {
                SessionEvent::Answered(answer) => self.answered(handle, answer),
                SessionEvent::Over => self.over(handle),
            }
        }
        for handle in stirred.handles {
            if let Some(sending) = self.sending.get(&handle) {
                sending.session.settle();
                self.push(handle);
            }
        }
    }

    fn found(&mut self, found: Found) {
        match found {
            Found::Start(handle, request, start) => {
                let Some(sending) = self.sending.get(&handle) else {
                    return;
                };
                let Some(readable_from) = start else {
                    // No machine has heard of it.
                    self.sending.remove(&handle);
                    let reason = EndReason::Unreadable;
                    return self.say(Event::Ended { handle, reason });
                };
                let message = AttachMessage {
                    key: sending.partition.reader.key,
                    session: Arc::clone(&sending.session),
                    request: *request,
                    readable_from,
                };
                let partition = Arc::clone(&sending.partition);
                if !partition.shard.tell(Message::Attach(Box::new(message))) {
                    self.over(handle);
                }
            }
            Found::Batches(handle, batches) => self.read(handle, batches),
            Found::Snapshot(handle, snapshot) => self.shipped(handle, snapshot),
        }
    }
}
