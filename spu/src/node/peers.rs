//! The node among others: whom its replicas follow, and who follows them.

use std::sync::Arc;

use tidegate_kit::tasks::Tasks;
use tidegate_proto::control::{IsrMember, Registered, Topology};
use tidegate_proto::id::Incarnation;
use tokio::sync::watch;

use super::Node;
use crate::failures::Failures;
use crate::lane::Lane;
use crate::limits::REPLICATION_READS_MAX;
use crate::replication::{Followers, Membership, Replication};
use crate::shard::{NoPeers, Peers};

impl Node {
    /// There are other units: replicas here may follow theirs. Before [`Node::start`].
    pub fn join(&self, membership: Membership) {
        // A second one changes nothing.
        let _ = self.membership.set(membership);
    }

    /// Who sends to the units that follow this one.
    pub fn followers(&self) -> Followers {
        let reads = Lane::new(
            REPLICATION_READS_MAX,
            self.config.memory.reads.clone(),
            self.config.replication_bytes_per_second,
        );
        Followers::new(self.log.clone(), self.directory.clone(), reads)
    }

    /// Replicas that failed since the start, for the controllers; under that registration.
    pub fn failures(
        &self,
        registered: Registered,
        topology: watch::Receiver<Arc<Topology>>,
    ) -> Failures {
        let own = IsrMember {
            spu: self.config.spu_id,
            incarnation: registered.incarnation,
        };
        Failures::new(own, self.directory.clone(), topology)
    }

    pub(super) fn peers(
        &self,
        incarnation: Incarnation,
        topology: watch::Receiver<Arc<Topology>>,
        tasks: &Tasks,
    ) -> Arc<dyn Peers> {
        let Some(membership) = self.membership.get().cloned() else {
            return Arc::new(NoPeers);
        };
        let own = IsrMember {
            spu: self.config.spu_id,
            incarnation,
        };
        let from = (self.log.clone(), &self.config.memory);
        Replication::start(own, membership, from, &self.directory, topology, tasks)
    }
}
