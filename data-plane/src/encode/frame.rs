//! Records frames of the WebSocket, made once per stored batch and form and shared by all
//! subscribers.
//!
//! [`text`] makes those of the JSON subprotocol, [`packed`] those of the batch subprotocol; here is what
//! they have in common and the memory of recent ones. A subscriber that starts inside a frame of text
//! gets its first frame made for itself; that one is not kept.
//!
//! Every frame takes its bytes from one budget and gives them back with the last handle to it. Without
//! room the recent ones go first, oldest first; if that is not enough nothing is made, and who asked asks
//! again. Invariants: a frame has no field of one subscriber; all frames together never pass the budget.

mod packed;
mod text;

use std::fmt;
use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes};
use bytes::Bytes;
use tidegate_kit::budget::{ByteBudget, BytePermit};
use tidegate_proto::batch::Batch;
use tidegate_proto::compression::Codec;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::codecs::Codecs;
use super::shared::Shared;
use crate::metrics::{self, FrameForm};
use packed::GroupKey;

/// The frames of text of recent batches may hold this part of the budget: half.
const TEXT_PART: usize = 2;
/// Frames of batches may hold this part of it beside, and batches in another codec as much again.
const PACKED_PART: usize = 4;

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

/// Batches in another codec than the stored one.
#[derive(Debug)]
struct Recompressed {
    batches: Vec<Batch>,
    _room: BytePermit,
}

/// The frames of recent batches, one cache for all sockets of a process.
#[derive(Debug)]
pub struct FrameCache {
    budget: ByteBudget,
    text: Shared<BatchKey, Arc<[Frame]>>,
    packed: Shared<GroupKey, Bytes>,
    recompressed: Shared<(BatchKey, Codec), Arc<Recompressed>>,
}

impl FrameCache {
    /// A cache whose frames, kept or on their way, hold at most `budget`.
    pub fn new(budget: ByteBudget) -> Self {
        let bytes_max = budget.total();
        Self {
            budget,
            text: Shared::new(bytes_max / TEXT_PART),
            packed: Shared::new(bytes_max / PACKED_PART),
            recompressed: Shared::new(bytes_max / PACKED_PART),
        }
    }

    /// What all frames are taken from.
    pub fn budget(&self) -> &ByteBudget {
        &self.budget
    }

    /// The JSON frames of a batch from `from` on; none for a control batch. Where there is not room for
    /// all of them, the first ones, or 503 `overloaded`.
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
            let mut room = |bytes| self.room(bytes);
            let made = text::encode(topic, batch, Offset::ZERO, &mut room);
            made.and_then(|made| made.whole())
        };
        let bytes = |frames: &Arc<[Frame]>| frames.iter().map(Frame::bytes).sum();
        let shared = match self.text.get(BatchKey::of(batch), encode, bytes) {
            Ok(shared) => shared,
            Err(problem) if problem.code() == ErrorCode::Overloaded => {
                let mut room = |bytes| self.room(bytes);
                return text::encode(topic, batch, from, &mut room)?.some();
            }
            Err(problem) => return Err(problem),
        };
        let wanted = shared.iter().skip_while(|frame| frame.next_offset <= from);
        let mut frames: Vec<Frame> = wanted.cloned().collect();
        if let Some(first) = frames.first_mut()
            && first.first_offset < from
        {
            let mut room = |bytes| self.room(bytes);
            *first = text::encode_one(topic, batch, from, first.next_offset, &mut room)?;
            if first.records == 0 {
                // Compaction left nothing between there and its end.
                frames.remove(0);
            }
        }
        Ok(frames)
    }

    /// The binary frames of consecutive batches from `from` on: several batches to a frame up to the
    /// target, a larger one alone; those without records are left out. Batches in a codec that `codecs` does
    /// not know come in the one that it likes best. Where there is not room for all frames, the first ones,
    /// or 503 `overloaded`.
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
                    made.batches
                        .iter()
                        .filter(|part| part.next_offset() > from)
                        .cloned(),
                );
            }
        }
        let mut frames = Vec::new();
        for group in packed::groups(&readable) {
            let key = GroupKey::of(topic_number, group);
            let encode = || {
                metrics::batches_encoded(FrameForm::Packed, group.len());
                let room = self.room(packed::bytes(group))?;
                Ok(room.around(packed::encode(topic_number, group)))
            };
            match self.packed.get(key, encode, Bytes::len) {
                Ok(payload) => frames.push(packed::frame(group, from, payload)),
                Err(problem) if frames.is_empty() => return Err(problem),
                Err(_) => break,
            }
        }
        Ok(frames)
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

    fn recompressed(&self, batch: &Batch, codec: Codec) -> Result<Arc<Recompressed>, Problem> {
        let bytes = |made: &[Batch]| made.iter().map(Batch::encoded_len).sum();
        let make = || {
            metrics::batches_encoded(FrameForm::Recompressed, 1);
            let made = batch.verify().and_then(|()| batch.recompress(codec));
            let batches = made.map_err(|error| unreadable(batch, &error))?;
            let _room = self.room(bytes(&batches))?;
            Ok(Arc::new(Recompressed { batches, _room }))
        };
        let key = (BatchKey::of(batch), codec);
        self.recompressed
            .get(key, make, |made| bytes(&made.batches))
    }

    /// Room for `bytes`, for which recent frames go, oldest first. One that is larger than the whole
    /// takes all of it.
    fn room(&self, bytes: usize) -> Result<BytePermit, Problem> {
        let bytes = bytes.min(self.budget.total());
        while self.budget.available() < bytes {
            let caches = [
                self.text.give_up_oldest(),
                self.packed.give_up_oldest(),
                self.recompressed.give_up_oldest(),
            ];
            if caches == [false; 3] {
                break;
            }
        }
        self.budget.try_acquire(bytes).ok_or_else(|| {
            let detail = "what other sockets have not taken yet leaves no room for more";
            Problem::new(ErrorCode::Overloaded, detail)
        })
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
