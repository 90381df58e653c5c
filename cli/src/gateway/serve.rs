//! A gateway put together, and taken apart.
//!
//! It keeps nothing but the last topology, with which it starts while every controller is down, and how much
//! of the metadata it has seen. Stop: not
//! ready, requests under way finished, sockets told where to go on.

use std::sync::Arc;

use tidegate_data_plane::{DataPlane, DataPlaneConfig, DirectProduce, ProducerIds};
use tidegate_gateway::{Parts, RemotePartitions, control_plane};
use tidegate_kit::tasks::Tasks;
use tidegate_proto::node::NodeRole;
use tokio::sync::watch;

use crate::config::GatewaySettings;
use crate::failure::Failure;
use crate::process::{
    Base, DRAIN_GRACE, DRAIN_TIMEOUT, Listening, NodeFacts, Serving, controllers, enrol, keep_seen,
    keep_topology, read_topology, url_of,
};
use crate::producers::LeasedIds;

/// A gateway that serves.
pub(crate) struct GatewayServer {
    base: Base,
    facts: NodeFacts,
    /// Listeners, connections and sockets: stopped first.
    edge: Tasks,
    /// Connections to the units.
    upstream: Tasks,
    /// What keeps in touch with the controllers.
    session: Tasks,
}

impl GatewayServer {
    /// Connects and serves. Without a topology from an earlier run it waits for a controller.
    pub(crate) async fn start(settings: &GatewaySettings) -> Result<Self, Failure> {
        let (_, notice) = watch::channel(None);
        let base = Base::open(&settings.process, notice.clone())?;
        let public = Listening::bind(settings.listen)?;
        let (edge, upstream, session) = (base.root.child(), base.root.child(), base.root.child());
        let security = &settings.process.security;
        let name = &settings.name;
        let tls = enrol(security, &base, NodeRole::Gateway, name, &session).await?;
        let directory = base.directory.path();
        let kept = read_topology(directory);
        let is_kept = kept.topology.store_id.is_some();
        let control = controllers(security, &tls, kept, &session)?;
        let mut topology = control.followed.topology.clone();
        keep_topology(directory, &control.followed, &session);
        keep_seen(directory, &control.followed, &session);
        if !is_kept {
            // Every topic would be unknown.
            let is_known = topology.wait_for(|topology| topology.store_id.is_some());
            let _ = is_known.await;
        }
        let ids: Arc<dyn ProducerIds> = Arc::new(LeasedIds::new(control.clone()));
        let (memory, own_ids) = (base.memory.clone(), Some(Arc::clone(&ids)));
        let partitions = RemotePartitions::new(topology, tls, memory, own_ids, &upstream);
        let config = DataPlaneConfig {
            producer_ids: Some(ids),
            origins: settings.pages.clone(),
            shared_pages: settings.shared_pages,
            memory: base.memory.clone(),
            ..DataPlaneConfig::default()
        };
        let data = DataPlane::new(partitions, base.auth.clone(), edge.clone(), config);
        let produce = DirectProduce::new(data.clone());
        let parts = Parts {
            data: tidegate_data_plane::router(data),
            control: control_plane(control.client.channel().clone(), &base.auth),
            health: base.health(notice),
            openapi: tidegate_gateway::openapi::TIDEGATE,
            asyncapi: Some(tidegate_gateway::openapi::FRAMES),
            origins: settings.origins.clone(),
            memory: base.memory.clone(),
            is_tls: true,
            is_open: false,
        };
        let front = tidegate_gateway::front(parts, produce);
        let address = public.address;
        public.serve(front, Arc::clone(&base.tls), &edge, base.limits())?;
        base.set_ready(true);
        let facts = NodeFacts {
            url: Some(url_of(address)),
            ..base.facts(NodeRole::Gateway, name)
        };
        Ok(Self {
            base,
            facts,
            edge,
            upstream,
            session,
        })
    }
}

impl Serving for GatewayServer {
    fn facts(&self) -> NodeFacts {
        self.facts.clone()
    }

    async fn failed(&self) -> Failure {
        self.base.failed().await
    }

    async fn stop(self) -> Result<(), Failure> {
        self.base.set_ready(false);
        self.edge.shutdown(DRAIN_TIMEOUT + DRAIN_GRACE).await;
        self.upstream.shutdown(DRAIN_GRACE).await;
        self.session.shutdown(DRAIN_GRACE).await;
        self.base.stop().await;
        Ok(())
    }
}
