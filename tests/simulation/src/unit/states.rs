//! In which states of the protocol a replica is: for the account of what faults met. Decides nothing.

use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::RoleName;

use super::Unit;

impl Unit {
    /// In which states of the protocol the replica is, for the account of what was hit.
    pub(crate) fn states(&self, key: ReplicaKey) -> Vec<&'static str> {
        let Some(hosted) = self.replicas.get(&key) else {
            return Vec::new();
        };
        let row = self.model.as_ref().and_then(|model| model.partition(key));
        let is_in_sync = row.is_some_and(|row| row.has_in_sync(self.spu()));
        match hosted.machine.role() {
            RoleName::Idle => vec!["not assigned yet"],
            RoleName::Opening => vec!["about to lead"],
            RoleName::Following if hosted.is_truncating => vec!["truncating"],
            RoleName::Following if self.attaches(key) => vec!["attaching"],
            RoleName::Following if is_in_sync => vec!["following, in sync"],
            RoleName::Following => vec!["following, behind"],
            RoleName::Leading => {
                let mut states = Vec::new();
                if hosted.machine.is_waiting() {
                    states.push("leading, requests wait");
                } else {
                    states.push("leading, idle");
                }
                if self.proposes(key) {
                    states.push("leading, a proposal is open");
                }
                if row.is_some_and(|row| row.isr.len() < row.replicas.len()) {
                    states.push("leading, a follower is behind");
                }
                states
            }
            RoleName::Failed | RoleName::Closed => Vec::new(),
        }
    }
}
