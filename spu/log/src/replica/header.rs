//! Of a stored batch what tells of its producer, its epoch and its place. Pure.

use tidegate_proto::batch::{Batch, ProducerStamp};
use tidegate_proto::position::{LeaderEpoch, Offset};

/// What a producer table needs to know of a stored batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset after its last record.
    pub next_offset: Offset,
    /// Epoch of the leader that placed it.
    pub leader_epoch: LeaderEpoch,
    /// When it was placed, in epoch milliseconds.
    pub append_time_ms: i64,
    /// True for a batch of the server's own, such as an epoch marker.
    pub is_control: bool,
    /// The producer's identity and sequence, when it has one.
    pub producer: Option<ProducerStamp>,
    /// The request's key, when it has one.
    pub request_key: Option<[u8; 16]>,
    /// CRC32C of the client part.
    pub payload_crc: u32,
}

impl BatchHeader {
    pub(super) fn of(batch: &Batch) -> Self {
        Self {
            base_offset: batch.placement.base_offset,
            next_offset: batch.next_offset(),
            leader_epoch: batch.placement.leader_epoch,
            append_time_ms: batch.placement.append_time_ms,
            is_control: batch.client.is_control(),
            producer: batch.client.producer(),
            request_key: batch.client.request_key(),
            payload_crc: batch.client.crc(),
        }
    }
}
