//! The role of a replica that another node leads, or that must not lead because it is damaged.
//!
//! It keeps its log, serves what is committed, and points writers to the leader. Attaching,
//! truncating and taking pushed batches enter here.

use tidegate_proto::id::SpuId;

use crate::effect::{Effect, Effects, Refusal};
use crate::input::Append;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Follower {
    /// None while the partition has no leader.
    pub(crate) leader: Option<SpuId>,
    /// The row names this replica leader, and it is not intact (S2).
    pub(crate) is_barred: bool,
    /// The epoch is journalled: what it forbids will not happen, whatever comes.
    pub(crate) is_durable: bool,
}

impl Follower {
    pub(crate) const fn new(leader: Option<SpuId>) -> Self {
        Self {
            leader,
            is_barred: false,
            is_durable: false,
        }
    }

    /// Named leader, and damaged.
    pub(crate) const fn barred() -> Self {
        Self {
            leader: None,
            is_barred: true,
            is_durable: false,
        }
    }
}

impl Follower {
    pub(crate) fn append(self, append: &Append, effects: &mut Effects) {
        let outcome = Err(if self.is_barred {
            Refusal::Damaged
        } else {
            Refusal::NotLeader {
                leader: self.leader,
            }
        });
        effects.push(Effect::Reply {
            request: append.request,
            outcome,
        });
    }
}
