//! Proposals of in-sync sets on their way to the controllers: gathered, one request at a time (I3).
//!
//! What became of one is a hint for the machine; a row settles it (H1). A request that failed is dropped:
//! the machines say again what is not settled.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate_kit::controller::ControllerClient;
use tidegate_proto::control::{IsrMember, IsrProposal, IsrRequest};
use tidegate_proto::position::ReplicaKey;
use tidegate_spu_core::Input;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::limits::PROPOSAL_PAUSE;
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
        loop {
            self.bell.notified().await;
            let proposals: Vec<IsrProposal> =
                std::mem::take(&mut *self.lock()).into_values().collect();
            if !proposals.is_empty() {
                let request = IsrRequest {
                    spu_id: own.spu,
                    incarnation: own.incarnation,
                    proposals,
                };
                tell(&request, &client, &directory).await;
            }
            sleep(PROPOSAL_PAUSE).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ReplicaKey, IsrProposal>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn tell(request: &IsrRequest, client: &ControllerClient, directory: &Directory) {
    match client.propose_isr(request).await {
        Ok(answer) => {
            for (proposal, outcome) in request.proposals.iter().zip(answer.outcomes) {
                let version = proposal.version;
                let input = Box::new(Input::IsrAnswered { version, outcome });
                if let Some(handle) = directory.get(proposal.key) {
                    handle.shard.tell(Message::Input(proposal.key, input));
                }
            }
        }
        Err(error) => {
            tracing::info!(%error, count = request.proposals.len(),
                "proposals of in-sync sets were not answered");
        }
    }
}
