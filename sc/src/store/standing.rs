//! Which store this is, how far it is, and what its answers are worth (X2).
//!
//! Facts only, as the database tells them when asked; what to do about them (refuse to start, raise an
//! alarm, go read-only) is for those who ask.

use std::collections::BTreeMap;

use tidegate_proto::chain::ChainHash;
use tidegate_proto::id::{ClusterId, StoreId};

/// A store as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub cluster_id: ClusterId,
    pub store_id: StoreId,
    pub revision: u64,
    pub chain: ChainHash,
    /// Events up to this revision are gone.
    pub events_floor: u64,
    /// False on a standby, or where writing was turned off.
    pub is_writable: bool,
    pub durability: Durability,
}

/// What survives what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durability {
    /// A commit that was answered survives power loss of the store's machine.
    pub survives_power_loss: bool,
    /// Copies on other machines that a commit is on before it is answered, and that are there now.
    pub synchronous_copies: u32,
    /// The settings this was read off, for people.
    pub settings: BTreeMap<String, String>,
}

impl Durability {
    /// What an operator should mend, in words; empty when nothing is.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        if !self.survives_power_loss {
            found.push("the metadata store answers commits that power loss would undo");
        }
        if self.synchronous_copies == 0 {
            found.push(
                "the metadata store has no synchronous standby: losing its machine loses the newest \
                 commits",
            );
        }
        found
    }
}
