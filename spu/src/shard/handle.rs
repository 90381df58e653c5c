//! How others reach a shard: its mailbox, and a handle per partition.
//!
//! The mailbox is bounded in messages and, for appends, in bytes; the permit is taken before the
//! message is sent, and a full mailbox is an answer, not a wait. A request that was sent is always
//! answered by the shard, which alone knows whether it was submitted.

use std::sync::Arc;
use std::time::Duration;

use tidegate_data_plane::partitions::{AppendRequest, Appended};
use tidegate_kit::clock;
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::Problem;
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use tidegate_spu_core::{Acknowledged, Assignment, ReplicaConfig};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::hosted::{Hosted, Retention};
use super::reader::Reader;
use super::replies::Pending;
use crate::budget::Budget;
use crate::{metrics, refusal};

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Message {
    Append(AppendMessage),
    /// Take this replica in.
    Open(Box<Hosted>),
    /// A newer row of the partition.
    Assign(ReplicaKey, Assignment),
    /// Live configuration change.
    Configure(ReplicaKey, ReplicaConfig, Retention),
    /// The partition goes away; answered when the machine has ended.
    Close(ReplicaKey, oneshot::Sender<()>),
    /// The node stops; answered when all that was submitted is durable.
    Stop(oneshot::Sender<()>),
}

#[derive(Debug)]
pub(crate) struct AppendMessage {
    pub(crate) key: ReplicaKey,
    pub(crate) batches: Vec<ClientBatch>,
    pub(crate) acks: Acks,
    pub(crate) expected_end: Option<Offset>,
    /// On the node's monotonic clock.
    pub(crate) deadline_ms: u64,
    pub(crate) pending: Pending,
}

/// Milliseconds on the node's monotonic clock, whose origin is fixed when the node is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uptime {
    origin: std::time::Instant,
}

impl Uptime {
    pub(crate) fn start() -> Self {
        Self {
            origin: clock::monotonic(),
        }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.after_ms(Duration::ZERO)
    }

    fn after_ms(self, wait: Duration) -> u64 {
        let since = clock::monotonic().saturating_duration_since(self.origin) + wait;
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// The way into a shard. Clones lead to the same one.
#[derive(Clone, Debug)]
pub(crate) struct ShardHandle {
    mailbox: mpsc::Sender<Message>,
    budget: Arc<Budget>,
    uptime: Uptime,
}

impl ShardHandle {
    pub(crate) fn new(mailbox: mpsc::Sender<Message>, budget: Arc<Budget>, uptime: Uptime) -> Self {
        Self {
            mailbox,
            budget,
            uptime,
        }
    }

    /// Sends what must arrive; false when the shard is gone.
    pub(crate) async fn tell(&self, message: Message) -> bool {
        self.mailbox.send(message).await.is_ok()
    }

    /// Sends a question and waits for its answer; false when the shard is gone.
    pub(crate) async fn ask(&self, question: impl FnOnce(oneshot::Sender<()>) -> Message) -> bool {
        let (done, answer) = oneshot::channel();
        self.tell(question(done)).await && answer.await.is_ok()
    }
}

/// One open partition.
#[derive(Debug)]
pub(crate) struct PartitionHandle {
    pub(crate) reader: Arc<Reader>,
    pub(crate) shard: ShardHandle,
}

impl PartitionHandle {
    /// Appends all batches or none; the answer is what the machine said.
    pub(crate) async fn append(&self, request: AppendRequest) -> Result<Appended, Problem> {
        let bytes = request.batches.iter().map(ClientBatch::len).sum();
        let Some(permit) = self.shard.budget.take(bytes) else {
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
        match self.shard.mailbox.try_send(Message::Append(message)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                metrics::shed("mailbox");
                return Err(refusal::overloaded(
                    "too many requests wait for this partition's shard",
                ));
            }
            Err(TrySendError::Closed(_)) => {
                return Err(refusal::unavailable("this node is stopping"));
            }
        }
        match answer.await {
            Ok(Ok(acknowledged)) => Ok(appended(acknowledged)),
            Ok(Err(refused)) => Err(refusal::problem(refused)),
            Err(_) => Err(refusal::outcome_unknown(
                "the node stopped before it could answer",
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
