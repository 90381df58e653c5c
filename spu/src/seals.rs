//! Copies that are asked what they hold, because nobody leads their partition (L3).
//!
//! The topology names them; each is asked at its shard, which answers when the epoch is durable, and so
//! when nothing of an earlier one can be appended any more. The answer goes to the controllers by whoever
//! can reach them, again and again while the topology still asks: one that was behind passes it over.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tidegate_proto::control::{IsrMember, SealAnswer};
use tidegate_proto::id::ReplicaGen;
use tidegate_proto::position::{LeaderEpoch, ReplicaKey};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::limits::{SEAL_TELL_AGAIN, SURVEY_WAIT};
use crate::shard::{Directory, Message};

/// What is asked of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) replica_gen: ReplicaGen,
}

/// The copies of this node that are asked.
pub(crate) type Sealed = BTreeMap<ReplicaKey, Asked>;

/// Gives the answers of one node.
#[derive(Debug)]
pub struct Seals {
    own: IsrMember,
    directory: Directory,
    sealed: watch::Receiver<Sealed>,
    /// What a controller took lately.
    told: BTreeMap<ReplicaKey, LeaderEpoch>,
}

impl Seals {
    pub(crate) fn new(
        own: IsrMember,
        directory: Directory,
        sealed: watch::Receiver<Sealed>,
    ) -> Self {
        Self {
            own,
            directory,
            sealed,
            told: BTreeMap::new(),
        }
    }

    /// Waits for answers that no controller took yet, or took so long ago that it should have acted; none
    /// when the node is gone.
    pub async fn next(&mut self) -> Option<Vec<SealAnswer>> {
        loop {
            let sealed = self.sealed.borrow_and_update().clone();
            self.told
                .retain(|key, epoch| sealed.get(key).is_some_and(|asked| asked.epoch == *epoch));
            let is_new = |(key, _): &(&ReplicaKey, &Asked)| !self.told.contains_key(key);
            let untold = sealed.iter().filter(is_new);
            let answers = join_all(untold.map(|(key, asked)| self.answer(*key, *asked))).await;
            let answers: Vec<SealAnswer> = answers.into_iter().flatten().collect();
            if !answers.is_empty() {
                return Some(answers);
            }
            let waits = self.told.len() < sealed.len();
            let pause = if waits { SURVEY_WAIT } else { SEAL_TELL_AGAIN };
            tokio::select! {
                changed = self.sealed.changed() => changed.ok()?,
                () = tokio::time::sleep(pause), if !sealed.is_empty() => {
                    if !waits {
                        self.told.clear();
                    }
                }
            }
        }
    }

    /// A controller took these.
    pub fn told(&mut self, answers: &[SealAnswer]) {
        let told = answers.iter().map(|one| (one.key, one.sealed_at));
        self.told.extend(told);
    }

    /// None while the copy is not open, or its epoch not durable.
    async fn answer(&self, key: ReplicaKey, asked: Asked) -> Option<SealAnswer> {
        let handle = self.directory.get(key)?;
        let (reply, found) = oneshot::channel();
        handle.shard.tell(Message::Survey(key, asked.epoch, reply));
        let found = timeout(SURVEY_WAIT, found).await.ok()?.ok()?;
        Some(SealAnswer {
            key,
            member: self.own,
            replica_gen: asked.replica_gen,
            sealed_at: found.epoch,
            last_epoch: found.last_epoch,
            end: found.end,
            log_start: found.log_start,
            intact: found.intact,
            remembers: found.remembers_ms > 0,
            remembers_ms: found.remembers_ms,
        })
    }
}
