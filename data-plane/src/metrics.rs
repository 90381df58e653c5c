//! What the surface counts, one function per observation.
//!
//! Records and bytes are counted where they are appended or written out, so that the counters agree
//! with what a client counts, whichever transport it used.

use std::sync::OnceLock;

use metrics::{Counter, counter};

/// How a produce request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceOutcome {
    /// All records were appended.
    Ok,
    /// They had been appended by an earlier request.
    Duplicate,
    /// Some were appended.
    Partial,
    /// None, by the request's own fault.
    Refused,
    /// None, or nobody knows.
    Failed,
}

impl ProduceOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Duplicate => "duplicate",
            Self::Partial => "partial",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Where records are read to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadBy {
    /// An answer to a fetch.
    Fetch,
    /// An event stream.
    Events,
}

impl ReadBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Events => "events",
        }
    }
}

/// The counters of the produce path, which every record pays for: handles are looked up once and
/// kept. They belong to one data plane and are made at the first observation, so that they count with
/// the recorder that was installed by then.
#[derive(Debug, Default)]
pub(crate) struct ProduceCounters {
    requests: [OnceLock<Counter>; OUTCOMES],
    records: OnceLock<Counter>,
    bytes: OnceLock<Counter>,
}

const OUTCOMES: usize = ProduceOutcome::Failed as usize + 1;

impl ProduceCounters {
    /// A produce request, or a produce frame, is answered.
    pub(crate) fn finished(&self, outcome: ProduceOutcome) {
        let register =
            || counter!("tidegate_produce_requests_total", "outcome" => outcome.as_str());
        self.requests[outcome as usize]
            .get_or_init(register)
            .increment(1);
    }

    /// Records were appended. `bytes` are those of their batches as stored, without placement.
    pub(crate) fn produced(&self, records: u64, bytes: u64) {
        self.records
            .get_or_init(|| counter!("tidegate_produce_records_total"))
            .increment(records);
        self.bytes
            .get_or_init(|| counter!("tidegate_produce_bytes_total"))
            .increment(bytes);
    }
}

/// A fetch is answered, with records or without.
pub fn fetch_finished(is_empty: bool) {
    let outcome = if is_empty { "empty" } else { "ok" };
    counter!("tidegate_fetch_requests_total", "outcome" => outcome).increment(1);
}

/// Records were written out. `bytes` are those of the text or batches that carry them.
pub fn fetched(by: ReadBy, records: u64, bytes: u64) {
    counter!("tidegate_fetch_records_total", "by" => by.as_str()).increment(records);
    counter!("tidegate_fetch_bytes_total", "by" => by.as_str()).increment(bytes);
}

/// An event stream started.
pub fn events_started() {
    counter!("tidegate_event_streams_total").increment(1);
    metrics::gauge!("tidegate_event_streams").increment(1.0);
}

/// An event stream ended.
pub fn events_ended() {
    metrics::gauge!("tidegate_event_streams").decrement(1.0);
}

/// What a records frame of a socket is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameForm {
    /// JSON text.
    Text,
    /// Batches as they are stored.
    Packed,
    /// Batches in another codec than the stored one.
    Recompressed,
}

/// Batches were made into frames, for all who want them.
pub fn batches_encoded(form: FrameForm, batches: usize) {
    let form = match form {
        FrameForm::Text => "json",
        FrameForm::Packed => "batch",
        FrameForm::Recompressed => "recompressed",
    };
    counter!("tidegate_ws_batches_encoded_total", "form" => form).increment(batches as u64);
}
