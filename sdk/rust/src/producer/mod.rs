//! Sending records: batched, compressed, retried, each exactly once and in order per partition.
//!
//! Records go into the queue of their partition; one task per partition turns the queue into
//! requests. Every batch carries the producer's id and a sequence number, so that a request whose
//! outcome is unknown is simply sent again.

mod config;
mod delivery;
mod partitioner;

mod queue;

mod flight;
mod identity;
mod ledger;
mod request;

mod lane;

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::record::RecordRef;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use config::ProducerConfig;
pub use delivery::{Delivered, Delivery};
pub use ledger::ProducerProgress;

use crate::backoff;
use crate::client::Client;
use crate::error::Error;
use identity::Identities;
use lane::{Lane, Sender, Shared};
use ledger::Ledger;
use partitioner::Partitioner;

/// Sends records to one topic. Share it behind an `Arc`.
///
/// Dropping it abandons what is not yet settled: call [`Producer::flush`] first.
///
/// When a delivery fails for good, the records queued behind it on the same partition fail with
/// the same error, so that nothing is ever stored out of order; later sends start afresh.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    lanes: Vec<OnceLock<Arc<Lane>>>,
    tasks: Mutex<JoinSet<()>>,
}

impl Producer {
    /// Looks the topic up and prepares to send. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// `Error::Config` for settings out of range, `topic_not_found`, and those of any call.
    pub async fn open(
        client: Client,
        topic: TopicName,
        config: ProducerConfig,
    ) -> Result<Self, Error> {
        config.check()?;
        let facts = client.topic_facts(&topic).await?;
        if facts.partitions == 0 {
            return Err(Error::Protocol {
                request: format!("GET topic {topic}"),
                reason: "the topic has no partitions".to_owned(),
            });
        }
        let offline = client.offline_partitions(&topic, &facts).await;
        let start = u32::try_from(backoff::random() >> 32).unwrap_or(0);
        let shared = Shared {
            identities: Identities::new(client.clone()),
            ledger: Ledger::new(config.memory_bytes),
            client,
            topic,
            config,
            partitioner: Partitioner::new(facts.partitions, start, offline),
        };
        Ok(Self {
            shared: Arc::new(shared),
            lanes: (0..facts.partitions).map(|_| OnceLock::new()).collect(),
            tasks: Mutex::new(JoinSet::new()),
        })
    }

    /// Queues a record for the partition named, else the one of its key, else a sticky one; waits
    /// only while the producer's memory is full.
    ///
    /// The returned handle tells what became of it, and may be dropped.
    ///
    /// # Errors
    /// `Error::Record` when the record cannot be sent as it is: nothing was queued.
    pub async fn send(
        &self,
        record: &RecordRef<'_>,
        partition: Option<PartitionId>,
    ) -> Result<Delivery, Error> {
        let partition = partition.unwrap_or_else(|| self.shared.partitioner.choose(record.key));
        let lane = self.lane(partition)?;
        let bytes = queue::held_bytes(record);
        if bytes > self.shared.config.memory_bytes {
            return Err(Error::Record(format!(
                "a record of {bytes} bytes does not fit the producer's {} bytes of memory",
                self.shared.config.memory_bytes
            )));
        }
        self.shared.ledger.admit(bytes).await?;
        let pushed = lane.with_queue(|queue| {
            let pushed = queue.push(record);
            let wake = pushed
                .as_ref()
                .is_ok_and(|pushed| pushed.opened || pushed.closed);
            (pushed, wake)
        });
        match pushed {
            Ok(pushed) => {
                if pushed.closed {
                    self.shared.partitioner.batch_closed(partition);
                }
                Ok(Delivery::new(partition, pushed.index, pushed.outcome))
            }
            Err(error) => {
                self.shared.ledger.refuse(bytes);
                Err(Error::Record(error.to_string()))
            }
        }
    }

    /// Sends what is waiting and waits until everything is settled.
    ///
    /// # Errors
    /// The first failure since the last call; `Error::Closed` when a partition's task is gone.
    pub async fn flush(&self) -> Result<(), Error> {
        for lane in self.lanes.iter().filter_map(OnceLock::get) {
            lane.with_queue(|queue| (queue.close(), true));
        }
        let mut flushed = Ok(());
        for lane in self.lanes.iter().filter_map(OnceLock::get) {
            flushed = flushed.and(lane.flush().await);
        }
        self.failure().map_or(flushed, Err)
    }

    /// The first failure since this or `flush` was last asked.
    pub fn failure(&self) -> Option<Error> {
        self.shared.ledger.take_error()
    }

    /// Follows the counts; changes whenever a batch is settled.
    pub fn progress(&self) -> watch::Receiver<ProducerProgress> {
        self.shared.ledger.progress()
    }

    /// Number of partitions when the producer was opened.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)
    }

    fn lane(&self, partition: PartitionId) -> Result<&Arc<Lane>, Error> {
        let slot = usize::try_from(partition.0)
            .ok()
            .and_then(|index| self.lanes.get(index));
        let slot = slot.ok_or_else(|| {
            Error::Record(format!(
                "topic {} has no partition {partition}: it has 0 to {}",
                self.shared.topic,
                self.lanes.len() - 1
            ))
        })?;
        Ok(slot.get_or_init(|| {
            let lane = Arc::new(Lane::new(partition, &self.shared.config));
            let sender = Sender::new(self.shared.clone(), lane.clone());
            self.tasks
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .spawn(sender.run());
            lane
        }))
    }
}

#[cfg(test)]
mod tests;
