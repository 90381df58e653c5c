//! Who asked what copies hold that nobody leads (L3); answered as soon as that is known.
//!
//! One question for each replica; a later one takes the place of the one before.

use std::collections::HashMap;

use tidegate_proto::position::{LeaderEpoch, ReplicaKey};
use tidegate_spu_core::{Now, Survey};
use tokio::sync::oneshot;

use super::hosted::Hosted;

/// Questions without an answer.
#[derive(Debug, Default)]
pub(super) struct Surveys {
    asked: HashMap<ReplicaKey, (LeaderEpoch, oneshot::Sender<Survey>)>,
}

impl Surveys {
    pub(super) fn ask(
        &mut self,
        key: ReplicaKey,
        epoch: LeaderEpoch,
        reply: oneshot::Sender<Survey>,
    ) {
        self.asked.insert(key, (epoch, reply));
    }

    pub(super) fn forget(&mut self, key: ReplicaKey) {
        self.asked.remove(&key);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    /// Answers what was asked of this replica, if it can be answered now, or never.
    pub(super) fn answer(&mut self, now: Now, hosted: &mut Hosted) {
        let key = hosted.reader.key;
        let Some((epoch, _)) = self.asked.get(&key) else {
            return;
        };
        let found = hosted.machine.survey(now, *epoch);
        let is_past = hosted.machine.status().meta.leader_epoch > *epoch;
        if (found.is_some() || is_past)
            && let (Some((_, reply)), Some(found)) = (self.asked.remove(&key), found)
        {
            // Whoever asked may have left.
            let _ = reply.send(found);
        }
    }
}
