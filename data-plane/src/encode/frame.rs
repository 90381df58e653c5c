//! Records frames of the WebSocket's JSON subprotocol, encoded once per stored batch and shared by
//! all subscribers.
//!
//! A batch is cut into frames at fixed places (about 64 KiB of text, more only for one record), so
//! that everybody who reads the batch wants the same frames. The cache is bounded by bytes, oldest
//! out first, and encodes each batch once however many ask at the same time. A subscriber that
//! starts inside a frame gets its first frame made for itself; that one is not kept.
//!
//! Invariant: a frame has no field of one subscriber; its cursor is of its partition alone.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::{fmt, mem, slice};

use axum::extract::ws::Utf8Bytes;
use tidegate_proto::api::socket::RECORDS_FRAME_PREFIX;
use tidegate_proto::batch::Batch;
use tidegate_proto::cursor::{Cursor, CursorPosition};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::json::write_record;
use super::walk::walk_records;

/// What the frames of recent batches may hold: some hundred full frames, enough for subscribers
/// that are a few seconds apart.
pub const FRAME_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// What a cached batch costs beside the text of its frames.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// One records frame, ready to be sent. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// Offset of the first record in it.
    pub first_offset: Offset,
    /// One past the last record in it.
    pub next_offset: Offset,
    /// The epoch that the records were written in.
    pub leader_epoch: LeaderEpoch,
    /// How many records.
    pub records: u64,
    /// The message.
    pub text: Utf8Bytes,
}

impl Frame {
    /// Length of the message.
    pub fn bytes(&self) -> usize {
        self.text.len()
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct BatchKey {
    replica: ReplicaKey,
    base_offset: Offset,
    crc: u32,
}

type Encoded = Result<Arc<[Frame]>, Problem>;

struct Entry {
    frames: Arc<OnceLock<Encoded>>,
    /// Zero until the frames are encoded.
    bytes: usize,
}

#[derive(Default)]
struct Entries {
    by_batch: HashMap<BatchKey, Entry>,
    /// Oldest first.
    order: VecDeque<BatchKey>,
    bytes: usize,
}

/// The frames of recent batches, one cache for all sockets of a process.
pub struct FrameCache {
    bytes_max: usize,
    entries: Mutex<Entries>,
}

impl FrameCache {
    /// A cache that holds at most `bytes_max` bytes of text and bookkeeping.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            entries: Mutex::new(Entries::default()),
        }
    }

    /// The frames of a batch from `from` on; none for a control batch.
    pub fn frames_from(
        &self,
        topic: &TopicName,
        batch: &Batch,
        from: Offset,
    ) -> Result<Vec<Frame>, Problem> {
        if batch.client.is_control() || batch.next_offset() <= from {
            return Ok(Vec::new());
        }
        let shared = self.shared(topic, batch)?;
        let wanted = shared.iter().skip_while(|frame| frame.next_offset <= from);
        let mut frames: Vec<Frame> = wanted.cloned().collect();
        if let Some(first) = frames.first_mut()
            && first.first_offset < from
        {
            *first = encode_one(topic, batch, from, first.next_offset)?;
            if first.records == 0 {
                // Compaction left nothing between there and its end.
                frames.remove(0);
            }
        }
        Ok(frames)
    }

    /// Bytes held now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    fn shared(&self, topic: &TopicName, batch: &Batch) -> Encoded {
        let key = BatchKey {
            replica: batch.placement.key,
            base_offset: batch.placement.base_offset,
            crc: batch.client.crc(),
        };
        let slot = self.slot(key);
        let mut is_fresh = false;
        // Others that want this batch wait here for one encoding instead of each making their own.
        let encoded = slot.get_or_init(|| {
            is_fresh = true;
            encode(topic, batch)
        });
        if is_fresh {
            self.count(key, &slot, encoded);
        }
        encoded.clone()
    }

    fn slot(&self, key: BatchKey) -> Arc<OnceLock<Encoded>> {
        let mut entries = self.lock();
        if let Some(entry) = entries.by_batch.get(&key) {
            return Arc::clone(&entry.frames);
        }
        let frames = Arc::new(OnceLock::new());
        entries.order.push_back(key);
        entries.by_batch.insert(
            key,
            Entry {
                frames: Arc::clone(&frames),
                bytes: 0,
            },
        );
        frames
    }

    fn count(&self, key: BatchKey, slot: &Arc<OnceLock<Encoded>>, encoded: &Encoded) {
        let text: usize = encoded
            .as_ref()
            .map_or(0, |frames| frames.iter().map(Frame::bytes).sum());
        let bytes = text + ENTRY_OVERHEAD_BYTES;
        let mut entries = self.lock();
        // It may have been pushed out while it was being encoded.
        if let Some(entry) = entries.by_batch.get_mut(&key)
            && Arc::ptr_eq(&entry.frames, slot)
        {
            entry.bytes = bytes;
            entries.bytes += bytes;
        }
        while entries.bytes > self.bytes_max {
            let Some(oldest) = entries.order.pop_front() else {
                break;
            };
            if let Some(gone) = entries.by_batch.remove(&oldest) {
                entries.bytes -= gone.bytes;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A panic while it was held can only have left a batch uncounted.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FrameCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameCache")
            .field("bytes_max", &self.bytes_max)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

/// All frames of a batch, cut where every reader cuts.
fn encode(topic: &TopicName, batch: &Batch) -> Encoded {
    batch.verify().map_err(|error| unreadable(batch, &error))?;
    let mut frames = Vec::new();
    let mut open = OpenFrame::new(batch.placement.base_offset);
    let mut refused = None;
    let mut text = Vec::new();
    walk_records(
        slice::from_ref(batch),
        Offset::ZERO,
        |batch, offset, record| {
            text.clear();
            write_record(&mut text, batch, offset, record);
            if open.records > 0 && open.text.len() + 1 + text.len() > FRAME_BYTES_TARGET {
                let full = mem::replace(&mut open, OpenFrame::new(offset));
                match full.close(topic, batch, offset) {
                    Ok(frame) => frames.push(frame),
                    Err(problem) => {
                        refused = Some(problem);
                        return ControlFlow::Break(());
                    }
                }
            }
            open.push(&text);
            ControlFlow::Continue(())
        },
    )?;
    if let Some(problem) = refused {
        return Err(problem);
    }
    if open.records > 0 {
        frames.push(open.close(topic, batch, batch.next_offset())?);
    }
    Ok(frames.into())
}

/// One frame with exactly the records `from..to`.
fn encode_one(
    topic: &TopicName,
    batch: &Batch,
    from: Offset,
    to: Offset,
) -> Result<Frame, Problem> {
    let mut open = OpenFrame::new(from);
    let mut text = Vec::new();
    walk_records(slice::from_ref(batch), from, |batch, offset, record| {
        if offset >= to {
            return ControlFlow::Break(());
        }
        text.clear();
        write_record(&mut text, batch, offset, record);
        open.push(&text);
        ControlFlow::Continue(())
    })?;
    open.close(topic, batch, to)
}

fn unreadable(batch: &Batch, error: &dyn fmt::Display) -> Problem {
    let at = batch.placement.base_offset.get();
    Problem::new(
        ErrorCode::Internal,
        format!("the stored batch at offset {at} is damaged: {error}"),
    )
}

struct OpenFrame {
    first_offset: Offset,
    records: u64,
    text: Vec<u8>,
}

impl OpenFrame {
    fn new(first_offset: Offset) -> Self {
        Self {
            first_offset,
            records: 0,
            text: Vec::new(),
        }
    }

    fn push(&mut self, record: &[u8]) {
        if self.records > 0 {
            self.text.push(b',');
        }
        self.text.extend_from_slice(record);
        self.records += 1;
    }

    fn close(self, topic: &TopicName, batch: &Batch, next: Offset) -> Result<Frame, Problem> {
        let placement = &batch.placement;
        let position = CursorPosition {
            offset: next,
            leader_epoch: placement.leader_epoch,
        };
        let cursor = Cursor {
            topic_id: placement.key.topic_id,
            positions: BTreeMap::from([(placement.key.partition, position)]),
        };
        let cursor = cursor.encode().map_err(|error| unreadable(batch, &error))?;
        let records = String::from_utf8(self.text).map_err(|error| unreadable(batch, &error))?;
        let text = format!(
            r#"{RECORDS_FRAME_PREFIX}"topic":"{topic}","partition":{},"cursor":"{cursor}","records":[{records}]}}"#,
            placement.key.partition.0,
        );
        Ok(Frame {
            first_offset: self.first_offset,
            next_offset: next,
            leader_epoch: placement.leader_epoch,
            records: self.records,
            text: Utf8Bytes::from(text),
        })
    }
}

#[cfg(test)]
mod tests;
