//! A storage unit's host: one life of its process after the other, as its program leads it.
//!
//! It registers, serves, gives signs of life, and begins anew when it is excluded. The log has no threads:
//! a task runs its rounds, as late as the disk is slow. Invariant: a life is over before the next begins.

use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::controller::{ControllerClient, Known, follow};
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::Expect;
use tidegate_log::{Log, LogConfig};
use tidegate_proto::control::{Audience, Endpoint, NodeSite};
use tidegate_proto::id::SpuId;
use tidegate_proto::node::NodeRole;
use tidegate_spu::private::{PrivateConfig, service};
use tidegate_spu::session::{Excluded, Heart, confirmed, register};
use tidegate_spu::{Failures, Membership, Node, Seals, SpaceConfig, SpuConfig};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info_span;

use crate::doors::doors;
use crate::identities::tls;
use crate::options::{CONTROLLER, unit_name};
use crate::random::Random;
use crate::serving::{PORT, serve};
use crate::shared::{ROOT, Shared};

/// Between the end of a process and the next.
const AGAIN: Duration = Duration::from_millis(300);
const END: Duration = Duration::from_secs(2);

/// Until the host is crashed.
pub(crate) async fn run(number: u32, shared: Shared) -> turmoil::Result {
    loop {
        let tasks = Tasks::new();
        let lived = live(number, &shared, &tasks).await;
        tasks.shutdown(END).await;
        shared.lock().logs.remove(&number);
        match lived {
            Ok(Excluded::Fenced | Excluded::Unknown | Excluded::Superseded) => {
                shared.lock().exclusions += 1;
            }
            Ok(Excluded::Adopted) => shared.lock().found("a unit was adopted".to_owned()),
            Err(what) => shared.lock().found(format!("unit {number}: {what}")),
        }
        sleep(AGAIN).await;
    }
}

async fn live(number: u32, shared: &Shared, tasks: &Tasks) -> Result<Excluded, String> {
    let (node, log) = open(number, shared)?;
    let life = {
        let mut inside = shared.lock();
        inside.lives += 1;
        inside.logs.insert(number, log.clone());
        inside.lives
    };
    let tls = tls(&unit_name(number), &shared.wires)?;
    let channel = Channel::new(&ChannelConfig {
        endpoints: vec![format!("{CONTROLLER}:{PORT}")],
        tls: tls.clone(),
        expect: Expect::Role(NodeRole::Sc),
        tasks: tasks.clone(),
    });
    let client = ControllerClient::new(channel.map_err(|error| error.to_string())?);
    let followed = follow(client.clone(), Known::default(), tasks);
    let mut topology = followed.topology.clone();
    let registered = register(&node, &client).await;
    let registered = registered.map_err(|problem| format!("{problem:?}"))?;
    if !confirmed(&mut topology, SpuId(number), registered.incarnation).await {
        return Ok(Excluded::Superseded);
    }
    node.join(Membership {
        tls: tls.clone(),
        client: client.clone(),
    });
    node.start(registered, topology, tasks)
        .map_err(|error| error.to_string())?;
    let seed = shared.options.seed ^ (life << 32);
    let disk = drive(log, shared.options.disk_max_ms, seed);
    tasks.spawn(TaskKind::Request, info_span!("disk"), disk);
    let private = PrivateConfig {
        partitions: node.partitions(),
        followers: Some(node.followers()),
        memory: Memory::default(),
        tasks: tasks.clone(),
    };
    let router = service(private).merge(doors(node.partitions(), shared.clone()));
    let serving = serve(router, tls, shared.wires.clone(), tasks.clone());
    tasks.spawn(TaskKind::Request, info_span!("serve"), serving);
    let sealing = seal(node.seals(registered), client.clone());
    tasks.spawn(TaskKind::Watch, info_span!("seals"), sealing);
    let failures = node.failures(registered, followed.topology.clone());
    let failing = fail(failures, client.clone());
    tasks.spawn(TaskKind::Watch, info_span!("failures"), failing);
    let (_draining, is_draining) = watch::channel(false);
    let heart = Heart::new(&node, client, followed, registered);
    let excluded = heart.run(is_draining).await;
    node.stop().await.map_err(|error| error.to_string())?;
    Ok(excluded)
}

fn open(number: u32, shared: &Shared) -> Result<(Node, Log), String> {
    let disk = shared.lock().disks.get(&number).cloned();
    let disk = disk.ok_or("no disk")?;
    let endpoint = Endpoint {
        audience: Audience::Peers,
        url: format!("https://{}:{PORT}", unit_name(number)),
    };
    let config = SpuConfig {
        site: NodeSite {
            endpoints: vec![endpoint],
            ..NodeSite::default()
        },
        shards: 2,
        scrub: None,
        space: SpaceConfig::OFF,
        ..SpuConfig::new(SpuId(number), ROOT)
    };
    // Small, so that a journal is begun anew now and then and what is old is read from files.
    let small = |log: LogConfig| LogConfig {
        journal_file_bytes_first: 1 << 18,
        journal_file_bytes: 1 << 18,
        journal_bytes_max: 1 << 21,
        tail_cache_bytes: 1 << 16,
        ..log
    };
    let opened = Node::open_by_hand(Arc::new(disk), config, small);
    opened.map_err(|error| error.to_string())
}

/// What the log's threads do. A log that died has told everybody.
async fn drive(log: Log, longest_ms: u64, seed: u64) {
    let mut random = Random::new(seed);
    loop {
        sleep(Duration::from_millis(random.between(1, longest_ms))).await;
        let mut wrote = false;
        while log.run_round().is_ok_and(|ran| ran) {
            wrote = true;
        }
        if random.hits(500) {
            let _ = log.run_sync();
        }
        if !wrote {
            let _ = log.run_closing_round();
        }
        if random.hits(100) {
            while log.run_writer_step().is_ok_and(|ran| ran) {}
        }
    }
}

/// Tells what sealed copies hold, again until a controller took it.
async fn seal(mut seals: Seals, client: ControllerClient) {
    while let Some(answers) = seals.next().await {
        while client.answer_seals(answers.clone()).await.is_err() {
            sleep(AGAIN).await;
        }
        seals.told(&answers);
    }
}

/// Tells which copies failed, again until a controller took it.
async fn fail(mut failures: Failures, client: ControllerClient) {
    while let Some(request) = failures.next().await {
        match client.report_failed(&request).await {
            Ok(()) => failures.told(&request),
            Err(_) => sleep(AGAIN).await,
        }
    }
}
