//! How others reach a shard: its seat, and a handle per partition.
//!
//! Appends are bounded in count and in bytes; the permit is taken before the message is handed over,
//! and a full inbox is an answer, not a wait. A request that was handed over is always answered by the
//! shard, which alone knows whether it was submitted.

use std::sync::Arc;

use tidegate_data_plane::partitions::{AppendRequest, Appended};
use tidegate_kit::budget::ByteBudget;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::Problem;
use tidegate_spu_core::Acknowledged;
use tokio::sync::oneshot;

use super::inbox::NotTaken;
use super::message::{AppendMessage, Message, Uptime};
use super::permit::{self, AppendPermit};
use super::reader::Reader;
use super::replies::Pending;
use super::seat::Seat;
use crate::{metrics, refusal};

/// The way into a shard. Clones lead to the same one.
#[derive(Clone, Debug)]
pub(crate) struct ShardHandle {
    seat: Arc<Seat>,
    appends: ByteBudget,
    uptime: Uptime,
}

impl ShardHandle {
    pub(crate) fn new(seat: Arc<Seat>, appends: ByteBudget, uptime: Uptime) -> Self {
        Self {
            seat,
            appends,
            uptime,
        }
    }

    /// Tells what must arrive; false when the shard is gone.
    pub(crate) fn tell(&self, message: Message) -> bool {
        self.seat.tell(message)
    }

    /// Whether both lead to one shard.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.seat, &other.seat)
    }

    /// Whether the shard is gone because a step of it panicked.
    pub(crate) fn is_broken(&self) -> bool {
        self.seat.is_broken()
    }

    /// Asks and waits for the answer; false when the shard is gone.
    pub(crate) async fn ask(&self, question: impl FnOnce(oneshot::Sender<()>) -> Message) -> bool {
        let (done, answer) = oneshot::channel();
        self.tell(question(done)) && answer.await.is_ok()
    }
}

/// One open partition.
#[derive(Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) reader: Arc<Reader>,
    pub(crate) shard: ShardHandle,
}

impl PartitionHandle {
    pub(crate) fn new(reader: Arc<Reader>, shard: ShardHandle) -> Self {
        Self { reader, shard }
    }

    /// Appends all batches or none; the answer is what the machine said.
    pub(crate) async fn append(&self, request: AppendRequest) -> Result<Appended, Problem> {
        if let Some(wanted) = request.leader_epoch_min {
            let found = self.reader.tail().leader_epoch;
            if found < wanted {
                return Err(refusal::behind(found, wanted));
            }
        }
        let bytes = request.batches.iter().map(ClientBatch::len).sum();
        let node = &self.shard.appends;
        let Some(permit) = AppendPermit::take(node, &self.reader, bytes) else {
            let bytes_max = permit::bytes_max(node);
            if bytes > bytes_max {
                return Err(refusal::too_large(bytes_max));
            }
            metrics::shed("bytes");
            return Err(refusal::throttled());
        };
        let (reply, answer) = oneshot::channel();
        let message = AppendMessage {
            key: self.reader.key,
            batches: request.batches,
            acks: request.acks,
            expected_end: request.expected_end,
            deadline_ms: self.shard.uptime.after_ms(request.timeout),
            pending: Pending { reply, permit },
        };
        match self.shard.seat.append(message) {
            Ok(()) => {}
            Err(NotTaken::Full) => {
                metrics::shed("mailbox");
                return Err(refusal::overloaded(
                    "too many requests wait for this partition's shard",
                ));
            }
            Err(NotTaken::Closed) => {
                let detail = if self.shard.is_broken() {
                    "the part of this node that serves the partition failed: it needs a restart"
                } else {
                    "this node is stopping"
                };
                return Err(refusal::unavailable(detail));
            }
        }
        match answer.await {
            Ok(Ok(acknowledged)) => Ok(appended(acknowledged)),
            Ok(Err(refused)) => Err(refusal::problem(refused)),
            Err(_) => Err(refusal::outcome_unknown(
                "the node stopped, or failed, before it could answer",
            )),
        }
    }
}

fn appended(acknowledged: Acknowledged) -> Appended {
    Appended {
        base_offset: acknowledged.base_offset,
        count: acknowledged.count,
        timestamp_ms: acknowledged.timestamp_ms,
        durable: acknowledged.durable,
        duplicate: acknowledged.duplicate,
    }
}
