//! Lets the log's scrubber go at its pace, and tells what it finds: to the operator's log, to metrics,
//! and to whoever asks for the state of the partition.
//!
//! Where a pass stands is kept nowhere: a run begins it at the share of the bytes that the clock
//! shows of the period, so that restarts do not make it look at the same files again and again.

mod pace;

use std::time::Duration;

use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::inspect::{Finding, FindingKind};
use tidegate_log::{Log, Scrubbed, Scrubber};
use tidegate_proto::control::Damage;
use tokio::time::sleep;
use tracing::Span;

use crate::config::ScrubConfig;
use crate::limits::SCRUB_LOGGED_MAX;
use crate::limits::{SCRUB_BUSY_UNFLUSHED_BYTES, SCRUB_BUSY_WAITING_BYTES, SCRUB_CHUNK_BYTES};
use crate::metrics;
use crate::shard::Directory;
use pace::{Next, Pace};

/// What looks for rot in the background.
#[derive(Debug)]
pub(crate) struct Scrub {
    pub(crate) log: Log,
    pub(crate) directory: Directory,
    pub(crate) config: ScrubConfig,
    pub(crate) tasks: Tasks,
}

impl Scrub {
    /// Runs until it is dropped.
    pub(crate) async fn run(self) {
        let began = clock::monotonic();
        let elapsed = || clock::monotonic().saturating_duration_since(began);
        let mut pace = Pace::new(self.config, Duration::ZERO);
        let (log, share) = (self.log.clone(), self.share_by_clock());
        let Some(mut scrubber) = self.blocking(move || Scrubber::new(log, share)).await else {
            return;
        };
        let (mut told, mut in_all, mut counted) = (0, 0, None);
        loop {
            if counted.is_none_or(|at| elapsed().saturating_sub(at) >= RECOUNT) {
                let counting = self
                    .blocking(move || (scrubber.bytes_in_all(), scrubber))
                    .await;
                let Some(found) = counting else { return };
                (in_all, scrubber) = found;
                counted = Some(elapsed());
            }
            match pace.next(elapsed(), in_all, self.is_busy()) {
                Next::Wait(wait) => sleep(wait).await,
                Next::Read => {
                    let start = elapsed();
                    let step = self.blocking(move || (scrubber.step(SCRUB_CHUNK_BYTES), scrubber));
                    let Some((scrubbed, back)) = step.await else {
                        return;
                    };
                    scrubber = back;
                    let now = elapsed();
                    pace.read(now, scrubbed.bytes, now.saturating_sub(start));
                    metrics::scrub_share(pace.share(in_all));
                    tell(&scrubbed, &mut told);
                    let lost = scrubbed.findings.iter();
                    lost.filter(|finding| finding.kind != FindingKind::Index)
                        .for_each(|finding| self.mark(finding));
                    if scrubbed.is_pass_done {
                        pace.pass_done(now);
                        metrics::scrub_passed(clock::now_ms());
                        (told, counted) = (0, None);
                    }
                }
            }
        }
    }

    /// The share of the period that is over, by the clock.
    fn share_by_clock(&self) -> f64 {
        let period = self.config.period.as_millis().max(1);
        let now = u128::try_from(clock::now_ms()).unwrap_or(0);
        (now % period) as f64 / period as f64
    }

    /// Says of the partition what cannot be read of it.
    fn mark(&self, finding: &Finding) {
        let Some((key, replica_gen)) = finding.replica else {
            return;
        };
        let Some(open) = self.directory.get(key) else {
            return;
        };
        if open.reader.log.replica_gen() == replica_gen {
            let offsets = finding.offsets.clone();
            // An empty range says where it begins, and no more.
            let until = offsets.as_ref().filter(|lost| !lost.is_empty());
            open.reader.damaged(Damage {
                read_only: false,
                until: until.map(|lost| lost.end),
                from: offsets.map(|lost| lost.start),
            });
        }
    }

    /// True while rounds or segments wait for the disk.
    fn is_busy(&self) -> bool {
        let stats = self.log.stats();
        stats.waiting_bytes >= SCRUB_BUSY_WAITING_BYTES
            || stats.unflushed_bytes >= SCRUB_BUSY_UNFLUSHED_BYTES
    }

    /// `None` at the end of everything.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.tasks
            .spawn_blocking(TaskKind::Blocking, Span::current(), work)
            .await
            .ok()
    }
}

/// How often the bytes of a pass are counted anew.
const RECOUNT: Duration = Duration::from_secs(60);

fn tell(scrubbed: &Scrubbed, told: &mut usize) {
    metrics::scrubbed(scrubbed.bytes);
    if scrubbed.mended_indexes > 0 {
        metrics::scrub_mended(scrubbed.mended_indexes);
        tracing::info!(
            indexes = scrubbed.mended_indexes,
            "indexes were made anew from their segments"
        );
    }
    for finding in &scrubbed.findings {
        metrics::scrub_found(finding.kind.name());
        *told += 1;
        if *told <= SCRUB_LOGGED_MAX {
            log(finding);
        }
        if *told == SCRUB_LOGGED_MAX {
            tracing::error!("more damage is counted, not told: `tidegate log verify` names it all");
        }
    }
}

fn log(finding: &Finding) {
    let (key, bytes, offsets) = (
        finding.replica,
        finding.bytes.as_ref(),
        finding.offsets.as_ref(),
    );
    tracing::error!(
        kind = finding.kind.name(),
        topic_id = key.map(|(key, _)| key.topic_id.to_string()),
        partition = key.map(|(key, _)| key.partition.0),
        file = %finding.path.display(),
        bytes_from = bytes.map(|range| range.start),
        bytes_to = bytes.map(|range| range.end),
        offset_from = offsets.map(|range| range.start.get()),
        offset_to = offsets.map(|range| range.end.get()),
        what = finding.what,
        "stored bytes are damaged"
    );
}
