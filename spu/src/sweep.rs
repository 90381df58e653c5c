//! What a node does by the clock, besides its shards: gauges, the log's own housekeeping, the trash.
//!
//! Nothing depends on it for being right; without it segments would close by size alone and deleted
//! partitions would keep their space.

use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::budget::ByteBudget;
use tidegate_kit::clock;
use tidegate_kit::health::Notice;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::{DeadCause, Log, SpaceLevel};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Span;

use crate::calendar::Calendar;
use crate::limits::{MAINTENANCE_TICK, TRASH_TICK};
use crate::metrics;
use crate::shard::{Directory, ShardHandle, Uptime};

/// What a node does by the clock, besides its shards.
#[derive(Debug)]
pub(crate) struct Sweep {
    pub(crate) log: Log,
    pub(crate) shards: Vec<ShardHandle>,
    pub(crate) appends: ByteBudget,
    pub(crate) directory: Directory,
    pub(crate) tasks: Tasks,
    pub(crate) calendar: Arc<Calendar>,
    pub(crate) uptime: Uptime,
    pub(crate) trash_delay: Duration,
    /// What operators should know of the disk, the shards and the clock.
    pub(crate) notice: watch::Sender<Option<Notice>>,
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
            let now_ms = self.calendar.observe(clock::now_ms(), self.uptime.now_ms());
            metrics::clock_leap(self.calendar.leap());
            let log = self.log.clone();
            let empties = empties.then_some(self.trash_delay);
            let work = move || sweep(&log, now_ms, empties);
            // Its failure is the task's failure, which is logged there.
            let _ = self
                .tasks
                .spawn_blocking(TaskKind::Blocking, Span::current(), work)
                .await;
            let is_broken = self.shards.iter().any(ShardHandle::is_broken);
            let clock = clock_notice(&self.calendar);
            let notice = notice(&self.log, is_broken).or(clock);
            self.notice
                .send_if_modified(|seen| std::mem::replace(seen, notice.clone()) != notice);
        }
    }
}

/// A shard that broke takes nothing until a restart. A disk that failed takes nothing any more; a full one comes back, and serves reads meanwhile.
fn notice(log: &Log, is_broken: bool) -> Option<Notice> {
    if is_broken {
        let text = "a shard failed: some partitions take no records until a restart".to_owned();
        return Some(Notice { text, ready: false });
    }
    let dead = log.dead().filter(|dead| dead.cause != DeadCause::Closed);
    if dead.is_some() {
        // The operation and its paths are in the log, for the operator.
        let text = "the disk failed: records are read, none are taken".to_owned();
        return Some(Notice { text, ready: false });
    }
    let text = match log.space_level() {
        SpaceLevel::Plenty => return None,
        SpaceLevel::Low => "the disk is nearly full",
        SpaceLevel::Full => "the disk is full: records are read, none are taken",
    };
    let text = text.to_owned();
    Some(Notice { text, ready: true })
}

fn clock_notice(calendar: &Calendar) -> Option<Notice> {
    calendar.leap()?;
    let text = "the clock leapt ahead: nothing is given up for being old by it".to_owned();
    Some(Notice { text, ready: true })
}

fn sweep(log: &Log, now_ms: i64, empties: Option<Duration>) {
    log.poll_space();
    let stats = log.stats();
    metrics::journal(&stats);
    metrics::disk(&stats);
    log.tick(now_ms);
    if let Some(delay) = empties {
        let age_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        if let Err(error) = log.purge_trash(now_ms.saturating_sub(age_ms)) {
            tracing::warn!(%error, "the trash cannot be emptied");
        }
    }
}
