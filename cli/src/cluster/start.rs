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
use rustix::process::{geteuid, umask};
use tidegate_kit::boot::{self, LogFormat};
use tidegate_kit::clock;
use tidegate_proto::id::ClusterId;
use tidegate_sc::local_postgres::{Door, LocalPostgres, ServerOptions};
use tidegate_sc::store::{self, DatabaseUrl, StoreError};
use uuid::Uuid;

use super::arguments::StartArguments;
use super::layout::{Layout, NodeKind, NodePlan, Wanted};
use super::local::{LocalCluster, data_dir};
use super::manifest::Manifest;
use super::membership::sort;
use super::nodes::{Running, STEP, STOP_WAIT, carry_out, end, launch, manifest, ready, stop_all};
use super::requests::Requests;
use crate::connection::ConnectionArguments;
use crate::failure::{Failure, interrupts};
use crate::output;
use crate::profile::{DEFAULT_PROFILE, Profile};
use crate::sc::authority::cluster_of;
use crate::up::directory::{DataDirectory, disk};
use crate::up::failures::chain;

/// How often a database is asked that does not answer, each time for as long as any connection may take.
const DATABASE_ATTEMPTS: u32 = 5;
const DATABASE_PAUSE: Duration = Duration::from_secs(1);

/// Starts it and holds it until a signal. Needs a runtime.
pub(super) async fn run(
    arguments: &StartArguments,
    connection: &ConnectionArguments,
) -> Result<(), Failure> {
    boot::init_logging(LogFormat::Text, "warn")
        .map_err(|error| Failure::failed(error.to_string()))?;
    // Nobody else on the machine has any business with what is made from here on, by us or by those we
    // start.
    umask(Mode::RWXG | Mode::RWXO);
    let mut signals = interrupts()?;
    let directory = DataDirectory::open(&arguments.place.data_dir)?;
    // Of a holder that was killed, ready or not.
    end(directory.path(), STOP_WAIT).await;
    Manifest::remove(directory.path());
    let (layout, dropped) = Layout::ensure(directory.path(), &wanted(arguments))?;
    say_dropped(directory.path(), &dropped);
    if layout.of(NodeKind::Spu).next().is_none() {
        output::say(
            "there are no storage units: topics can be made, and take no records before `tidegate cluster \
             add-spu` adds one",
        );
    }
    let (postgres, url) = database(arguments, &directory, &layout).await?;
    let mut cluster = LocalCluster::prepare(&directory, layout, url, &arguments.log)?;
    let mut running = Vec::new();
    let profile = (!arguments.no_profile).then_some(connection);
    let outcome = tokio::select! {
        outcome = serve(&mut cluster, &mut running, arguments.spus, profile) => outcome,
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

fn wanted(arguments: &StartArguments) -> [Wanted; 3] {
    let wanted = |kind, count, at_first| Wanted {
        kind,
        count,
        at_first,
    };
    [
        wanted(NodeKind::Sc, arguments.scs, 2),
        wanted(NodeKind::Spu, arguments.spus, 3),
        wanted(NodeKind::Gateway, arguments.gateways, 2),
    ]
}

/// Those that a smaller count than before leaves out.
fn say_dropped(directory: &Path, dropped: &[NodePlan]) {
    for node in dropped {
        let (name, files) = (node.name(), data_dir(directory, node));
        let back = match node.kind {
            NodeKind::Spu => format!(
                " The cluster goes on to count it as one of its own, which is down; `tidegate cluster \
                 add-spu {}` starts it again.",
                node.number
            ),
            NodeKind::Sc | NodeKind::Gateway => String::new(),
        };
        output::say(&format!(
            "{name} is left out, for fewer were asked for than there were; its files stay in {}.{back}",
            files.display()
        ));
    }
}

/// Ends only by failure. `spus` is how many storage units were asked for.
async fn serve(
    cluster: &mut LocalCluster,
    running: &mut Vec<Running>,
    spus: Option<u32>,
    profile: Option<&ConnectionArguments>,
) -> Result<(), Failure> {
    let cluster_id = migrate(&cluster.database_url).await?;
    cluster.ensure_authority(cluster_id)?;
    let mut doubtful = Vec::new();
    for kind in [NodeKind::Sc, NodeKind::Spu, NodeKind::Gateway] {
        if kind == NodeKind::Spu {
            doubtful = take_back_or_leave_out(cluster, spus.is_some()).await?;
        }
        let mut started = Vec::new();
        for node in cluster.layout.of(kind) {
            started.push((node.clone(), launch(cluster, node).await?));
        }
        for (node, child) in started {
            let is_doubtful = kind == NodeKind::Spu && doubtful.contains(&node.number);
            match ready(cluster, node.clone(), child).await {
                Ok(one) => running.push(one),
                Err(failure) if is_doubtful => say_unknown(cluster, &node, &failure),
                Err(failure) => return Err(failure),
            }
        }
    }
    let requests = Requests::open(&cluster.directory)?;
    announce(cluster, running, profile)?;
    loop {
        tokio::time::sleep(STEP).await;
        report_ended(cluster, running).await;
        if let Some((request, place)) = requests.next() {
            let answer = carry_out(cluster, running, request).await;
            Requests::answer(&place, &answer);
        }
    }
}

/// Storage units that were removed from the cluster: those that were asked for are entered again, the others
/// are not started. Which there are that the cluster does not know.
async fn take_back_or_leave_out(
    cluster: &mut LocalCluster,
    were_asked_for: bool,
) -> Result<Vec<u32>, Failure> {
    let mut units = Vec::new();
    for node in cluster.layout.of(NodeKind::Spu) {
        units.push((node.number, cluster.membership(node).await?));
    }
    let sorted = sort(&units, were_asked_for);
    let among = |numbers: &[u32]| -> Vec<NodePlan> {
        let units = cluster.layout.of(NodeKind::Spu);
        units
            .filter(|it| numbers.contains(&it.number))
            .cloned()
            .collect()
    };
    for node in among(&sorted.taken_back) {
        cluster.enter(&node).await?;
        output::say(&format!(
            "{} had been removed from the cluster; it is entered again, as --spus asks for it",
            node.name()
        ));
    }
    for node in among(&sorted.left_out) {
        output::say(&format!(
            "{} was removed from the cluster and is not started; its files stay in {}. `tidegate \
             cluster add-spu {}` takes it back.",
            node.name(),
            cluster.data_dir(&node).display(),
            node.number
        ));
    }
    if !sorted.left_out.is_empty() {
        let directory = cluster.directory.clone();
        cluster.layout.leave_out(&directory, &sorted.left_out)?;
    }
    Ok(sorted.doubtful)
}

/// A unit with data that the metadata has never heard of was not let in.
fn say_unknown(cluster: &LocalCluster, node: &NodePlan, failure: &Failure) {
    output::say(&format!(
        "{}\nThe metadata does not know {}, as after a restore from an older backup. It is down, and its files \
         stay in {}; `tidegate cluster add-spu {}` enters it.",
        failure.message,
        node.name(),
        cluster.data_dir(node).display(),
        node.number
    ));
}

/// Tells of processes that ended by themselves. A storage unit that was removed ends so, and goes.
async fn report_ended(cluster: &mut LocalCluster, running: &mut Vec<Running>) {
    let mut removed = Vec::new();
    for one in running.iter_mut().filter(|one| !one.has_ended) {
        let Some(ending) = one.child.ending() else {
            continue;
        };
        one.has_ended = true;
        let (name, directory) = (&one.facts.name, cluster.directory.display());
        if cluster.was_removed(&one.node).await {
            removed.push(one.node.number);
            output::say(&format!(
                "{name} was removed from the cluster and has ended; its files stay in {}",
                cluster.data_dir(&one.node).display()
            ));
            continue;
        }
        output::say(&format!(
            "{name} ended: {ending}. It stays down; to start it again:\n  \
             tidegate cluster restart {name} --data-dir {directory}\n  {}",
            cluster.argv(&one.node).join(" "),
        ));
    }
    if removed.is_empty() {
        return;
    }
    running.retain(|one| one.node.kind != NodeKind::Spu || !removed.contains(&one.node.number));
    let kept = cluster.layout.leave_out(&cluster.directory, &removed);
    let kept = kept.and_then(|()| manifest(cluster, running).write(&cluster.directory));
    // A disk that is full is no reason to end a cluster, and the next start finds out by itself.
    if let Err(failure) = kept {
        output::say(&failure.message);
    }
}

/// Tells everybody that it is ready.
fn announce(
    cluster: &LocalCluster,
    running: &[Running],
    profile: Option<&ConnectionArguments>,
) -> Result<(), Failure> {
    let manifest = manifest(cluster, running);
    let mut urls = manifest.doors().into_iter().map(|door| door.url.clone());
    let content = Profile {
        url: urls.next().unwrap_or_default(),
        more_urls: urls.collect(),
        ca: Some(cluster.ca.clone()),
        token: Some(cluster.token.clone()),
    };
    // Whoever waits for `cluster.json` may use a client command next.
    let kept = profile.and_then(|connection| connection.keep(&content));
    manifest.write(&cluster.directory)?;
    let directory = cluster.directory.display();
    let first = match kept.as_deref() {
        Some(DEFAULT_PROFILE) => String::new(),
        Some(name) => format!("export TIDEGATE_PROFILE={name}\n    "),
        None => format!("eval \"$(tidegate cluster env --data-dir {directory})\"\n    "),
    };
    output::say(&format!(
        "\n  The cluster is ready: {} processes, described in {directory}/cluster.json\n\n  Try, in another \
         terminal:\n    {first}tidegate topic create demo --partitions 3\n    \
         tidegate cluster status --data-dir {directory}\n",
        manifest.nodes.len(),
    ));
    Ok(())
}

/// Prepares the database; which cluster it is of. One that does not answer at first, as on a busy machine,
/// is asked again.
async fn migrate(url: &str) -> Result<ClusterId, Failure> {
    let url = DatabaseUrl::parse(url).map_err(|error| Failure::usage(chain(&error)))?;
    let new_cluster = ClusterId(Uuid::new_v4());
    let mut attempts_left = DATABASE_ATTEMPTS;
    loop {
        let prepared = async {
            store::migrate(&url, new_cluster, clock::now_ms()).await?;
            cluster_of(&url).await
        };
        attempts_left -= 1;
        match prepared.await {
            Err(error @ (StoreError::Unreachable(_) | StoreError::Slow(_)))
                if attempts_left > 0 =>
            {
                output::say(&format!("{}; once more", chain(&error)));
                tokio::time::sleep(DATABASE_PAUSE).await;
            }
            prepared => return prepared.map_err(|error| Failure::failed(chain(&error))),
        }
    }
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
