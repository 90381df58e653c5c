//! A census of deletions: over random histories, every file with records that loses its name is
//! explained by a word that was given (trim, cut, exchange, purge), and nothing else takes one.
//!
//! Journal files have records as well: whatever a crash leaves after one of them went has all that
//! was durable. So does an opening that takes away segments which a power loss tore: what of them was
//! durable is in the journal, and is written anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tidegate_proto::position::Offset;

use super::compacting::{CONFIG, Pair, append_pairs, commit, compact};
use super::hooked::{Change, HookedVfs, name};
use super::{create, generation, key, open, read_all, settle, submit};
use crate::compacted::Compacted;
use crate::testing::{Dice, MemVfs};
use crate::{Entry, Log, Vfs, layout};

const REPLICAS: u32 = 2;
/// Replica 1 is compacted, replica 0 is not.
const COMPACTED: u32 = 1;
const DELAY_MS: i64 = 10_000;

#[derive(Debug, Clone)]
enum Step {
    Append(u32, Vec<Pair>),
    Commit(u32),
    Roll,
    Trim(u32, u8),
    Cut(u32, u8),
    Compact,
    Retire(u32),
    Purge,
    Later(u16),
    Clean,
    Killed,
    PowerLost(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let replica = 0..REPLICAS;
    let pair = (
        prop::option::weighted(0.95, 0..5_u8),
        prop::option::weighted(0.8, any::<u16>()),
    );
    let pairs = prop::collection::vec(pair, 1..30);
    prop_oneof![
        12 => (replica.clone(), pairs).prop_map(|(replica, pairs)| Step::Append(replica, pairs)),
        4 => replica.clone().prop_map(Step::Commit),
        3 => Just(Step::Roll),
        2 => (replica.clone(), any::<u8>()).prop_map(|(replica, part)| Step::Trim(replica, part)),
        1 => (replica.clone(), any::<u8>()).prop_map(|(replica, part)| Step::Cut(replica, part)),
        3 => Just(Step::Compact),
        1 => replica.prop_map(Step::Retire),
        2 => Just(Step::Purge),
        3 => any::<u16>().prop_map(Step::Later),
        1 => Just(Step::Clean),
        1 => Just(Step::Killed),
        2 => any::<u64>().prop_map(Step::PowerLost),
    ]
}

/// What was asked of the log, and what went.
#[derive(Debug, Default)]
struct Book {
    /// Highest trim of each life of a replica, none above what was committed.
    trims: BTreeMap<String, u64>,
    /// The same of those that took all there was: what is below is gone whole, the last segment too.
    emptied: BTreeMap<String, u64>,
    /// Cuts that a checkpoint has not made the past yet: until then recovery does them again.
    cuts: BTreeMap<String, Vec<u64>>,
    retired: Vec<String>,
    /// A purge is asked for, of what is older.
    purge_before_ms: Option<i64>,
    /// The power went and the log is being opened.
    mends: bool,
    /// Where each replica ends on disk for certain.
    durable: BTreeMap<u32, u64>,
    /// Why things went, for looking that the histories meet every reason.
    torn: u32,
    trimmed: u32,
    cut: u32,
    exchanged: u32,
    trashed: u32,
    purged: u32,
    journals: u32,
}

impl Book {
    fn look(&mut self, disk: &MemVfs, change: Change, from: &Path, to: Option<&Path>) {
        if change == Change::SyncDir {
            return;
        }
        let text = from.to_string_lossy().into_owned();
        let is_journal = layout::parse_journal(&name(from)).is_some();
        match (change, layout::parse_segment(&name(from))) {
            (Change::Remove, Some(base)) => self.segment(disk, from, base.get()),
            // One that is used again gets another name.
            (Change::Remove | Change::Rename, None) if is_journal => self.journal(disk, from),
            (Change::RemoveDir, _) => self.purge(from),
            (Change::Rename, _) => self.rename(disk, from, to.unwrap()),
            (Change::Remove, None) => assert!(
                !text.contains("/trash/") && !text.contains("/quarantine/"),
                "nothing but a purge touches {text}"
            ),
            (Change::SyncDir, _) => {}
        }
    }

    fn segment(&mut self, disk: &MemVfs, path: &Path, base: u64) {
        let dir = path.parent().unwrap();
        assert!(dir.to_string_lossy().contains("/replicas/"), "{path:?}");
        let life = name(dir);
        if self.is_exchanged(disk, dir, base) {
            self.exchanged += 1;
            return;
        }
        let items = disk.list_dir(dir).unwrap();
        let bases = items
            .iter()
            .filter_map(|item| layout::parse_segment(&item.name));
        let next = bases.map(Offset::get).filter(|other| *other > base).min();
        let trim = self.trims.get(&life).copied().unwrap_or(0);
        let cuts = self.cuts.get(&life);
        let emptied = self.emptied.get(&life).is_some_and(|to| base < *to);
        if next.map_or(emptied, |end| end <= trim) {
            self.trimmed += 1;
        } else if cuts.is_some_and(|cuts| cuts.iter().any(|to| *to <= base)) {
            self.cut += 1;
        } else if self.mends {
            self.torn += 1;
        } else {
            panic!("nobody gave up {path:?}, which ends at {next:?}: {self:?}");
        }
    }

    /// The file in the directory says so, durably, before the first name changes.
    fn is_exchanged(&self, disk: &MemVfs, dir: &Path, base: u64) -> bool {
        let said = Compacted::load(disk, dir).unwrap();
        let inputs = said.and_then(|said| said.exchange).map(|it| it.inputs);
        inputs.is_some_and(|inputs| inputs.contains(&Offset::new(base)))
    }

    fn rename(&mut self, disk: &MemVfs, from: &Path, to: &Path) {
        let (dir, target) = (to.parent().unwrap(), name(to));
        if let Some(base) = layout::parse_segment(&target) {
            let staged = layout::staged(&target);
            assert_eq!(
                name(from),
                staged,
                "records are replaced by compaction alone"
            );
            assert!(self.is_exchanged(disk, dir, base.get()), "{to:?}");
            self.exchanged += 1;
        } else if name(dir) == layout::TRASH {
            let life = name(from);
            let life = life.split_once('_').map_or(life.as_str(), |(_, life)| life);
            assert!(
                self.retired.iter().any(|retired| retired == life),
                "{from:?}"
            );
            self.trashed += 1;
        } else {
            assert!(
                layout::parse_segment(&name(from)).is_none(),
                "{from:?} to {to:?}"
            );
        }
    }

    fn purge(&mut self, path: &Path) {
        let before_ms = self.purge_before_ms.expect("a purge is asked for");
        assert_eq!(name(path.parent().unwrap()), layout::TRASH, "{path:?}");
        let name = name(path);
        let (when, life) = name.split_once('_').unwrap();
        assert!(
            when.parse::<i64>().unwrap() < before_ms,
            "{path:?} too early"
        );
        assert!(
            self.retired.iter().any(|retired| retired == life),
            "{path:?}"
        );
        self.purged += 1;
    }

    fn journal(&mut self, disk: &MemVfs, path: &Path) {
        self.journals += 1;
        let after = disk.power_lost(&mut Dice::new(u64::from(self.journals)));
        let _ = after.remove_file(path);
        let opened = open(&after);
        for (number, end) in &self.durable {
            if let Some(facts) = opened
                .replicas
                .iter()
                .find(|facts| facts.key == key(*number))
            {
                assert!(
                    facts.intact && facts.end.get() >= *end,
                    "{path:?}: {facts:?} {end}"
                );
            }
        }
    }
}

struct World {
    vfs: HookedVfs,
    log: Log,
    book: Arc<Mutex<Book>>,
    /// Counts the lives of replicas.
    lives: u128,
    now_ms: i64,
}

impl World {
    fn new() -> Self {
        let vfs = HookedVfs::new(&MemVfs::new());
        let log = vfs.open().log;
        let book = Arc::default();
        let mut world = Self {
            vfs,
            log,
            book,
            lives: 1,
            now_ms: 1_000_000,
        };
        for number in 0..REPLICAS {
            create(&world.log, number);
        }
        world.settle();
        world.watch();
        world
    }

    /// From here on the book is kept.
    fn watch(&mut self) {
        let (disk, book) = (self.vfs.disk.clone(), Arc::clone(&self.book));
        self.vfs
            .watch(move |change, from, to| book.lock().unwrap().look(&disk, change, from, to));
        if let Some(replica) = self.log.replica(key(COMPACTED)) {
            replica.set_compaction(Some(CONFIG));
        }
    }

    fn life(&self, number: u32) -> String {
        name(&self.log.replica(key(number)).unwrap().home.dir())
    }

    fn settle(&mut self) {
        settle(&self.log);
        let ends = self.log.replicas();
        let ends = ends
            .iter()
            .map(|replica| (replica.key().partition.0, replica.end().get()));
        self.book.lock().unwrap().durable = ends.collect();
    }

    fn checkpoint(&mut self) {
        self.settle();
        self.log.checkpoint().unwrap();
        self.book.lock().unwrap().cuts.clear();
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(number, pairs) => {
                let replica = self.log.replica(key(number)).unwrap();
                append_pairs(&self.log, &replica, &pairs, self.now_ms);
            }
            Step::Commit(number) => {
                commit(&self.log, &self.log.replica(key(number)).unwrap());
                self.checkpoint();
            }
            Step::Roll => {
                self.now_ms += 2_000_000;
                self.settle();
                self.log.tick(self.now_ms);
                self.settle();
            }
            Step::Trim(number, part) => self.trim(number, part),
            Step::Cut(number, part) => self.cut(number, part),
            Step::Compact => {
                compact(&self.log, self.now_ms);
                self.settle();
            }
            Step::Retire(number) => self.retire(number),
            Step::Purge => {
                let before_ms = self.now_ms - DELAY_MS;
                self.book.lock().unwrap().purge_before_ms = Some(before_ms);
                self.log.tick(self.now_ms);
                self.log.purge_trash(before_ms).unwrap();
                self.book.lock().unwrap().purge_before_ms = None;
            }
            Step::Later(by_ms) => self.now_ms += i64::from(by_ms),
            Step::Clean => {
                self.settle();
                self.log.close().unwrap();
                self.reopen(&self.vfs.disk.clone());
            }
            Step::Killed => self.reopen(&self.vfs.disk.killed()),
            Step::PowerLost(seed) => {
                let disk = self.vfs.disk.power_lost(&mut Dice::new(seed));
                self.book.lock().unwrap().mends = true;
                self.reopen(&disk);
            }
        }
    }

    fn trim(&mut self, number: u32, part: u8) {
        let replica = self.log.replica(key(number)).unwrap();
        // Retention and truncation ask for nothing above the high watermark.
        let to = replica.high_watermark().get() * u64::from(part) / 255;
        let life = self.life(number);
        let mut book = self.book.lock().unwrap();
        if to == replica.end().get() {
            book.emptied.insert(life.clone(), to);
        }
        let highest = book.trims.entry(life).or_default();
        *highest = to.max(*highest);
        drop(book);
        let (key, to) = (key(number), Offset::new(to));
        submit(&self.log, vec![Entry::Trim { key, to }]);
    }

    /// A follower that was ahead goes back, never below what is committed.
    fn cut(&mut self, number: u32, part: u8) {
        let replica = self.log.replica(key(number)).unwrap();
        self.settle();
        let floor = replica.high_watermark().max(replica.log_start());
        let span = replica.end().distance_from(floor);
        let wanted = floor.plus(span * u64::from(part) / 255);
        let mut to = None;
        let note = |header: &crate::BatchHeader| {
            if header.base_offset >= wanted {
                to.get_or_insert(header.base_offset);
            }
        };
        replica.batch_headers(floor, note).unwrap();
        let Some(to) = to else { return };
        let life = self.life(number);
        let mut book = self.book.lock().unwrap();
        book.cuts.entry(life).or_default().push(to.get());
        book.durable.remove(&number);
        drop(book);
        submit(
            &self.log,
            vec![Entry::Cut {
                key: key(number),
                to,
            }],
        );
    }

    fn retire(&mut self, number: u32) {
        let life = self.life(number);
        let mut book = self.book.lock().unwrap();
        book.retired.push(life);
        book.durable.remove(&number);
        drop(book);
        self.log.retire_replica(key(number)).unwrap();
        self.lives += 1;
        let segment = super::small().segment;
        let made = self
            .log
            .create_replica(key(number), generation(self.lives), segment);
        let made = made.unwrap();
        made.set_compaction((number == COMPACTED).then_some(CONFIG));
        self.settle();
    }

    /// Nothing durable went, whatever was taken away by the opening.
    fn check(&self) {
        let mut book = self.book.lock().unwrap();
        book.mends = false;
        for replica in self.log.replicas() {
            let durable = book.durable.get(&replica.key().partition.0);
            assert!(durable.is_none_or(|durable| replica.end().get() >= *durable));
            let batches = read_all(&replica);
            let first = batches
                .first()
                .map_or(replica.end(), |batch| batch.placement.base_offset);
            assert!(first <= replica.log_start().max(replica.end()));
            let mut next = first;
            for batch in &batches {
                let base = batch.placement.base_offset;
                assert!(
                    base == next || replica.key() == key(COMPACTED),
                    "a gap at {next}"
                );
                next = batch.next_offset();
            }
            assert_eq!(next, replica.end());
        }
    }

    fn reopen(&mut self, disk: &MemVfs) {
        self.vfs = HookedVfs::new(disk);
        let (seen, book) = (disk.clone(), Arc::clone(&self.book));
        self.vfs
            .watch(move |change, from, to| book.lock().unwrap().look(&seen, change, from, to));
        let opened = self.vfs.open();
        assert!(opened.missing.is_empty() && opened.replicas.iter().all(|facts| facts.intact));
        self.log = opened.log;
        self.check();
        for number in 0..REPLICAS {
            if self.log.replica(key(number)).is_none() {
                self.lives += 1;
                let segment = super::small().segment;
                let generation = generation(self.lives);
                self.log
                    .create_replica(key(number), generation, segment)
                    .unwrap();
            }
        }
        self.settle();
        self.watch();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_file_with_records_goes_without_a_word_that_gave_it_up(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.checkpoint();
    }
}

/// The reasons above are met: a census of nothing would prove nothing.
#[test]
fn each_reason_to_delete_is_met_and_told_from_the_others() {
    let mut world = World::new();
    let pairs: Vec<Pair> = (0..20)
        .map(|at| (Some(at % 5), Some(u16::from(at))))
        .collect();
    let fill = |world: &mut World, number| {
        for _ in 0..12 {
            world.run(Step::Append(number, pairs.clone()));
        }
    };
    for number in 0..REPLICAS {
        fill(&mut world, number);
        world.run(Step::Commit(number));
    }
    world.run(Step::Roll);
    world.run(Step::Compact);
    world.run(Step::Trim(0, 200));
    world.checkpoint();
    while world.log.run_writer_step().unwrap() {}
    fill(&mut world, 0);
    world.run(Step::Cut(0, 0));
    world.checkpoint();
    world.run(Step::Retire(0));
    world.checkpoint();
    world.run(Step::Later(u16::MAX));
    world.run(Step::Purge);
    world.run(Step::Later(u16::MAX));
    world.run(Step::Purge);
    let book = world.book.lock().unwrap();
    let counts = [
        book.trimmed,
        book.cut,
        book.exchanged,
        book.trashed,
        book.purged,
        book.journals,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
