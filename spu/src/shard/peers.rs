//! How a shard speaks to other nodes: to followers through the queues of their streams, to leaders and
//! controllers through [`Peers`].
//!
//! Nothing here waits. A session is one attach of one follower; its stream learns that there is something
//! to send, and reads the log itself. Invariant: a session is stirred after what it is to send was
//! submitted, and is in its queue once however often that happens.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_proto::control::IsrProposal;
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::{AttachAnswer, AttachRequest, SessionId};
use tokio::sync::Notify;

/// What a shard says to other nodes.
pub(crate) trait Peers: Debug + Send + Sync {
    /// Attach to the leader; the answer comes as a message.
    fn attach(&self, key: ReplicaKey, attempt: u64, leader: SpuId, request: AttachRequest);
    /// So much is durable here.
    fn ack(&self, key: ReplicaKey, attempt: u64, position: LogPosition, as_of: Option<Offset>);
    /// Nothing is followed there any more.
    fn stop_following(&self, key: ReplicaKey);
    /// An in-sync set for the controllers.
    fn propose(&self, proposal: IsrProposal);
    /// The log is shorter, durably: what is left is to be read, and told.
    fn read_again(&self, key: ReplicaKey);
}

/// Of a node that has no peers: its partitions have one copy.
#[derive(Debug)]
pub(crate) struct NoPeers;

impl Peers for NoPeers {
    fn attach(&self, _: ReplicaKey, _: u64, _: SpuId, _: AttachRequest) {}
    fn ack(&self, _: ReplicaKey, _: u64, _: LogPosition, _: Option<Offset>) {}
    fn stop_following(&self, _: ReplicaKey) {}
    fn propose(&self, _: IsrProposal) {}
    fn read_again(&self, _: ReplicaKey) {}
}

/// One thing to say to a peer, once what was submitted before is.
#[derive(Debug)]
pub(crate) enum PeerCall {
    Attach(u64, SpuId, Box<AttachRequest>),
    Ack(u64, LogPosition, Option<Offset>),
    StopFollowing,
    Propose(Box<IsrProposal>),
}

impl PeerCall {
    pub(crate) fn make(self, key: ReplicaKey, peers: &dyn Peers) {
        match self {
            Self::Attach(attempt, leader, request) => peers.attach(key, attempt, leader, *request),
            Self::Ack(attempt, position, as_of) => peers.ack(key, attempt, position, as_of),
            Self::StopFollowing => peers.stop_following(key),
            Self::Propose(proposal) => peers.propose(*proposal),
        }
    }
}

/// One attach of one follower, as the shard knows it.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// Names it on its stream.
    pub(crate) handle: u32,
    queue: Arc<FollowerQueue>,
    is_stirred: AtomicBool,
}

/// What happened to a session.
#[derive(Debug)]
pub(crate) enum SessionEvent {
    Answered(AttachAnswer),
    Over,
}

/// What one stream to a follower has to look at.
#[derive(Debug, Default)]
pub(crate) struct FollowerQueue {
    waiting: Mutex<Stirred>,
    bell: Notify,
}

/// Bounded by the sessions of the stream: each is stirred once, answered once and over once.
#[derive(Debug, Default)]
pub(crate) struct Stirred {
    pub(crate) events: Vec<(u32, SessionEvent)>,
    pub(crate) handles: Vec<u32>,
}

impl Session {
    pub(crate) fn new(id: SessionId, handle: u32, queue: Arc<FollowerQueue>) -> Self {
        Self {
            id,
            handle,
            queue,
            is_stirred: AtomicBool::new(false),
        }
    }

    /// There is something to send.
    pub(crate) fn stir(&self) {
        if !self.is_stirred.swap(true, Ordering::AcqRel) {
            self.queue.lock().handles.push(self.handle);
            self.queue.bell.notify_one();
        }
    }

    /// What is there from now on stirs it again.
    pub(crate) fn settle(&self) {
        self.is_stirred.store(false, Ordering::Release);
    }

    pub(crate) fn tell(&self, event: SessionEvent) {
        self.queue.lock().events.push((self.handle, event));
        self.queue.bell.notify_one();
    }
}

impl FollowerQueue {
    /// Waits until there is something.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }

    pub(crate) fn take(&self) -> Stirred {
        std::mem::take(&mut self.lock())
    }

    // It is whole after every statement.
    fn lock(&self) -> MutexGuard<'_, Stirred> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
