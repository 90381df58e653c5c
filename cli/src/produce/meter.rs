//! Shows how a long transfer goes on: a bar with a rate while a person watches, a line at the end.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;
use crate::units::{per_second, show_bytes, show_count};

#[derive(Debug)]
pub(crate) struct Meter {
    bar: ProgressBar,
}

impl Meter {
    /// `total_bytes` when the length of the input is known.
    pub(crate) fn new(total_bytes: Option<u64>, quiet: bool) -> Self {
        if quiet || !output::is_interactive() {
            return Self {
                bar: ProgressBar::hidden(),
            };
        }
        let (bar, template) = match total_bytes {
            Some(total) => (
                ProgressBar::new(total),
                "{wide_bar} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}",
            ),
            None => (
                ProgressBar::new_spinner(),
                "{spinner} {bytes}  {bytes_per_sec}  {msg}",
            ),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    pub(crate) fn advance(&self, read_bytes: u64, delivered_records: u64) {
        self.bar.inc(read_bytes);
        if !self.bar.is_hidden() {
            self.bar
                .set_message(format!("{} records", show_count(delivered_records)));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// `1,000 records (1.2 MB) in 0.51 s: 1,960 records/s, 2.4 MB/s`.
pub(crate) fn summary(records: u64, bytes: u64, elapsed: Duration) -> String {
    format!(
        "{} {} ({}) in {:.2} s: {} records/s, {}/s",
        show_count(records),
        if records == 1 { "record" } else { "records" },
        show_bytes(bytes),
        elapsed.as_secs_f64(),
        show_count(per_second(records, elapsed)),
        show_bytes(per_second(bytes, elapsed)),
    )
}
