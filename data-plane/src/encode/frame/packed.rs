//! Records frames of the batch subprotocol: whole stored batches, one after the other.
//!
//! Consecutive batches are put together until a frame has its size. Where frames end depends on the
//! batches alone as far as it can, so that readers who began at different places soon want the same
//! frames. Invariant: a frame holds at least one batch, and more only up to the target.

use bytes::Bytes;
use tidegate_proto::api::binary::{RECORDS_HEADER_LEN, RecordsMessage};
use tidegate_proto::batch::Batch;
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::position::{Offset, ReplicaKey};

use super::{Frame, Payload};

/// Names the batches of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GroupKey {
    topic_number: u32,
    replica: ReplicaKey,
    first: Offset,
    next: Offset,
    /// Of what each batch is and where it stands: the log may have been cut and written anew.
    digest: u64,
}

impl GroupKey {
    /// `group` holds at least one batch.
    pub(super) fn of(topic_number: u32, group: &[Batch]) -> Self {
        let (first, last) = ends(group);
        let digest = group.iter().fold(0, |digest, batch| {
            let placement = &batch.placement;
            let place = placement.base_offset.get() ^ placement.leader_epoch.0.rotate_left(32);
            mix(mix(digest ^ place) ^ u64::from(batch.client.crc()))
        });
        Self {
            topic_number,
            replica: first.placement.key,
            first: first.placement.base_offset,
            next: last.next_offset(),
            digest,
        }
    }
}

/// Cuts consecutive batches into frames.
pub(super) fn groups(batches: &[Batch]) -> impl Iterator<Item = &[Batch]> {
    let mut rest = batches;
    std::iter::from_fn(move || {
        let mut bytes = rest.first()?.encoded_len();
        let mut count = 1;
        for batch in &rest[1..] {
            let len = batch.encoded_len();
            if bytes + len > FRAME_BYTES_TARGET || begins_frame(batch, len) {
                break;
            }
            bytes += len;
            count += 1;
        }
        let (group, others) = rest.split_at(count);
        rest = others;
        Some(group)
    })
}

/// Whether every reader begins a frame with this batch: by chance that grows with its length, drawn
/// from its place alone. Frames between two such places have half the target on average.
fn begins_frame(batch: &Batch, len: usize) -> bool {
    let draw = mix(batch.placement.base_offset.get()) % (FRAME_BYTES_TARGET as u64);
    draw < 2 * len as u64
}

/// Length of the message.
pub(super) fn bytes(group: &[Batch]) -> usize {
    RECORDS_HEADER_LEN + group.iter().map(Batch::encoded_len).sum::<usize>()
}

/// The message: the number of the topic, then the batches as they are stored.
pub(super) fn encode(topic_number: u32, group: &[Batch]) -> Vec<u8> {
    let mut message = Vec::with_capacity(bytes(group));
    message.extend_from_slice(&RecordsMessage::header(topic_number));
    for batch in group {
        batch.encode_into(&mut message);
    }
    message
}

/// The frame of a reader that stands at `from`: the records below it do not count.
pub(super) fn frame(group: &[Batch], from: Offset, payload: Bytes) -> Frame {
    let (first, last) = ends(group);
    let base = first.placement.base_offset;
    let first_offset = base.max(from);
    let records: u64 = group
        .iter()
        .map(|batch| u64::from(batch.client.record_count()))
        .sum();
    Frame {
        first_offset,
        next_offset: last.next_offset(),
        leader_epoch: last.placement.leader_epoch,
        records: records.saturating_sub(first_offset.distance_from(base)),
        payload: Payload::Binary(payload),
    }
}

fn ends(group: &[Batch]) -> (&Batch, &Batch) {
    match group {
        [first, .., last] => (first, last),
        [only] => (only, only),
        [] => unreachable!("a frame holds at least one batch"),
    }
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of the argument.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
