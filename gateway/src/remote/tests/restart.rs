//! A real storage node behind the gateway, stopped and started in the middle of a producer's requests.

use std::path::Path;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tempfile::TempDir;
use tidegate_proto::control::{
    IsrMember, PartitionSpec, Registered, ReplicaSpec, TopicConfig, TopicSpec, Topology,
};
use tidegate_proto::id::{ReplicaGen, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::position::LeaderEpoch;
use tidegate_spu::{Node, SpaceConfig, SpuConfig};
use tokio::sync::watch;

use super::wire::Wire;
use super::*;

/// One life of the node.
struct Life {
    node: Node,
    unit: Unit,
    /// Between the unit and the gateway.
    wire: Wire,
    tasks: Tasks,
}

fn topic(epoch: u64, before: Option<&TopicSpec>) -> TopicSpec {
    let replica_gen = before.map_or_else(
        || ReplicaGen(Uuid::new_v4()),
        |topic| topic.partitions[0].replicas[0].replica_gen,
    );
    let row = PartitionSpec {
        partition: PartitionId(0),
        leader: Some(SPU),
        leader_epoch: LeaderEpoch(epoch),
        version: epoch,
        replicas: vec![ReplicaSpec {
            spu: SPU,
            replica_gen,
        }],
        isr: vec![IsrMember {
            spu: SPU,
            incarnation: Incarnation(epoch),
        }],
        min_isr: 1,
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        is_sealed: false,
        losses: Vec::new(),
    };
    TopicSpec {
        id: before.map_or_else(|| TopicId(Uuid::new_v4()), |topic| topic.id),
        name: TopicName::parse("t").unwrap(),
        version: epoch,
        replication_factor: 1,
        min_in_sync: 1,
        config: TopicConfig::default(),
        partitions: vec![row],
    }
}

/// Starts the node for the `epoch`-th time, as the controller would have it.
async fn start(
    cluster: &Cluster,
    dir: &Path,
    topology: &watch::Sender<Arc<Topology>>,
    epoch: u64,
) -> Life {
    let config = SpuConfig {
        space: SpaceConfig::OFF,
        ..SpuConfig::new(SPU, dir)
    };
    let node = Node::open(config).unwrap();
    let tasks = Tasks::new();
    let unit = cluster.unit(SPU, node.partitions());
    let wire = Wire::to(unit.port, &tasks).await;
    topology.send_modify(|topology| {
        let next = Arc::make_mut(topology);
        next.revision += 1;
        let name = TopicName::parse("t").unwrap();
        let spec = topic(epoch, next.topics.get(&name).map(|topic| &**topic));
        next.topics.insert(name, Arc::new(spec));
        next.spus.insert(SPU, at_port(wire.port));
    });
    let registered = Registered {
        cluster_id: cluster.id,
        incarnation: Incarnation(epoch),
    };
    node.start(registered, topology.subscribe(), &tasks)
        .unwrap();
    Life {
        node,
        unit,
        wire,
        tasks,
    }
}

impl Life {
    async fn stop(self) {
        self.unit.tasks.shutdown(LONG).await;
        self.node.stop().await.unwrap();
        self.tasks.shutdown(LONG).await;
    }
}

/// What producers send, and whether connections break before the unit stops.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Stamped,
    PlainAndCut,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_with_five_requests_under_way_goes_through_restarts_of_its_leader() {
    through_restarts(Kind::Stamped).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_stamp_are_there_once_after_lost_answers_and_restarts_of_their_leader() {
    through_restarts(Kind::PlainAndCut).await;
}

async fn through_restarts(kind: Kind) {
    let cluster = Cluster::new();
    let dir = TempDir::new().unwrap();
    let topology = watch::Sender::new(Arc::new(Topology::default()));
    let mut life = start(&cluster, dir.path(), &topology, 1).await;
    let tasks = Tasks::new();
    let view = topology.subscribe();
    let remote = RemotePartitions::new(view, cluster.gateway(), Memory::default(), None, &tasks);
    if kind == Kind::PlainAndCut {
        Arc::clone(&remote.stamps).lease(Arc::new(OneId)).await;
    }
    let key = {
        let topology = topology.borrow();
        let (_, topic) = topology.topics.first_key_value().unwrap();
        topic.key(PartitionId(0))
    };
    let count = 400_u32;
    let (done, mut progress) = watch::channel(0);
    let produce = async {
        let mut under_way = FuturesUnordered::new();
        let mut next = 0;
        while *done.borrow() < count {
            while under_way.len() < 5 && next < count {
                let value = next.to_string();
                let request = match kind {
                    Kind::Stamped => request(batch(&[&value], Some(stamp(next)))),
                    Kind::PlainAndCut => plain(&[&value]),
                };
                let (remote, seq) = (Arc::clone(&remote), next);
                under_way.push(async move { (seq, remote.append(key, request).await) });
                next += 1;
            }
            let (seq, outcome) = under_way.next().await.unwrap();
            let appended = outcome.unwrap();
            match kind {
                Kind::Stamped => assert_eq!(appended.base_offset, Offset::new(seq.into())),
                Kind::PlainAndCut => assert!(!appended.duplicate),
            }
            done.send_modify(|done| *done += 1);
        }
    };
    let restart = async {
        for epoch in 2..5 {
            let share = count / 4 * u32::try_from(epoch - 1).unwrap();
            progress.wait_for(|done| *done >= share).await.unwrap();
            if kind == Kind::PlainAndCut {
                life.wire.cut();
            }
            life.stop().await;
            life = start(&cluster, dir.path(), &topology, epoch).await;
        }
        life
    };
    let ((), life) = tokio::join!(produce, restart);
    let mut found = all_values(&*remote, key).await;
    if kind == Kind::PlainAndCut {
        found.sort_by_key(|value| value.parse::<u32>().unwrap());
    }
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    assert_eq!(found, expected);
    tasks.shutdown(LONG).await;
    life.stop().await;
}
