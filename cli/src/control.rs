//! What a node asks of the controllers while it serves: in one process with one, or over the network.
//!
//! The data plane and the storage node do not know which it is.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use tidegate_kit::controller::{ControllerClient, Followed};
use tidegate_proto::control::{FailedRequest, SealAnswer, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::id::TopicId;
use tidegate_sc::Controller;
use tokio::sync::watch;

/// A controller, or a way to one.
pub(crate) trait Control: Clone + Send + Sync + 'static {
    /// The topology now, and whenever it changes.
    fn topology(&self) -> watch::Receiver<Arc<Topology>>;

    /// Producer ids that nobody else gets.
    fn lease_producer_ids(&self) -> impl Future<Output = Result<Range<u64>, Problem>> + Send;

    /// Whether that topic was deleted, as opposed to never known.
    fn is_deleted(&self, topic: TopicId) -> impl Future<Output = Result<bool, Problem>> + Send;

    /// Tells what copies hold that nobody leads. Answers that are not wanted are passed over.
    fn answer_seals(
        &self,
        answers: Vec<SealAnswer>,
    ) -> impl Future<Output = Result<(), Problem>> + Send;

    /// Tells which replicas failed.
    fn report_failed(
        &self,
        request: FailedRequest,
    ) -> impl Future<Output = Result<(), Problem>> + Send;
}

impl Control for Controller {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        Self::topology(self)
    }

    async fn lease_producer_ids(&self) -> Result<Range<u64>, Problem> {
        Self::lease_producer_ids(self).await
    }

    async fn is_deleted(&self, topic: TopicId) -> Result<bool, Problem> {
        Self::is_deleted(self, topic).await
    }

    async fn answer_seals(&self, answers: Vec<SealAnswer>) -> Result<(), Problem> {
        Self::answer_seals(self, answers).await
    }

    async fn report_failed(&self, request: FailedRequest) -> Result<(), Problem> {
        Self::report_failed(self, request).await
    }
}

/// Controllers that are other processes.
#[derive(Clone, Debug)]
pub(crate) struct RemoteControl {
    pub(crate) client: ControllerClient,
    pub(crate) followed: Followed,
}

impl Control for RemoteControl {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.followed.topology.clone()
    }

    async fn lease_producer_ids(&self) -> Result<Range<u64>, Problem> {
        Ok(self.client.lease_producer_ids().await?)
    }

    async fn is_deleted(&self, topic: TopicId) -> Result<bool, Problem> {
        let deleted = self.client.deleted_topics(vec![topic]).await?;
        Ok(deleted.contains(&topic))
    }

    async fn answer_seals(&self, answers: Vec<SealAnswer>) -> Result<(), Problem> {
        Ok(self.client.answer_seals(answers).await?)
    }

    async fn report_failed(&self, request: FailedRequest) -> Result<(), Problem> {
        Ok(self.client.report_failed(&request).await?)
    }
}
