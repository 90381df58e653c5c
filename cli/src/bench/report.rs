//! What a benchmark found: counts, rates and a latency distribution, for people and for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{self, Output};
use crate::units::{per_second, show_bytes, show_count};

/// Latencies above this are counted as this.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Significant digits of the histogram.
const PRECISION: u8 = 3;

/// Latencies in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX_US, PRECISION)
            .expect("the bounds are constants that a histogram takes");
        Self(histogram)
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0
            .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_MAX_US));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    fn json(&self) -> Value {
        json!({
            "count": self.0.len(),
            "min": self.0.min(),
            "mean": self.0.mean(),
            "p50": self.0.value_at_quantile(0.5),
            "p90": self.0.value_at_quantile(0.9),
            "p99": self.0.value_at_quantile(0.99),
            "p999": self.0.value_at_quantile(0.999),
            "max": self.0.max(),
        })
    }
}

/// One finished benchmark.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) name: &'static str,
    /// How it was run.
    pub(crate) settings: Value,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// Named distributions, in microseconds.
    pub(crate) latencies: Vec<(&'static str, Latencies)>,
}

impl Report {
    pub(crate) fn show(&self, output: Output) -> Result<(), Failure> {
        match output {
            Output::Json => output::print_json(&self.json()),
            Output::Table => self.table(),
        }
    }

    fn json(&self) -> Value {
        let latencies: serde_json::Map<String, Value> = self
            .latencies
            .iter()
            .map(|(name, found)| ((*name).to_owned(), found.json()))
            .collect();
        json!({
            "benchmark": self.name,
            "settings": self.settings,
            "records": self.records,
            "bytes": self.bytes,
            "elapsed_ms": self.elapsed.as_secs_f64() * 1000.0,
            "records_per_s": per_second(self.records, self.elapsed),
            "bytes_per_s": per_second(self.bytes, self.elapsed),
            "latency_us": latencies,
        })
    }

    fn table(&self) -> Result<(), Failure> {
        let mut rows = vec![
            vec!["settings".to_owned(), self.settings.to_string()],
            vec!["records".to_owned(), show_count(self.records)],
            vec!["bytes".to_owned(), show_bytes(self.bytes)],
            vec![
                "seconds".to_owned(),
                format!("{:.3}", self.elapsed.as_secs_f64()),
            ],
            vec![
                "records/s".to_owned(),
                show_count(per_second(self.records, self.elapsed)),
            ],
            vec![
                "bytes/s".to_owned(),
                show_bytes(per_second(self.bytes, self.elapsed)),
            ],
        ];
        for (name, found) in &self.latencies {
            let at = |quantile| found.0.value_at_quantile(quantile) as f64 / 1000.0;
            rows.push(vec![
                format!("{name} latency, ms"),
                format!(
                    "p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
                    at(0.5),
                    at(0.9),
                    at(0.99),
                    at(0.999),
                    found.0.max() as f64 / 1000.0
                ),
            ]);
        }
        output::print_table(&[self.name, ""], rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_rates_and_quantiles() {
        let mut latencies = Latencies::new();
        for ms in 1..=1000 {
            latencies.record(Duration::from_millis(ms));
        }
        latencies.record(Duration::from_secs(3600));
        let report = Report {
            name: "produce",
            settings: json!({"size": 10}),
            records: 1000,
            bytes: 10_000,
            elapsed: Duration::from_secs(2),
            latencies: vec![("ack", latencies)],
        };
        let json = report.json();
        assert_eq!(json["records_per_s"], 500);
        assert_eq!(json["bytes_per_s"], 5000);
        let p50 = json["latency_us"]["ack"]["p50"].as_u64().unwrap();
        assert!((495_000..506_000).contains(&p50), "{p50}");
    }
}
