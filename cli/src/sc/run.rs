//! `tidegate sc run`: a controller over Postgres, until it is told to stop.
//!
//! Start: directory, database, listeners, and only then ready. Stop: not ready, requests under way
//! finished, the controller closed, which gives back what it held. It keeps no state of its own.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tidegate_kit::clock;
use tidegate_kit::health;
use tidegate_kit::http::{Front, OriginRules};
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{ClientAuth, ClusterAuthority, NodeTls, PkiError};
use tidegate_proto::control::PartitionStatus;
use tidegate_proto::id::ClusterId;
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};
use tidegate_proto::position::ReplicaKey;
use tidegate_sc::{Controller, ScConfig, Statuses, StoreLocation};
use tokio::sync::watch;

use super::{internal, place};
use crate::config::ScSettings;
use crate::failure::Failure;
use crate::process::{Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, NodeFacts, Serving};
use crate::up::directory::disk;
use crate::up::failures::chain;

/// Life of the certificate that a controller makes for itself at every start.
const OWN_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

/// A controller that serves.
pub(crate) struct ScServer {
    base: Base,
    facts: NodeFacts,
    /// Listeners and connections: stopped first.
    edge: Tasks,
    /// The controller: stopped last.
    control: Tasks,
}

impl ScServer {
    /// Opens the database and serves.
    pub(crate) async fn start(settings: &ScSettings) -> Result<Self, Failure> {
        let (_, notice) = watch::channel(None);
        let base = Base::open(&settings.process, notice.clone())?;
        let public = Listening::bind(settings.listen)?;
        let private = Listening::bind(settings.listen_private)?;
        let (edge, control) = (base.root.child(), base.root.child());
        let config = ScConfig {
            store: StoreLocation::Postgres {
                url: settings.database_url.clone(),
                name: format!("tidegate {}", settings.name),
            },
            tasks: control.clone(),
        };
        let opened = Controller::open(config).await;
        let controller = opened.map_err(|error| place::failure(&error))?;
        let tls = own_tls(settings, controller.cluster_id())?;
        let planes = || controller.router(base.auth.clone(), Arc::new(Unknown));
        let inner = internal::router(controller.clone()).merge(planes());
        let front = Front::from(base.edged(inner, OriginRules::default()));
        let tls = tls.server_config(ClientAuth::Optional);
        let tls = tls.map_err(|error| Failure::failed(chain(&error)))?;
        let private_url = format!("https://{}", private.address);
        private.serve(front, tls, &edge, base.limits())?;
        let parts = tidegate_gateway::Parts {
            data: Router::new(),
            control: planes(),
            health: base.health(notice),
            openapi: vec![tidegate_sc::openapi(), health::openapi()],
            asyncapi: serde_json::Value::Null,
            origins: settings.origins.clone(),
            memory: base.memory.clone(),
            is_tls: true,
            is_open: false,
        };
        let front = Front::from(tidegate_gateway::router(parts));
        let address = public.address;
        public.serve(front, Arc::clone(&base.tls), &edge, base.limits())?;
        base.set_ready(true);
        let facts = NodeFacts {
            name: settings.name.clone(),
            role: "sc".to_owned(),
            pid: std::process::id(),
            url: Some(format!("https://{address}")),
            private_url: Some(private_url),
            operators_url: base.operators_url.clone(),
        };
        Ok(Self {
            base,
            facts,
            edge,
            control,
        })
    }
}

impl Serving for ScServer {
    fn facts(&self) -> NodeFacts {
        self.facts.clone()
    }

    async fn failed(&self) -> Failure {
        self.base.failed().await
    }

    async fn stop(self) -> Result<(), Failure> {
        self.base.set_ready(false);
        self.edge.shutdown(DRAIN_TIMEOUT + DRAIN_GRACE).await;
        self.control.shutdown(DRAIN_GRACE).await;
        self.base.stop().await;
        Ok(())
    }
}

/// The controller's own certificate, made by itself: it holds the authority.
fn own_tls(settings: &ScSettings, cluster_id: ClusterId) -> Result<NodeTls, Failure> {
    let failed = |error: PkiError| Failure::failed(chain(&error));
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| disk(path, "cannot be read", &error))
    };
    let (ca, key) = (read(&settings.cluster_ca)?, read(&settings.cluster_ca_key)?);
    let authority = ClusterAuthority::from_pem(&ca, &key).map_err(|reason| {
        Failure::failed(format!("{}: {reason}", settings.cluster_ca.display()))
    })?;
    if authority.cluster_id() != cluster_id {
        return Err(Failure::failed(format!(
            "the authority in {} is of cluster {}, the database of cluster {cluster_id}",
            settings.cluster_ca.display(),
            authority.cluster_id()
        )));
    }
    let name =
        NodeName::parse(&settings.name).map_err(|error| Failure::usage(error.to_string()))?;
    let identity = NodeIdentity::new(cluster_id, NodeRole::Sc, name)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let credentials = authority
        .issue(&identity, clock::now_s(), OWN_LIFE)
        .map_err(failed)?;
    NodeTls::new(&credentials).map_err(failed)
}

/// Nothing is known of partitions before their units have told.
#[derive(Debug)]
struct Unknown;

impl Statuses for Unknown {
    fn partition(&self, _: ReplicaKey) -> Option<PartitionStatus> {
        None
    }

    fn has_room(&self) -> bool {
        true
    }
}
