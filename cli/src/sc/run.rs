//! `tidegate sc run`: a controller over Postgres, until it is told to stop.
//!
//! Start: directory, database, listeners, and only then ready. Stop: not ready, requests under way
//! finished, the controller closed, which gives back what it held. It keeps no state of its own.

use std::sync::Arc;

use axum::Router;
use tidegate_kit::health;
use tidegate_kit::http::Front;
use tidegate_kit::tasks::Tasks;
use tidegate_proto::control::PartitionStatus;
use tidegate_proto::position::ReplicaKey;
use tidegate_sc::{Controller, ScConfig, Statuses, StoreLocation};
use tokio::sync::watch;

use super::place;
use crate::config::ScSettings;
use crate::failure::Failure;
use crate::process::{Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, NodeFacts, Serving};

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
        let parts = tidegate_gateway::Parts {
            data: Router::new(),
            control: controller.router(base.auth.clone(), Arc::new(Unknown)),
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
            private_url: None,
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
