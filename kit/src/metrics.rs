//! The process's metrics: the recorder, what the process says about itself, and their text.
//!
//! Services count through the `metrics` crate's macros; nothing here knows what they count. There is
//! one recorder per process; [`install`] gives the same handle every time it is called.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use metrics::{gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Span;

use crate::clock;
use crate::limits::METRICS_UPKEEP_INTERVAL;
use crate::memory::Memory;
use crate::tasks::{TaskKind, Tasks};

// Half-decades from 10 us to 60 s: an append in memory is above the first, a long poll in the last.
const SECONDS: [f64; 19] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0,
];
// Powers of four from 64 B to 64 MiB.
const BYTES: [f64; 11] = [
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
// Powers of four from one record to 16 Ki.
const RECORDS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16_384.0];

/// Reads the metrics of this process. Cheap to clone.
#[derive(Clone)]
pub struct MetricsHandle {
    prometheus: PrometheusHandle,
    started_at_s: i64,
    version: Arc<str>,
    /// Of the servers of this process; nearly always one.
    memories: Arc<Mutex<Vec<Memory>>>,
}

impl std::fmt::Debug for MetricsHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsHandle").finish_non_exhaustive()
    }
}

static INSTALLED: OnceLock<MetricsHandle> = OnceLock::new();

/// Installs the recorder of this process, once. Histograms whose names end in `_seconds`, `_bytes`
/// or `_records` get buckets that fit.
pub fn install() -> MetricsHandle {
    INSTALLED.get_or_init(make).clone()
}

fn make() -> MetricsHandle {
    let mut builder = PrometheusBuilder::new();
    for (suffix, buckets) in [
        ("_seconds", &SECONDS[..]),
        ("_bytes", &BYTES[..]),
        ("_records", &RECORDS[..]),
    ] {
        let matcher = Matcher::Suffix(suffix.to_owned());
        // Only an empty list is refused.
        builder = builder
            .set_buckets_for_metric(matcher, buckets)
            .expect("the bucket lists above are not empty");
    }
    let recorder = builder.build_recorder();
    let prometheus = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed, /metrics will stay empty");
    }
    let version = Arc::from(env!("CARGO_PKG_VERSION"));
    MetricsHandle {
        prometheus,
        started_at_s: clock::now_s(),
        version,
        memories: Arc::default(),
    }
}

impl MetricsHandle {
    /// The metrics in Prometheus' text format, with what [`Self::observe_process`] saw last.
    #[must_use]
    pub fn render(&self) -> String {
        self.prometheus.render()
    }

    /// Shows these budgets from now on.
    pub fn watch_memory(&self, memory: &Memory) {
        let mut memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.push(memory.clone());
    }

    /// Reads memory and open files of the process anew, then renders.
    pub async fn scrape(&self) -> String {
        self.observe_process().await;
        self.prometheus.run_upkeep();
        self.render()
    }

    /// Sets the gauges about the process itself. Where the system has no `/proc`, only those that
    /// need none.
    pub async fn observe_process(&self) {
        gauge!("tidegate_build_info", "version" => self.version.to_string()).set(1.0);
        gauge!("process_start_time_seconds").set(self.started_at_s as f64);
        if let Some(bytes) = resident_bytes().await {
            gauge!("process_resident_memory_bytes").set(bytes as f64);
        }
        if let Some(count) = open_files().await {
            gauge!("process_open_fds").set(count as f64);
        }
        let memories = self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        memories.iter().for_each(Memory::publish);
    }

    /// Starts the task that keeps histograms from growing between scrapes.
    pub fn spawn_upkeep(&self, tasks: &Tasks) {
        let prometheus = self.prometheus.clone();
        tasks.spawn(TaskKind::Upkeep, Span::none(), async move {
            let mut ticks = tokio::time::interval(METRICS_UPKEEP_INTERVAL);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                prometheus.run_upkeep();
            }
        });
    }
}

async fn resident_bytes() -> Option<u64> {
    let status = tokio::fs::read_to_string("/proc/self/status").await.ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

async fn open_files() -> Option<u64> {
    let mut entries = tokio::fs::read_dir("/proc/self/fd").await.ok()?;
    let mut count = 0;
    while entries.next_entry().await.ok()?.is_some() {
        count += 1;
    }
    // The listing itself holds one.
    Some(count - 1)
}

/// Records how long something took, in seconds.
pub fn observe_seconds(name: &'static str, took: std::time::Duration) {
    histogram!(name).record(took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn installing_twice_gives_the_same_metrics() {
        let (first, second) = (install(), install());
        metrics::counter!("tidegate_kit_test_total").increment(3);
        observe_seconds(
            "tidegate_kit_test_seconds",
            std::time::Duration::from_millis(2),
        );
        let text = second.scrape().await;
        assert!(text.contains("tidegate_kit_test_total 3"), "{text}");
        assert!(
            text.contains("tidegate_kit_test_seconds_bucket{le=\"0.0025\"} 1"),
            "{text}"
        );
        assert!(text.contains("tidegate_build_info{version="), "{text}");
        assert!(first.render().contains("tidegate_kit_test_total 3"));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_process_says_how_large_it_is() {
        assert!(resident_bytes().await.unwrap() > 1024 * 1024);
        assert!(open_files().await.unwrap() >= 3);
    }
}
