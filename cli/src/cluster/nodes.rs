//! The processes of a cluster on this machine: started, made known, started again, ended.
//!
//! Invariants: nothing is started in a place where something runs; what runs in a place is ended whoever
//! started it.

use std::time::Duration;

use rustix::process::Signal;
use tidegate_kit::signal::Signals;

use super::child::{self, Started};
use super::layout::{NodeKind, NodePlan};
use super::local::LocalCluster;
use super::manifest::{Manifest, ManifestNode};
use super::requests::{Answer, Request};
use crate::failure::Failure;
use crate::output;
use crate::owner::Owner;
use crate::process::NodeFacts;

/// How often processes are looked at.
pub(super) const STEP: Duration = Duration::from_millis(50);
/// For a process to become ready, with the recovery of its data.
const READY_WAIT: Duration = Duration::from_secs(60);
/// For a process to end after it was told to; then it is ended.
pub(super) const STOP_WAIT: Duration = Duration::from_secs(40);

/// A process of ours.
pub(super) struct Running {
    pub(super) node: NodePlan,
    pub(super) child: Started,
    pub(super) facts: NodeFacts,
    pub(super) has_ended: bool,
}

/// Starts a process with the settings of now; with a token, when it has to join.
pub(super) async fn launch(cluster: &LocalCluster, node: &NodePlan) -> Result<Started, Failure> {
    cluster.write_settings(node)?;
    let mut environment = Vec::new();
    if cluster.has_to_join(node) {
        environment.push(("TIDEGATE_JOIN_TOKEN", cluster.join_token(node).await?));
    }
    child::spawn(&cluster.argv(node), &environment, &cluster.log(node))
}

/// Waits until a process that was started is ready.
pub(super) async fn ready(
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

/// The cluster as others see it.
pub(super) fn manifest(cluster: &LocalCluster, running: &[Running]) -> Manifest {
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
    Manifest {
        pid: std::process::id(),
        ca: cluster.ca.clone(),
        token: cluster.token.clone(),
        database_url: cluster.database_url.clone(),
        nodes: nodes.collect(),
    }
}

/// Does what was asked. What it did is said here, too, for whoever looks at this terminal.
pub(super) async fn carry_out(
    cluster: &mut LocalCluster,
    running: &mut Vec<Running>,
    request: Request,
) -> Answer {
    let done = match request {
        Request::Restart { name } => restart(cluster, running, &name).await,
        Request::AddSpu { number, rack } => add_spu(cluster, running, number, rack).await,
    };
    match done {
        Ok(done) => {
            if let Answer::Done { said, .. } = &done {
                output::say(said);
            }
            done
        }
        Err(failure) => {
            output::say(&failure.message);
            Answer::Failed {
                message: failure.message,
            }
        }
    }
}

async fn restart(
    cluster: &LocalCluster,
    running: &mut [Running],
    name: &str,
) -> Result<Answer, Failure> {
    let Some(at) = running.iter().position(|one| one.facts.name == name) else {
        let names: Vec<&str> = running.iter().map(|one| &*one.facts.name).collect();
        return Err(Failure::failed(format!(
            "there is no {name} in this cluster; there are {}",
            names.join(", ")
        )));
    };
    let was = &mut running[at];
    if cluster.is_gone(&was.node).await.unwrap_or(false) {
        return Err(Failure::failed(format!(
            "{name} was removed from the cluster and would not be let in; `tidegate cluster add-spu {}` \
             takes it back",
            was.node.number
        )));
    }
    // Whatever becomes of it is told here.
    was.has_ended = true;
    let before = Owner::of(&cluster.data_dir(&was.node));
    end_one(cluster, was).await;
    let node = was.node.clone();
    let child = launch(cluster, &node).await?;
    running[at] = ready(cluster, node, child).await?;
    manifest(cluster, running).write(&cluster.directory)?;
    let pid = running[at].facts.pid;
    let said = match before {
        Some(before) => format!(
            "{name} was stopped and is ready again: process {pid}, before {}",
            before.pid
        ),
        None => format!("{name} was down and is ready: process {pid}"),
    };
    Ok(Answer::Done {
        name: name.to_owned(),
        said,
        changed: true,
    })
}

/// Ends what runs in the place of a process, ours or not.
async fn end_one(cluster: &LocalCluster, one: &mut Running) {
    let directory = cluster.data_dir(&one.node);
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(owner) = Owner::of(&directory) {
            child::signal(owner.pid, signal);
        }
        let ended = tokio::time::timeout(STOP_WAIT, async {
            loop {
                // A child that ended stays in the list of processes until it is waited for.
                one.child.ending();
                if Owner::of(&directory).is_none() {
                    return;
                }
                tokio::time::sleep(STEP).await;
            }
        });
        if ended.await.is_ok() {
            return;
        }
    }
}

async fn add_spu(
    cluster: &mut LocalCluster,
    running: &mut Vec<Running>,
    number: Option<u32>,
    rack: Option<String>,
) -> Result<Answer, Failure> {
    let known = cluster.layout.of(NodeKind::Spu).map(|node| node.number);
    let known: Vec<u32> = known.collect();
    let number = number.unwrap_or_else(|| known.iter().max().map_or(1, |last| last + 1));
    let name = format!("spu-{number}");
    let place = running.iter().position(|one| one.facts.name == name);
    if let Some(at) = place {
        let node = &running[at].node;
        let is_gone = cluster.is_gone(node).await?;
        if is_gone {
            cluster.enter_again(node).await?;
        }
        if is_gone || Owner::of(&cluster.data_dir(node)).is_none() {
            return restart(cluster, running, &name).await;
        }
        if rack.is_some_and(|rack| rack != running[at].node.rack()) {
            return Err(Failure::failed(format!(
                "{name} runs on {}; `tidegate spu alter {number} --rack RACK` moves it to another rack",
                running[at].node.rack()
            )));
        }
        return Ok(Answer::Done {
            said: format!("{name} is there already"),
            name,
            changed: false,
        });
    }
    let directory = cluster.directory.clone();
    let node = cluster.layout.add_spu(&directory, number, rack)?;
    if cluster.is_gone(&node).await? {
        cluster.enter_again(&node).await?;
    }
    let rack = node.rack();
    let child = launch(cluster, &node).await?;
    let added = ready(cluster, node, child).await?;
    // Where it is after the next start: behind the other units.
    let before = running
        .iter()
        .filter(|one| one.node.kind <= NodeKind::Spu)
        .count();
    running.insert(before, added);
    manifest(cluster, running).write(&cluster.directory)?;
    Ok(Answer::Done {
        said: format!(
            "{name} is ready on {rack}; new topics are placed on it, and `tidegate partition rebalance` moves old ones"
        ),
        name,
        changed: true,
    })
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
pub(super) async fn stop_all(
    cluster: &LocalCluster,
    mut running: Vec<Running>,
    signals: &mut Signals,
) {
    let nodes = manifest(cluster, &running).nodes;
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
