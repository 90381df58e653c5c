//! `tidegate cluster start`: database, controllers, storage units, gateways, in this order; ready; then
//! until a signal; then all of them again in the other order.
//!
//! A process that ends by itself is reported and left down. Restarting it would hide what people start
//! such a cluster to see; and whoever starts it again by hand would find its place taken.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::Mode;
use rustix::process::{Signal, geteuid, umask};
use tidegate_kit::boot::{self, LogFormat};
use tidegate_kit::clock;
use tidegate_kit::signal::Signals;
use tidegate_proto::id::ClusterId;
use tidegate_sc::local_postgres::{Door, LocalPostgres, ServerOptions};
use tidegate_sc::store::{self, DatabaseUrl};
use uuid::Uuid;

use super::arguments::StartArguments;
use super::child::{self, Started};
use super::layout::{Layout, NodeKind, NodePlan};
use super::local::LocalCluster;
use super::manifest::{Manifest, ManifestNode};
use crate::failure::{Failure, interrupts};
use crate::output;
use crate::owner::Owner;
use crate::process::NodeFacts;
use crate::sc::authority::cluster_of;
use crate::up::directory::{DataDirectory, disk};
use crate::up::failures::chain;

/// How often processes are looked at.
const STEP: Duration = Duration::from_millis(50);
/// For a process to become ready, with the recovery of its data.
const READY_WAIT: Duration = Duration::from_secs(60);
/// For a process to end after it was told to; then it is ended.
const STOP_WAIT: Duration = Duration::from_secs(40);

/// A process of ours.
struct Running {
    node: NodePlan,
    child: Started,
    facts: NodeFacts,
    has_ended: bool,
}

/// Starts it and holds it until a signal. Needs a runtime.
pub(super) async fn run(arguments: &StartArguments) -> Result<(), Failure> {
    boot::init_logging(LogFormat::Text, "warn")
        .map_err(|error| Failure::failed(error.to_string()))?;
    // Nobody else on the machine has any business with what is made from here on, by us or by those we
    // start.
    umask(Mode::RWXG | Mode::RWXO);
    let mut signals = interrupts()?;
    let directory = DataDirectory::open(&arguments.place.data_dir)?;
    end_leftovers(directory.path()).await;
    let wanted = [
        (NodeKind::Sc, arguments.scs),
        (NodeKind::Spu, arguments.spus),
        (NodeKind::Gateway, arguments.gateways),
    ];
    let layout = Layout::ensure(directory.path(), &wanted)?;
    let (postgres, url) = database(arguments, &directory, &layout).await?;
    let cluster = LocalCluster::prepare(&directory, layout, url, &arguments.log)?;
    let mut running = Vec::new();
    let outcome = tokio::select! {
        outcome = serve(&cluster, &mut running) => outcome,
        signal = signals.recv() => {
            output::say(&format!("{signal}: stopping the cluster (again to end it at once)"));
            Ok(())
        }
    };
    Manifest::remove(&cluster.directory);
    stop_all(&cluster, running, &mut signals).await;
    if let Some(mut postgres) = postgres {
        let stopped = tokio::task::spawn_blocking(move || postgres.stop()).await;
        if let Ok(Err(error)) = stopped {
            output::say(&format!("Postgres: {}", chain(&error)));
        }
    }
    outcome
}

/// Ends only by failure.
async fn serve(cluster: &LocalCluster, running: &mut Vec<Running>) -> Result<(), Failure> {
    let cluster_id = migrate(&cluster.database_url).await?;
    cluster.ensure_authority(cluster_id)?;
    for kind in [NodeKind::Sc, NodeKind::Spu, NodeKind::Gateway] {
        let mut started = Vec::new();
        for node in cluster.layout.of(kind) {
            cluster.write_settings(node)?;
            let (argv, log) = (cluster.argv(node), cluster.log(node));
            let mut environment = Vec::new();
            if cluster.has_to_join(node) {
                let controller = running.first().and_then(|one| one.facts.url.as_deref());
                let token = cluster
                    .join_token(node, controller.unwrap_or_default())
                    .await?;
                environment.push(("TIDEGATE_JOIN_TOKEN", token));
            }
            started.push((node.clone(), child::spawn(&argv, &environment, &log)?));
        }
        for (node, child) in started {
            running.push(ready(cluster, node, child).await?);
        }
    }
    announce(cluster, running)?;
    loop {
        tokio::time::sleep(STEP).await;
        for one in running.iter_mut().filter(|one| !one.has_ended) {
            if let Some(ending) = one.child.ending() {
                one.has_ended = true;
                let argv = cluster.argv(&one.node).join(" ");
                output::say(&format!(
                    "{} ended: {}. It stays down; to start it again:\n  {argv}",
                    one.facts.name, ending
                ));
            }
        }
    }
}

async fn ready(
    cluster: &LocalCluster,
    node: NodePlan,
    mut child: Started,
) -> Result<Running, Failure> {
    let directory = cluster.data_dir(&node);
    let log = cluster.log(&node);
    let waited = tokio::time::timeout(READY_WAIT, async {
        loop {
            let facts = NodeFacts::read(&directory);
            if let Some(facts) = facts.filter(|facts| facts.pid == child.id()) {
                return Ok(facts);
            }
            if let Some(ending) = child.ending() {
                return Err(ending);
            }
            tokio::time::sleep(STEP).await;
        }
    });
    let reason = match waited.await {
        Ok(Ok(facts)) => {
            return Ok(Running {
                node,
                child,
                facts,
                has_ended: false,
            });
        }
        Ok(Err(ending)) => format!("ended: {ending}"),
        Err(_) => format!("was not ready after {} s", READY_WAIT.as_secs()),
    };
    Err(Failure::failed(format!(
        "{} {reason}. Its last words, from {}:\n{}",
        node.name(),
        log.display(),
        child::tail(&log)
    )))
}

fn announce(cluster: &LocalCluster, running: &[Running]) -> Result<(), Failure> {
    let nodes = running.iter().map(|one| ManifestNode {
        name: one.facts.name.clone(),
        role: one.facts.role.clone(),
        pid: one.facts.pid,
        url: one.facts.url.clone().unwrap_or_default(),
        operators_url: one.facts.operators_url.clone(),
        data_dir: cluster.data_dir(&one.node),
        log: cluster.log(&one.node),
        argv: cluster.argv(&one.node),
    });
    let manifest = Manifest {
        pid: std::process::id(),
        ca: cluster.ca.clone(),
        token: cluster.token.clone(),
        database_url: cluster.database_url.clone(),
        nodes: nodes.collect(),
    };
    manifest.write(&cluster.directory)?;
    let door = running.iter().rev().find(|one| one.facts.url.is_some());
    let url = door.and_then(|one| one.facts.url.as_deref()).unwrap_or("");
    output::say(&format!(
        "\n  The cluster is ready: {} processes, described in {}\n\n  Try:\n    \
         export TIDEGATE_URL={url} TIDEGATE_CA={} TIDEGATE_TOKEN=$(cat {})\n    \
         tidegate topic create demo --partitions 3\n",
        manifest.nodes.len(),
        cluster.directory.join("cluster.json").display(),
        cluster.ca.display(),
        cluster.directory.join("token").display(),
    ));
    Ok(())
}

/// Prepares the database; which cluster it is of.
async fn migrate(url: &str) -> Result<ClusterId, Failure> {
    let url = DatabaseUrl::parse(url).map_err(|error| Failure::usage(chain(&error)))?;
    let new_cluster = ClusterId(Uuid::new_v4());
    let migrated = store::migrate(&url, new_cluster, clock::now_ms()).await;
    migrated.map_err(|error| Failure::failed(chain(&error)))?;
    cluster_of(&url).await
}

/// The database that was given, or one of our own.
async fn database(
    arguments: &StartArguments,
    directory: &DataDirectory,
    layout: &Layout,
) -> Result<(Option<LocalPostgres>, String), Failure> {
    if let Some(url) = &arguments.database_url {
        return Ok((None, url.clone()));
    }
    // Postgres does not run as root; its account has to walk through here, and through nothing else. What is
    // secret has no rights for others by itself.
    let path = directory.path();
    let mode = if geteuid().is_root() { 0o711 } else { 0o700 };
    fs::set_permissions(path, Permissions::from_mode(mode))
        .map_err(|error| disk(path, "cannot be opened for Postgres", &error))?;
    let options = ServerOptions {
        dir: path.join("postgres"),
        door: Door::Loopback {
            port: layout.postgres_port,
            password: layout.postgres_password.clone(),
        },
        settings: Vec::new(),
    };
    let started = tokio::task::spawn_blocking(move || LocalPostgres::start(options)).await;
    let postgres = started
        .map_err(|error| Failure::failed(error.to_string()))?
        .map_err(|error| {
            Failure::failed(format!(
                "a database cannot be started here: {}. --database-url uses one that runs already.",
                chain(&error)
            ))
        })?;
    let url = postgres.url("postgres");
    Ok((Some(postgres), url))
}

/// Ends processes that a holder left behind which was killed.
async fn end_leftovers(directory: &Path) {
    let Some(manifest) = Manifest::read(directory) else {
        return;
    };
    end(&manifest.nodes, STOP_WAIT).await;
    Manifest::remove(directory);
}

/// Ends those of `nodes` that run, gateways first: who is told to stop should still reach those behind it.
pub(super) async fn end(nodes: &[ManifestNode], patience: Duration) {
    for role in [NodeKind::Gateway, NodeKind::Spu, NodeKind::Sc] {
        let alive = || {
            let nodes = nodes.iter().filter(|node| node.role == role.as_str());
            // However it was started.
            nodes.filter_map(|node| Owner::of(&node.data_dir).map(|owner| owner.pid))
        };
        for pid in alive() {
            child::signal(pid, Signal::TERM);
        }
        let ended = tokio::time::timeout(patience, async {
            while alive().next().is_some() {
                tokio::time::sleep(STEP).await;
            }
        });
        if ended.await.is_err() {
            for pid in alive() {
                child::signal(pid, Signal::KILL);
            }
        }
    }
}

/// Stops our own and what was started again by hand in their places.
async fn stop_all(cluster: &LocalCluster, mut running: Vec<Running>, signals: &mut Signals) {
    let nodes = running.iter().map(|one| ManifestNode {
        name: one.facts.name.clone(),
        role: one.facts.role.clone(),
        pid: one.facts.pid,
        url: String::new(),
        operators_url: String::new(),
        data_dir: cluster.data_dir(&one.node),
        log: cluster.log(&one.node),
        argv: cluster.argv(&one.node),
    });
    let nodes: Vec<ManifestNode> = nodes.collect();
    // Children that ended stay in the list of processes until they are waited for.
    let reap = async {
        loop {
            for one in &mut running {
                one.child.ending();
            }
            tokio::time::sleep(STEP).await;
        }
    };
    tokio::select! {
        () = end(&nodes, STOP_WAIT) => {}
        () = reap => {}
        _ = signals.recv() => {}
    }
    // What is left is killed with them.
    drop(running);
}
