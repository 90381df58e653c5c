//! What the surface counts, one function per observation.
//!
//! Records and bytes are counted where they are appended or written out, so that the counters agree
//! with what a client counts, whichever transport it used.

use metrics::counter;

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

/// A produce request, or a produce frame, is answered.
pub fn produce_finished(outcome: ProduceOutcome) {
    counter!("tidegate_produce_requests_total", "outcome" => outcome.as_str()).increment(1);
}

/// Records were appended. `bytes` are those of their batches as stored, without placement.
pub fn produced(records: u64, bytes: u64) {
    counter!("tidegate_produce_records_total").increment(records);
    counter!("tidegate_produce_bytes_total").increment(bytes);
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
