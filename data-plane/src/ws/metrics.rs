//! What operators see of sockets; one function per observation.
//!
//! Nothing here decides anything. Gauges go down by a guard, so that a socket that ends in any way
//! is counted out.

use std::fmt;

use metrics::{counter, gauge};
use tidegate_proto::api::socket::CloseCode;

/// Counts one open socket as long as it lives.
pub(crate) struct OpenSocket(());

impl OpenSocket {
    pub(crate) fn count() -> Self {
        gauge!("tidegate_ws_sockets").increment(1.0);
        counter!("tidegate_ws_opened_total").increment(1);
        Self(())
    }
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        gauge!("tidegate_ws_sockets").decrement(1.0);
    }
}

impl fmt::Debug for OpenSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenSocket")
    }
}

/// Counts the subscriptions of one socket.
#[derive(Debug, Default)]
pub(crate) struct OpenSubscriptions(usize);

impl OpenSubscriptions {
    pub(crate) fn set(&mut self, now: usize) {
        if now != self.0 {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a socket holds less than 2^52 of them"
            )]
            gauge!("tidegate_ws_subscriptions").increment(now as f64 - self.0 as f64);
            self.0 = now;
        }
    }
}

impl Drop for OpenSubscriptions {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// What was written since the last flush, counted at once so that a frame costs no lookup.
#[derive(Debug, Default)]
pub(crate) struct Written {
    frames: u64,
    records: u64,
    bytes: u64,
}

impl Written {
    /// One more message of text or batches, with so many records.
    pub(crate) fn frame(&mut self, records: u64, bytes: usize) {
        self.frames += 1;
        self.records += records;
        self.bytes += bytes as u64;
    }

    pub(crate) fn publish(&mut self) {
        counter!("tidegate_ws_frames_sent_total").increment(self.frames);
        counter!("tidegate_ws_records_sent_total").increment(self.records);
        counter!("tidegate_ws_bytes_sent_total").increment(self.bytes);
        *self = Written::default();
    }
}

pub(crate) fn message_received(bytes: usize) {
    counter!("tidegate_ws_messages_received_total").increment(1);
    counter!("tidegate_ws_bytes_received_total").increment(bytes as u64);
}

pub(crate) fn closed(code: CloseCode) {
    counter!("tidegate_ws_closed_total", "reason" => code.reason()).increment(1);
}

pub(crate) fn refused(code: &'static str) {
    counter!("tidegate_ws_refused_total", "code" => code).increment(1);
}
