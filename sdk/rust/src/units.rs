//! Control calls of operators: storage units and groups of them, where copies are, long work.
//!
//! Documents travel as JSON values in the shape of the OpenAPI document, as those of topics do.

use http::Method;
use serde_json::Value;
use tidegate_proto::id::{OperationId, PartitionId, SpuId};
use tidegate_proto::name::{SpuGroupName, TopicName};

use crate::client::Client;
use crate::error::Error;
use crate::topics::{WriteOptions, Written, topic_path};

impl Client {
    /// All storage units, following the pages.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn spus(&self) -> Result<Vec<Value>, Error> {
        self.all_pages("/v1/spus").await
    }

    /// One storage unit.
    ///
    /// # Errors
    /// `spu_not_found`.
    pub async fn spu(&self, spu: SpuId) -> Result<Value, Error> {
        self.get_json(&spu_path(spu)).await
    }

    /// Registers a custom storage unit. `spec` is `{"id", "rack"?, "site"?, "labels"?}`.
    ///
    /// # Errors
    /// `already_exists` when there is a unit of that id.
    pub async fn register_spu(
        &self,
        spec: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = "/v1/spus".to_owned();
        self.write(Method::POST, path, Some(spec), options, "created")
            .await
    }

    /// Makes what is said of a storage unit be as `spec` says; registers it when it is not there.
    ///
    /// # Errors
    /// `precondition_failed` when `if_version` is not the version.
    pub async fn ensure_spu(
        &self,
        spu: SpuId,
        spec: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        self.write(Method::PUT, spu_path(spu), Some(spec), options, "updated")
            .await
    }

    /// Removes a storage unit that holds nothing and is drained or stopped.
    ///
    /// # Errors
    /// `spu_not_found`; `conflict` while it holds something or takes part.
    pub async fn remove_spu(&self, spu: SpuId, options: WriteOptions) -> Result<Written, Error> {
        self.write(Method::DELETE, spu_path(spu), None, options, "deleted")
            .await
    }

    /// Begins to empty a storage unit. `terms` is `{"throttle"?, "force"?}`.
    ///
    /// # Errors
    /// `conflict` when there is nowhere to move what it holds.
    pub async fn drain_spu(
        &self,
        spu: SpuId,
        terms: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("{}/drain", spu_path(spu));
        self.write(Method::POST, path, Some(terms), options, "updated")
            .await
    }

    /// Lets a storage unit that is being emptied take part again.
    ///
    /// # Errors
    /// `spu_not_found`.
    pub async fn resume_spu(&self, spu: SpuId, options: WriteOptions) -> Result<Written, Error> {
        let path = format!("{}/resume", spu_path(spu));
        self.write(Method::POST, path, None, options, "updated")
            .await
    }

    /// All groups of storage units that were made, following the pages.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn spu_groups(&self) -> Result<Vec<Value>, Error> {
        self.all_pages("/v1/spu-groups").await
    }

    /// Creates a group. `spec` is `{"name", "replicas", "first_id"?, "racks"?, "site"?}`.
    ///
    /// # Errors
    /// `already_exists` when the name is taken.
    pub async fn create_spu_group(
        &self,
        spec: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = "/v1/spu-groups".to_owned();
        self.write(Method::POST, path, Some(spec), options, "created")
            .await
    }

    /// Deletes a group that no storage unit belongs to.
    ///
    /// # Errors
    /// `spu_group_not_found`; `conflict` while units belong to it.
    pub async fn delete_spu_group(
        &self,
        name: &SpuGroupName,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("/v1/spu-groups/{name}");
        self.write(Method::DELETE, path, None, options, "deleted")
            .await
    }

    /// Begins to move the copies of a partition. `body` is `{"replicas", "throttle"?, "force"?}`.
    ///
    /// # Errors
    /// `topic_not_found`, `partition_not_found`; `conflict` when it is being moved already.
    pub async fn reassign_partition(
        &self,
        name: &TopicName,
        partition: PartitionId,
        body: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("{}/reassign", partition_path(name, partition));
        self.write(Method::POST, path, Some(body), options, "updated")
            .await
    }

    /// Lets the preferred replica of a partition lead.
    ///
    /// # Errors
    /// `conflict` when it is not in sync or not there.
    pub async fn elect_partition(
        &self,
        name: &TopicName,
        partition: PartitionId,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("{}/elect", partition_path(name, partition));
        self.write(Method::POST, path, None, options, "updated")
            .await
    }

    /// Begins to find a leader for a partition that cannot elect one. `body` is `{"accept_loss"?}`.
    ///
    /// # Errors
    /// `conflict` when it is part of another operation.
    pub async fn recover_partition(
        &self,
        name: &TopicName,
        partition: PartitionId,
        body: &Value,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("{}/recover", partition_path(name, partition));
        self.write(Method::POST, path, Some(body), options, "updated")
            .await
    }

    /// Begins to even out what storage units hold and lead. `terms` is `{"throttle"?, "force"?}`.
    ///
    /// # Errors
    /// `conflict` when a partition cannot be moved as things are.
    pub async fn rebalance(&self, terms: &Value, options: WriteOptions) -> Result<Written, Error> {
        let path = "/v1/rebalance".to_owned();
        self.write(Method::POST, path, Some(terms), options, "updated")
            .await
    }

    /// All operations that are remembered, the newest first, following the pages.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn operations(&self) -> Result<Vec<Value>, Error> {
        self.all_pages("/v1/operations").await
    }

    /// One operation.
    ///
    /// # Errors
    /// `operation_not_found`.
    pub async fn operation(&self, id: OperationId) -> Result<Value, Error> {
        self.get_json(&format!("/v1/operations/{id}")).await
    }

    /// Stops an operation; one that ended stays as it is.
    ///
    /// # Errors
    /// `operation_not_found`.
    pub async fn cancel_operation(
        &self,
        id: OperationId,
        options: WriteOptions,
    ) -> Result<Written, Error> {
        let path = format!("/v1/operations/{id}/cancel");
        self.write(Method::POST, path, None, options, "updated")
            .await
    }
}

fn spu_path(spu: SpuId) -> String {
    format!("/v1/spus/{spu}")
}

fn partition_path(name: &TopicName, partition: PartitionId) -> String {
    format!("{}/partitions/{partition}", topic_path(name))
}
