//! What a node does by the clock, besides its shards: gauges, the log's own housekeeping, the trash.
//!
//! Nothing depends on it for being right; without it segments would close by size alone and deleted
//! partitions would keep their space.

use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Span;

use crate::limits::{MAINTENANCE_TICK, TRASH_AGE, TRASH_TICK};
use crate::metrics;
use crate::shard::Directory;

/// What a node does by the clock, besides its shards.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) log: Log,
    pub(crate) appends: ByteBudget,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
}

impl Sweep {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let mut ticks = interval(MAINTENANCE_TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut emptied = clock::monotonic();
        loop {
            ticks.tick().await;
            metrics::inflight(self.appends.held());
            metrics::replicas(self.directory.len());
            let now = clock::monotonic();
            let empties = now.saturating_duration_since(emptied) >= TRASH_TICK;
            if empties {
                emptied = now;
            }
            let log = self.log.clone();
            let work = move || sweep(&log, empties);
            // Its failure is the task's failure, which is logged there.
            let _ = self
                .tasks
                .spawn_blocking(TaskKind::Blocking, Span::current(), work)
                .await;
        }
    }
}

fn sweep(log: &Log, empties: bool) {
    log.poll_space();
    metrics::journal(&log.stats());
    let now_ms = clock::now_ms();
    log.tick(now_ms);
    if empties {
        let age_ms = i64::try_from(TRASH_AGE.as_millis()).unwrap_or(i64::MAX);
        if let Err(error) = log.purge_trash(now_ms.saturating_sub(age_ms)) {
            tracing::warn!(%error, "the trash cannot be emptied");
        }
    }
}
