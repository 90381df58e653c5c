//! One subscription: where each of its partitions stands, and what may be sent or read next.
//!
//! Pure. A partition has frames that were read and not sent (`pending`), and at most one read under
//! way. A read starts only when a frame could be sent, at most a chunk is pending and the socket is not
//! too far ahead: the disk works while the client takes what was read before, a socket without credit
//! costs no disk, and two chunks per partition are held at most. All that was read can be let go and read
//! again.
//!
//! Invariant: frames leave in offset order and each starts at or after the end of the one before,
//! so that no record is sent twice between two seeks.

mod away;
mod part;
mod reading;
mod skipping;
mod start;

use std::collections::BTreeMap;

use tidegate_proto::cursor::{Cursor, CursorPosition};
use tidegate_proto::id::{PartitionId, TopicId};
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};

use super::credit::Window;
use super::effect::Form;
use super::slow::{OnSlow, Watcher};
use crate::encode::codecs::Codecs;
use crate::encode::frame::Frame;
use crate::partitions::Tail;
use away::Away;
pub(crate) use away::Cause;
use part::Part;
pub(crate) use skipping::Gap;
pub(crate) use start::{Opening, Resolution, StartPlace};

/// What a look at one partition asks for.
#[derive(Debug)]
pub(crate) enum Turn {
    Send(Frame),
    Read {
        key: ReplicaKey,
        from: Offset,
        /// There are frames to send meanwhile.
        is_ahead: bool,
    },
    /// There is a frame, and the socket must be flushed first.
    HeldBack,
    /// There is something to read once less was read and not sent. Said once until
    /// [`Subscription::may_read_now`].
    Wait,
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Subscription {
    /// Names the current set of positions; results that carry another are of no interest.
    pub(crate) generation: u64,
    pub(crate) opening: Option<Opening>,
    /// Partitions asked for by number; `None` is all of them.
    pub(crate) wanted: Option<Vec<PartitionId>>,
    pub(crate) window: Window,
    pub(crate) paused: bool,
    /// A `caught_up` is owed.
    pub(crate) owes_caught_up: bool,
    codecs: Codecs,
    topic_id: Option<TopicId>,
    topic_number: u32,
    all_partitions: bool,
    parts: BTreeMap<PartitionId, Part>,
    /// In frames that were read and not sent.
    pending_bytes: usize,
    reads: usize,
    last_served: Option<PartitionId>,
    watcher: Option<Box<Watcher>>,
    away: Away,
}

impl Subscription {
    pub(crate) fn new(
        opening: Opening,
        wanted: Option<Vec<PartitionId>>,
        window: Window,
        codecs: Codecs,
    ) -> Self {
        Self {
            generation: opening.generation,
            opening: Some(opening),
            wanted,
            window,
            paused: false,
            owes_caught_up: false,
            codecs,
            topic_id: None,
            topic_number: 0,
            all_partitions: false,
            parts: BTreeMap::new(),
            pending_bytes: 0,
            reads: 0,
            last_served: None,
            watcher: None,
            away: Away::default(),
        }
    }

    /// What is to become of it when it is too slow.
    pub(crate) fn watch(&mut self, on_slow: OnSlow) {
        self.watcher = Watcher::new(on_slow);
    }

    /// The incarnation of the topic, once it is known.
    pub(crate) fn topic_id(&self) -> Option<TopicId> {
        self.topic_id
    }

    /// What its frames are made of in the batch subprotocol.
    pub(crate) fn form(&self) -> Form {
        Form::Batches {
            topic_number: self.topic_number,
            codecs: self.codecs,
        }
    }

    pub(crate) fn partition_count(&self) -> usize {
        self.parts.len() + self.away.absent_count()
    }

    /// Takes new positions; frames of the old ones are dropped.
    pub(crate) fn install(&mut self, generation: u64, resolution: Resolution) {
        self.generation = generation;
        self.opening = None;
        self.owes_caught_up = true;
        self.topic_id = Some(resolution.topic_id);
        self.topic_number = resolution.topic_number;
        self.all_partitions = resolution.all_partitions;
        self.last_served = None;
        if let Some(watcher) = &mut self.watcher {
            watcher.forget();
        }
        (self.pending_bytes, self.reads) = (0, 0);
        self.away = Away::of(&resolution.absent);
        self.parts = resolution
            .starts
            .into_iter()
            .map(|start| (start.partition, Part::at(start)))
            .collect();
    }

    /// Adds partitions that the topic got since; records of them from the first on are missing
    /// nowhere. Gives the keys to follow.
    pub(crate) fn grow_to(
        &mut self,
        partitions: impl Iterator<Item = PartitionId>,
    ) -> Vec<ReplicaKey> {
        let Some(topic_id) = self.topic_id.filter(|_| self.all_partitions) else {
            return Vec::new();
        };
        let mut added = Vec::new();
        let away = &self.away;
        for partition in partitions.filter(|partition| !away.is_absent(*partition)) {
            self.parts.entry(partition).or_insert_with(|| {
                added.push(ReplicaKey {
                    topic_id,
                    partition,
                });
                let tail = Tail {
                    log_start: Offset::ZERO,
                    high_watermark: Offset::ZERO,
                    leader_epoch: LeaderEpoch(0),
                };
                Part::at(StartPlace {
                    partition,
                    offset: Offset::ZERO,
                    leader_epoch: LeaderEpoch(0),
                    tail,
                })
            });
        }
        added
    }

    /// Notes a moved tail. Tails never move back in what is shown to a client.
    pub(crate) fn tail_moved(&mut self, partition: PartitionId, tail: Tail) {
        let Some(part) = self.parts.get_mut(&partition) else {
            return;
        };
        part.note_tail(tail);
    }

    #[cfg(test)]
    pub(crate) fn pending_bytes(&self) -> usize {
        let pending = self.parts.values().flat_map(|part| &part.pending);
        assert_eq!(self.pending_bytes, pending.map(Frame::bytes).sum::<usize>());
        self.pending_bytes
    }

    /// Gives up a frame that was handed over and not sent; frames of a partition the last one first.
    pub(crate) fn take_back(&mut self, partition: PartitionId, frame: &Frame) {
        self.window.refund(frame.records, frame.bytes());
        if let Some(part) = self.parts.get_mut(&partition) {
            part.next = frame.first_offset;
        }
    }

    /// Gives up all that was read and not sent, to be read again from the first record that was not sent.
    pub(crate) fn let_go(&mut self) {
        self.pending_bytes = 0;
        for part in self.parts.values_mut() {
            part.let_go();
        }
    }

    /// Whether frames that were read before are still to be sent.
    pub(crate) fn has_pending(&self, partition: PartitionId) -> bool {
        let part = self.parts.get(&partition);
        part.is_some_and(|part| !part.pending.is_empty())
    }

    /// Moves over offsets that can no longer be read. Gives the offset that was expected.
    pub(crate) fn jump(&mut self, partition: PartitionId, to: Offset) -> Option<Offset> {
        let part = self.parts.get_mut(&partition)?;
        let from = part.next;
        self.pending_bytes -= part.pending.iter().map(Frame::bytes).sum::<usize>();
        part.pending.clear();
        part.next = to;
        part.read_from = to;
        part.is_unsure = false;
        self.end_read(partition);
        Some(from)
    }

    /// What one partition may do now. `may_send` is the window of the whole socket, `may_read` whether that
    /// is not too far ahead.
    pub(crate) fn turn(&mut self, partition: PartitionId, may_send: bool, may_read: bool) -> Turn {
        if self.paused || self.opening.is_some() || !self.window.is_open() {
            return Turn::Nothing;
        }
        let Some(topic_id) = self.topic_id else {
            return Turn::Nothing;
        };
        let Some(part) = self.parts.get_mut(&partition) else {
            return Turn::Nothing;
        };
        let is_ahead = !part.pending.is_empty();
        if is_ahead && !may_send {
            return Turn::HeldBack;
        }
        let may_read_on = part.may_read();
        if may_read_on && !may_read && !is_ahead {
            let waits_already = std::mem::replace(&mut part.is_waiting, true);
            return if waits_already {
                Turn::Nothing
            } else {
                Turn::Wait
            };
        }
        if may_read_on && may_read {
            part.reading = true;
            self.reads += 1;
            return Turn::Read {
                key: ReplicaKey {
                    topic_id,
                    partition,
                },
                from: part.read_from,
                is_ahead,
            };
        }
        if is_ahead {
            let Some(frame) = part.pending.pop_front() else {
                return Turn::Nothing;
            };
            part.next = frame.next_offset;
            part.leader_epoch = frame.leader_epoch;
            part.settle();
            self.pending_bytes -= frame.bytes();
            self.window.spend(frame.records, frame.bytes());
            self.last_served = Some(partition);
            return Turn::Send(frame);
        }
        Turn::Nothing
    }

    /// All partitions, beginning behind the one that was served last.
    pub(crate) fn in_turn(&self) -> Vec<PartitionId> {
        let mut order: Vec<PartitionId> = self.parts.keys().copied().collect();
        if let Some(last) = self.last_served {
            let behind = order.partition_point(|partition| *partition <= last);
            order.rotate_left(behind);
        }
        order
    }

    /// Whether all that is committed was sent, but for what is away and known to be.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.opening.is_none()
            && self.parts.iter().all(|(partition, part)| {
                let is_at_end = !part.reading && part.next >= part.tail.high_watermark;
                part.pending.is_empty() && (is_at_end || self.away.is_told(*partition))
            })
    }

    /// Behind the last record sent, of every partition, and what is wanted of those that are away. `None` when it is too long to be a cursor,
    /// or nothing is known yet.
    pub(crate) fn cursor(&self) -> Option<String> {
        let mut cursor = Cursor::new(self.topic_id?);
        for (partition, part) in &self.parts {
            let position = CursorPosition {
                offset: part.next,
                leader_epoch: part.leader_epoch,
            };
            cursor.positions.insert(*partition, position);
        }
        self.away.note(&mut cursor);
        cursor.encode().ok()
    }

    /// High watermarks by partition.
    pub(crate) fn tails(&self) -> BTreeMap<u32, u64> {
        self.parts
            .iter()
            .map(|(partition, part)| (partition.0, part.tail.high_watermark.get()))
            .collect()
    }
}
