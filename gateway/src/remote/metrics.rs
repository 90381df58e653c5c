//! What the way to the storage units counts. One function per observation.

use std::sync::OnceLock;

use metrics::{Counter, counter};

/// The counters that every request pays for: handles are looked up once and kept.
#[derive(Debug, Default)]
pub(super) struct RemoteCounters {
    taken: OnceLock<Counter>,
    window: OnceLock<Counter>,
}

impl RemoteCounters {
    /// An append was taken by its leader.
    pub(super) fn taken(&self) {
        let make = || counter!("tidegate_remote_appends_total", "fate" => "taken");
        self.taken.get_or_init(make).increment(1);
    }

    /// A read was answered from what all readers share.
    pub(super) fn read_window(&self) {
        let make = || counter!("tidegate_remote_reads_total", "source" => "window");
        self.window.get_or_init(make).increment(1);
    }
}

/// An append was not taken: it failed for good, or is tried again.
pub(super) fn not_taken(fate: &'static str) {
    counter!("tidegate_remote_appends_total", "fate" => fate).increment(1);
}

/// A read was answered by the leader.
pub(super) fn read_leader() {
    counter!("tidegate_remote_reads_total", "source" => "leader").increment(1);
}

/// A connection to a storage unit was made, or could not be.
pub(super) fn connected(is_there: bool) {
    let outcome = if is_there { "made" } else { "failed" };
    counter!("tidegate_remote_connections_total", "outcome" => outcome).increment(1);
}
