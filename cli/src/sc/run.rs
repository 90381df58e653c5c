//! `tidegate sc run`: a controller over Postgres, until it is told to stop.
//!
//! Start: directory, database, listeners, and only then ready. Stop: not ready, the lease given back and
//! watchers sent elsewhere, requests under way finished, the controller closed. It keeps no state of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tidegate_kit::http::{ApiResult, Front, OriginRules};
use tidegate_kit::peer::PeerIdentity;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{ClientAuth, ClusterAuthority};
use tidegate_proto::node::{NodeName, NodeRole};
use tidegate_sc::{
    Admission, Controller, ControllerSettings, PrivateLink, ScConfig, StoreLocation,
};
use tokio::sync::watch;

use super::place;
use crate::config::{Door, ScSettings};
use crate::failure::Failure;
use crate::process::{Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, NodeFacts, Serving, url_of};
use crate::up::failures::{self, chain};

/// A controller that serves.
pub(crate) struct ScServer {
    base: Base,
    facts: NodeFacts,
    controller: Controller,
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
        let private = Listening::bind(settings.private.listen)?;
        let (edge, control) = (base.root.child(), base.root.child());
        let config = ScConfig {
            store: StoreLocation::Postgres {
                url: settings.database_url.clone(),
                name: format!("tidegate {}", settings.name),
            },
            settings: ControllerSettings::in_cluster(
                settings.name.clone(),
                Some(reached_by(&settings.private, private.address)),
            ),
            tasks: control.clone(),
        };
        let opened = Controller::open(config).await;
        let controller = opened.map_err(|error| place::failure(&error))?;
        let admission = admission(settings, &controller)?;
        let name = NodeName::parse(&settings.name);
        let name = name.map_err(|error| Failure::usage(error.to_string()))?;
        let tls = admission.own_tls(name, &control).await;
        let tls = tls.map_err(|error| Failure::failed(chain(&error)))?;
        let link = PrivateLink::new(tls.clone(), control.clone());
        controller.relay_over(Arc::new(link), &control);
        let planes = || admission.control_router(&base.auth, Arc::new(controller.clone()));
        let inner = controller
            .private_router()
            .merge(admission.internal_router())
            .merge(planes().route_layer(from_fn(for_gateways)));
        let front = Front::from(base.edged(inner, OriginRules::default()));
        let tls = tls.server_config(ClientAuth::Optional);
        let tls = tls.map_err(|error| Failure::failed(chain(&error)))?;
        let private_url = format!("https://{}", private.address);
        private.serve(front, tls, &edge, base.limits())?;
        let parts = tidegate_gateway::Parts {
            data: Router::new(),
            control: planes(),
            health: base.health(notice),
            openapi: tidegate_gateway::openapi::CONTROL_PLANE,
            asyncapi: None,
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
            url: Some(url_of(address)),
            private_url: Some(private_url),
            ..base.facts(NodeRole::Sc, &settings.name)
        };
        Ok(Self {
            base,
            facts,
            controller,
            edge,
            control,
        })
    }
}

/// The public plane on the private listener is what gateways pass on; clients have a listener of their own.
async fn for_gateways(peer: PeerIdentity, request: Request, next: Next) -> ApiResult<Response> {
    peer.require(&[NodeRole::Gateway])?;
    Ok(next.run(request).await)
}

/// Host and port by which the other controllers reach the private listener.
fn reached_by(door: &Door, bound: SocketAddr) -> String {
    let told = door.advertise.as_deref();
    let told = told.map(|url| url.trim_start_matches("https://").to_owned());
    told.unwrap_or_else(|| bound.to_string())
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
        self.controller.leave();
        self.edge.shutdown(DRAIN_TIMEOUT + DRAIN_GRACE).await;
        self.control.shutdown(DRAIN_GRACE).await;
        self.base.stop().await;
        Ok(())
    }
}

/// The authority of the nodes, at work for this controller.
fn admission(settings: &ScSettings, controller: &Controller) -> Result<Admission, Failure> {
    let (ca, key) = (&settings.cluster_ca, &settings.cluster_ca_key);
    let loaded = ClusterAuthority::load_files(ca, key).map_err(|error| failures::pki(&error))?;
    let authority = loaded.ok_or_else(|| {
        Failure::usage(format!(
            "there is no authority in {}; `tidegate sc authority` makes one",
            ca.display()
        ))
    })?;
    Admission::new(controller.clone(), authority).map_err(|error| Failure::failed(chain(&error)))
}
