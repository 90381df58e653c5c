//! The identity of this process among the nodes, and its way to the controllers.

use tidegate_kit::channel::{Channel, ChannelConfig};
use tidegate_kit::controller::{ControllerClient, Known, follow};
use tidegate_kit::enrol::Enrolment;
use tidegate_kit::limits::CERTIFICATE_POLL_INTERVAL;
use tidegate_kit::tasks::Tasks;
use tidegate_kit::tls::{Expect, NodeTls};
use tidegate_proto::node::{NodeName, NodeRole};

use super::base::Base;
use crate::config::SecuritySettings;
use crate::control::RemoteControl;
use crate::failure::Failure;
use crate::up::failures::chain;

/// Where the identity is, in the data directory.
pub(crate) const IDENTITY_DIR: &str = "identity";

/// The identity in the data directory, or a new one by the join token. Waits while no controller answers;
/// renewal goes on as a task of `tasks`.
pub(crate) async fn enrol(
    settings: &SecuritySettings,
    base: &Base,
    role: NodeRole,
    name: &str,
    tasks: &Tasks,
) -> Result<NodeTls, Failure> {
    let name = NodeName::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
    let enrolment = Enrolment {
        dir: base.directory.path().join(IDENTITY_DIR),
        role,
        name: Some(name),
        controllers: settings.controllers.clone(),
        token: settings.join_token.clone(),
        poll_interval: CERTIFICATE_POLL_INTERVAL,
    };
    let enrolled = enrolment.enrol(tasks).await;
    enrolled.map_err(|error| Failure::failed(chain(&error)))
}

/// Follows the topology over a channel to the controllers, as tasks of `tasks`; `known` is what an earlier
/// run kept.
pub(crate) fn controllers(
    settings: &SecuritySettings,
    tls: &NodeTls,
    known: Known,
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
