//! A storage unit put together, and taken apart.
//!
//! Start: directory, identity, log, registration, and only then anything is served (S6). Stop: not ready,
//! nothing new taken in, what was taken in made durable, the controllers told, the mark of a clean stop. When a
//! controller says that it was shut out it starts over; when another process took its number it ends.

use std::sync::Arc;

use tidegate_data_plane::{DataPlane, DataPlaneConfig, DirectProduce};
use tidegate_kit::health::Notice;
use tidegate_kit::http::{Front, OriginRules};
use tidegate_kit::serve::ServeLimits;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::{ClientAuth, NodeTls};
use tidegate_proto::control::{Audience, Endpoint, LeaveRequest, NodeSite, Registered};
use tidegate_proto::node::NodeRole;
use tidegate_spu::private::{PrivateConfig, service};
use tidegate_spu::session::{self, Excluded, Heart};
use tidegate_spu::{Membership, Node, SpuConfig};
use tokio::sync::watch;
use tracing::info_span;

use crate::config::SpuSettings;
use crate::control::RemoteControl;
use crate::failure::Failure;
use crate::leftovers::Leftovers;
use crate::process::{
    Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, NodeFacts, Serving, controllers, enrol, keep_seen,
    read_seen,
};
use crate::producers::LeasedIds;
use crate::seals;
use crate::up::failures::{self, chain};

/// A storage unit that serves.
pub(crate) struct SpuServer {
    base: Base,
    facts: NodeFacts,
    node: Node,
    control: RemoteControl,
    leave: LeaveRequest,
    draining: watch::Sender<bool>,
    excluded: watch::Receiver<Option<Excluded>>,
    stages: Stages,
}

/// Stages of the process, in the order in which they end.
struct Stages {
    /// Listeners and connections.
    edge: Tasks,
    /// The node's own.
    storage: Tasks,
    /// What keeps in touch with the controllers.
    session: Tasks,
}

/// Where it listens.
struct Doors {
    private: Listening,
    private_url: String,
    clients: Option<(Listening, String)>,
}

impl Doors {
    fn bind(settings: &SpuSettings) -> Result<Self, Failure> {
        let url = |listening: &Listening, told: &Option<String>| {
            told.clone()
                .unwrap_or_else(|| format!("https://{}", listening.address))
        };
        let private = Listening::bind(settings.private.listen)?;
        let clients = match &settings.clients {
            Some(door) => {
                let listening = Listening::bind(door.listen)?;
                let url = url(&listening, &door.advertise);
                Some((listening, url))
            }
            None => None,
        };
        Ok(Self {
            private_url: url(&private, &settings.private.advertise),
            private,
            clients,
        })
    }

    fn endpoints(&self, operators_url: &str) -> Vec<Endpoint> {
        let endpoint = |audience, url: &str| Endpoint {
            audience,
            url: url.to_owned(),
        };
        let clients = self.clients.iter();
        let clients = clients.map(|(_, url)| endpoint(Audience::Clients, url));
        let others = [
            endpoint(Audience::Peers, &self.private_url),
            endpoint(Audience::Operators, operators_url),
        ];
        clients.chain(others).collect()
    }
}

impl SpuServer {
    /// Opens the directory, registers and serves. While no controller answers, it waits.
    pub(crate) async fn start(settings: &SpuSettings) -> Result<Self, Failure> {
        let (notice, noticed) = watch::channel(None);
        let base = Base::open(&settings.process, noticed.clone())?;
        let doors = Doors::bind(settings)?;
        let stages = Stages {
            edge: base.root.child(),
            storage: base.root.child(),
            session: base.root.child(),
        };
        let security = &settings.process.security;
        let name = format!("spu-{}", settings.spu_id);
        let tls = enrol(security, &base, NodeRole::Spu, &name, &stages.session).await?;
        let kept = read_seen(base.directory.path());
        let control = controllers(security, &tls, kept, &stages.session)?;
        keep_seen(base.directory.path(), &control.followed, &stages.session);
        let node = open(settings, &base, &doors).await?;
        let registered = admit(&node, &control, &tls, settings).await?;
        let topology = control.followed.topology.clone();
        node.join(Membership {
            tls: tls.clone(),
            client: control.client.clone(),
        });
        node.start(registered, topology, &stages.storage)
            .map_err(|error| failures::node(base.directory.path(), &error))?;
        let leftovers = Leftovers::new(control.clone(), node.watch_leftovers());
        let upkeep = &stages.session;
        let followed = control.followed.topology.clone();
        seals::spawn(&control, &node, registered, followed, upkeep);
        upkeep.spawn(TaskKind::Watch, info_span!("leftovers"), leftovers.follow());
        upkeep.spawn(
            TaskKind::Watch,
            info_span!("notice"),
            relay(node.notice(), notice),
        );
        let facts = NodeFacts {
            url: doors.clients.as_ref().map(|(_, url)| url.clone()),
            private_url: Some(doors.private_url.clone()),
            ..base.facts(NodeRole::Spu, &name)
        };
        serve_private(doors.private, &node, &base, &tls, &stages.edge)?;
        if let Some((listening, _)) = doors.clients {
            let front = public(&node, &base, &control, noticed, &stages.edge);
            let limits = base.limits();
            listening.serve(front, Arc::clone(&base.tls), &stages.edge, limits)?;
        }
        let (draining, is_draining) = watch::channel(false);
        let client = control.client.clone();
        let heart = Heart::new(&node, client, control.followed.clone(), registered);
        let leave = heart.farewell();
        let (excluded_tx, excluded) = watch::channel(None);
        stages
            .session
            .spawn(TaskKind::Session, info_span!("heart"), async move {
                let found = heart.run(is_draining).await;
                excluded_tx.send_replace(Some(found));
            });
        base.set_ready(true);
        Ok(Self {
            base,
            facts,
            node,
            control,
            leave,
            draining,
            excluded,
            stages,
        })
    }
}

impl Serving for SpuServer {
    fn facts(&self) -> NodeFacts {
        self.facts.clone()
    }

    async fn failed(&self) -> Failure {
        let mut excluded = self.excluded.clone();
        let excluded = async {
            match excluded.wait_for(Option::is_some).await.as_deref() {
                Ok(Some(Excluded::Superseded)) => superseded(&self.facts.name),
                Ok(Some(Excluded::Fenced)) => Failure::new(
                    Failure::AGAIN,
                    "the controllers shut this storage unit out, for it was not heard of",
                ),
                Ok(Some(Excluded::Adopted)) => Failure::new(
                    Failure::AGAIN,
                    "the controllers go on with another metadata store: this storage unit registers there",
                ),
                Ok(Some(Excluded::Unknown)) => Failure::new(
                    Failure::AGAIN,
                    "the controllers do not know this storage unit's registration",
                ),
                // The heart stops only with the process; its failure is one of the process.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = excluded => failure,
            failure = self.base.failed() => failure,
        }
    }

    async fn stop(self) -> Result<(), Failure> {
        self.base.set_ready(false);
        self.draining.send_replace(true);
        self.stages.edge.shutdown(DRAIN_TIMEOUT + DRAIN_GRACE).await;
        let stopped = self.node.stop().await;
        self.stages.storage.shutdown(DRAIN_GRACE).await;
        let is_member = self.excluded.borrow().is_none();
        if is_member {
            let told = self.control.client.leave(&self.leave);
            match tokio::time::timeout(DRAIN_GRACE, told).await {
                Ok(Ok(())) => {}
                // They find out by themselves.
                Ok(Err(error)) => tracing::info!(%error, "no controller was told of the stop"),
                Err(_) => tracing::info!("no controller was told of the stop in time"),
            }
        }
        self.stages.session.shutdown(DRAIN_GRACE).await;
        self.base.stop().await;
        stopped.map_err(|error| failures::node(self.base.directory.path(), &error))
    }
}

/// Opening replays the journal, which blocks.
async fn open(settings: &SpuSettings, base: &Base, doors: &Doors) -> Result<Node, Failure> {
    let path = base.directory.path().join("storage");
    let config = SpuConfig {
        group: Some(settings.group.clone()),
        site: NodeSite {
            rack: settings.rack.clone(),
            site: settings.site.clone(),
            endpoints: doors.endpoints(&base.operators_url),
        },
        memory: base.memory.clone(),
        catch_up_bytes_per_second: settings.catch_up_rate,
        replication_bytes_per_second: settings.replication_rate,
        scrub: settings.scrub,
        space: settings.space,
        open_files_max: base.files.log_max,
        trash_delay: settings.trash_delay,
        ..SpuConfig::new(settings.spu_id, path.clone())
    };
    let opened = tokio::task::spawn_blocking(move || Node::open(config)).await;
    opened
        .map_err(|error| Failure::failed(format!("opening the storage failed: {error}")))?
        .map_err(|error| failures::node(&path, &error))
}

/// Registers, and waits until the topology says so.
async fn admit(
    node: &Node,
    control: &RemoteControl,
    tls: &NodeTls,
    settings: &SpuSettings,
) -> Result<Registered, Failure> {
    let mut topology = control.followed.topology.clone();
    // Controllers compare their store with what this node has seen before they tell it anything (X1), so
    // none that went back takes a registration.
    let is_told = topology.wait_for(|topology| topology.store_id.is_some());
    let _ = is_told.await;
    let registered = session::register(node, &control.client).await;
    let registered = registered.map_err(|problem| {
        Failure::failed(format!(
            "the storage unit was not admitted: {}",
            problem.detail()
        ))
    })?;
    if registered.cluster_id != tls.identity().cluster_id() {
        return Err(Failure::failed(
            "the controllers are of another cluster than this node's certificate",
        ));
    }
    if !session::confirmed(&mut topology, settings.spu_id, registered.incarnation).await {
        return Err(superseded(&format!("spu-{}", settings.spu_id)));
    }
    Ok(registered)
}

fn superseded(name: &str) -> Failure {
    Failure::new(
        Failure::SUPERSEDED,
        format!(
            "another process registered as {name} after this one: this one ends. Two processes must not \
             have one spu_id."
        ),
    )
}

/// What gateways and other units ask.
fn serve_private(
    listening: Listening,
    node: &Node,
    base: &Base,
    tls: &NodeTls,
    edge: &Tasks,
) -> Result<(), Failure> {
    let router = service(PrivateConfig {
        partitions: node.partitions(),
        followers: Some(node.followers()),
        memory: base.memory.clone(),
        tasks: edge.clone(),
    });
    // Without the public edge: its patience with bodies would end streams on which nothing is said.
    let front = Front::from(router);
    let tls = tls.server_config(ClientAuth::Required);
    let tls = tls.map_err(|error| Failure::failed(chain(&error)))?;
    let limits = ServeLimits {
        drain_timeout: DRAIN_TIMEOUT,
        ..ServeLimits::between_nodes()
    };
    listening.serve(front, tls, edge, limits)
}

/// The data plane for clients that need no gateway.
fn public(
    node: &Node,
    base: &Base,
    control: &RemoteControl,
    noticed: watch::Receiver<Option<Notice>>,
    edge: &Tasks,
) -> Front {
    let config = DataPlaneConfig {
        producer_ids: Some(Arc::new(LeasedIds::new(control.clone()))),
        memory: base.memory.clone(),
        ..DataPlaneConfig::default()
    };
    let data = DataPlane::new(node.partitions(), base.auth.clone(), edge.clone(), config);
    let produce = DirectProduce::new(data.clone());
    let parts = tidegate_gateway::Parts {
        data: tidegate_data_plane::router(data),
        control: axum::Router::new(),
        health: base.health(noticed),
        openapi: tidegate_gateway::openapi::DATA_PLANE,
        asyncapi: Some(tidegate_gateway::openapi::FRAMES),
        origins: OriginRules::default(),
        memory: base.memory.clone(),
        is_tls: true,
        is_open: false,
    };
    tidegate_gateway::front(parts, produce)
}

/// Hands on what the node has to say of its disk.
async fn relay(mut from: watch::Receiver<Option<Notice>>, to: watch::Sender<Option<Notice>>) {
    loop {
        let notice = from.borrow_and_update().clone();
        to.send_replace(notice);
        if from.changed().await.is_err() {
            return;
        }
    }
}
