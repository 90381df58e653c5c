//! What went in and out of the cluster in the last quarter of an hour, of each unit and of the topics.
//!
//! Pure; time is passed in. Counts go into buckets of ten seconds, which move on with the wall clock.
//! Bounded: [`FLOW_SPUS_MAX`] units and [`FLOW_TOPICS_MAX`] topics have buckets of their own, 2.2 KiB each
//! and so 2.6 MiB in all; what other topics do is counted together. Invariant: nothing is counted that was
//! done before this controller began.

use std::collections::BTreeMap;

use tidegate_proto::control::Traffic;
use tidegate_proto::id::{SpuId, TopicId};

use super::reports::{Told, UnitReport};
use crate::limits::{FLOW_BUCKET_MS, FLOW_BUCKETS, FLOW_SPUS_MAX, FLOW_TOPICS_MAX};

/// What moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Records appended.
    pub appended_records: u64,
    /// Bytes of the batches they came in.
    pub appended_bytes: u64,
    /// Bytes of batches read.
    pub read_bytes: u64,
}

impl Amounts {
    pub(crate) fn add(&mut self, more: Self) {
        // Units may say anything.
        self.appended_records = self.appended_records.saturating_add(more.appended_records);
        self.appended_bytes = self.appended_bytes.saturating_add(more.appended_bytes);
        self.read_bytes = self.read_bytes.saturating_add(more.read_bytes);
    }

    /// From one state of counters to a later one; what went down began anew.
    fn since(self, before: Self) -> Self {
        let more = |now: u64, before: u64| if now < before { now } else { now - before };
        Self {
            appended_records: more(self.appended_records, before.appended_records),
            appended_bytes: more(self.appended_bytes, before.appended_bytes),
            read_bytes: more(self.read_bytes, before.read_bytes),
        }
    }
}

impl From<Traffic> for Amounts {
    fn from(traffic: Traffic) -> Self {
        Self {
            appended_records: traffic.appended_records,
            appended_bytes: traffic.appended_bytes,
            read_bytes: traffic.read_bytes,
        }
    }
}

/// The buckets of one thing.
#[derive(Debug, Clone)]
struct Ring {
    buckets: Box<[Amounts]>,
    /// Number of the newest.
    newest: i64,
}

impl Ring {
    fn new(bucket: i64) -> Self {
        Self {
            buckets: vec![Amounts::default(); FLOW_BUCKETS].into(),
            newest: bucket,
        }
    }

    fn add(&mut self, bucket: i64, amounts: Amounts) {
        self.advance(bucket);
        if bucket > self.newest - FLOW_BUCKETS as i64 {
            self.buckets[place(bucket)].add(amounts);
        }
    }

    fn advance(&mut self, bucket: i64) {
        let first = (self.newest + 1).max(bucket - FLOW_BUCKETS as i64 + 1);
        for passed in first..=bucket {
            self.buckets[place(passed)] = Amounts::default();
        }
        self.newest = self.newest.max(bucket);
    }

    /// Oldest first, up to the one of `bucket`: also when the clock stepped back and there are later ones.
    fn series(&self, bucket: i64) -> Vec<Amounts> {
        let mut ring = self.clone();
        ring.advance(bucket);
        let count = FLOW_BUCKETS as i64;
        let all = (bucket - count + 1..=bucket).map(|at| {
            if at > ring.newest - count {
                ring.buckets[place(at)]
            } else {
                Amounts::default()
            }
        });
        all.collect()
    }

    fn is_still(&self, bucket: i64) -> bool {
        let oldest = bucket - FLOW_BUCKETS as i64;
        self.newest <= oldest || self.buckets.iter().all(|one| *one == Amounts::default())
    }
}

fn place(bucket: i64) -> usize {
    usize::try_from(bucket.rem_euclid(FLOW_BUCKETS as i64)).unwrap_or(0)
}

fn bucket_of(now_ms: i64) -> i64 {
    now_ms.div_euclid(FLOW_BUCKET_MS)
}

/// The buckets as they are, oldest first.
#[derive(Debug, Clone)]
pub struct Flows {
    /// Where the first bucket begins, in milliseconds since 1970.
    pub start_ms: i64,
    /// Since when anything was counted.
    pub since_ms: i64,
    /// Of all units.
    pub cluster: Vec<Amounts>,
    /// Of each unit.
    pub spus: BTreeMap<SpuId, Vec<Amounts>>,
    /// Of the topics that are told apart.
    pub topics: BTreeMap<TopicId, Vec<Amounts>>,
    /// Of the others.
    pub other_topics: Vec<Amounts>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    since_ms: i64,
    cluster: Ring,
    spus: BTreeMap<SpuId, Ring>,
    topics: BTreeMap<TopicId, Ring>,
    others: Ring,
    /// Counters of topics as they were told as a whole.
    known: BTreeMap<TopicId, Amounts>,
    is_first: bool,
}

impl Meter {
    pub(crate) fn new(now_ms: i64) -> Self {
        let bucket = bucket_of(now_ms);
        Self {
            since_ms: now_ms,
            cluster: Ring::new(bucket),
            spus: BTreeMap::new(),
            topics: BTreeMap::new(),
            others: Ring::new(bucket),
            known: BTreeMap::new(),
            is_first: true,
        }
    }

    pub(crate) fn since_ms(&self) -> i64 {
        self.since_ms
    }

    /// A unit told what it did; `before` is what it told last.
    pub(crate) fn unit(
        &mut self,
        spu: SpuId,
        now: &UnitReport,
        before: Option<&UnitReport>,
        at_ms: i64,
    ) {
        // What it did before it was first heard of was not done in this time.
        let Some(before) = before else {
            return;
        };
        let known = if before.incarnation == now.incarnation {
            before.traffic.into()
        } else {
            Amounts::default()
        };
        let moved = Amounts::from(now.traffic).since(known);
        if moved == Amounts::default() {
            return;
        }
        let bucket = bucket_of(at_ms);
        self.cluster.add(bucket, moved);
        if let Some(ring) = slot(&mut self.spus, spu, FLOW_SPUS_MAX, bucket) {
            ring.add(bucket, moved);
        }
    }

    /// A leader told of a partition; `before` is what was told of it last. Of a topic that was made since
    /// this began everything counts.
    pub(crate) fn partition(
        &mut self,
        now: &Told,
        before: Option<&Told>,
        is_new: bool,
        at_ms: i64,
    ) {
        let amounts = |told: &Told| Amounts {
            appended_records: told.report.status.end.get(),
            appended_bytes: told.report.traffic.appended_bytes,
            read_bytes: told.report.traffic.read_bytes,
        };
        let known = match before {
            Some(before) if before.spu == now.spu && before.incarnation == now.incarnation => {
                amounts(before)
            }
            // Its counters began with this registration.
            Some(before) if before.spu == now.spu => Amounts {
                appended_records: amounts(before).appended_records,
                ..Amounts::default()
            },
            // Another leader's began when nobody knows.
            Some(before) => Amounts {
                appended_records: amounts(before).appended_records,
                ..amounts(now)
            },
            None if is_new => Amounts::default(),
            None => return,
        };
        let mut moved = amounts(now).since(known);
        if now.report.status.end.get() < known.appended_records {
            // A log that was cut, not one that began anew.
            moved.appended_records = 0;
        }
        self.topic(now.report.key.topic_id, moved, at_ms);
    }

    /// Counters of all topics, where one process is everything.
    pub(crate) fn topics(&mut self, now: BTreeMap<TopicId, Amounts>, at_ms: i64) {
        let known = std::mem::take(&mut self.known);
        let is_first = std::mem::replace(&mut self.is_first, false);
        for (topic, amounts) in &now {
            match known.get(topic) {
                Some(before) => self.topic(*topic, amounts.since(*before), at_ms),
                None if is_first => {}
                None => self.topic(*topic, *amounts, at_ms),
            }
        }
        self.known = now;
    }

    fn topic(&mut self, topic: TopicId, moved: Amounts, at_ms: i64) {
        if moved == Amounts::default() {
            return;
        }
        let bucket = bucket_of(at_ms);
        match slot(&mut self.topics, topic, FLOW_TOPICS_MAX, bucket) {
            Some(ring) => ring.add(bucket, moved),
            None => self.others.add(bucket, moved),
        }
    }

    /// Forgets all other units and topics.
    pub(crate) fn retain(
        &mut self,
        mut has_unit: impl FnMut(SpuId) -> bool,
        mut has_topic: impl FnMut(TopicId) -> bool,
    ) {
        self.spus.retain(|spu, _| has_unit(*spu));
        self.topics.retain(|topic, _| has_topic(*topic));
    }

    pub(crate) fn flows(&self, now_ms: i64) -> Flows {
        let bucket = bucket_of(now_ms);
        let spus = self.spus.iter();
        let topics = self.topics.iter();
        Flows {
            start_ms: (bucket - FLOW_BUCKETS as i64 + 1) * FLOW_BUCKET_MS,
            since_ms: self.since_ms,
            cluster: self.cluster.series(bucket),
            spus: spus.map(|(id, ring)| (*id, ring.series(bucket))).collect(),
            topics: topics
                .map(|(id, ring)| (*id, ring.series(bucket)))
                .collect(),
            other_topics: self.others.series(bucket),
        }
    }
}

/// The ring of that one; when there is no place, that of one that has been still for the whole time.
fn slot<K: Ord + Copy>(
    rings: &mut BTreeMap<K, Ring>,
    key: K,
    places: usize,
    bucket: i64,
) -> Option<&mut Ring> {
    if !rings.contains_key(&key) {
        if rings.len() >= places {
            let still = rings.iter().find(|(_, ring)| ring.is_still(bucket));
            let still = *still?.0;
            rings.remove(&still);
        }
        rings.insert(key, Ring::new(bucket));
    }
    rings.get_mut(&key)
}

#[cfg(test)]
mod tests {
    use tidegate_proto::control::{DiskSpace, Heartbeat};
    use tidegate_proto::id::{Incarnation, RunId};
    use uuid::Uuid;

    use super::*;
    use crate::controller::reports::{Book, Sign};

    const TEN: i64 = FLOW_BUCKET_MS;

    fn bytes(count: u64) -> Amounts {
        Amounts {
            appended_bytes: count,
            ..Amounts::default()
        }
    }

    fn told(series: &[Amounts]) -> Vec<u64> {
        series.iter().map(|one| one.appended_bytes).collect()
    }

    fn all(meter: &Meter, now_ms: i64) -> u64 {
        let flows = meter.flows(now_ms);
        let topics = flows.topics.values().chain([&flows.other_topics]);
        topics.map(|series| told(series).iter().sum::<u64>()).sum()
    }

    #[test]
    fn what_is_older_than_the_window_goes_and_nothing_else() {
        let mut ring = Ring::new(100);
        let count = FLOW_BUCKETS as i64;
        ring.add(100, bytes(1));
        ring.add(103, bytes(2));
        ring.add(101, bytes(4));
        assert_eq!(told(&ring.series(103))[FLOW_BUCKETS - 4..], [1, 4, 0, 2]);
        assert_eq!(told(&ring.series(100 + count))[..4], [4, 0, 2, 0]);
        ring.add(103 + count, bytes(8));
        assert_eq!(told(&ring.series(103 + count)).iter().sum::<u64>(), 8);
        // Too late to be counted.
        ring.add(103, bytes(16));
        assert_eq!(told(&ring.series(103 + count)).iter().sum::<u64>(), 8);
        // The clock stepped back: what is later is not told, and not taken for something earlier.
        assert_eq!(told(&ring.series(103 + count - 2)).iter().sum::<u64>(), 0);
        assert_eq!(ring.series(103 + count - 2).len(), FLOW_BUCKETS);
        assert!(!ring.is_still(103 + count) && ring.is_still(103 + 2 * count));
    }

    #[test]
    fn amounts_that_do_not_fit_count_as_the_most_there_is() {
        let mut ring = Ring::new(100);
        ring.add(100, bytes(u64::MAX));
        ring.add(100, bytes(u64::MAX));
        assert_eq!(told(&ring.series(100)).last(), Some(&u64::MAX));
    }

    #[test]
    fn topics_beyond_the_bound_are_counted_together_until_one_is_still() {
        let mut meter = Meter::new(0);
        let topic = |number: usize| TopicId(Uuid::from_u128(number as u128));
        for number in 0..FLOW_TOPICS_MAX + 2 {
            meter.topic(topic(number), bytes(1), TEN);
        }
        let flows = meter.flows(TEN);
        assert_eq!(flows.topics.len(), FLOW_TOPICS_MAX);
        assert_eq!(told(&flows.other_topics).last(), Some(&2));
        assert_eq!(all(&meter, TEN), FLOW_TOPICS_MAX as u64 + 2);
        // All but the first move on; a new one takes its place.
        let later = TEN * FLOW_BUCKETS as i64;
        for number in 1..FLOW_TOPICS_MAX {
            meter.topic(topic(number), bytes(1), later);
        }
        let last = topic(FLOW_TOPICS_MAX);
        meter.topic(last, bytes(3), later + TEN);
        let flows = meter.flows(later + TEN);
        assert_eq!(told(&flows.topics[&last]).last(), Some(&3));
        assert_eq!(flows.topics.get(&topic(0)), None);
    }

    #[test]
    fn counters_that_begin_anew_count_from_nothing_and_the_first_word_counts_for_nothing() {
        let mut book = Book::new(Uuid::nil());
        let mut meter = Meter::new(0);
        let spu = SpuId(1);
        let mut say = |incarnation: u64, appended_bytes: u64| {
            let before = book.unit(spu).copied();
            let heartbeat = Heartbeat {
                spu_id: spu,
                run_id: RunId(Uuid::nil()),
                incarnation: Incarnation(incarnation),
                seen: None,
                draining: false,
                disk: DiskSpace::default(),
                traffic: Traffic {
                    appended_bytes,
                    ..Traffic::default()
                },
                beat: 0,
                untold: 0,
                statuses: Vec::new(),
            };
            book.sign(Sign {
                heartbeat: &heartbeat,
                first_beat: 0,
                at: tidegate_kit::clock::monotonic(),
            });
            meter.unit(spu, book.unit(spu).unwrap(), before.as_ref(), 0);
            told(&meter.flows(0).cluster).iter().sum::<u64>()
        };
        let sums = [(1, 1_000), (1, 1_010), (1, 1_010), (2, 5), (2, 7)];
        assert_eq!(
            sums.map(|(run, bytes)| say(run, bytes)),
            [0, 10, 10, 15, 17]
        );
    }

    #[test]
    fn topics_told_as_a_whole_count_from_the_first_time_on() {
        let mut meter = Meter::new(0);
        let topic = |number: u128| TopicId(Uuid::from_u128(number));
        meter.topics(BTreeMap::from([(topic(1), bytes(100))]), 0);
        assert_eq!(all(&meter, 0), 0);
        let now = BTreeMap::from([(topic(1), bytes(130)), (topic(2), bytes(5))]);
        meter.topics(now, TEN);
        assert_eq!(all(&meter, TEN), 35);
    }
}
