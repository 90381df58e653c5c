//! A network between gateway and unit that can be cut, and partitions that can be made to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_data_plane::partitions::{
    AppendRequest, Appended, BoxFuture, Chunk, Partitions, Tail,
};
use tidegate_data_plane::testing::MemoryPartitions;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::control::{PartitionStatus, Topology};
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::{Offset, ReplicaKey};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Span;

/// Passes bytes on to a port until it is cut.
pub(super) struct Wire {
    pub(super) port: u16,
    cut: watch::Sender<CancellationToken>,
}

impl Wire {
    pub(super) async fn to(port: u16, tasks: &Tasks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let cut = watch::Sender::new(CancellationToken::new());
        let cuts = cut.subscribe();
        let inner = tasks.clone();
        tasks.spawn(TaskKind::Watch, Span::none(), async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let token = cuts.borrow().clone();
                inner.spawn(TaskKind::Watch, Span::none(), async move {
                    let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await else {
                        return;
                    };
                    let passing = copy_bidirectional(&mut near, &mut far);
                    let _ = token.run_until_cancelled(passing).await;
                });
            }
        });
        Self { port: own, cut }
    }

    /// Breaks all connections; new ones are let through.
    pub(super) fn cut(&self) {
        self.cut.send_replace(CancellationToken::new()).cancel();
    }
}

/// Partitions whose appends are done at once and answered when that is allowed; counts what is asked.
pub(super) struct Gated {
    pub(super) inner: Arc<MemoryPartitions>,
    pub(super) may_answer: watch::Sender<bool>,
    pub(super) appends: AtomicUsize,
    pub(super) reads: AtomicUsize,
}

impl Gated {
    pub(super) fn new(inner: Arc<MemoryPartitions>, may_answer: bool) -> Arc<Self> {
        Arc::new(Self {
            inner,
            may_answer: watch::Sender::new(may_answer),
            appends: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        })
    }
}

impl Partitions for Gated {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        Box::pin(async move {
            let outcome = self.inner.append(key, request).await;
            self.appends.fetch_add(1, Ordering::SeqCst);
            let mut may_answer = self.may_answer.subscribe();
            let _ = may_answer.wait_for(|may| *may).await;
            outcome
        })
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read(key, from, bytes_max)
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read_at_hand(key, from, bytes_max)
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        self.inner.offsets(key)
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.sealed_end(key)
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.offset_at(key, time_ms)
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        self.inner.tail(key)
    }
}

/// A unit that refuses what it does not lead, as a storage node does.
pub(super) struct Leading {
    pub(super) own: SpuId,
    pub(super) inner: Arc<MemoryPartitions>,
}

impl Leading {
    fn check(&self, key: ReplicaKey) -> Result<(), Problem> {
        let topology = self.inner.topology();
        let topology = topology.borrow();
        let row = topology
            .topic_by_id(key.topic_id)
            .and_then(|t| t.partition(key.partition));
        match row.and_then(|row| row.leader) {
            Some(leader) if leader == self.own => Ok(()),
            _ => Err(Problem::new(ErrorCode::NotLeader, "elsewhere")),
        }
    }
}

impl Partitions for Leading {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.append(key, request).await
        })
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.read(key, from, bytes_max).await
        })
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        self.inner.read_at_hand(key, from, bytes_max)
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.offsets(key).await
        })
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.sealed_end(key)
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.inner.offset_at(key, time_ms)
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        Box::pin(async move {
            self.check(key)?;
            self.inner.tail(key).await
        })
    }
}

/// A unit that does not know unordered producers.
pub(super) struct Older(pub(super) Arc<MemoryPartitions>);

impl Partitions for Older {
    fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.0.topology()
    }

    fn append(
        &self,
        key: ReplicaKey,
        request: AppendRequest,
    ) -> BoxFuture<'_, Result<Appended, Problem>> {
        let stamps = request.batches.iter().filter_map(ClientBatch::producer);
        if stamps.into_iter().any(|stamp| stamp.unordered) {
            let problem = Problem::new(ErrorCode::NotSupported, "unordered producers");
            return Box::pin(std::future::ready(Err(problem)));
        }
        self.0.append(key, request)
    }

    fn read(
        &self,
        key: ReplicaKey,
        from: Offset,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Chunk, Problem>> {
        self.0.read(key, from, bytes_max)
    }

    fn read_at_hand(&self, key: ReplicaKey, from: Offset, bytes_max: usize) -> Option<Chunk> {
        self.0.read_at_hand(key, from, bytes_max)
    }

    fn offsets(&self, key: ReplicaKey) -> BoxFuture<'_, Result<PartitionStatus, Problem>> {
        self.0.offsets(key)
    }

    fn sealed_end(&self, key: ReplicaKey) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.0.sealed_end(key)
    }

    fn offset_at(&self, key: ReplicaKey, time_ms: i64) -> BoxFuture<'_, Result<Offset, Problem>> {
        self.0.offset_at(key, time_ms)
    }

    fn tail(&self, key: ReplicaKey) -> BoxFuture<'_, Result<watch::Receiver<Tail>, Problem>> {
        self.0.tail(key)
    }
}
