//! One partition of a subscription: what was sent, what was read, and how far it could be read.
//!
//! Fields and the few rules among them; whose turn it is, is the subscription's business. Invariant: what
//! is pending lies between `next` and `read_from`.

use std::collections::VecDeque;

use tidegate_proto::position::{LeaderEpoch, Offset};

use super::StartPlace;
use crate::encode::frame::Frame;
use crate::partitions::Tail;
use crate::ws::limits::CHUNK_BYTES;

#[derive(Debug)]
pub(super) struct Part {
    /// The first record that was not sent.
    pub(super) next: Offset,
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) tail: Tail,
    pub(super) reading: bool,
    /// A read brought nothing that could be used, and the next one is not due yet.
    pub(super) resting: bool,
    /// Whether `read_from` is there is to be found out by reading, also where nothing is known behind it: a
    /// new leader may hold less than was shown, and a partition that is away shows only so that it is back.
    pub(super) is_unsure: bool,
    /// What the read under way brings is not wanted any more.
    pub(super) stale: bool,
    /// It stands in the line of those who may read when the socket is less far ahead.
    pub(super) is_waiting: bool,
    /// Where the next read starts; equals `next` but for control batches while nothing is pending.
    pub(super) read_from: Offset,
    pub(super) pending: VecDeque<Frame>,
}

impl Part {
    pub(super) fn at(start: StartPlace) -> Self {
        Self {
            next: start.offset,
            leader_epoch: start.leader_epoch,
            tail: start.tail,
            reading: false,
            resting: false,
            is_unsure: start.offset > start.tail.high_watermark,
            stale: false,
            is_waiting: false,
            read_from: start.offset,
            pending: VecDeque::new(),
        }
    }

    pub(super) fn note_tail(&mut self, tail: Tail) {
        if tail.high_watermark >= self.tail.high_watermark
            || tail.leader_epoch > self.tail.leader_epoch
        {
            if tail.leader_epoch > self.tail.leader_epoch {
                self.is_unsure |= tail.high_watermark < self.read_from;
            }
            self.tail = tail;
        }
    }

    /// Whether there is more to read, and not too much of it in hand.
    pub(super) fn may_read(&self) -> bool {
        !self.reading
            && !self.resting
            && (self.is_unsure || self.read_from < self.tail.high_watermark)
            && self.pending.iter().map(Frame::bytes).sum::<usize>() <= CHUNK_BYTES
    }

    /// Offsets without a record, of control batches, are passed when nothing is left to send.
    pub(super) fn settle(&mut self) {
        if self.pending.is_empty() {
            self.next = self.read_from;
        }
    }

    /// All that was read and not sent goes, to be read again.
    pub(super) fn let_go(&mut self) {
        self.pending = VecDeque::new();
        self.read_from = self.next;
        self.stale = self.reading;
    }

    /// Leaves out what is below `to`; gives the bytes of what was read of it.
    pub(super) fn skip(&mut self, to: Offset) -> usize {
        let bytes = self.pending.iter().map(Frame::bytes).sum();
        self.next = to;
        self.let_go();
        bytes
    }
}
