//! The identity of this process among the nodes, and its way to the controllers.

use std::fs;
use std::sync::Arc;

use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::controller::{ControllerClient, follow};
use tidegate_kit::secret::Secret;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{Expect, NodeCredentials, NodeTls};
use tidegate_proto::control::Topology;
use tidegate_proto::node::NodeRole;

use super::base::Base;
use crate::config::SecuritySettings;
use crate::control::RemoteControl;
use crate::failure::Failure;
use crate::up::directory::disk;
use crate::up::failures::chain;

/// Files of an identity: key and chain, and whom it believes.
pub(crate) const NODE_PEM: &str = "node.pem";
pub(crate) const CLUSTER_CA_PEM: &str = "cluster-ca.pem";

/// The identity that lies in `identity` of the data directory.
pub(crate) fn enrol(base: &Base, role: NodeRole, name: &str) -> Result<NodeTls, Failure> {
    let dir = base.directory.path().join("identity");
    let read = |file: &str| {
        let path = dir.join(file);
        fs::read_to_string(&path).map_err(|error| disk(&path, "cannot be read", &error))
    };
    let pem = read(NODE_PEM)?;
    let tls = NodeTls::new(&NodeCredentials {
        chain_pem: pem.clone(),
        key_pem: Secret::new(pem),
        authorities_pem: read(CLUSTER_CA_PEM)?,
    });
    let tls = tls.map_err(|error| Failure::failed(chain(&error)))?;
    let identity = tls.identity();
    if identity.role() != role || identity.name().as_str() != name {
        return Err(Failure::failed(format!(
            "the certificate in {} is that of {identity}, not of {role} {name}",
            dir.display()
        )));
    }
    Ok(tls)
}

/// Follows the topology over a channel to the controllers, as tasks of `tasks`; `known` is what is shown
/// before one of them answers.
pub(crate) fn controllers(
    settings: &SecuritySettings,
    tls: &NodeTls,
    known: Arc<Topology>,
    tasks: &Tasks,
) -> Result<RemoteControl, Failure> {
    let channel = Channel::new(&ChannelConfig {
        endpoints: settings.controllers.clone(),
        tls: tls.clone(),
        expect: Expect::Role(NodeRole::Sc),
        tasks: tasks.clone(),
    });
    let channel = channel.map_err(|error| Failure::usage(chain(&error)))?;
    let client = ControllerClient::new(channel);
    let followed = follow(client.clone(), known, tasks);
    Ok(RemoteControl { client, followed })
}
