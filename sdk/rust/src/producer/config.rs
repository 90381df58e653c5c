//! What a producer can be told; every field has a default that is right for most.

use std::time::Duration;

use tidegate_proto::compression::Codec;
use tidegate_proto::limits::TIMEOUT_MS_DEFAULT;
use tidegate_proto::produce::Acks;

use crate::error::Error;
use crate::limits::{
    BATCH_BYTES_DEFAULT, BATCH_RECORDS_DEFAULT, DELIVERY_TIMEOUT_DEFAULT, IN_FLIGHT_DEFAULT,
    IN_FLIGHT_MAX, LINGER_DEFAULT, MEMORY_BYTES_DEFAULT, REQUEST_BYTES_MAX,
};

/// Settings of one [`Producer`](crate::Producer).
#[derive(Clone, Copy, Debug)]
pub struct ProducerConfig {
    /// When the server answers; the topic's own setting when absent. With `none`, a server that
    /// crashes may have forgotten records it took: what follows them in sequence then fails with
    /// `out_of_order`, and later sends start afresh.
    pub acks: Option<Acks>,
    /// How batches are compressed before they leave.
    pub compression: Codec,
    /// A batch closes at this many bytes of records.
    pub batch_bytes: usize,
    /// A batch closes at this many records.
    pub batch_records: u32,
    /// A batch closes this long after its first record.
    pub linger: Duration,
    /// Requests in flight per partition, 1 to 5.
    pub in_flight: usize,
    /// Bytes of records held before `send` waits.
    pub memory_bytes: usize,
    /// The server's deadline for one request.
    pub request_timeout: Duration,
    /// How long a batch is retried before its records are reported as failed.
    pub delivery_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: None,
            compression: Codec::None,
            batch_bytes: BATCH_BYTES_DEFAULT,
            batch_records: BATCH_RECORDS_DEFAULT,
            linger: LINGER_DEFAULT,
            in_flight: IN_FLIGHT_DEFAULT,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            request_timeout: Duration::from_millis(TIMEOUT_MS_DEFAULT),
            delivery_timeout: DELIVERY_TIMEOUT_DEFAULT,
        }
    }
}

impl ProducerConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        let complaint = if self.in_flight == 0 || self.in_flight > IN_FLIGHT_MAX {
            format!("in_flight must be 1 to {IN_FLIGHT_MAX}")
        } else if self.batch_bytes == 0 || self.batch_bytes > REQUEST_BYTES_MAX {
            format!("batch_bytes must be 1 to {REQUEST_BYTES_MAX}")
        } else if self.batch_records == 0 {
            "batch_records must be at least 1".to_owned()
        } else if self.memory_bytes < self.batch_bytes {
            "memory_bytes must hold at least one batch".to_owned()
        } else {
            return Ok(());
        };
        Err(Error::Config(complaint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_limits_are_kept() {
        let good = ProducerConfig::default();
        assert!(good.check().is_ok());
        for bad in [
            ProducerConfig {
                in_flight: 0,
                ..good
            },
            ProducerConfig {
                in_flight: 6,
                ..good
            },
            ProducerConfig {
                batch_bytes: 0,
                ..good
            },
            ProducerConfig {
                batch_bytes: REQUEST_BYTES_MAX + 1,
                ..good
            },
            ProducerConfig {
                batch_records: 0,
                ..good
            },
            ProducerConfig {
                memory_bytes: 1,
                ..good
            },
        ] {
            assert!(matches!(bad.check(), Err(Error::Config(_))), "{bad:?}");
        }
    }
}
