//! The reading side of a replica: what the shard published, and the log's own memory and files.
//!
//! Shared by all tasks and never waits for the shard. It decides nothing: its bounds are those that
//! the machine gave, and no read passes the high watermark.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_data_plane::partitions::Tail;
use tidegate_log::Replica as LogReplica;
use tidegate_proto::control::{CopyStatus, Damage, PartitionStatus, PartitionTraffic};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_spu_core::{RoleName, Status};
use tokio::sync::watch;

use super::permit::UnderWay;

/// What a partition can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Nothing yet: its role is not settled.
    Opening,
    /// Reads and appends.
    Full,
    /// Reads of what is committed; appends are refused by the machine, with its reason.
    ReadOnly,
    /// Reads of what it knows to be committed, for those who take any copy: somebody else leads.
    Following,
    /// It went away.
    Gone,
}

/// The published side of one replica.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) key: ReplicaKey,
    pub(crate) log: Arc<LogReplica>,
    pub(crate) under_way: UnderWay,
    published: Mutex<Published>,
    end: AtomicU64,
    last_append_ms: AtomicI64,
    service: AtomicU8,
    /// False while it leads and may not know all that was committed before (H3).
    is_latest_known: AtomicBool,
    /// How other copies are, while it leads and there are some.
    copies: Mutex<Box<[CopyStatus]>>,
    /// Boxed, as hardly any has it.
    damage: Mutex<Option<Box<Damage>>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// What followers see. The channel is there only while somebody follows: it takes half a kilobyte,
/// and most of ten thousand partitions have no follower.
#[derive(Debug)]
struct Published {
    tail: Tail,
    followers: Option<watch::Sender<Tail>>,
}

/// Stands for "nobody knows" in the atomic.
const NEVER: i64 = i64::MIN;

impl Reader {
    pub(crate) fn new(log: Arc<LogReplica>, status: &Status) -> Self {
        Self {
            key: log.key(),
            log,
            under_way: UnderWay::default(),
            published: Mutex::new(Published {
                tail: tail_of(status),
                followers: None,
            }),
            end: AtomicU64::new(status.end.get()),
            last_append_ms: AtomicI64::new(status.last_append_ms.unwrap_or(NEVER)),
            service: AtomicU8::new(Service::Opening as u8),
            is_latest_known: AtomicBool::new(status.is_latest_known),
            copies: Mutex::default(),
            damage: Mutex::new(None),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
        }
    }

    /// Makes the machine's standing visible; wakes followers only when something moved.
    pub(crate) fn publish(&self, tail: Tail) {
        let mut published = self.lock();
        if std::mem::replace(&mut published.tail, tail) == tail {
            return;
        }
        if let Some(followers) = &published.followers
            && followers.send(tail).is_err()
        {
            published.followers = None;
        }
    }

    pub(crate) fn appended(&self, end: Offset, at_ms: i64) {
        self.end.store(end.get(), Ordering::Release);
        self.last_append_ms.store(at_ms, Ordering::Release);
    }

    /// The log grew at the word of a leader, or was shortened; when its last batch was appended there.
    pub(crate) fn ends_at(&self, end: Offset, last_append_ms: Option<i64>) {
        self.appended(end, last_append_ms.unwrap_or(NEVER));
    }

    pub(crate) fn became(&self, role: RoleName) {
        let service = match role {
            RoleName::Idle | RoleName::Opening => Service::Opening,
            RoleName::Leading => Service::Full,
            RoleName::Following => Service::Following,
            RoleName::Failed => Service::ReadOnly,
            RoleName::Closed => Service::Gone,
        };
        self.service.store(service as u8, Ordering::Release);
    }

    pub(crate) fn latest_known(&self, is_known: bool) {
        self.is_latest_known.store(is_known, Ordering::Release);
    }

    /// Whether the high watermark is all that was committed before it was led here.
    fn is_latest_known(&self) -> bool {
        self.is_latest_known.load(Ordering::Acquire)
    }

    /// How other copies are, as of about a second ago.
    pub(crate) fn copies(&self) -> Vec<CopyStatus> {
        let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.to_vec()
    }

    pub(crate) fn set_copies(&self, found: Vec<CopyStatus>) {
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        if **copies != *found {
            *copies = found.into();
        }
    }

    pub(crate) fn service(&self) -> Service {
        let service = self.service.load(Ordering::Acquire);
        let known = [
            Service::Full,
            Service::ReadOnly,
            Service::Following,
            Service::Gone,
        ];
        known
            .into_iter()
            .find(|known| *known as u8 == service)
            .unwrap_or(Service::Opening)
    }

    pub(crate) fn tail(&self) -> Tail {
        self.lock().tail
    }

    /// Sees the standing now, and every change. Ends when the reader does.
    pub(crate) fn follow(&self) -> watch::Receiver<Tail> {
        let mut published = self.lock();
        let tail = published.tail;
        published
            .followers
            .get_or_insert_with(|| watch::Sender::new(tail))
            .subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        // It is whole after every statement, so a panic elsewhere does not spoil it.
        self.published
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self) -> Offset {
        // The end is published after the tail at times; it is never below it.
        Offset::new(self.end.load(Ordering::Acquire)).max(self.tail().high_watermark)
    }

    /// A batch of that size was appended.
    pub(crate) fn moved_in(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much was read.
    pub(crate) fn moved_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn traffic(&self) -> PartitionTraffic {
        PartitionTraffic {
            appended_bytes: self.bytes_in.load(Ordering::Relaxed),
            read_bytes: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// Somebody met records that cannot be read. The first place is kept; what is read-only stays so.
    pub(crate) fn damaged(&self, found: Damage) {
        let mut known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.as_deref().copied().unwrap_or(found);
        let is_earlier =
            before.from.is_none() || found.from.is_some_and(|at| Some(at) < before.from);
        let place = if is_earlier { found } else { before };
        *known = Some(Box::new(Damage {
            read_only: before.read_only || found.read_only,
            ..place
        }));
    }

    /// What was damaged is gone.
    pub(crate) fn mended(&self) {
        *self.damage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What was met by readers, or by the log.
    fn damage(&self) -> Option<Damage> {
        let known = self.damage.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_deref().copied();
        let noted = self.log.damage().map(|found| Damage {
            read_only: known.is_some_and(|known| known.read_only),
            from: Some(found.from),
            until: Some(found.until).filter(|until| *until > found.from),
        });
        known
            .filter(|known| known.from.is_some())
            .or(noted)
            .or(known)
    }

    pub(crate) fn status(&self) -> PartitionStatus {
        let tail = self.tail();
        let last_append_ms = self.last_append_ms.load(Ordering::Acquire);
        let damage = self.damage();
        PartitionStatus {
            log_start: tail.log_start,
            high_watermark: tail.high_watermark,
            end: self.end(),
            leader_epoch: tail.leader_epoch,
            size_bytes: self.log.size_bytes(),
            last_append_ms: (last_append_ms != NEVER).then_some(last_append_ms),
            damage,
            is_latest_known: self.is_latest_known(),
        }
    }
}

/// What readers may know of a machine's standing.
pub(crate) fn tail_of(status: &Status) -> Tail {
    Tail {
        log_start: status.log_start,
        high_watermark: status.high_watermark,
        leader_epoch: status.meta.leader_epoch,
    }
}
