//! Partitions with somebody at their door, who sees what is asked and may refuse it or make it wait.
//!
//! All that a keeper leaves alone goes through as it is: a test says only what is different.

use std::sync::Arc;

use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::Problem;
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::sync::watch;

use super::MemoryPartitions;
use crate::partitions::{AppendRequest, Appended, BoxFuture, Chunk, Partitions, Tail};

/// Who stands at the door.
pub trait Keeper: Send + Sync + 'static {
    /// Something is asked of a partition.
    fn admits(&self, _inner: &MemoryPartitions, _key: ReplicaKey) -> Result<(), Problem> {
        Ok(())
    }

    /// These records are to be appended.
    fn takes(&self, _request: &AppendRequest) -> Result<(), Problem> {
        Ok(())
    }

    /// An append was done; its answer goes out when this ends.
    fn took(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Records are read.
    fn reads(&self) {}
}

/// Partitions behind a keeper.
#[derive(Debug)]
pub struct Kept<K> {
    pub inner: Arc<MemoryPartitions>,
    pub keeper: K,
}

impl<K: Keeper> Kept<K> {
    pub fn new(inner: Arc<MemoryPartitions>, keeper: K) -> Arc<Self> {
        Arc::new(Self { inner, keeper })
    }

    fn admits(&self, key: ReplicaKey) -> Result<(), Problem> {
        self.keeper.admits(&self.inner, key)
    }
}

impl<K: Keeper> Partitions for Kept<K> {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.keeper.takes(&request)?;
            let outcome = self.inner.append(key, request).await;
            self.keeper.took().await;
            outcome
        })
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.keeper.reads();
            self.inner.read(key, from, bytes_max).await
        })
    }

    fn read_copy(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(async move {
            self.keeper.reads();
            self.inner.read_copy(key, from, bytes_max).await
        })
    }

    fn copy_offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        self.inner.copy_offsets(key)
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        self.keeper.reads();
        self.inner.read_at_hand(key, from, bytes_max)
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.inner.offsets(key).await
        })
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.inner.sealed_end(key).await
        })
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.inner.offset_at(key, time_ms).await
        })
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move {
            self.admits(key)?;
            self.inner.tail(key).await
        })
    }

    fn is_in_doubt(&self, key: ReplicaKey) -> bool {
        self.admits(key).is_err() || self.inner.is_in_doubt(key)
    }
}
