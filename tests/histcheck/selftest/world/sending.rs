//! Producers of the model: with an identity, several batches under way in order; without, sent again and
//! so perhaps written twice.

use tidegate_histcheck::{Acks, Producer, Send, What};

use super::{Entry, World, acks, batch};

const UNDER_WAY_MAX: usize = 12;

/// A batch under way, or one whose outcome its client did not learn and that may still arrive.
#[derive(Debug)]
pub(super) struct Sending {
    send: Send,
    to: u32,
    /// Its first offset, when it stands in the log now.
    at: Option<u64>,
    /// Somebody may have seen it.
    was_there: bool,
    is_over: bool,
}

/// An idempotent producer of one partition.
#[derive(Debug)]
pub(super) struct Identity {
    id: u64,
    epoch: u16,
    next: u64,
    partition: u32,
}

impl Identity {
    pub(super) const fn new(id: u64, partition: u32) -> Self {
        Self {
            id,
            epoch: 0,
            next: 0,
            partition,
        }
    }
}

impl World {
    pub(super) fn begin_send(&mut self) {
        let under_way = self.sendings.iter().filter(|sending| !sending.is_over);
        if under_way.count() >= UNDER_WAY_MAX {
            return;
        }
        let op = self.history.next_id();
        let values = self.next_values();
        let acks = acks(&mut self.random);
        let (to, partition, producer) = if self.random.chance(60) {
            let at = self.random.below(self.identities.len() as u64) as usize;
            let of = &mut self.identities[at];
            let producer = Producer {
                id: of.id,
                epoch: of.epoch,
                sequence: of.next,
            };
            of.next += values.len() as u64;
            (of.partition, Some(of.partition), Some(producer))
        } else {
            let to = self.any_partition();
            (to, self.random.chance(50).then_some(to), None)
        };
        let send = batch(op, partition, acks, producer, values);
        self.note(What::Send(send.clone()));
        self.sendings.push(Sending {
            send,
            to,
            at: None,
            was_there: false,
            is_over: false,
        });
    }

    /// One of those under way arrives at its leader.
    pub(super) fn append(&mut self) {
        if self.sendings.is_empty() {
            return;
        }
        let index = self.random.below(self.sendings.len() as u64) as usize;
        let sending = &self.sendings[index];
        let is_again = sending.at.is_some();
        let again = is_again && !sending.is_over && sending.send.producer.is_none();
        if is_again && !(again && self.random.chance(20)) {
            return;
        }
        let sending = &self.sendings[index];
        let partition = &mut self.partitions[sending.to as usize];
        if let Some(producer) = sending.send.producer {
            let (epoch, next) = partition.next_of(producer.id);
            let fits = match producer.epoch.cmp(&epoch) {
                std::cmp::Ordering::Less => false,
                std::cmp::Ordering::Equal => producer.sequence == next,
                std::cmp::Ordering::Greater => producer.sequence == 0,
            };
            if !fits {
                return;
            }
        }
        let at = partition.end();
        for (nth, value) in (0..).zip(&sending.send.values) {
            let producer = sending.send.producer.map(|producer| Producer {
                sequence: producer.sequence + nth,
                ..producer
            });
            partition.log.push(Entry {
                value: *value,
                producer,
            });
        }
        self.sendings[index].at = Some(at);
        self.sendings[index].was_there = true;
    }

    /// What was cut is not there any more; its client may send it again.
    pub(super) fn forget_places(&mut self, partition: u32, end: u64) {
        for sending in self
            .sendings
            .iter_mut()
            .filter(|sending| sending.to == partition)
        {
            let count = sending.send.values.len() as u64;
            if sending.at.is_some_and(|at| at + count > end) {
                // Cut in the middle, or twice there: nobody sends it again, so that the model stays simple.
                sending.at = None;
                let log = &self.partitions[partition as usize].log;
                let is_left = log
                    .iter()
                    .any(|entry| sending.send.values.contains(&entry.value));
                if is_left && !sending.is_over {
                    sending.is_over = true;
                    let op = sending.send.op;
                    self.history.note(0, What::Unknown { op });
                }
            }
        }
        let is_gone = |sending: &Sending| sending.is_over && sending.at.is_none();
        // Of those that are over some still arrive; the others never do.
        let mut kept = 0;
        self.sendings.retain(|sending| {
            kept += usize::from(is_gone(sending));
            !is_gone(sending) || (kept % 2 == 0 && sending.send.producer.is_some())
        });
    }

    pub(super) fn finish_send(&mut self) {
        let under_way: Vec<usize> = (0..self.sendings.len())
            .filter(|at| !self.sendings[*at].is_over)
            .collect();
        let Some(index) = self.random.pick(&under_way).copied() else {
            return;
        };
        let is_lost = self.random.chance(10);
        let is_refused = self.random.chance(30);
        let sending = &self.sendings[index];
        let (op, partition) = (sending.send.op, sending.to);
        let mark = self.partitions[partition as usize].mark;
        let count = sending.send.values.len() as u64;
        let what = match sending.at {
            Some(base_offset)
                if !is_lost
                    && (sending.send.acks == Acks::Leader || base_offset + count <= mark) =>
            {
                What::Sent {
                    op,
                    partition,
                    base_offset,
                }
            }
            _ if is_lost => What::Unknown { op },
            None if is_refused && !sending.was_there => What::Failed { op },
            _ => return,
        };
        let is_loose = matches!(what, What::Unknown { .. });
        let is_told = matches!(what, What::Sent { .. });
        if let (Some(producer), false) = (sending.send.producer, is_told) {
            self.begin_anew(producer);
        }
        self.note(what);
        if is_loose {
            self.sendings[index].is_over = true;
        } else {
            self.sendings.remove(index);
        }
    }

    /// After a refusal or an unknown outcome the producer takes a new epoch; what it still has under way
    /// has nobody who waits for it.
    fn begin_anew(&mut self, producer: Producer) {
        let of = self.identities.iter_mut().find(|of| of.id == producer.id);
        let Some(of) = of.filter(|of| of.epoch == producer.epoch) else {
            return;
        };
        of.epoch += 1;
        of.next = 0;
    }
}
