//! Remote partitions over real sockets and certificates: the storage unit's own service in front of
//! partitions in memory.

mod contract;
mod edges;
mod leaders;
mod restart;
mod silent;
mod sockets;
mod strangers;
mod surface;
mod tails;
mod wire;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidegate_data_plane::ProducerIds;
use tidegate_data_plane::partitions::{AppendRequest, BoxFuture, Partitions};
use tidegate_data_plane::testing::MemoryPartitions;
use tidegate_kit::clock;
use tidegate_kit::http::Front;
use tidegate_kit::memory::Memory;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{ClientAuth, ClusterAuthority, NodeTls};
use tidegate_proto::batch::{Batch, BatchBuilder, ClientBatch, ProducerStamp};
use tidegate_proto::compression::Codec;
use tidegate_proto::control::{Audience, Endpoint, SpuSpec, SpuStanding};
use tidegate_proto::error::Problem;
use tidegate_proto::id::{ClusterId, Incarnation, PartitionId, ProducerId, SpuId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_proto::position::{Offset, ReplicaKey};
use tidegate_proto::produce::Acks;
use tidegate_proto::record::{Datum, RecordRef};
use tidegate_spu::private::{PrivateConfig, service};
use uuid::Uuid;

use super::RemotePartitions;

/// Nothing here takes longer unless it is broken.
const LONG: Duration = Duration::from_secs(20);
const SPU: SpuId = SpuId(1);

/// A cluster's authority.
struct Cluster {
    id: ClusterId,
    authority: ClusterAuthority,
}

impl Cluster {
    fn new() -> Self {
        let id = ClusterId(Uuid::new_v4());
        let authority = ClusterAuthority::make(id, clock::now_s()).unwrap();
        Self { id, authority }
    }

    fn node(&self, role: NodeRole, name: &str) -> NodeTls {
        let name = NodeName::parse(name).unwrap();
        let identity = NodeIdentity::new(self.id, role, name).unwrap();
        let life = Duration::from_secs(3600);
        let issued = self.authority.issue(&identity, clock::now_s(), life);
        NodeTls::new(&issued.unwrap()).unwrap()
    }

    fn gateway(&self) -> NodeTls {
        self.node(NodeRole::Gateway, "gateway-a")
    }

    /// A storage unit's private service over these partitions; ends with the tasks.
    fn unit(&self, spu: SpuId, partitions: Arc<dyn Partitions>) -> Unit {
        let tasks = Tasks::new();
        let routes = service(PrivateConfig {
            followers: None,
            partitions,
            memory: Memory::default(),
            tasks: tasks.child(),
        });
        let tls = self.node(NodeRole::Spu, &format!("spu-{spu}"));
        let port = listen(&tls, routes, &tasks);
        Unit { tasks, port }
    }
}

/// A running storage unit.
struct Unit {
    tasks: Tasks,
    port: u16,
}

fn listen(tls: &NodeTls, routes: Router, tasks: &Tasks) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = ServeConfig {
        listener,
        front: Front::from(routes),
        tls: Some(tls.server_config(ClientAuth::Required).unwrap()),
        tasks: tasks.child(),
        limits: ServeLimits::between_nodes(),
    };
    serve(config).unwrap().port()
}

fn at_port(port: u16) -> SpuSpec {
    SpuSpec {
        endpoints: vec![Endpoint {
            audience: Audience::Peers,
            url: format!("https://127.0.0.1:{port}"),
        }],
        rack: None,
        site: None,
        standing: SpuStanding::Active,
        incarnation: Incarnation(1),
    }
}

/// Partitions in memory, a unit in front of them, and a gateway's view of it.
struct Far {
    cluster: Cluster,
    memory: Arc<MemoryPartitions>,
    unit: Unit,
    remote: Arc<RemotePartitions>,
    tasks: Tasks,
}

impl Far {
    fn new() -> Self {
        Self::over(|memory| memory)
    }

    /// With something between the unit and the memory.
    fn over(between: impl FnOnce(Arc<MemoryPartitions>) -> Arc<dyn Partitions>) -> Self {
        let memory = MemoryPartitions::new();
        let partitions = between(Arc::clone(&memory));
        Self::with(memory, partitions)
    }

    /// In front of this memory.
    fn of(memory: Arc<MemoryPartitions>) -> Self {
        let partitions = Arc::clone(&memory) as Arc<dyn Partitions>;
        Self::with(memory, partitions)
    }

    fn with(memory: Arc<MemoryPartitions>, partitions: Arc<dyn Partitions>) -> Self {
        let cluster = Cluster::new();
        let unit = cluster.unit(SPU, partitions);
        memory.enter(SPU, Some(at_port(unit.port)));
        let tasks = Tasks::new();
        let remote = RemotePartitions::new(
            memory.topology(),
            cluster.gateway(),
            Memory::default(),
            None,
            &tasks,
        );
        Self {
            cluster,
            memory,
            unit,
            remote,
            tasks,
        }
    }

    /// The gateway stamps what it may from now on.
    async fn lease(&self) {
        Arc::clone(&self.remote.stamps).lease(Arc::new(OneId)).await;
    }

    /// A topic of one partition.
    fn partition(&self) -> ReplicaKey {
        self.memory.create_topic("t", 1).key(PartitionId(0))
    }

    async fn end(self) {
        self.tasks.shutdown(LONG).await;
        self.unit.tasks.shutdown(LONG).await;
    }
}

/// A unit and a gateway in front of partitions; both end with it.
struct Door(Far);

impl Door {
    fn open(memory: &Arc<MemoryPartitions>) -> (Arc<dyn Partitions>, Self) {
        let far = Far::of(Arc::clone(memory));
        (Arc::clone(&far.remote) as Arc<dyn Partitions>, Self(far))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.0.tasks.cancel();
        self.0.unit.tasks.cancel();
    }
}

/// Gives the same id to whoever asks.
struct OneId;

impl ProducerIds for OneId {
    fn lease(&self) -> BoxFuture<'_, Result<(ProducerId, u16), Problem>> {
        Box::pin(std::future::ready(Ok((ProducerId(77), 0))))
    }
}

pub(super) fn batch(values: &[&str], stamp: Option<ProducerStamp>) -> ClientBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some(stamp) = stamp {
        builder = builder.producer(stamp);
    }
    for value in values {
        let record = RecordRef {
            timestamp_ms: 1_700_000_000_000,
            key: Datum::Absent,
            value: Datum::Utf8(value),
            headers: &[],
        };
        builder.push(&record).unwrap();
    }
    builder.finish().unwrap()
}

pub(super) fn stamp(seq: u32) -> ProducerStamp {
    ProducerStamp {
        id: ProducerId(5),
        epoch: 0,
        seq,
        unordered: false,
    }
}

pub(super) fn request(batch: ClientBatch) -> AppendRequest {
    AppendRequest {
        batches: vec![batch],
        acks: Acks::Quorum,
        expected_end: None,
        leader_epoch_min: None,
        may_stamp: false,
        timeout: LONG,
    }
}

/// What a client sent without anything to know it by.
fn plain(values: &[&str]) -> AppendRequest {
    AppendRequest {
        may_stamp: true,
        ..request(batch(values, None))
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

/// All values from the start, by as many reads as it takes.
async fn all_values(partitions: &dyn Partitions, key: ReplicaKey) -> Vec<String> {
    let end = partitions.offsets(key).await.unwrap().high_watermark;
    let mut next = Offset::ZERO;
    let mut found = Vec::new();
    while next < end {
        let chunk = partitions.read(key, next, 1 << 20).await.unwrap();
        found.extend(values(&chunk.batches));
        next = chunk.next;
    }
    found
}
