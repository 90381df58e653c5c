//! A cluster with a topic of three copies, clients of every kind who record what they see, and the judgement
//! at the end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_histcheck::{Event, Seen, Verdict, What, check, lines};
use tidegate_tests::cluster::Cluster;
use tidegate_tests::copies::copy;
use tidegate_tests::doors::Doors;
use tidegate_tests::effort::Effort;
use tidegate_tests::http::Target;
use tidegate_tests::network::Network;
use tidegate_tests::random::Random;
use tidegate_tests::recorded::{Manner, Recorder, Writer, seen};
use tidegate_tests::recorded_readers::{Ends, Follower};
use tidegate_tests::records::{read_all, value_text};
use tidegate_tests::wait::{wait_for, within};
use tokio::task::JoinSet;

pub(crate) const TOPIC: &str = "copied";
pub(crate) const UNITS: [&str; 3] = ["spu-1", "spu-2", "spu-3"];
/// Unit 1 leads all of them at first; whoever comes next is another for every other one.
const ASSIGNMENT: [[u64; 3]; 4] = [[1, 2, 3], [1, 3, 2], [1, 2, 3], [1, 3, 2]];
const PARTITIONS: u32 = 4;
const MANNERS: [Manner; 12] = [
    // The first is of partition 0, where the leader alone is asked.
    Manner::LeaderOnly,
    Manner::Identified,
    Manner::Identified,
    Manner::Identified,
    Manner::Identified,
    Manner::Plain,
    Manner::Plain,
    Manner::Plain,
    Manner::Identified,
    Manner::Keyed,
    Manner::Keyed,
    Manner::Keyed,
];
/// Records of one request under a burst: all writers together have thousands in flight.
const BURST_RECORDS: u64 = 400;
pub(crate) const IN_FLIGHT_MIN: u64 = 2_000;
/// Records that are acknowledged before something happens under a burst.
const BURST_MIN: u64 = 4_000;
/// Acknowledged records of each partition that show that it is well.
const WELL: u64 = 5;

/// Clients of storage units themselves, by unit: the first of each is of partition 0 and asks for the leader's
/// copy alone, the others write for every in-sync copy to the partitions that their number says.
const DIRECT_FIRST: u32 = 200;
const DIRECT_UNIT: u32 = 20;
const DIRECT: [(u32, Manner); 3] = [
    (0, Manner::LeaderOnly),
    (1, Manner::Plain),
    (4, Manner::Plain),
];

/// How the requests of a unit's own clients ended that were meant for every in-sync copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) acked: u64,
    pub(crate) turned_away: u64,
}

/// Who leads a partition, since which epoch, and who is in sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) leader: u64,
    pub(crate) epoch: u64,
    pub(crate) in_sync: Vec<u64>,
}

pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) recorder: Arc<Recorder>,
    topic_id: String,
    writers: JoinSet<()>,
    readers: JoinSet<()>,
    ends: Ends,
}

impl Site {
    pub(crate) async fn start(effort: Effort) -> Self {
        Self::start_with(effort, "ack").await
    }

    /// The same with a topic of that durability.
    pub(crate) async fn start_with(effort: Effort, durability: &str) -> Self {
        Self::on(Cluster::start(1, 3, 2), effort, durability).await
    }

    /// The same over a network that can be cut, with clients who know one storage unit each.
    pub(crate) async fn start_apart(effort: Effort) -> (Self, Network) {
        let mut cluster = Cluster::start(1, 3, 2);
        let network = Network::before(&mut cluster).await;
        let mut site = Self::on(cluster, effort, "ack").await;
        for (number, unit) in (0_u32..).zip(UNITS) {
            let target = site.cluster.target(unit);
            for (client, manner) in DIRECT {
                let client = DIRECT_FIRST + DIRECT_UNIT * number + client;
                let doors = Doors::new(vec![target.clone()], 0);
                let random = Random::new(effort.seed, u64::from(client));
                let writer = Writer::new(&site.recorder, doors, random, client, manner);
                site.writers.spawn(writer.run());
            }
        }
        (site, network)
    }

    async fn on(cluster: Cluster, effort: Effort, durability: &str) -> Self {
        let body = json!({ "name": TOPIC, "partitions": PARTITIONS, "replication_factor": 3, "min_in_sync": 2,
            "placement": "manual", "assignment": ASSIGNMENT,
            "config": { "durability": durability } });
        let body = body.to_string();
        let answer = cluster.post("gateway-1", "/v1/topics", &body).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.text());
        let topic_id = answer.json()["id"].as_str().expect("an id").to_owned();
        let recorder = Recorder::new(TOPIC, PARTITIONS, BURST_RECORDS);
        let mut site = Self {
            cluster,
            recorder,
            topic_id,
            writers: JoinSet::new(),
            readers: JoinSet::new(),
            ends: Ends::default(),
        };
        site.wait_whole().await;
        site.set_out(effort.seed);
        site.settle().await;
        site
    }

    /// Everybody begins to work.
    fn set_out(&mut self, seed: u64) {
        let gateways: Vec<Target> = ["gateway-1", "gateway-2"]
            .map(|name| self.cluster.target(name))
            .to_vec();
        let doors = |first: u32| Doors::new(gateways.clone(), first as usize);
        let random = |client: u32| Random::new(seed, u64::from(client));
        for (client, manner) in (0_u32..).zip(MANNERS) {
            let writer = Writer::new(
                &self.recorder,
                doors(client / 2),
                random(client),
                client,
                manner,
            );
            self.writers.spawn(writer.run());
        }
        let follower = |client: u32, who| {
            Follower::new(
                &self.recorder,
                doors(client),
                random(client),
                client,
                who,
                &self.ends,
            )
        };
        for partition in 0..PARTITIONS {
            self.readers
                .spawn(follower(100 + partition, "pages").poll(partition));
        }
        self.readers.spawn(follower(110, "socket").listen());
        self.readers.spawn(follower(111, "socket").listen());
        self.writers.spawn(follower(120, "latest").ask_latest());
    }

    /// The partitions as the control plane knows them; none while it cannot be asked or one has no leader.
    pub(crate) async fn standings(&self) -> Option<Vec<Standing>> {
        let path = format!("/v1/topics/{TOPIC}/partitions?limit=100");
        let answer = self.cluster.get("gateway-2", &path).await.ok()?;
        if answer.status != 200 {
            return None;
        }
        let list = answer.json();
        let items = list["items"].as_array()?.iter();
        items
            .map(|item| {
                let in_sync = item["isr"].as_array()?.iter();
                Some(Standing {
                    leader: item["leader"].as_u64()?,
                    epoch: item["leader_epoch"].as_u64()?,
                    in_sync: in_sync.filter_map(Value::as_u64).collect(),
                })
            })
            .collect()
    }

    pub(crate) async fn wait_standings(
        &self,
        what: &str,
        mut are_right: impl FnMut(&[Standing]) -> bool,
    ) -> Vec<Standing> {
        wait_for(what, async || {
            self.standings().await.filter(|all| are_right(all))
        })
        .await
    }

    /// Waits until every copy of every partition is in sync.
    pub(crate) async fn wait_whole(&self) {
        self.wait_standings("all copies to be in sync", |all| {
            all.iter().all(|one| one.in_sync.len() == UNITS.len())
        })
        .await;
    }

    /// Waits until records of every partition were acknowledged that were sent after now.
    pub(crate) async fn settle(&self) {
        // What is under way may have been sent before.
        for what in ["records to be taken", "records to be taken again"] {
            let before = self.recorder.acked();
            let what = format!("{what} by every partition");
            wait_for(&what, async || {
                let now = self.recorder.acked();
                let mut pairs = now.iter().zip(&before);
                pairs
                    .all(|(now, before)| *now >= before + WELL)
                    .then_some(())
            })
            .await;
        }
    }

    /// What clients of that unit alone were told until now, of writes for every in-sync copy.
    pub(crate) fn told_by(&self, unit: u64) -> Told {
        let first = DIRECT_FIRST + DIRECT_UNIT * u32::try_from(unit - 1).expect("a unit");
        let quorum = first + 1..first + DIRECT_UNIT;
        let events = self.recorder.events();
        let theirs = events.iter().filter(|one| quorum.contains(&one.client));
        let acked = theirs.filter(|one| matches!(one.what, What::Sent { .. }));
        Told {
            acked: acked.count() as u64,
            turned_away: self.recorder.refusals.of(&quorum),
        }
    }

    /// Thousands of records in flight, now.
    pub(crate) async fn burst(&self) {
        self.recorder.burst(true);
        wait_for("thousands of records in flight", async || {
            (self.recorder.under_way() >= IN_FLIGHT_MIN).then_some(())
        })
        .await;
        let acked = || self.recorder.acked().iter().sum::<u64>();
        let enough = acked() + BURST_MIN;
        wait_for("a burst", async || (acked() >= enough).then_some(())).await;
    }

    /// Ends everybody's work, reads all copies, compares them, and judges the history.
    pub(crate) async fn judge(mut self, name: &str) -> Verdict {
        self.recorder.burst(false);
        self.settle().await;
        self.recorder.stop();
        while let Some(one) = within("a writer's end", self.writers.join_next()).await {
            one.expect("a writer ends in order");
        }
        self.wait_whole().await;
        self.scan().await;
        while let Some(one) = within("a reader's end", self.readers.join_next()).await {
            one.expect("a reader ends in order");
        }
        let nodes = self.cluster.manifest().nodes.clone();
        let units = nodes.into_iter().filter(|node| node.role == "spu");
        let units: Vec<PathBuf> = units.map(|node| node.data_dir).collect();
        assert_eq!(units.len(), UNITS.len());
        assert!(self.cluster.stop().success(), "{}", self.cluster.words());
        self.compare(&units);
        let history = self.recorder.events();
        let verdict = check(&history).expect("a history");
        if !verdict.is_clean() {
            let file = keep(&history, name);
            panic!(
                "{verdict}\n{}\nthe history is in {}",
                self.recorder.mishaps(),
                file.display()
            );
        }
        let gaps = self.recorder.mishaps();
        let refusals = self.recorder.refusals.summary();
        assert!(!gaps.contains("a gap"), "readers were told of gaps: {gaps}");
        #[expect(clippy::print_stdout, reason = "the figures of a trial")]
        {
            println!("{name}: {verdict}\n{gaps}{refusals}");
        }
        verdict
    }

    /// The committed log as clients see it, from its start.
    async fn scan(&self) {
        let mut ends = BTreeMap::new();
        let mut connection = self
            .cluster
            .connect("gateway-1")
            .await
            .expect("a connection");
        for partition in 0..PARTITIONS {
            let records = read_all(&mut connection, TOPIC, partition, 0).await;
            let records = records.expect("a dense partition");
            let records = records.iter().map(|record| {
                let value = serde_json::from_slice(&value_text(record)).unwrap_or_default();
                seen(record.offset, &value)
            });
            let records: Vec<Seen> = records.collect();
            ends.insert(partition, records.len() as u64);
            self.note_scan(partition, 0, records);
        }
        self.ends.set(ends).expect("set once");
    }

    fn note_scan(&self, partition: u32, replica: u64, records: Vec<Seen>) {
        let what = What::Scan {
            partition,
            replica,
            log_start: 0,
            records,
        };
        self.recorder.note(0, what);
    }

    /// All copies of a partition are the same, byte by byte.
    fn compare(&self, units: &[PathBuf]) {
        for partition in 0..PARTITIONS {
            let mut copies = units
                .iter()
                .map(|unit| copy(unit, &self.topic_id, partition));
            let first = copies.next().expect("three copies");
            self.note_scan(partition, 1, first.records.clone());
            for (at, other) in (2..).zip(copies) {
                let differs = first
                    .batches
                    .iter()
                    .zip(&other.batches)
                    .find(|(a, b)| a != b);
                assert_eq!(
                    differs, None,
                    "partition {partition}: copy {at} beside the first"
                );
                assert_eq!(
                    first.batches.len(),
                    other.batches.len(),
                    "partition {partition}"
                );
                assert!(
                    first.bytes == other.bytes,
                    "partition {partition}: the bytes of copy {at}"
                );
                self.note_scan(partition, at, other.records);
            }
        }
    }
}

/// Keeps a history that is not clean, for whoever looks into it.
fn keep(history: &[Event], name: &str) -> PathBuf {
    let (mut file, path) = tempfile::Builder::new()
        .prefix(&format!("{name}-"))
        .suffix(".jsonl")
        .tempfile()
        .and_then(|file| file.keep().map_err(|error| error.error))
        .expect("a file for the history");
    lines::write(history, &mut file).expect("the history is written");
    file.flush().expect("the history is written");
    path
}
