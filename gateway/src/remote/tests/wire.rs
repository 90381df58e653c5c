//! A network between gateway and unit that can be cut, and partitions that can be made to wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_data_plane::partitions::{AppendRequest, BoxFuture, Partitions as _};
use tidegate_data_plane::testing::{Keeper, Kept, MemoryPartitions};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::batch::ClientBatch;
use tidegate_proto::error::{ErrorCode, Problem};
use tidegate_proto::id::SpuId;
use tidegate_proto::position::ReplicaKey;
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
pub(super) type Gated = Kept<Gate>;

pub(super) struct Gate {
    pub(super) may_answer: watch::Sender<bool>,
    pub(super) appends: AtomicUsize,
    pub(super) reads: AtomicUsize,
}

impl Gate {
    pub(super) fn before(inner: Arc<MemoryPartitions>, may_answer: bool) -> Arc<Gated> {
        let gate = Self {
            may_answer: watch::Sender::new(may_answer),
            appends: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
        };
        Kept::new(inner, gate)
    }
}

impl Keeper for Gate {
    fn took(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.appends.fetch_add(1, Ordering::SeqCst);
            let mut may_answer = self.may_answer.subscribe();
            let _ = may_answer.wait_for(|may| *may).await;
        })
    }

    fn reads(&self) {
        self.reads.fetch_add(1, Ordering::SeqCst);
    }
}

/// A unit that refuses what it does not lead, as a storage node does.
pub(super) struct Leading(pub(super) SpuId);

impl Keeper for Leading {
    fn admits(&self, inner: &MemoryPartitions, key: ReplicaKey) -> Result<(), Problem> {
        let topology = inner.topology();
        let topology = topology.borrow();
        let row = topology
            .topic_by_id(key.topic_id)
            .and_then(|t| t.partition(key.partition));
        match row.and_then(|row| row.leader) {
            Some(leader) if leader == self.0 => Ok(()),
            _ => Err(Problem::new(ErrorCode::NotLeader, "elsewhere")),
        }
    }
}

/// A unit that does not know unordered producers.
pub(super) struct Older;

impl Keeper for Older {
    fn takes(&self, request: &AppendRequest) -> Result<(), Problem> {
        let mut stamps = request.batches.iter().filter_map(ClientBatch::producer);
        match stamps.any(|stamp| stamp.unordered) {
            true => Err(Problem::new(ErrorCode::NotSupported, "unordered producers")),
            false => Ok(()),
        }
    }
}
