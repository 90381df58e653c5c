//! What all sockets of a process share: the data plane, the frames, and how many there may be.
//!
//! Nothing of one socket is in here.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_kit::auth::Principal;
use tidegate_proto::error::{ErrorCode, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::effect::SessionTimes;
use super::limits::{
    DRAIN_SPREAD_MS, IDLE_AFTER, PING_EVERY, SOCKETS_MAX, TICK_EVERY, WRITE_STALL,
};
use super::numbers::TopicNumbers;
use crate::encode::frame::FrameCache;
use crate::state::DataPlane;

/// How long what may take on a socket.
#[derive(Debug, Clone, Copy)]
pub struct SocketTimes {
    /// Between two looks at the clock.
    pub tick_every: Duration,
    pub ping_every: Duration,
    /// Silence after which a socket is closed.
    pub idle_after: Duration,
    /// A write that takes longer closes the socket.
    pub write_stall: Duration,
}

impl SocketTimes {
    /// What production uses.
    pub const STANDARD: SocketTimes = SocketTimes {
        tick_every: TICK_EVERY,
        ping_every: PING_EVERY,
        idle_after: IDLE_AFTER,
        write_stall: WRITE_STALL,
    };

    pub(super) fn of_session(&self) -> SessionTimes {
        SessionTimes {
            ping_every: self.ping_every,
            idle_after: self.idle_after,
        }
    }
}

pub(crate) struct Sockets {
    pub(crate) data: DataPlane,
    pub(crate) frames: Arc<FrameCache>,
    pub(crate) numbers: TopicNumbers,
    pub(crate) times: SocketTimes,
    slots: Arc<Semaphore>,
    drained: AtomicU64,
}

impl Sockets {
    pub(crate) fn new(data: DataPlane, times: SocketTimes) -> Self {
        let frames = FrameCache::new(data.config().memory.frames.clone());
        Self {
            data,
            frames: Arc::new(frames),
            numbers: TopicNumbers::default(),
            times,
            slots: Arc::new(Semaphore::new(SOCKETS_MAX)),
            drained: AtomicU64::new(0),
        }
    }

    /// A place for one more socket; 503 `overloaded` when there is none.
    pub(crate) fn admit(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.slots).try_acquire_owned().map_err(|_| {
            Problem::new(
                ErrorCode::Overloaded,
                "this server holds as many sockets as it can",
            )
        })
    }

    /// When a drained client should come back: each a little later than the one before, so that
    /// they do not all come at once.
    pub(crate) fn spread_ms(&self) -> u64 {
        const STRIDE_MS: u64 = 37;
        let turn = self.drained.fetch_add(1, Ordering::Relaxed);
        100 + turn.wrapping_mul(STRIDE_MS) % DRAIN_SPREAD_MS
    }

    /// Who a token belongs to.
    pub(crate) fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        self.data.auth().check(Some(&format!("Bearer {token}")))
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sockets")
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
