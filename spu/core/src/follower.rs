//! The role of a replica that another node leads.
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
}

impl Follower {
    pub(crate) fn append(self, append: &Append, effects: &mut Effects) {
        let outcome = Err(Refusal::NotLeader {
            leader: self.leader,
        });
        effects.push(Effect::Reply {
            request: append.request,
            outcome,
        });
    }
}
