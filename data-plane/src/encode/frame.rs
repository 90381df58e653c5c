//! Records frames of the WebSocket, made once per stored batch and form and shared by all
//! subscribers.
//!
//! [`text`] makes those of the JSON subprotocol, [`packed`] those of the batch subprotocol; here is what
//! they have in common and the memory of recent ones. A subscriber that starts inside a frame of text
//! gets its first frame made for itself; that one is not kept.
//!
//! Invariant: a frame has no field of one subscriber.

mod packed;
mod text;

use std::fmt;
use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use tidegate_proto::batch::Batch;
use tidegate_proto::compression::Codec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::codecs::Codecs;
use super::shared::Shared;
use crate::metrics::{self, FrameForm};
use packed::GroupKey;

/// What the frames of text of recent batches may hold: some hundred full frames, enough for
/// subscribers that are a few seconds apart.
pub const FRAME_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Frames of batches may hold this part of it beside, and batches in another codec as much again.
const PACKED_PART: usize = 2;

/// The message of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON.
    Text(Utf8Bytes),
    /// Whole batches behind the number of their topic.
    Binary(Bytes),
}

/// One records frame, ready to be sent. Clones share the message.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the first record in it that counts for the subscriber.
    pub first_offset: Offset,
    /// One past the last record in it.
    pub next_offset: Offset,
    /// The epoch that the records were written in.
    pub leader_epoch: LeaderEpoch,
    /// How many records count for the subscriber.
    pub records: u64,
    /// The message.
    pub payload: Payload,
}

impl Frame {
    /// Length of the message.
    pub fn bytes(&self) -> usize {
        match &self.payload {
            Payload::Text(text) => text.len(),
            Payload::Binary(bytes) => bytes.len(),
        }
    }

    /// The message as it is sent.
    pub fn into_message(self) -> Message {
        match self.payload {
            Payload::Text(text) => Message::Text(text),
            Payload::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("first_offset", &self.first_offset)
            .field("next_offset", &self.next_offset)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// Names a stored batch. The checksum tells a batch from another that took its place after the log
/// was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct BatchKey {
    replica: ReplicaKey,
    base_offset: Offset,
    crc: u32,
}

impl BatchKey {
    fn of(batch: &Batch) -> Self {
        Self {
            replica: batch.placement.key,
            base_offset: batch.placement.base_offset,
            crc: batch.client.crc(),
        }
    }
}

/// The frames of recent batches, one cache for all sockets of a process.
#[derive(Debug)]
pub struct FrameCache {
    text: Shared<BatchKey, Arc<[Frame]>>,
    packed: Shared<GroupKey, Bytes>,
    recompressed: Shared<(BatchKey, Codec), Arc<[Batch]>>,
}

impl FrameCache {
    /// A cache that holds at most `bytes_max` bytes of text and bookkeeping, and as much again of
    /// batches.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            text: Shared::new(bytes_max),
            packed: Shared::new(bytes_max / PACKED_PART),
            recompressed: Shared::new(bytes_max / PACKED_PART),
        }
    }

    /// The JSON frames of a batch from `from` on; none for a control batch.
    pub fn frames_from(
        &self,
        topic: &TopicName,
        batch: &Batch,
        from: Offset,
    ) -> Result<Vec<Frame>, Problem> {
        if batch.client.is_control() || batch.next_offset() <= from {
            return Ok(Vec::new());
        }
        let encode = || {
            metrics::batches_encoded(FrameForm::Text, 1);
            text::encode(topic, batch)
        };
        let bytes = |frames: &Arc<[Frame]>| frames.iter().map(Frame::bytes).sum();
        let shared = self.text.get(BatchKey::of(batch), encode, bytes)?;
        let wanted = shared.iter().skip_while(|frame| frame.next_offset <= from);
        let mut frames: Vec<Frame> = wanted.cloned().collect();
        if let Some(first) = frames.first_mut()
            && first.first_offset < from
        {
            *first = text::encode_one(topic, batch, from, first.next_offset)?;
            if first.records == 0 {
                // Compaction left nothing between there and its end.
                frames.remove(0);
            }
        }
        Ok(frames)
    }

    /// The binary frames of consecutive batches from `from` on: several batches to a frame up to the
    /// target, a larger one alone; those without records are left out. Batches in a codec that `codecs` does
    /// not know come in the one that it likes best.
    pub fn batches_from(
        &self,
        topic_number: u32,
        batches: &[Batch],
        from: Offset,
        codecs: Codecs,
    ) -> Result<Vec<Frame>, Problem> {
        let wanted = batches
            .iter()
            .filter(|batch| batch.client.record_count() > 0 && batch.next_offset() > from);
        let mut readable: Vec<Batch> = Vec::with_capacity(batches.len());
        for batch in wanted {
            if codecs.know(batch.client.codec()) {
                readable.push(batch.clone());
            } else {
                let made = self.recompressed(batch, codecs.best())?;
                readable.extend(
                    made.iter()
                        .filter(|part| part.next_offset() > from)
                        .cloned(),
                );
            }
        }
        packed::groups(&readable)
            .map(|group| {
                let key = GroupKey::of(topic_number, group);
                let encode = || {
                    metrics::batches_encoded(FrameForm::Packed, group.len());
                    Ok(packed::encode(topic_number, group))
                };
                let payload = self.packed.get(key, encode, Bytes::len);
                payload.map(|payload| packed::frame(group, from, payload))
            })
            .collect()
    }

    /// Whether all of these batches may go out as they are; else making frames of them takes a while.
    pub fn is_cheap(batches: &[Batch], codecs: Codecs) -> bool {
        batches
            .iter()
            .all(|batch| batch.client.record_count() == 0 || codecs.know(batch.client.codec()))
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.text.bytes() + self.packed.bytes() + self.recompressed.bytes()
    }

    /// How many batches were made into JSON, how many frames of batches were put together, and how many
    /// batches were made anew in another codec, in all.
    pub fn made(&self) -> [u64; 3] {
        [
            self.text.made(),
            self.packed.made(),
            self.recompressed.made(),
        ]
    }

    fn recompressed(&self, batch: &Batch, codec: Codec) -> Result<Arc<[Batch]>, Problem> {
        let make = || {
            metrics::batches_encoded(FrameForm::Recompressed, 1);
            let made = batch.verify().and_then(|()| batch.recompress(codec));
            made.map(Arc::from)
                .map_err(|error| unreadable(batch, &error))
        };
        let bytes = |made: &Arc<[Batch]>| made.iter().map(Batch::encoded_len).sum();
        self.recompressed
            .get((BatchKey::of(batch), codec), make, bytes)
    }
}

fn unreadable(batch: &Batch, error: &dyn fmt::Display) -> Problem {
    let at = batch.placement.base_offset.get();
    Problem::new(
        ErrorCode::Internal,
        format!("the stored batch at offset {at} is damaged: {error}"),
    )
}

#[cfg(test)]
mod tests;
