//! The processes of a cluster on this machine: started, made known, started again, ended.
//!
//! Invariants: nothing is started in a place where something runs; what runs in a place is ended whoever
//! started it.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use tidegate_kit::signal::Signals;

use super::child::{self, Started};
use super::layout::{NodeKind, NodePlan};
use super::local::{LocalCluster, data_dirs};
use super::manifest::{Manifest, ManifestNode};
use super::membership::Membership;
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
    if cluster.was_removed(&was.node).await {
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
    let node = cluster.layout.plan_spu(number, rack)?;
    let (name, number) = (node.name(), node.number);
    let membership = cluster.membership(&node).await?;
    let at = running.iter().position(|one| one.facts.name == name);
    if membership == Membership::Member {
        let had = cluster.layout.plan_of(NodeKind::Spu, number);
        if let Some(had) = had.filter(|had| had.rack() != node.rack()) {
            return Err(Failure::failed(format!(
                "{name} is on {}; `tidegate spu alter {number} --rack RACK` moves it to another rack",
                had.rack()
            )));
        }
        if at.is_some() && Owner::of(&cluster.data_dir(&node)).is_some() {
            return Ok(Answer::Done {
                said: format!("{name} is there already"),
                name,
                changed: false,
            });
        }
    }
    let was_there = cluster.layout.has(&node);
    let directory = cluster.directory.clone();
    cluster.layout.keep(&directory, node.clone())?;
    if let Some(at) = at {
        if membership.needs_entering() {
            cluster.enter(&node).await?;
        }
        running[at].node = node;
        return restart(cluster, running, &name).await;
    }
    let added = match begin(cluster, &node, membership).await {
        Ok(added) => added,
        Err(failure) if was_there => return Err(failure),
        Err(failure) => {
            // The next start would fail with it, and whoever tries again means this one.
            cluster.layout.leave_out(&directory, &[number])?;
            return Err(failure);
        }
    };
    // Where it is after the next start.
    let before = running
        .iter()
        .filter(|one| (one.node.kind, one.node.number) < (NodeKind::Spu, number));
    running.insert(before.count(), added);
    manifest(cluster, running).write(&directory)?;
    Ok(Answer::Done {
        said: format!(
            "{name} is ready on {}; new topics are placed on it, and `tidegate partition rebalance` moves old ones",
            node.rack()
        ),
        name,
        changed: true,
    })
}

/// Starts a storage unit, entered if it has to be, and waits until it is ready.
async fn begin(
    cluster: &LocalCluster,
    node: &NodePlan,
    membership: Membership,
) -> Result<Running, Failure> {
    if membership.needs_entering() {
        cluster.enter(node).await?;
    }
    let child = launch(cluster, node).await?;
    ready(cluster, node.clone(), child).await
}

/// The processes of one kind that run in the places of a cluster, however they were started.
pub(super) fn alive(cluster: &Path, kind: NodeKind) -> Vec<u32> {
    let places = data_dirs(cluster, kind).into_iter();
    let owners = places.filter_map(|place| Owner::of(&place));
    owners.map(|owner| owner.pid).collect()
}

/// Ends what runs in the places of the cluster in a directory, gateways first: who is told to stop should still
/// reach those behind it.
pub(super) async fn end(cluster: &Path, patience: Duration) {
    for kind in [NodeKind::Gateway, NodeKind::Spu, NodeKind::Sc] {
        let alive = || alive(cluster, kind);
        for pid in alive() {
            child::signal(pid, Signal::TERM);
        }
        let ended = tokio::time::timeout(patience, async {
            while !alive().is_empty() {
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
        () = end(&cluster.directory, STOP_WAIT) => {}
        () = reap => {}
        _ = signals.recv() => {}
    }
    // What is left is killed with them.
    drop(running);
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;
    use crate::owner::LOCK_FILE;

    #[test]
    fn what_runs_in_a_cluster_is_found_without_a_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let cluster = folder.path();
        assert!(alive(cluster, NodeKind::Spu).is_empty());
        for name in ["spu-3", "spu-4", "sc-1", "spu", "x"] {
            fs::create_dir_all(cluster.join("nodes").join(name).join("data")).unwrap();
        }
        let place = cluster.join("nodes/spu-3/data");
        let mut lock = File::create(place.join(LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        Owner::write(&mut lock).unwrap();
        assert_eq!(alive(cluster, NodeKind::Spu), [std::process::id()]);
        assert!(alive(cluster, NodeKind::Sc).is_empty());
        assert!(alive(cluster, NodeKind::Gateway).is_empty());
    }
}
