//! Replication between storage units: leaders send, followers take, controllers are told who is in sync.
//!
//! ```text
//!   follower: machine -> Peers -> Link of the leader's unit -> two streams -> FollowerStream :leader
//!             machine <- shard <- frames of the leader <-------------------- cursor over the log
//! ```
//!
//! Machines decide; here frames are carried, cursors kept, disks read and pauses made. docs/private-protocol.md
//! has what is said. Invariant: what is said inside one attach never reaches a machine inside another.

mod feed;
mod link;
mod proposals;
mod shortened;
mod stream;

mod streams;

use std::sync::Arc;

use tidegate_kit::controller::ControllerClient;
use tidegate_kit::memory::Memory;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_kit::tls::NodeTls;
use tidegate_log::Log;
use tidegate_proto::control::{IsrMember, IsrProposal, Topology};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{LogPosition, Offset, ReplicaKey};
use tidegate_spu_core::AttachRequest;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::info_span;

use crate::shard::{Directory, Peers};
use link::Links;
use proposals::Proposals;
use shortened::Shortened;

pub use streams::Followers;

/// What a node needs in order to follow others.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Who it is.
    pub tls: NodeTls,
    /// Whom it proposes in-sync sets to.
    pub client: ControllerClient,
}

/// What a node's shards say to its peers.
#[derive(Debug)]
pub(crate) struct Replication {
    links: Links,
    proposals: Arc<Proposals>,
    shortened: Shortened,
    /// Shards are stepped by the journal's thread as well, which is none of the runtime's.
    runtime: Handle,
}

impl Replication {
    pub(crate) fn start(
        own: IsrMember,
        membership: Membership,
        (log, memory): (Log, &Memory),
        directory: &Directory,
        topology: watch::Receiver<Arc<Topology>>,
        tasks: &Tasks,
    ) -> Arc<Self> {
        let proposals = Arc::new(Proposals::default());
        let proposing = Arc::clone(&proposals).run(own, membership.client, directory.clone());
        tasks.spawn(TaskKind::Watch, info_span!("proposals"), proposing);
        Arc::new(Self {
            links: Links::new(
                membership.tls,
                topology,
                directory.clone(),
                memory.reads.child("shipped", memory.reads.total() / 2),
                tasks.clone(),
            ),
            proposals,
            shortened: Shortened {
                log,
                directory: directory.clone(),
                tasks: tasks.clone(),
            },
            runtime: Handle::current(),
        })
    }
}

impl Peers for Replication {
    fn attach(&self, key: ReplicaKey, attempt: u64, leader: SpuId, request: AttachRequest) {
        let _inside = self.runtime.enter();
        self.links.attach(key, attempt, leader, request);
    }

    fn ack(&self, key: ReplicaKey, attempt: u64, position: LogPosition, as_of: Option<Offset>) {
        self.links.ack(key, attempt, position, as_of);
    }

    fn stop_following(&self, key: ReplicaKey) {
        self.links.stop(key);
    }

    fn propose(&self, proposal: IsrProposal) {
        self.proposals.add(proposal);
    }

    fn read_again(&self, key: ReplicaKey) {
        let _inside = self.runtime.enter();
        self.shortened.read_again(key);
    }
}
