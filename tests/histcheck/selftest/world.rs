//! A model of a partitioned log under load: it makes histories that are right by construction.
//!
//! Appends, watermarks, failovers that cut what is not replicated, retention, accepted losses, producers
//! that send again, readers, groups, watches; each step is chosen by the seed.

use std::collections::BTreeMap;

use tidegate_histcheck::{Acks, Event, History, Producer, Seen, Send, What};

mod asking;
mod sending;

use asking::{Asking, Group, Watch};
use sending::{Identity, Sending};

const STEPS: u64 = 1_500;
const PARTITIONS: u64 = 2;
const REPLICAS: u64 = 3;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678)
    }

    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) const fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// One of a list; nothing of an empty one.
    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        let bound = of.len() as u64;
        (bound > 0).then(|| &of[self.below(bound) as usize])
    }
}

/// One record of the true log.
#[derive(Debug, Clone, Copy)]
struct Entry {
    value: u64,
    /// Producer, epoch, sequence number.
    producer: Option<Producer>,
}

/// One partition as it truly is.
#[derive(Debug, Default)]
struct Partition {
    log: Vec<Entry>,
    start: u64,
    mark: u64,
    leader_epoch: u64,
    leader: u64,
}

impl Partition {
    fn end(&self) -> u64 {
        self.log.len() as u64
    }

    /// Epoch and next sequence number of a producer.
    fn next_of(&self, id: u64) -> (u16, u64) {
        let of_it = self.log.iter().rev().filter_map(|entry| entry.producer);
        let mut last = of_it.filter(|producer| producer.id == id);
        last.next()
            .map_or((0, 0), |last| (last.epoch, last.sequence + 1))
    }
}

#[derive(Debug)]
struct Reader {
    id: u64,
    partition: u32,
    next: u64,
}

/// The model and the history that its clients write.
pub(crate) struct World {
    random: Random,
    history: History,
    partitions: Vec<Partition>,
    values: u64,
    sendings: Vec<Sending>,
    identities: Vec<Identity>,
    readers: Vec<Reader>,
    asking: Vec<Asking>,
    groups: BTreeMap<(u32, u32), Group>,
    watches: Vec<Watch>,
    revision: u64,
}

impl World {
    /// The history of that seed.
    pub(crate) fn history(seed: u64) -> Vec<Event> {
        let mut random = Random::new(seed);
        let partitions = (0..PARTITIONS).map(|_| Partition::default()).collect();
        let identities = (0..3)
            .map(|id| Identity::new(id + 1, random.below(PARTITIONS) as u32))
            .collect();
        let mut world = Self {
            random,
            history: History::new(),
            partitions,
            values: 0,
            sendings: Vec::new(),
            identities,
            readers: Vec::new(),
            asking: Vec::new(),
            groups: BTreeMap::new(),
            watches: Vec::new(),
            revision: 5,
        };
        for _ in 0..STEPS {
            world.step();
        }
        world.scan();
        world.history.into_events()
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..20 => self.begin_send(),
            20..40 => self.append(),
            40..50 => self.move_mark(),
            50..65 => self.finish_send(),
            65..77 => self.read(),
            77..88 => self.ask_or_answer(),
            88..96 => self.watch(),
            96 => self.fail_over(),
            97 => self.expire(),
            98 if self.random.chance(4) => self.accept_loss(),
            _ => self.tell_leader(),
        }
    }

    fn note(&mut self, what: What) {
        let client = self.random.below(4) as u32;
        self.history.note(client, what);
    }

    fn any_partition(&mut self) -> u32 {
        self.random.below(PARTITIONS) as u32
    }

    fn of(&mut self, partition: u32) -> &mut Partition {
        &mut self.partitions[partition as usize]
    }

    fn move_mark(&mut self) {
        let number = self.any_partition();
        let partition = &self.partitions[number as usize];
        let ahead = partition.end() - partition.mark;
        let by = self.random.below(ahead + 1);
        self.of(number).mark += by;
    }

    /// Another leads, and what was not replicated may be gone.
    fn fail_over(&mut self) {
        let number = self.any_partition();
        let partition = &self.partitions[number as usize];
        let kept = partition.mark + self.random.below(partition.end() - partition.mark + 1);
        self.cut(number, kept);
        let leader = self.random.below(REPLICAS);
        let partition = self.of(number);
        partition.leader_epoch += 1;
        partition.leader = leader;
        self.tell_leader();
    }

    fn tell_leader(&mut self) {
        let partition = self.any_partition();
        let of = self.of(partition);
        let (leader_epoch, leader) = (of.leader_epoch, of.leader);
        self.note(What::Led {
            partition,
            leader_epoch,
            leader,
        });
    }

    fn cut(&mut self, number: u32, end: u64) {
        self.of(number).log.truncate(end as usize);
        self.forget_places(number, end);
    }

    fn accept_loss(&mut self) {
        let partition = self.any_partition();
        let of = self.of(partition);
        let (start, mark) = (of.start, of.mark);
        let from = start + self.random.below(mark - start + 1);
        self.cut(partition, from);
        self.of(partition).mark = from;
        self.readers
            .retain(|reader| reader.partition != partition || reader.next <= from);
        self.note(What::LossAccepted { partition, from });
    }

    fn expire(&mut self) {
        let number = self.any_partition();
        let of = &self.partitions[number as usize];
        let by = self.random.below((of.mark - of.start) / 3 + 1);
        self.of(number).start += by;
    }

    fn read(&mut self) {
        if self.readers.len() < 2 || self.random.chance(5) {
            let id = self.history.next_id();
            let partition = self.any_partition();
            let of = &self.partitions[partition as usize];
            let (start, mark) = (of.start, of.mark);
            let next = start + self.random.below(mark - start + 1);
            self.readers.push(Reader {
                id,
                partition,
                next,
            });
            let offset = next;
            self.note(What::ReadFrom {
                reader: id,
                partition,
                offset,
            });
            return;
        }
        let at = self.random.below(self.readers.len() as u64) as usize;
        let reader = &self.readers[at];
        let (id, number, mut next) = (reader.id, reader.partition, reader.next);
        let of = &self.partitions[number as usize];
        let (start, mark) = (of.start, of.mark);
        if next < start {
            next = start;
            self.note(What::Moved {
                reader: id,
                offset: start,
            });
        }
        let count = self.random.below(6).min(mark - next);
        let log = &self.partitions[number as usize].log;
        let records: Vec<Seen> = (next..next + count)
            .map(|offset| Seen {
                offset,
                value: log[offset as usize].value,
            })
            .collect();
        self.readers[at].next = next + count;
        let high_watermark = self.random.chance(70).then_some(mark);
        self.note(What::Read {
            reader: id,
            records,
            high_watermark,
        });
    }

    /// Everything settles, and each replica is read from its start, which may lag behind the leader's.
    fn scan(&mut self) {
        for partition in 0..PARTITIONS as u32 {
            self.of(partition).mark = self.partitions[partition as usize].end();
            for replica in 0..REPLICAS {
                let back = self.random.below(4);
                let of = &self.partitions[partition as usize];
                let log_start = of.start.saturating_sub(back);
                let kept = (log_start..).zip(&of.log[log_start as usize..]);
                let records = kept.map(|(offset, entry)| Seen {
                    offset,
                    value: entry.value,
                });
                let what = What::Scan {
                    partition,
                    replica,
                    log_start,
                    records: records.collect(),
                };
                self.note(what);
            }
        }
    }

    fn next_values(&mut self) -> Vec<u64> {
        let count = 1 + self.random.below(4);
        let first = self.values;
        self.values += count;
        (first..first + count).collect()
    }
}

/// What a fresh batch asks for.
fn acks(random: &mut Random) -> Acks {
    match random.below(10) {
        0 | 1 => Acks::Leader,
        _ => Acks::Quorum,
    }
}

fn batch(
    op: u64,
    partition: Option<u32>,
    acks: Acks,
    producer: Option<Producer>,
    values: Vec<u64>,
) -> Send {
    Send {
        op,
        partition,
        acks,
        producer,
        values,
    }
}
