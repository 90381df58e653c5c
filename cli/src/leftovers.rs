//! What deleted topics leave on the node: their files go to the trash, at start and while it runs.
//!
//! Topics can be deleted while their replicas cannot be reached, or shortly before a crash. Only the
//! controller's word that a topic was deleted removes anything: topics it has never heard of are kept,
//! because then it may be the controller's store that is not the right one.

use std::sync::Arc;
use std::time::Duration;

use tidegate_proto::id::TopicId;

use crate::control::Control;

/// Between a question that the controller could not answer and the next one.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Follows the replicas that no topic has any more.
#[derive(Debug)]
pub(crate) struct Leftovers<C> {
    controller: C,
    closed: tidegate_spu::Leftovers,
}

impl<C: Control> Leftovers<C> {
    pub(crate) fn new(controller: C, closed: tidegate_spu::Leftovers) -> Self {
        Self { controller, closed }
    }

    /// Removes what there is now, and again whenever something was closed, until the node stops.
    pub(crate) async fn follow(mut self) {
        loop {
            while !self.discard_deleted().await {
                tokio::time::sleep(ASK_AGAIN_AFTER).await;
            }
            if !self.closed.changed().await {
                return;
            }
        }
    }

    /// One turn; false when it must be repeated.
    async fn discard_deleted(&self) -> bool {
        let topology = Arc::clone(&self.controller.topology().borrow());
        let mut complete = true;
        for topic in self.closed.topics(&topology) {
            complete &= self.discard_if_deleted(topic).await;
        }
        complete
    }

    async fn discard_if_deleted(&self, topic: TopicId) -> bool {
        match self.controller.is_deleted(topic).await {
            Ok(true) => match self.closed.discard(topic) {
                Ok(replicas) => tracing::info!(%topic, replicas, "deleted topic discarded"),
                // The log is dead: nothing can be removed before a restart.
                Err(error) => tracing::warn!(%topic, %error, "a deleted topic was not discarded"),
            },
            Ok(false) => {
                tracing::warn!(%topic, "replicas of an unknown topic are kept and not served");
            }
            Err(problem) => {
                let why = problem.detail();
                tracing::warn!(%topic, why, "the controller did not say what became of a topic");
                return false;
            }
        }
        true
    }
}
