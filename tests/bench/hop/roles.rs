//! The two processes of the measurement, made of the parts that ship, without a controller: what it would
//! say is written into files beforehand.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tidegate_data_plane::partitions::Partitions;
use tidegate_data_plane::{DataPlane, DataPlaneConfig, DirectProduce};
use tidegate_gateway::{Parts, RemotePartitions};
use tidegate_kit::auth::Auth;
use tidegate_kit::clock;
use tidegate_kit::http::{Front, OriginRules};
use tidegate_kit::memory::Memory;
use tidegate_kit::secret::Secret;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{
    ALPN_PUBLIC, ClientAuth, ClusterAuthority, NodeCredentials, NodeTls, Pki, server_config,
};
use tidegate_proto::control::{
    Audience, Endpoint, IsrMember, PartitionSpec, Registered, ReplicaSpec, SpuSpec, SpuStanding,
    TopicConfig, TopicSpec, Topology,
};
use tidegate_proto::id::{ClusterId, Incarnation, PartitionId, ReplicaGen, SpuId, TopicId};
use tidegate_proto::name::TopicName;
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_proto::position::{LeaderEpoch, Offset};
use tidegate_spu::private::{PrivateConfig, service};
use tidegate_spu::{Node, SpuConfig};
use tokio::sync::watch;
use uuid::Uuid;

const SPU: SpuId = SpuId(1);
const INCARNATION: Incarnation = Incarnation(1);
/// What is kept, so that a minute of batches does not fill the disk.
const RETENTION_BYTES: u64 = 1 << 30;
const CERTIFICATE_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes what both processes need: certificates and the topology.
pub(super) fn prepare(dir: &Path) -> Result<()> {
    let cluster = ClusterId(Uuid::new_v4());
    let authority = ClusterAuthority::make(cluster, clock::now_s())?;
    for (folder, role, name) in [
        ("unit", NodeRole::Spu, NodeName::of_spu(SPU)),
        ("gateway", NodeRole::Gateway, NodeName::parse("gateway-a")?),
    ] {
        let identity = NodeIdentity::new(cluster, role, name)?;
        let issued = authority.issue(&identity, clock::now_s(), CERTIFICATE_LIFE)?;
        let folder = dir.join(folder);
        std::fs::create_dir(&folder)?;
        std::fs::write(folder.join("chain.pem"), &issued.chain_pem)?;
        std::fs::write(folder.join("key.pem"), issued.key_pem.expose())?;
        std::fs::write(folder.join("authorities.pem"), &issued.authorities_pem)?;
    }
    std::fs::create_dir(dir.join("public"))?;
    Pki::ensure(&dir.join("public"), &[])?;
    write_topology(dir, &topology()?)
}

/// Enters the unit's private port.
pub(super) fn announce(dir: &Path, port: u16) -> Result<()> {
    let mut topology = read_topology(dir)?;
    let unit = SpuSpec {
        endpoints: vec![Endpoint {
            audience: Audience::Peers,
            url: format!("https://127.0.0.1:{port}"),
        }],
        rack: None,
        site: None,
        standing: SpuStanding::Active,
        incarnation: INCARNATION,
    };
    topology.spus.insert(SPU, unit);
    write_topology(dir, &topology)
}

/// Is one of the processes, until it is killed.
pub(crate) async fn play(role: Option<String>, dir: Option<String>) -> Result<()> {
    let dir = dir.context("a directory")?;
    let dir = Path::new(&dir);
    let topology = watch::Sender::new(Arc::new(read_topology(dir)?));
    let tasks = Tasks::new();
    let memory = Memory::default();
    let (partitions, private) = match role.as_deref() {
        Some("unit") => {
            let config = SpuConfig {
                memory: memory.clone(),
                ..SpuConfig::new(SPU, dir.join("storage"))
            };
            let node = tokio::task::spawn_blocking(move || Node::open(config)).await??;
            let registered = Registered {
                cluster_id: ClusterId(Uuid::nil()),
                incarnation: INCARNATION,
            };
            node.start(registered, topology.subscribe(), &tasks)?;
            let routes = service(PrivateConfig {
                followers: None,
                partitions: node.partitions(),
                memory: memory.clone(),
                tasks: tasks.child(),
            });
            let tls = credentials(&dir.join("unit"))?;
            let tls = tls.server_config(ClientAuth::Required)?;
            let port = listen(
                Front::from(routes),
                tls,
                ServeLimits::between_nodes(),
                &tasks,
            )?;
            (node.partitions(), port)
        }
        Some("gateway") => {
            let tls = credentials(&dir.join("gateway"))?;
            let remote =
                RemotePartitions::new(topology.subscribe(), tls, memory.clone(), None, &tasks);
            (remote as Arc<dyn Partitions>, 0)
        }
        _ => bail!("unit or gateway"),
    };
    let public = listen_publicly(partitions, memory, dir, &tasks)?;
    #[expect(clippy::print_stdout, reason = "the parent reads the ports from here")]
    {
        println!("{public} {private}");
    }
    tasks.cancelled().await;
    bail!("a part of it failed: {:?}", tasks.failure())
}

fn listen_publicly(
    partitions: Arc<dyn Partitions>,
    memory: Memory,
    dir: &Path,
    tasks: &Tasks,
) -> Result<u16> {
    let auth = Auth::dev();
    let config = DataPlaneConfig {
        memory: memory.clone(),
        ..DataPlaneConfig::default()
    };
    let data = DataPlane::new(partitions, auth, tasks.clone(), config);
    let produce = DirectProduce::new(data.clone());
    let parts = Parts {
        data: tidegate_data_plane::router(data),
        control: axum::Router::new(),
        health: axum::Router::new(),
        openapi: tidegate_gateway::openapi::DATA_PLANE,
        asyncapi: Some(tidegate_gateway::openapi::FRAMES),
        origins: OriginRules::default(),
        memory,
        is_tls: true,
        is_open: true,
    };
    let pki = Pki::ensure(&dir.join("public"), &[])?;
    let tls = server_config(&pki, ALPN_PUBLIC)?;
    let front = tidegate_gateway::front(parts, produce);
    listen(front, tls, ServeLimits::default(), tasks)
}

fn listen(
    front: Front,
    tls: Arc<rustls::ServerConfig>,
    limits: ServeLimits,
    tasks: &Tasks,
) -> Result<u16> {
    let config = ServeConfig {
        listener: TcpListener::bind("127.0.0.1:0")?,
        front,
        tls: Some(tls),
        tasks: tasks.child(),
        limits,
    };
    Ok(serve(config)?.port())
}

fn credentials(folder: &Path) -> Result<NodeTls> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    Ok(NodeTls::new(&NodeCredentials {
        chain_pem: read("chain.pem")?,
        key_pem: Secret::new(read("key.pem")?),
        authorities_pem: read("authorities.pem")?,
    })?)
}

fn read_topology(dir: &Path) -> Result<Topology> {
    let text = std::fs::read_to_string(dir.join("topology.json"))?;
    Ok(serde_json::from_str(&text)?)
}

fn write_topology(dir: &Path, topology: &Topology) -> Result<()> {
    let text = serde_json::to_string(topology)?;
    Ok(std::fs::write(dir.join("topology.json"), text)?)
}

fn topology() -> Result<Topology> {
    let name = TopicName::parse("hop")?;
    let partition = PartitionSpec {
        partition: PartitionId(0),
        leader: Some(SPU),
        leader_epoch: LeaderEpoch(1),
        version: 1,
        replicas: vec![ReplicaSpec {
            spu: SPU,
            replica_gen: ReplicaGen(Uuid::new_v4()),
        }],
        isr: vec![IsrMember {
            spu: SPU,
            incarnation: INCARNATION,
        }],
        min_isr: 1,
        recovery_gen: 0,
        truncate_before: Offset::ZERO,
        begins_at: Offset::ZERO,
        is_sealed: false,
        losses: Vec::new(),
    };
    let topic = TopicSpec {
        id: TopicId(Uuid::now_v7()),
        name: name.clone(),
        version: 1,
        replication_factor: 1,
        min_in_sync: 1,
        config: TopicConfig {
            retention_bytes: Some(RETENTION_BYTES),
            ..TopicConfig::default()
        },
        partitions: vec![partition],
    };
    let mut topology = Topology {
        revision: 1,
        ..Topology::default()
    };
    topology.topics.insert(name, Arc::new(topic));
    Ok(topology)
}
