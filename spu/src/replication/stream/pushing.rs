//! Batches, bounds and snapshots on their way into the stream.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_data_plane::partitions::Held;
use tidegate_proto::batch::Batch;
use tidegate_proto::position::{LogPosition, Offset};
use tidegate_proto::private::replicate::{
    EndReason, Event, Lane, SNAPSHOT_PIECE_BYTES_MAX, SnapshotPiece, encode_push,
};

use super::{Cursor, FollowerStream, Found, Snapshot, State};
use crate::limits::REPLICATION_PUSH_BYTES;
use crate::metrics;

impl FollowerStream {
    /// Sends what there is for a session, as far as there is credit and room.
    pub(super) fn push(&mut self, handle: u32) {
        loop {
            let is_full = self.credit <= 0 || self.is_full();
            let Some(sending) = self.sending.get_mut(&handle) else {
                return;
            };
            let cursor = match &sending.state {
                State::Open(cursor) if cursor.is_reading => return,
                State::Open(cursor) | State::Shipping(cursor, _) => *cursor,
                State::Opening | State::Awaiting(_) | State::Over => return,
            };
            if is_full {
                if !std::mem::replace(&mut sending.is_blocked, true) {
                    self.blocked.push_back(handle);
                }
                return;
            }
            if self.send_piece(handle) {
                continue;
            }
            let Some(sending) = self.sending.get(&handle) else {
                return;
            };
            let log = &sending.partition.reader.log;
            let cached = log.read_after_cached(cursor.at, REPLICATION_PUSH_BYTES);
            match (cached, self.lane) {
                (Some(batches), Lane::Tail) if batches.is_empty() => {
                    return self.tell_bounds(handle, cursor);
                }
                (Some(batches), Lane::Tail) => {
                    if !self.send(handle, cursor, &batches) {
                        return;
                    }
                }
                (None, Lane::Tail) if self.lacks_nothing(handle, cursor) => {
                    return self.tell_bounds(handle, cursor);
                }
                (None, Lane::Tail) => return self.end(handle, EndReason::Behind),
                (Some(_), Lane::CatchUp) => return self.end(handle, EndReason::CaughtUp),
                (None, Lane::CatchUp) if self.lacks_nothing(handle, cursor) => {
                    return self.end(handle, EndReason::CaughtUp);
                }
                (None, Lane::CatchUp) => return self.ask_disk(handle, cursor),
            }
        }
    }

    /// Memory has nothing, and neither has the disk.
    fn lacks_nothing(&self, handle: u32, cursor: Cursor) -> bool {
        self.sending.get(&handle).is_some_and(|sending| {
            let log = &sending.partition.reader.log;
            log.durable_position() == cursor.at && log.end() == cursor.at.end
        })
    }

    fn ask_disk(&mut self, handle: u32, cursor: Cursor) {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return;
        };
        sending.state = State::Open(Cursor {
            is_reading: true,
            ..cursor
        });
        let (feed, reader) = (self.feed.clone(), Arc::clone(&sending.partition.reader));
        self.reads.push(Box::pin(async move {
            Found::Batches(handle, feed.batches(reader, cursor.at).await)
        }));
    }

    /// The disk was read.
    pub(super) fn read(&mut self, handle: u32, found: Option<(Vec<Batch>, Held)>) {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return;
        };
        let State::Open(cursor) = sending.state else {
            return;
        };
        let cursor = Cursor {
            is_reading: false,
            ..cursor
        };
        sending.state = State::Open(cursor);
        let Some((batches, _held)) = found else {
            return self.end(handle, EndReason::Unreadable);
        };
        if batches.is_empty() {
            return self.end(handle, EndReason::CaughtUp);
        }
        if self.send(handle, cursor, &batches) {
            self.push(handle);
        }
    }

    /// False when the session is at its end: another epoch is led, and what was read may be of that.
    fn send(&mut self, handle: u32, cursor: Cursor, batches: &[Batch]) -> bool {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return false;
        };
        let tail = sending.partition.reader.tail();
        let Some(last) = batches.last().filter(|_| tail.leader_epoch == cursor.epoch) else {
            // The machine says so as well.
            self.end(handle, EndReason::Over);
            return false;
        };
        let bounds = (tail.high_watermark, tail.log_start);
        sending.state = State::Open(Cursor {
            at: LogPosition {
                end: last.next_offset(),
                last_epoch: Some(last.placement.leader_epoch),
            },
            told: bounds,
            ..cursor
        });
        let bytes = self
            .outlet
            .with(|pieces| encode_push(handle, bounds, batches, pieces));
        sending.partition.reader.moved_out(bytes as u64);
        metrics::replicated_out(self.lane.as_str(), bytes as u64);
        self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        true
    }

    /// There is nothing else to send.
    fn tell_bounds(&mut self, handle: u32, cursor: Cursor) {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return;
        };
        let tail = sending.partition.reader.tail();
        let bounds = (tail.high_watermark, tail.log_start);
        if bounds == cursor.told || tail.leader_epoch != cursor.epoch {
            return;
        }
        sending.state = State::Open(Cursor {
            told: bounds,
            ..cursor
        });
        self.say(Event::Moved {
            handle,
            high_watermark: bounds.0,
            log_start: bounds.1,
        });
    }

    /// Reads the snapshots whose turn it is.
    pub(super) fn ship_next(&mut self) {
        while let Some(handle) = self.shipments.next() {
            let Some(sending) = self.sending.get(&handle) else {
                continue;
            };
            if !matches!(sending.state, State::Awaiting(_)) {
                continue;
            }
            self.shipments.begin(handle);
            let (feed, reader) = (self.feed.clone(), Arc::clone(&sending.partition.reader));
            self.reads.push(Box::pin(async move {
                Found::Snapshot(handle, feed.snapshot(reader).await)
            }));
        }
    }

    /// A session that may have shipped something is over.
    pub(super) fn ship_no_more(&mut self, handle: u32) {
        if self.shipments.gone(handle) {
            self.ship_next();
        }
    }

    /// The snapshot that goes before the batches was read.
    pub(super) fn shipped(&mut self, handle: u32, found: Option<(Offset, Bytes, Held)>) {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return;
        };
        let State::Awaiting(cursor) = sending.state else {
            return;
        };
        let Some((as_of, rest, held)) = found else {
            return self.end(handle, EndReason::Unreadable);
        };
        self.shipments.read(handle, rest.len(), as_of);
        let snapshot = Snapshot {
            as_of,
            rest,
            _held: held,
        };
        sending.state = State::Shipping(cursor, snapshot);
        self.push(handle);
    }

    /// Sends the next piece of a session's snapshot; false when there is none.
    fn send_piece(&mut self, handle: u32) -> bool {
        let Some(sending) = self.sending.get_mut(&handle) else {
            return false;
        };
        let State::Shipping(cursor, snapshot) = &mut sending.state else {
            return false;
        };
        let (cursor, as_of, rest) = (*cursor, snapshot.as_of, &mut snapshot.rest);
        let piece = SnapshotPiece {
            handle,
            as_of,
            bytes: rest.split_to(rest.len().min(SNAPSHOT_PIECE_BYTES_MAX)),
            is_last: rest.is_empty(),
        };
        if piece.is_last {
            sending.state = State::Open(cursor);
        }
        let bytes = self.outlet.with(|pieces| piece.encode(pieces));
        metrics::replicated_out(self.lane.as_str(), bytes as u64);
        self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
        if piece.is_last {
            self.shipments.sent(handle);
            self.ship_next();
        }
        true
    }

    /// Goes on with those that waited for credit or room, as far as there is.
    pub(super) fn unblock(&mut self) {
        for _ in 0..self.blocked.len() {
            if self.credit <= 0 || self.is_full() {
                return;
            }
            let Some(handle) = self.blocked.pop_front() else {
                return;
            };
            if let Some(sending) = self.sending.get_mut(&handle) {
                sending.is_blocked = false;
                self.push(handle);
            }
        }
    }
}
