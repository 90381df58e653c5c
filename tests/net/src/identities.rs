//! Who is who: certificates of one authority, made once for all seeds of a process.
//!
//! Where connections carry no TLS, the host that a connection comes from tells who it is.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tidegate_kit::clock;
use tidegate_kit::tls::{ClusterAuthority, NodeTls};
use tidegate_proto::id::{ClusterId, SpuId};
use tidegate_proto::node::{NodeIdentity, NodeName, NodeRole};

use crate::options::{CONTROLLER, UNITS};
use crate::wire::Wires;

const LIFE: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn cluster_id() -> ClusterId {
    ClusterId::from_bytes([7; 16])
}

/// The node that a host is.
pub(crate) fn identity(host: &str) -> Result<NodeIdentity, String> {
    let cluster = cluster_id();
    if let Some(number) = host.strip_prefix("unit-") {
        let number = number.parse().map_err(|_| format!("no unit: {host}"))?;
        return Ok(NodeIdentity::spu(cluster, SpuId(number)));
    }
    let role = if host == CONTROLLER {
        NodeRole::Sc
    } else {
        NodeRole::Gateway
    };
    let name = NodeName::parse(host).map_err(|error| error.to_string())?;
    NodeIdentity::new(cluster, role, name).map_err(|error| error.to_string())
}

/// The identity of a host, and the connections that it makes.
pub(crate) fn tls(host: &str, wires: &Wires) -> Result<NodeTls, String> {
    static MADE: OnceLock<Result<Vec<(String, NodeTls)>, String>> = OnceLock::new();
    let made = MADE.get_or_init(make).as_ref().map_err(Clone::clone)?;
    let found = made.iter().find(|(name, _)| name == host);
    let (_, tls) = found.ok_or_else(|| format!("no identity: {host}"))?;
    Ok(tls.clone().over(Arc::new(wires.clone())))
}

fn make() -> Result<Vec<(String, NodeTls)>, String> {
    let now_s = clock::now_s();
    let authority = ClusterAuthority::make(cluster_id(), now_s).map_err(|e| e.to_string())?;
    let units = (1..=UNITS).map(|number| format!("unit-{number}"));
    let clients = (0..crate::options::CLIENTS).map(|number| format!("client-{number}"));
    let hosts = units.chain(clients).chain([CONTROLLER.to_owned()]);
    let node = |host: String| {
        let issued = authority.issue(&identity(&host)?, now_s, LIFE);
        let tls = NodeTls::new(&issued.map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
        Ok((host, tls))
    };
    hosts.map(node).collect()
}
