//! A whole node in process, over a real log in a temporary directory.
//!
//! The test plays the controller: it publishes topologies and hands out incarnations and epochs.

use std::time::Duration;

use tempfile::TempDir;
use tidegate_data_plane::partitions::{AppendRequest, Appended, Chunk, Tail};
use tidegate_kit::budget::ByteBudget;
use tidegate_kit::memory::Memory;
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{
    Durability, IsrMember, PartitionSpec, ReplicaSpec, TopicConfig, TopicSpec,
};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::{ClusterId, PartitionId, ProducerId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::{LeaderEpoch, Offset, ReplicaKey};
use tidegate_proto::produce::{Acks, Durable};
use tidegate_proto::record::{Datum, RecordRef};

use tidegate_log::SpaceConfig;

use super::*;

mod copies;
mod damage;
mod faults;
mod following;
mod many;
mod moving;
mod serving;

const OWN: SpuId = SpuId(1);
/// Nothing here takes longer unless it is broken.
const LONG: Duration = Duration::from_secs(20);

/// A data directory and the metadata that a controller would keep beside it.
struct Site {
    disk: Arc<dyn Vfs>,
    dir: PathBuf,
    _owned: Option<TempDir>,
    topology: watch::Sender<Arc<Topology>>,
    lives: u64,
    inflight_bytes_max: usize,
    reads: ByteBudget,
    replication_rate: Option<u64>,
    space: SpaceConfig,
}

/// One life of the node.
struct Life {
    node: Arc<Node>,
    partitions: Arc<dyn Partitions>,
}

impl Site {
    fn new() -> Self {
        let owned = TempDir::new().unwrap();
        let dir = owned.path().to_path_buf();
        Self {
            _owned: Some(owned),
            ..Self::on(Arc::new(OsVfs), dir)
        }
    }

    fn on(disk: Arc<dyn Vfs>, dir: PathBuf) -> Self {
        Self {
            disk,
            dir,
            _owned: None,
            topology: watch::Sender::new(Arc::new(Topology::default())),
            lives: 0,
            inflight_bytes_max: 1 << 20,
            reads: Memory::default().reads,
            replication_rate: None,
            space: SpaceConfig::OFF,
        }
    }

    fn config(&self) -> SpuConfig {
        SpuConfig {
            shards: 2,
            memory: Memory {
                appends: ByteBudget::new(self.inflight_bytes_max),
                reads: self.reads.clone(),
                ..Memory::default()
            },
            replication_bytes_per_second: self.replication_rate,
            space: self.space,
            ..SpuConfig::new(OWN, &self.dir)
        }
    }

    fn open(&self) -> Result<Node, NodeError> {
        Node::open_on(Arc::clone(&self.disk), self.config())
    }

    /// Opens, registers and starts: every partition gets a new epoch, as a controller does.
    fn start(&mut self) -> Life {
        let node = Arc::new(self.open().unwrap());
        let lives = self.lives + 1;
        self.change(|topics| {
            for topic in topics.values_mut() {
                for partition in &mut Arc::make_mut(topic).partitions {
                    let (before, version) = (partition.truncate_before, partition.version);
                    *partition = row(
                        partition.partition,
                        lives,
                        partition.replicas[0].replica_gen,
                    );
                    partition.truncate_before = before;
                    partition.version = version + 1;
                }
            }
        });
        self.begin(node)
    }

    /// The same with the rows as they are: nobody made it lead by its registration.
    fn start_on_the_same_rows(&mut self) -> Life {
        let node = Arc::new(self.open().unwrap());
        self.begin(node)
    }

    fn begin(&mut self, node: Arc<Node>) -> Life {
        self.lives += 1;
        let incarnation = Incarnation(self.lives);
        let registered = Registered {
            cluster_id: ClusterId(Uuid::nil()),
            incarnation,
        };
        node.start(registered, self.topology.subscribe(), &Tasks::new())
            .unwrap();
        Life {
            partitions: node.partitions(),
            node,
        }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<TopicName, Arc<TopicSpec>>)) {
        self.topology.send_modify(|topology| {
            let next = Arc::make_mut(topology);
            next.revision += 1;
            change(&mut next.topics);
        });
    }

    fn create(&self, name: &str, partitions: u32, config: TopicConfig) -> Vec<ReplicaKey> {
        let name = TopicName::parse(name).unwrap();
        let spec = TopicSpec {
            id: TopicId(Uuid::new_v4()),
            name: name.clone(),
            version: 1,
            replication_factor: 1,
            min_in_sync: 1,
            config,
            partitions: (0..partitions)
                .map(|number| row(PartitionId(number), self.lives, ReplicaGen(Uuid::new_v4())))
                .collect(),
        };
        let keys = (0..partitions)
            .map(|number| spec.key(PartitionId(number)))
            .collect();
        self.change(|topics| {
            topics.insert(name, Arc::new(spec));
        });
        keys
    }

    fn truncate(&self, name: &str, partition: usize, before: u64) {
        let name = TopicName::parse(name).unwrap();
        self.change(|topics| {
            let topic = Arc::make_mut(topics.get_mut(&name).unwrap());
            let row = &mut topic.partitions[partition];
            row.truncate_before = Offset::new(before);
            row.version += 1;
        });
    }

    fn configure(&self, name: &str, change: impl FnOnce(&mut TopicConfig)) {
        let name = TopicName::parse(name).unwrap();
        self.change(|topics| {
            change(&mut Arc::make_mut(topics.get_mut(&name).unwrap()).config);
        });
    }
}

fn row(partition: PartitionId, epoch: u64, replica_gen: ReplicaGen) -> PartitionSpec {
    PartitionSpec {
        partition,
        leader: Some(OWN),
        leader_epoch: LeaderEpoch(epoch),
        version: epoch,
        replicas: vec![ReplicaSpec {
            spu: OWN,
            replica_gen,
        }],
        isr: vec![IsrMember {
            spu: OWN,
            incarnation: Incarnation(epoch),
        }],
        min_isr: 1,
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        is_sealed: false,
        losses: Vec::new(),
    }
}

fn batch(values: &[&str], producer: Option<(u64, u32)>) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, seq)) = producer {
        let stamp = ProducerStamp {
            id: ProducerId(id),
            epoch: 0,
            seq,
            unordered: false,
        };
        builder = builder.producer(stamp);
    }
    for (value, timestamp_ms) in values.iter().zip(1_000..) {
        let value = Datum::Utf8(value);
        let record = RecordRef {
            timestamp_ms,
            key: Datum::Absent,
            value,
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

fn request(batch: ClientBatch) -> AppendRequest {
    AppendRequest {
        batches: vec![batch],
        acks: Acks::Quorum,
        expected_end: None,
        leader_epoch_min: None,
        may_stamp: false,
        timeout: LONG,
    }
}

fn values(batches: &[Batch]) -> Vec<String> {
    let mut found = Vec::new();
    for batch in batches {
        for record in batch.client.records().unwrap().iter() {
            let value = record.unwrap().value;
            found.push(String::from_utf8(value.as_bytes().unwrap().to_vec()).unwrap());
        }
    }
    found
}

impl Life {
    async fn append(&self, key: ReplicaKey, values: &[&str]) -> Result<Appended, Problem> {
        self.partitions
            .append(key, request(batch(values, None)))
            .await
    }

    async fn read(&self, key: ReplicaKey, from: u64) -> Result<Chunk, Problem> {
        self.partitions.read(key, Offset::new(from), 1 << 20).await
    }

    async fn all(&self, key: ReplicaKey) -> Vec<String> {
        let mut found = Vec::new();
        let mut from = 0;
        loop {
            let chunk = self.read(key, from).await.unwrap();
            if chunk.batches.is_empty() {
                return found;
            }
            found.extend(values(&chunk.batches));
            from = chunk.next.get();
        }
    }

    async fn stop(self) {
        self.node.stop().await.unwrap();
    }
}

async fn until(tail: &mut watch::Receiver<Tail>, wanted: impl FnMut(&Tail) -> bool) -> Tail {
    *timeout(LONG, tail.wait_for(wanted)).await.unwrap().unwrap()
}
