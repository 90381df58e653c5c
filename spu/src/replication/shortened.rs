//! Logs that were cut or reset: what is left of them is read again, as when they were opened (T2, T5).

use std::sync::Arc;

use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tidegate_proto::control::Damage;
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::{Input, Truncated};
use tokio::time::sleep;
use tracing::Span;

use crate::limits::READ_AGAIN_PAUSES;
use crate::shard::{Directory, Message, PartitionHandle};
use crate::storage;

#[derive(Debug)]
pub(super) struct Shortened {
    pub(super) log: Log,
    pub(super) directory: Directory,
    pub(super) tasks: Tasks,
}

impl Shortened {
    /// Reads what is left on a thread that may block, and tells the shard. A read that fails is tried again
    /// some times; then the replica is damaged, by itself.
    pub(super) fn read_again(&self, key: ReplicaKey) {
        let Some(handle) = self.directory.get(key) else {
            return;
        };
        let (log, tasks) = (self.log.clone(), self.tasks.clone());
        let work = async move {
            let attempt = || {
                let (log, handle, tasks) = (log.clone(), Arc::clone(&handle), tasks.clone());
                async move {
                    let work = move || read(&log, &handle);
                    let done = tasks.spawn_blocking(TaskKind::Blocking, Span::current(), work);
                    done.await.unwrap_or_else(|error| Err(error.to_string()))
                }
            };
            let input = match patiently(key, attempt).await {
                Some(truncated) => Input::Truncated(Box::new(truncated)),
                None => {
                    handle.reader.damaged(EVERYWHERE);
                    Input::TruncationFailed
                }
            };
            handle.shard.tell(Message::Input(key, Box::new(input)));
        };
        self.tasks.spawn(TaskKind::Request, Span::current(), work);
    }
}

/// Nobody knows where.
const EVERYWHERE: Damage = Damage {
    read_only: true,
    from: None,
    until: None,
};

/// None when it cannot be read however often that is tried.
async fn patiently<T, F>(key: ReplicaKey, mut attempt: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Result<T, String>>,
{
    for pause in READ_AGAIN_PAUSES {
        match attempt().await {
            Ok(found) => return Some(found),
            Err(error) => {
                tracing::warn!(topic_id = %key.topic_id, partition = %key.partition, error,
                    "what a cut left cannot be read now");
            }
        }
        sleep(pause).await;
    }
    tracing::error!(topic_id = %key.topic_id, partition = %key.partition,
        "what a cut left cannot be read: the copy is damaged and follows nobody until a restart");
    None
}

fn read(log: &Log, handle: &Arc<PartitionHandle>) -> Result<Truncated, String> {
    let replica = &handle.reader.log;
    let (mut recovered, told) = (
        storage::recover(replica).map_err(|error| error.to_string())?,
        replica.durable_snapshot(),
    );
    if told > recovered.snapshot_as_of {
        // It is in the journal, and not where it is read yet.
        log.checkpoint().map_err(|dead| dead.to_string())?;
        recovered = storage::recover(replica).map_err(|error| error.to_string())?;
    }
    let (log_start, end) = (replica.log_start(), replica.end());
    if log_start == end {
        handle.reader.mended(); // Nothing is left of what was damaged.
    } else if !recovered.intact {
        handle.reader.damaged(recovered.damage);
    }
    Ok(Truncated {
        log_start,
        end,
        last_append_ms: replica.last_append_ms(),
        intact: recovered.intact,
        snapshot_as_of: recovered.snapshot_as_of,
        bytes_since_snapshot: recovered.bytes,
        ledger: recovered.ledger,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tidegate_proto::id::{PartitionId, TopicId};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_read_that_fails_is_tried_again_some_times_and_not_for_ever() {
        let key = ReplicaKey {
            topic_id: TopicId::from_bytes([1; 16]),
            partition: PartitionId(0),
        };
        for (failures, expected) in [(0, Some(0)), (4, Some(4)), (5, None), (99, None)] {
            let failed = Cell::new(0);
            let found = patiently(key, async || {
                if failed.get() < failures {
                    failed.set(failed.get() + 1);
                    return Err("EIO".to_owned());
                }
                Ok(failed.get())
            });
            assert_eq!(found.await, expected);
        }
    }
}
