//! Records frames of the JSON subprotocol.
//!
//! A batch is cut into frames at fixed places (about 64 KiB of text, more only for one record), so
//! that everybody who reads the batch wants the same frames. Invariant: a frame has no field of one
//! subscriber; its cursor is of its partition alone.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::{mem, slice};

use axum::extract::ws::Utf8Bytes;
use tidegate_kit::budget::BytePermit;
use tidegate_proto::api::socket::RECORDS_FRAME_PREFIX;
use tidegate_proto::batch::Batch;
use tidegate_proto::cursor::Cursor;
use tidegate_proto::error::Problem;
use tidegate_proto::limits::FRAME_BYTES_TARGET;
use tidegate_proto::name::TopicName;
use tidegate_proto::position::Offset;

use super::{Frame, Payload, unreadable};
use crate::encode::json::write_record;
use crate::encode::walk::walk_records;

const FRAME_END: &[u8] = b"]}";

/// Takes the bytes of a frame from a budget.
pub(super) type Room<'a> = dyn FnMut(usize) -> Result<BytePermit, Problem> + 'a;

/// The frames that there was room for, and why there are not more.
pub(super) struct Made {
    frames: Vec<Frame>,
    refused: Option<Problem>,
}

impl Made {
    /// All of them, to be shared.
    pub(super) fn whole(self) -> Result<Arc<[Frame]>, Problem> {
        match self.refused {
            None => Ok(self.frames.into()),
            Some(problem) => Err(problem),
        }
    }

    /// What there is, if that is anything.
    pub(super) fn some(self) -> Result<Vec<Frame>, Problem> {
        match self.refused {
            Some(problem) if self.frames.is_empty() => Err(problem),
            _ => Ok(self.frames),
        }
    }
}

/// The frames of a batch from `from` on; from its beginning, cut where every reader cuts. Ends early
/// where there is no room.
pub(super) fn encode(
    topic: &TopicName,
    batch: &Batch,
    from: Offset,
    room: &mut Room<'_>,
) -> Result<Made, Problem> {
    batch.verify().map_err(|error| unreadable(batch, &error))?;
    let mut frames = Vec::new();
    let mut open = OpenFrame::new(batch.placement.base_offset.max(from));
    let mut refused = None;
    let mut text = Vec::new();
    walk_records(slice::from_ref(batch), from, |batch, offset, record| {
        text.clear();
        write_record(&mut text, batch, offset, record);
        if open.records > 0 && open.text.len() + 1 + text.len() > FRAME_BYTES_TARGET {
            let full = mem::replace(&mut open, OpenFrame::new(offset));
            match full.close(topic, batch, offset, room) {
                Ok(frame) => frames.push(frame),
                Err(problem) => {
                    refused = Some(problem);
                    return ControlFlow::Break(());
                }
            }
        }
        open.push(&text);
        ControlFlow::Continue(())
    })?;
    if refused.is_none() && open.records > 0 {
        match open.close(topic, batch, batch.next_offset(), room) {
            Ok(frame) => frames.push(frame),
            Err(problem) => refused = Some(problem),
        }
    }
    Ok(Made { frames, refused })
}

/// One frame with exactly the records `from..to`.
pub(super) fn encode_one(
    topic: &TopicName,
    batch: &Batch,
    from: Offset,
    to: Offset,
    room: &mut Room<'_>,
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
    open.close(topic, batch, to, room)
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

    fn close(
        self,
        topic: &TopicName,
        batch: &Batch,
        next: Offset,
        room: &mut Room<'_>,
    ) -> Result<Frame, Problem> {
        let placement = &batch.placement;
        let key = placement.key;
        let cursor = Cursor::single(key.topic_id, key.partition, next, placement.leader_epoch);
        let cursor = cursor.encode().map_err(|error| unreadable(batch, &error))?;
        let head = format!(
            r#"{RECORDS_FRAME_PREFIX}"topic":"{topic}","partition":{},"cursor":"{cursor}","records":["#,
            placement.key.partition.0,
        );
        let len = head.len() + self.text.len() + FRAME_END.len();
        let room = room(len)?;
        let mut message = Vec::with_capacity(len);
        for part in [head.as_bytes(), &self.text, FRAME_END] {
            message.extend_from_slice(part);
        }
        let text = Utf8Bytes::try_from(room.around(message));
        let text = text.map_err(|error| unreadable(batch, &error))?;
        Ok(Frame {
            first_offset: self.first_offset,
            next_offset: next,
            leader_epoch: placement.leader_epoch,
            records: self.records,
            payload: Payload::Text(text),
        })
    }
}
