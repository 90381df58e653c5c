//! Proposals of in-sync sets on their way to the controllers: gathered, one request at a time (I3).
//!
//! What became of one is a hint for the machine; a row settles it (H1). A request that failed is dropped:
//! the machines say again what is not settled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_kit::controller::ControllerClient;
use tidegate_proto::control::{IsrAnswer, IsrMember, IsrProposal, IsrRequest};
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::Input;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::limits::{PROPOSAL_PATIENCE, PROPOSAL_PAUSE, PROPOSALS_PER_REQUEST_MAX};
use crate::shard::{Directory, Message};

/// The newest proposal of each partition that was not sent.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    waiting: Mutex<BTreeMap<ReplicaKey, IsrProposal>>,
    bell: Notify,
}

impl Proposals {
    pub(super) fn add(&self, proposal: IsrProposal) {
        self.lock().insert(proposal.key, proposal);
        self.bell.notify_one();
    }

    pub(super) async fn run(
        self: Arc<Self>,
        own: IsrMember,
        client: ControllerClient,
        directory: Directory,
    ) {
        let mut was_answered = true;
        loop {
            self.bell.notified().await;
            let proposals = self.next();
            if !proposals.is_empty() {
                let request = IsrRequest {
                    spu_id: own.spu,
                    incarnation: own.incarnation,
                    proposals,
                };
                let answer = ask(&request, &client).await;
                let count = request.proposals.len();
                match &answer {
                    Err(why) if was_answered => {
                        tracing::info!(%why, count, "proposals of in-sync sets are not answered");
                    }
                    Ok(_) if !was_answered => {
                        tracing::info!(count, "proposals of in-sync sets are answered again");
                    }
                    Ok(_) | Err(_) => {}
                }
                was_answered = answer.is_ok();
                if let Ok(answer) = answer {
                    tell(&request, answer, &directory);
                }
            }
            sleep(PROPOSAL_PAUSE).await;
        }
    }

    /// As many as one request may have; the bell rings for the rest.
    fn next(&self) -> Vec<IsrProposal> {
        let mut waiting = self.lock();
        let mut proposals = Vec::new();
        while proposals.len() < PROPOSALS_PER_REQUEST_MAX
            && let Some((_, proposal)) = waiting.pop_first()
        {
            proposals.push(proposal);
        }
        if !waiting.is_empty() {
            self.bell.notify_one();
        }
        proposals
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ReplicaKey, IsrProposal>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks a controller, and turns to another one when it does not answer soon: a proposal that was taken twice
/// is taken once (I2).
async fn ask(request: &IsrRequest, client: &ControllerClient) -> Result<IsrAnswer, String> {
    match timeout(PROPOSAL_PATIENCE, client.propose_isr(request)).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => {
            client.channel().try_another();
            Err(format!("no answer within {PROPOSAL_PATIENCE:?}"))
        }
    }
}

fn tell(request: &IsrRequest, answer: IsrAnswer, directory: &Directory) {
    for (proposal, outcome) in request.proposals.iter().zip(answer.outcomes) {
        let version = proposal.version;
        let input = Box::new(Input::IsrAnswered { version, outcome });
        if let Some(handle) = directory.get(proposal.key) {
            handle.shard.tell(Message::Input(proposal.key, input));
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::id::{PartitionId, TopicId};
    use tidegate_proto::position::LeaderEpoch;

    use super::*;

    #[test]
    fn more_proposals_than_a_request_takes_go_in_several() {
        let proposals = Proposals::default();
        let count = PROPOSALS_PER_REQUEST_MAX + 1;
        for number in (0..count).chain(0..10) {
            let partition = PartitionId(u32::try_from(number).unwrap());
            proposals.add(IsrProposal {
                key: ReplicaKey {
                    topic_id: TopicId::from_bytes([1; 16]),
                    partition,
                },
                leader_epoch: LeaderEpoch(1),
                version: 1,
                isr: Vec::new(),
            });
        }
        let sizes = [proposals.next(), proposals.next(), proposals.next()].map(|some| some.len());
        assert_eq!(sizes, [PROPOSALS_PER_REQUEST_MAX, 1, 0]);
    }
}
