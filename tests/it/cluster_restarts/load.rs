//! Everybody who works while processes come and go, and what they met.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tidegate_tests::cluster::Cluster;
use tidegate_tests::deliveries::{Fate, Read, Sent};
use tidegate_tests::doors::{Doors, Mishap};
use tidegate_tests::http::Target;
use tidegate_tests::random::Random;
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::wait::{wait_for, within};
use tokio::task::JoinSet;

use super::consumers::{follow_events, follow_pages, follow_socket};
use super::producers::{change_settings, produce};

pub(crate) const TOPIC: &str = "load";
/// Two for each storage unit; each has a producer of its own, every other one with an identity.
pub(crate) const PARTITIONS: u32 = 6;
/// What a worker has to do again before it counts as well.
const WELL: u64 = 3;
/// Most mishaps that are told by their words.
const TOLD_MAX: usize = 100_000;

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Calm,
    ControllersStopped,
    ControllersKilled,
    GatewaysStopped,
    GatewaysKilled,
    UnitsStopped,
    UnitsKilled,
    /// All processes are stopped and started one after the other, as for another version of the program.
    Rolling,
    Outage,
}

/// Something that a client had to do again, or could not find out.
#[derive(Debug, Clone)]
pub(crate) struct Met {
    pub(crate) stage: Stage,
    pub(crate) who: String,
    pub(crate) mishap: Mishap,
    pub(crate) words: String,
}

/// What workers share.
#[derive(Debug)]
pub(crate) struct Shared {
    stage: Mutex<Stage>,
    met: Mutex<Vec<Met>>,
    clock: AtomicU64,
    /// Things done, by worker.
    done: Vec<AtomicU64>,
    stopping: AtomicBool,
    /// Where each partition ends, once no producer works any more.
    pub(crate) ends: OnceLock<BTreeMap<u32, u64>>,
}

impl Shared {
    pub(crate) fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    pub(crate) fn did(&self, worker: usize) {
        self.done[worker].fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    pub(crate) fn stage(&self) -> Stage {
        *self.stage.lock().expect("never poisoned")
    }

    pub(crate) fn met(&self, who: &str, mishap: Mishap, words: String) {
        let stage = self.stage();
        let mut met = self.met.lock().expect("never poisoned");
        assert!(met.len() < TOLD_MAX, "{who} does not get on: {words}");
        met.push(Met {
            stage,
            who: who.to_owned(),
            mishap,
            words,
        });
    }
}

/// All workers.
pub(crate) struct Load {
    shared: Arc<Shared>,
    producers: JoinSet<Vec<Sent>>,
    consumers: JoinSet<Vec<Read>>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) sent: Vec<Sent>,
    pub(crate) read: Vec<Read>,
    pub(crate) log: BTreeMap<u32, Vec<String>>,
    pub(crate) mishaps: Vec<Met>,
}

impl Load {
    pub(crate) fn start(gateways: &[Target], seed: u64) -> Self {
        let consumers_from = PARTITIONS as usize + 1;
        let workers = consumers_from + 3;
        let shared = Arc::new(Shared {
            stage: Mutex::new(Stage::Calm),
            met: Mutex::default(),
            clock: AtomicU64::new(1),
            done: (0..workers).map(|_| AtomicU64::new(0)).collect(),
            stopping: AtomicBool::new(false),
            ends: OnceLock::new(),
        });
        let doors = |first| Doors::new(gateways.to_vec(), first);
        let random = |worker: usize| Random::new(seed, worker as u64);
        let mut producers = JoinSet::new();
        for partition in 0..PARTITIONS {
            let worker = partition as usize;
            // Half of each kind begin at each gateway.
            let doors = doors(worker / 2);
            producers.spawn(produce(shared.clone(), doors, random(worker), partition));
        }
        let worker = PARTITIONS as usize;
        producers.spawn(change_settings(
            shared.clone(),
            doors(0),
            random(worker),
            worker,
        ));
        let mut consumers = JoinSet::new();
        let at = consumers_from;
        consumers.spawn(follow_pages(shared.clone(), doors(0), random(at), at));
        consumers.spawn(follow_socket(
            shared.clone(),
            doors(1),
            random(at + 1),
            at + 1,
        ));
        consumers.spawn(follow_events(
            shared.clone(),
            doors(0),
            random(at + 2),
            at + 2,
        ));
        Self {
            shared,
            producers,
            consumers,
        }
    }

    /// Begins a stage when everybody is well.
    pub(crate) async fn enter(&self, stage: Stage) {
        self.settle().await;
        *self.shared.stage.lock().expect("never poisoned") = stage;
        self.settle().await;
    }

    /// Waits until everybody has done something that they began after now.
    pub(crate) async fn settle(&self) {
        let done = || {
            self.shared
                .done
                .iter()
                .map(|done| done.load(Ordering::SeqCst))
        };
        let before: Vec<u64> = done().collect();
        let lagging = || {
            let pairs = done().zip(&before);
            let lagging = pairs.map(|(now, before)| now < before + WELL);
            lagging
                .enumerate()
                .find_map(|(worker, lags)| lags.then_some(worker))
        };
        let everybody = format!("everybody to go on in {:?}", self.shared.stage());
        wait_for(&everybody, async || lagging().is_none().then_some(())).await;
    }

    /// Ends it: producers first, then consumers when they have read everything.
    pub(crate) async fn end(&mut self, cluster: &Cluster) -> Outcome {
        self.shared.stopping.store(true, Ordering::SeqCst);
        let mut sent = Vec::new();
        while let Some(one) = within("a producer's end", self.producers.join_next()).await {
            sent.extend(one.expect("a producer ends in order"));
        }
        let mut log = BTreeMap::new();
        let mut connection = cluster.connect("gateway-1").await.expect("a connection");
        for partition in 0..PARTITIONS {
            let records = read_all(&mut connection, TOPIC, partition, 0).await;
            let records = records.expect("a dense partition");
            let texts = records.iter().map(value_text);
            let values = texts.map(|text| serde_json::from_slice(&text).expect("text"));
            log.insert(partition, values.collect::<Vec<String>>());
        }
        let ends = log
            .iter()
            .map(|(partition, values)| (*partition, values.len() as u64));
        self.shared.ends.set(ends.collect()).expect("set once");
        let mut read = Vec::new();
        while let Some(one) = within("a consumer's end", self.consumers.join_next()).await {
            read.extend(one.expect("a consumer ends in order"));
        }
        let mishaps = std::mem::take(&mut *self.shared.met.lock().expect("never poisoned"));
        Outcome {
            sent,
            read,
            log,
            mishaps,
        }
    }
}

impl Outcome {
    /// Figures, for people.
    pub(crate) fn summary(&self) -> String {
        let count = |of: fn(&Fate) -> bool| self.sent.iter().filter(|one| of(&one.fate)).count();
        let acknowledged = count(|fate| matches!(fate, Fate::Acknowledged(_)));
        let unknown = count(|fate| *fate == Fate::Unknown);
        let read: usize = self.read.iter().map(|read| read.records.len()).sum();
        let mut text = format!("{acknowledged} acknowledged, {unknown} unknown, {read} read\n");
        let mut counts: BTreeMap<(Stage, &str, Mishap), (usize, &str)> = BTreeMap::new();
        for met in &self.mishaps {
            let who = met.who.split(' ').next().unwrap_or_default();
            let entry = counts.entry((met.stage, who, met.mishap));
            entry.or_insert((0, &met.words)).0 += 1;
        }
        for ((stage, who, mishap), (count, words)) in counts {
            let words: String = words.chars().take(160).collect();
            let _ = writeln!(
                text,
                "{stage:?}: {who} {mishap:?} {count} times, as: {words}"
            );
        }
        text
    }
}
