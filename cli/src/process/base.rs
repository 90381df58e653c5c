//! The ground that every role stands on: directory, tasks, metrics, credentials, memory, and the
//! operators' listener.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidegate_kit::auth::Auth;
use tidegate_kit::health::{self, Notice};
use tidegate_kit::http::{
    EdgeConfig, EdgeLayer, Front, OriginRules, fallback_method, fallback_not_found,
};
use tidegate_kit::limits::CERTIFICATE_POLL_INTERVAL;
use tidegate_kit::memory::Memory;
use tidegate_kit::metrics::{self, MetricsHandle};
use tidegate_kit::secret::SecretDigest;
use tidegate_kit::serve::{ServeConfig, ServeLimits, serve};
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls;
use tidegate_proto::node::NodeRole;
use tokio::sync::watch;

use super::announcement::NodeFacts;
use crate::config::{ProcessSettings, SecuritySettings};
use crate::failure::Failure;
use crate::up::directory::DataDirectory;
use crate::up::failures;
use crate::up::machine::{self, Files};

/// Requests and sockets that are open get this long once a stop has begun.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Then what is left is dropped.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// The ground of a process.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) directory: DataDirectory,
    pub(crate) root: Tasks,
    pub(crate) auth: Auth,
    pub(crate) memory: Memory,
    pub(crate) metrics: MetricsHandle,
    pub(crate) files: Files,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) operators_url: String,
    ready: watch::Sender<bool>,
    /// Ends after everything else.
    operators: Tasks,
}

/// A listener of a process.
pub(crate) struct Listening {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listening {
    /// Binds it.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let failed = |error| failures::bind(address, &error);
        let listener = TcpListener::bind(address).map_err(failed)?;
        machine::lengthen_queue(&listener).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Serves `front` on it as a task of `tasks`.
    pub(crate) fn serve(
        self,
        front: Front,
        tls: Arc<rustls::ServerConfig>,
        tasks: &Tasks,
        limits: ServeLimits,
    ) -> Result<(), Failure> {
        let served = serve(ServeConfig {
            listener: self.listener,
            front,
            tls: Some(tls),
            tasks: tasks.clone(),
            limits,
        });
        served.map_err(|error| failures::bind(self.address, &error))?;
        Ok(())
    }
}

impl Base {
    /// Takes the directory and serves health and metrics. `notice` is what the role has to say of itself.
    pub(crate) fn open(
        settings: &ProcessSettings,
        notice: watch::Receiver<Option<Notice>>,
    ) -> Result<Self, Failure> {
        let directory = DataDirectory::open(&settings.data_dir)?;
        let metrics = metrics::install();
        let root = Tasks::new();
        metrics.spawn_upkeep(&root);
        let digest = SecretDigest::from_bytes(settings.security.admin_token_sha256);
        let auth = Auth::with_digest(digest);
        let asked = settings.connections_max.map(|count| count as usize);
        let files = Files::share(machine::raise_open_files(), asked);
        let bytes_max = settings
            .memory_max
            .unwrap_or_else(machine::memory_bytes_max);
        let memory = Memory::new(bytes_max);
        metrics.watch_memory(&memory);
        let tls = public_tls(&settings.security, &root)?;
        let listening = Listening::bind(settings.listen_operators)?;
        let operators_url = url_of(listening.address);
        let (ready, is_ready) = watch::channel(false);
        let base = Self {
            operators: root.child(),
            directory,
            root,
            auth,
            memory,
            metrics,
            files,
            tls,
            operators_url,
            ready,
        };
        let health = health::router(is_ready, notice, base.metrics.clone(), &base.auth);
        let front = Front::from(base.edged(health, OriginRules::default()));
        let (tls, limits) = (Arc::clone(&base.tls), ServeLimits::default());
        listening.serve(front, tls, &base.operators, limits)?;
        Ok(base)
    }

    /// The routes of health and metrics once more, for a public listener.
    pub(crate) fn health(&self, notice: watch::Receiver<Option<Notice>>) -> Router {
        health::router(
            self.ready.subscribe(),
            notice,
            self.metrics.clone(),
            &self.auth,
        )
    }

    /// A router with the edge around it, and an answer for what it does not have.
    pub(crate) fn edged(&self, router: Router, origins: OriginRules) -> Router {
        let edge = EdgeLayer::new(EdgeConfig {
            origins,
            memory: self.memory.clone(),
        });
        router
            .method_not_allowed_fallback(fallback_method)
            .fallback(fallback_not_found)
            .layer(edge)
    }

    /// Bounds of a public listener.
    pub(crate) fn limits(&self) -> ServeLimits {
        let connections_max = self.files.connections_max;
        ServeLimits {
            connections_max,
            connections_per_address_max: connections_max.div_ceil(4),
            drain_timeout: DRAIN_TIMEOUT,
            ..ServeLimits::default()
        }
    }

    /// What this process tells of itself once it is ready; a role adds where clients and other nodes reach it.
    pub(crate) fn facts(&self, role: NodeRole, name: &str) -> NodeFacts {
        NodeFacts {
            name: name.to_owned(),
            role: role.as_str().to_owned(),
            pid: std::process::id(),
            url: None,
            private_url: None,
            operators_url: self.operators_url.clone(),
        }
    }

    /// Tells whoever asks whether this process should get traffic.
    pub(crate) fn set_ready(&self, is_ready: bool) {
        self.ready.send_replace(is_ready);
    }

    /// Ends when a part has failed without which the process cannot go on.
    pub(crate) async fn failed(&self) -> Failure {
        self.root.cancelled().await;
        let reason = self.root.failure().map_or_else(
            || "the process was asked to stop".to_owned(),
            |failure| failure.to_string(),
        );
        Failure::failed(reason)
    }

    /// Ends what is left: the operators' listener and upkeep.
    pub(crate) async fn stop(&self) {
        self.operators.shutdown(DRAIN_GRACE).await;
        self.root.shutdown(DRAIN_GRACE).await;
    }
}

/// A URL that opens on this machine: an address that stands for all of them is none.
pub(crate) fn url_of(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("https://{}", SocketAddr::new(ip, address.port()))
}

/// The certificate for clients and operators. Files that take the place of these are taken over.
pub(crate) fn public_tls(
    settings: &SecuritySettings,
    tasks: &Tasks,
) -> Result<Arc<rustls::ServerConfig>, Failure> {
    let unusable = |error: tls::PkiError| {
        let error = failures::chain(&error);
        Failure::usage(format!(
            "the certificate for clients cannot be used: {error}"
        ))
    };
    let public =
        tls::PublicTls::from_files(&settings.tls_cert, &settings.tls_key).map_err(unusable)?;
    public.spawn_reload(tasks, CERTIFICATE_POLL_INTERVAL);
    public.server_config(tls::ALPN_PUBLIC).map_err(unusable)
}
