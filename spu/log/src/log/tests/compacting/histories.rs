//! Random histories of a compacted replica against a plain list of all that was ever appended.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tidegate_proto::position::Offset;

use super::super::{create, key, open, settle, submit};
use super::{CONFIG, Pair, append_pairs, commit, compact, contents};
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log};

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Pair>),
    Commit,
    Roll,
    Trim(u8),
    /// At the end of a batch that was appended, also below what is committed.
    Cut(u8),
    /// So many steps of compaction, and then maybe the rest.
    Compact(u8, bool),
    Later(u16),
    Killed,
    PowerLost(u64),
    Clean,
}

fn step() -> impl Strategy<Value = Step> {
    let pair = (
        prop::option::weighted(0.95, 0..9_u8),
        prop::option::weighted(0.8, any::<u16>()),
    );
    let append = prop::collection::vec(pair, 1..12).prop_map(Step::Append);
    prop_oneof![
        12 => append,
        4 => Just(Step::Commit),
        3 => Just(Step::Roll),
        1 => any::<u8>().prop_map(Step::Trim),
        1 => any::<u8>().prop_map(Step::Cut),
        5 => (0..4_u8, any::<bool>()).prop_map(|(count, all)| Step::Compact(count, all)),
        2 => (0..1_500_u16).prop_map(Step::Later),
        1 => Just(Step::Killed),
        2 => any::<u64>().prop_map(Step::PowerLost),
        1 => Just(Step::Clean),
    ]
}

type Shown = (u64, Option<u64>, Option<u64>);

#[derive(Debug, Default)]
struct Model {
    all: Vec<Shown>,
    /// Where batches began.
    bases: Vec<u64>,
    /// Below it compaction may have worked.
    committed: u64,
    log_start: u64,
    /// Offsets of what may have been taken out.
    removable: BTreeSet<u64>,
    /// What was taken out may have been for the sake of what a cut took since.
    is_cut_deep: bool,
    /// A cut may have taken the snapshot.
    lacks_snapshot: bool,
}

fn newest(contents: impl IntoIterator<Item = Shown>) -> BTreeMap<u64, (u64, u64)> {
    let mut state = BTreeMap::new();
    for (offset, key, value) in contents {
        let Some(key) = key else { continue };
        match value {
            Some(value) => state.insert(key, (offset, value)),
            None => state.remove(&key),
        };
    }
    state
}

impl Model {
    fn kept(&self) -> impl Iterator<Item = Shown> + '_ {
        self.all
            .iter()
            .copied()
            .filter(|(offset, ..)| *offset >= self.log_start)
    }

    /// Compaction is about to be at work.
    fn compact(&mut self) {
        let mut later = BTreeSet::new();
        let committed = self.all.iter().filter(|(at, ..)| *at < self.committed);
        for (at, key, value) in committed.rev() {
            let Some(key) = key else { continue };
            if !later.insert(key) || value.is_none() {
                self.removable.insert(*at);
            }
        }
    }

    /// A base at or above the first offset kept.
    fn base_to_cut_at(&self, part: u8) -> Option<u64> {
        let bases = &self.bases;
        let kept = &bases[bases.partition_point(|base| *base < self.log_start)..];
        kept.get(kept.len() * usize::from(part) / 256).copied()
    }

    fn cut(&mut self, to: u64) {
        self.is_cut_deep |= to < self.committed;
        self.lacks_snapshot |= to < self.committed;
        self.committed = self.committed.min(to);
        self.all.retain(|(at, ..)| *at < to);
        self.bases.retain(|base| *base < to);
        self.removable.retain(|at| *at < to);
    }

    fn check(&self, log: &Log) {
        let left = contents(&log.replica(key(0)).unwrap());
        let mut rest = left.iter().peekable();
        for record in self.kept() {
            let is_there = rest.next_if_eq(&&record).is_some();
            assert!(
                is_there || self.removable.contains(&record.0),
                "{record:?} is missing before {:?}",
                rest.peek()
            );
        }
        assert_eq!(rest.next(), None, "in order, and as appended");
        if !self.is_cut_deep {
            assert_eq!(newest(left.iter().copied()), newest(self.kept()));
        }
        let untouched = |(offset, key, _): &Shown| *offset >= self.committed || key.is_none();
        let found: Vec<Shown> = left.iter().copied().filter(untouched).collect();
        assert_eq!(found, self.kept().filter(untouched).collect::<Vec<_>>());
    }
}

fn run(steps: Vec<Step>) {
    let mut vfs = MemVfs::new();
    let mut log = open(&vfs).log;
    create(&log, 0).set_compaction(Some(CONFIG));
    let (mut model, mut now_ms) = (Model::default(), 1_000_i64);
    for step in steps {
        let replica = log.replica(key(0)).unwrap();
        match step {
            Step::Append(pairs) => {
                let base = replica.end().get();
                model.bases.push(base);
                let shown = (base..).zip(&pairs).map(|(offset, (key, value))| {
                    (offset, key.map(u64::from), value.map(u64::from))
                });
                model.all.extend(shown);
                append_pairs(&log, &replica, &pairs, now_ms);
            }
            Step::Commit => {
                commit(&log, &replica);
                model.committed = replica.end().get();
                model.lacks_snapshot = false;
            }
            Step::Roll => {
                settle(&log);
                now_ms += 2_000_000;
                log.tick(now_ms);
                settle(&log);
            }
            Step::Trim(part) => {
                let to = model.committed * u64::from(part) / 255;
                model.log_start = model.log_start.max(to);
                let (key, to) = (key(0), Offset::new(to));
                submit(&log, vec![Entry::Trim { key, to }]);
                settle(&log);
            }
            Step::Cut(part) => {
                let Some(to) = model.base_to_cut_at(part) else {
                    continue;
                };
                model.cut(to);
                let (key, to) = (key(0), Offset::new(to));
                submit(&log, vec![Entry::Cut { key, to }]);
                settle(&log);
            }
            Step::Compact(count, all) => {
                model.compact();
                for _ in 0..count {
                    log.run_compaction_step(now_ms).unwrap();
                }
                if all {
                    compact(&log, now_ms);
                }
            }
            Step::Later(by_ms) => now_ms += i64::from(by_ms),
            Step::Killed | Step::PowerLost(_) | Step::Clean => {
                settle(&log);
                match step {
                    Step::PowerLost(seed) => vfs = vfs.power_lost(&mut Dice::new(seed)),
                    Step::Killed => vfs = vfs.killed(),
                    _ => log.close().unwrap(),
                }
                let opened = open(&vfs);
                assert!(opened.replicas[0].intact || model.lacks_snapshot);
                assert!(opened.missing.is_empty());
                assert_eq!(opened.replicas[0].end, replica.end());
                log = opened.log;
                log.replica(key(0)).unwrap().set_compaction(Some(CONFIG));
            }
        }
        model.check(&log);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_replica_shows_what_was_appended_in_order_and_every_newest_record(
        steps in prop::collection::vec(step(), 1..70),
    ) {
        run(steps);
    }
}
