//! Logs that were cut or reset: what is left of them is read again, as when they were opened (T2, T5).

use std::sync::Arc;

use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::{Input, Truncated};
use tracing::Span;

use crate::shard::{Directory, Message, PartitionHandle};
use crate::storage;

#[derive(Debug)]
pub(super) struct Shortened {
    pub(super) log: Log,
    pub(super) directory: Directory,
    pub(super) tasks: Tasks,
}

impl Shortened {
    /// Reads what is left on a thread that may block, and tells the shard.
    pub(super) fn read_again(&self, key: ReplicaKey) {
        let Some(handle) = self.directory.get(key) else {
            return;
        };
        let log = self.log.clone();
        let work = move || match read(&log, &handle) {
            Ok(truncated) => {
                let input = Box::new(Input::Truncated(Box::new(truncated)));
                handle.shard.tell(Message::Input(key, input));
            }
            Err(error) => {
                tracing::error!(topic_id = %key.topic_id, partition = %key.partition, error,
                    "what a cut left cannot be read: the replica follows nobody until a restart");
            }
        };
        let tasks = self.tasks.clone();
        self.tasks
            .spawn(TaskKind::Request, Span::current(), async move {
                // Its failure is logged where it happens.
                let _ = tasks
                    .spawn_blocking(TaskKind::Blocking, Span::current(), work)
                    .await;
            });
    }
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
    Ok(Truncated {
        log_start: replica.log_start(),
        end: replica.end(),
        last_append_ms: replica.last_append_ms(),
        snapshot_as_of: recovered.snapshot_as_of,
        bytes_since_snapshot: recovered.bytes,
        ledger: recovered.ledger,
    })
}
