//! Puts the server together: controller, storage node, data plane and public edge in one process on
//! one port, and takes it apart again.
//!
//! Start: port, directory, certificates, stores, registration, routes, and only then ready. Stop: not
//! ready, sockets drained, partitions flushed, controller closed. What was acknowledged is on disk
//! before the process ends, and before that if it is killed.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_data_plane::{DataPlane, DataPlaneConfig, DirectProduce};
use tidegate_gateway::Parts;
use tidegate_kit::auth::Auth;
use tidegate_kit::limits::OWN_CERTIFICATE_POLL_INTERVAL;
use tidegate_kit::memory::Memory;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::{health, metrics, tls};
use tidegate_proto::control::Registered;
use tidegate_proto::id::SpuId;
use tidegate_sc::{Controller, ControllerSettings, ScConfig, StoreLocation};
use tidegate_spu::{Node, SpuConfig};
use tokio::sync::watch;
use tracing::info_span;

use crate::failure::Failure;
use crate::leftovers::Leftovers;
use crate::producers::LeasedIds;
use crate::seals;
use crate::up::arguments::UpArguments;
use crate::up::counting::Counting;
use crate::up::directory::DataDirectory;
use crate::up::failures;
use crate::up::machine::{self, Files};
use crate::up::statuses::LocalStatuses;

/// Requests and sockets that are open get this long once a stop has begun.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Then what is left is dropped.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// The only storage node of this process.
const SPU: SpuId = SpuId(1);

/// What clients need to know.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) url: String,
    /// Absent in development mode.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token: Option<String>,
}

/// A server that serves.
pub(crate) struct Server {
    pub(crate) access: Access,
    ready: watch::Sender<bool>,
    root: Tasks,
    /// Listener, connections and sockets: stopped first.
    edge: Tasks,
    /// The storage node's own tasks, ended by the node.
    storage: Tasks,
    /// The controller: stopped last.
    control: Tasks,
    node: Node,
    directory: PathBuf,
}

/// What is opened before anything is served.
struct Foundation {
    controller: Controller,
    node: Node,
    auth: Auth,
    origins: tidegate_kit::http::OriginRules,
    /// The same origins as given, for sockets.
    pages: Vec<String>,
    shared_pages: bool,
    memory: Memory,
}

impl Server {
    /// Opens everything under `directory` and serves on `listener`.
    pub(crate) async fn start(
        arguments: &UpArguments,
        listener: TcpListener,
        directory: &DataDirectory,
        root: Tasks,
    ) -> Result<Self, Failure> {
        let address = listener
            .local_addr()
            .map_err(|error| failures::bind(unknown(), &error))?;
        let metrics = metrics::install();
        let (edge, storage, control) = (root.child(), root.child(), root.child());
        metrics.spawn_upkeep(&root);

        let (access, tls) = secure(arguments, address, directory, &root)?;
        let auth = access
            .token
            .as_deref()
            .map_or_else(Auth::dev, Auth::with_token);
        let controller = open_controller(directory.path(), &control).await?;
        // Before the log opens, which keeps as many files open as there is room for.
        let asked = arguments.connections_max.map(|count| count as usize);
        let files = Files::share(machine::raise_open_files(), asked);
        let bytes_max = arguments
            .memory_max
            .unwrap_or_else(machine::memory_bytes_max);
        let memory = Memory::new(bytes_max);
        metrics.watch_memory(&memory);
        let node = open_node(directory.path(), arguments, files, &memory).await?;
        let registered = admit(&controller, &node).await?;
        node.start(registered, controller.topology(), &storage)
            .map_err(|error| failures::node(directory.path(), &error))?;
        let topology = controller.topology();
        seals::spawn(&controller, &node, registered, topology, &storage);
        let leftovers = Leftovers::new(controller.clone(), node.watch_leftovers());
        storage.spawn(TaskKind::Watch, info_span!("leftovers"), leftovers.follow());
        Counting::new(&controller, &node, registered).spawn(&storage);

        let (ready, is_ready) = watch::channel(false);
        let foundation = Foundation {
            controller,
            node,
            auth,
            origins: arguments.origins()?,
            pages: arguments.cors_origin.clone(),
            shared_pages: arguments.shared_pages,
            memory,
        };
        let health = health::router(
            is_ready,
            foundation.node.notice(),
            metrics,
            &foundation.auth,
        );
        let (parts, produce) = parts(&foundation, health, &edge, tls.is_some());
        let front = tidegate_gateway::front(parts, produce);
        let limits = serve_limits(arguments, files);
        serve(ServeConfig {
            listener,
            front,
            tls,
            tasks: edge.clone(),
            limits,
        })
        .map_err(|error| failures::bind(address, &error))?;
        ready.send_replace(true);
        let directory = directory.path().to_owned();
        Ok(Self {
            access,
            ready,
            root,
            edge,
            storage,
            control,
            node: foundation.node,
            directory,
        })
    }

    /// Ends when a part has failed without which the server cannot go on.
    pub(crate) async fn failed(&self) -> Failure {
        self.root.cancelled().await;
        let reason = self.root.failure().map_or_else(
            || "the server was asked to stop".to_owned(),
            |failure| failure.to_string(),
        );
        Failure::failed(reason)
    }

    /// Stops in order. What was acknowledged is on disk, whatever this returns.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.ready.send_replace(false);
        self.edge.shutdown(DRAIN_TIMEOUT + DRAIN_GRACE).await;
        let stopped = self.node.stop().await;
        self.storage.shutdown(DRAIN_GRACE).await;
        self.control.shutdown(DRAIN_GRACE).await;
        self.root.shutdown(DRAIN_GRACE).await;
        stopped.map_err(|error| failures::node(&self.directory, &error))
    }
}

fn unknown() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

type TlsConfig = Option<Arc<rustls::ServerConfig>>;

fn secure(
    arguments: &UpArguments,
    address: SocketAddr,
    directory: &DataDirectory,
    tasks: &Tasks,
) -> Result<(Access, TlsConfig), Failure> {
    let url = arguments.url(address);
    if arguments.dev {
        return Ok((
            Access {
                url,
                ca: None,
                token: None,
            },
            None,
        ));
    }
    let names = arguments.names(address);
    let failed = |error| failures::pki(&error);
    let (public, pki) = tls::PublicTls::from_own(directory.path(), &names).map_err(failed)?;
    public.spawn_reload(tasks, OWN_CERTIFICATE_POLL_INTERVAL);
    let config = public.server_config(tls::ALPN_PUBLIC).map_err(failed)?;
    let token = directory.token()?;
    let access = Access {
        url,
        ca: Some(pki.ca_path().to_owned()),
        token: Some(token),
    };
    Ok((access, Some(config)))
}

async fn open_controller(directory: &Path, tasks: &Tasks) -> Result<Controller, Failure> {
    let path = directory.join("meta.db");
    let config = ScConfig {
        store: StoreLocation::Sqlite(path.clone()),
        settings: ControllerSettings::alone(),
        tasks: tasks.clone(),
    };
    Controller::open(config)
        .await
        .map_err(|error| failures::store(&path, &error))
}

/// What a listener may have open.
fn serve_limits(arguments: &UpArguments, files: Files) -> ServeLimits {
    let connections_max = files.connections_max;
    let per_address = arguments.connections_per_address_max;
    let per_address = per_address.map_or(connections_max.div_ceil(4), |count| count as usize);
    ServeLimits {
        connections_max,
        connections_per_address_max: per_address,
        bounds_loopback: arguments.connections_per_address_max.is_some(),
        drain_timeout: DRAIN_TIMEOUT,
        ..ServeLimits::default()
    }
}

/// Opening replays the journal, which blocks.
async fn open_node(
    directory: &Path,
    arguments: &UpArguments,
    files: Files,
    memory: &Memory,
) -> Result<Node, Failure> {
    let path = directory.join("storage");
    let config = SpuConfig {
        memory: memory.clone(),
        catch_up_bytes_per_second: arguments.catch_up_rate,
        scrub: arguments.scrub(),
        space: arguments.space(),
        open_files_max: files.log_max,
        trash_delay: Duration::from_millis(arguments.trash_delay),
        ..SpuConfig::new(SPU, path.clone())
    };
    let opened = tokio::task::spawn_blocking(move || Node::open(config)).await;
    opened
        .map_err(|error| Failure::failed(format!("opening the storage failed: {error}")))?
        .map_err(|error| failures::node(&path, &error))
}

async fn admit(controller: &Controller, node: &Node) -> Result<Registered, Failure> {
    let registered = controller.register(node.register_request()).await;
    registered.map_err(|problem| {
        Failure::failed(format!(
            "the storage node was not admitted: {}",
            problem.detail()
        ))
    })
}

fn parts(
    foundation: &Foundation,
    health: axum::Router,
    edge: &Tasks,
    is_tls: bool,
) -> (Parts, DirectProduce) {
    let Foundation {
        controller,
        node,
        auth,
        origins,
        pages,
        shared_pages,
        memory,
    } = foundation;
    let producer_ids = Arc::new(LeasedIds::new(controller.clone()));
    let config = DataPlaneConfig {
        producer_ids: Some(producer_ids),
        origins: pages.clone(),
        shared_pages: *shared_pages,
        memory: memory.clone(),
        ..DataPlaneConfig::default()
    };
    let data = DataPlane::new(node.partitions(), auth.clone(), edge.clone(), config);
    let produce = DirectProduce::new(data.clone());
    let parts = Parts {
        data: tidegate_data_plane::router(data),
        control: controller.router(auth.clone(), Arc::new(LocalStatuses(node.statuses()))),
        health,
        openapi: tidegate_gateway::openapi::TIDEGATE,
        asyncapi: Some(tidegate_gateway::openapi::FRAMES),
        origins: origins.clone(),
        memory: memory.clone(),
        is_tls,
        is_open: auth.is_open(),
    };
    (parts, produce)
}
