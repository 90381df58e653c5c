//! Reading records: from any position, several partitions, to the end or on and on.
//!
//! Stored batches come over a WebSocket, or in pages fetched by long poll, ahead of the reader. Connections that break are
//! taken up again without a gap; what retention has removed meanwhile is an error, never a silent
//! jump. Partitions that cannot be reached are waited for beside the others. Order is kept per partition.

mod config;
mod page;
mod span;

mod start;

mod away;

mod feed;
mod fetch;

use tidegate_proto::id::PartitionId;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::StartPosition;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use away::AwayPartitions;
pub use config::ConsumerConfig;
pub use page::{Page, Received};

use crate::client::Client;
use crate::error::Error;
use crate::limits::PAGES_AHEAD;
use away::Away;
use fetch::{Fetcher, Item, Way};
use start::Begin;

/// Reads one topic. Dropping it stops the reading.
#[derive(Debug)]
pub struct Consumer {
    pages: mpsc::Receiver<Item>,
    told: watch::Receiver<AwayPartitions>,
    has_ended: bool,
    _task: JoinSet<()>,
}

impl Consumer {
    /// Looks up topic and positions and begins to fetch. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// `topic_not_found`, `partition_not_found`, `offset_out_of_range` for a plain offset outside of
    /// the log, `Error::Config` when the settings contradict each other, and those of any call. That partitions
    /// cannot be reached only when none of them can.
    pub async fn open(
        client: Client,
        topic: TopicName,
        config: ConsumerConfig,
    ) -> Result<Self, Error> {
        let facts = client.topic_facts(&topic).await?;
        let is_all = config.partitions.is_none();
        let mut partitions = match config.partitions {
            Some(named) => named,
            None => (0..facts.partitions).map(PartitionId).collect(),
        };
        partitions.sort_unstable();
        partitions.dedup();
        if matches!(config.from, StartPosition::Offset(_)) && partitions.len() != 1 {
            return Err(Error::Config(format!(
                "topic {topic} has {} partitions, and an offset means one of them: name it",
                facts.partitions
            )));
        }
        let begin = Begin::At(config.from);
        let wanted = partitions.into_iter().map(|partition| (partition, begin));
        let wanted: Vec<_> = wanted.collect();
        let found = start::find_some(&client, &topic, &wanted, config.follow).await?;
        let mut away = Away::new();
        let spans = away.sort_out(found);
        let told = away.subscribe();
        let (tx, pages) = mpsc::channel(PAGES_AHEAD);
        let fetcher = Fetcher {
            client,
            topic,
            topic_id: facts.id,
            spans,
            away,
            follows: config.follow,
            page_bytes: config.page_bytes,
            wait: config.wait,
            way: if config.pages_only {
                Way::Pages
            } else {
                Way::Socket(None)
            },
            patience: config.patience,
            // Where the end is known from the start, later partitions are beyond it.
            grows: is_all && config.follow,
            pages: tx,
        };
        let mut task = JoinSet::new();
        task.spawn(fetcher.run());
        Ok(Self {
            pages,
            told,
            has_ended: false,
            _task: task,
        })
    }

    /// The partitions that cannot be reached now, with the reasons, as they change. Reading goes on with the
    /// others, and with these when they are back.
    pub fn away(&self) -> watch::Receiver<AwayPartitions> {
        let mut told = self.told.clone();
        told.mark_changed();
        told
    }

    /// The next records; `None` once the end is reached (only without `follow`).
    ///
    /// # Errors
    /// `log_truncated` or `cursor_expired` when the position is no longer there, and those of any
    /// call that repeating does not mend. After an error there is nothing more but `Error::Closed`.
    pub async fn next_page(&mut self) -> Result<Option<Page>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        match self.pages.recv().await {
            Some(Item::Page(page)) => Ok(Some(page)),
            Some(Item::End) => {
                self.has_ended = true;
                Ok(None)
            }
            Some(Item::Failed(error)) => Err(error),
            None => Err(Error::Closed),
        }
    }
}

#[cfg(test)]
mod tests;
