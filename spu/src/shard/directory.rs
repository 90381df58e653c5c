//! Which partitions this node has open, by key.
//!
//! A lookup takes a read lock for a moment; whoever finds nothing, or finds a partition whose role is
//! not settled, may wait for the next change.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_proto::position::ReplicaKey;
use tokio::sync::watch;

use super::handle::PartitionHandle;
use super::reader::Service;

type Handles = HashMap<ReplicaKey, Arc<PartitionHandle>>;

/// The open partitions. Clones are the same directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    handles: Arc<watch::Sender<Handles>>,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            handles: Arc::new(watch::Sender::new(Handles::new())),
        }
    }

    pub(crate) fn get(&self, key: ReplicaKey) -> Option<Arc<PartitionHandle>> {
        self.handles.borrow().get(&key).cloned()
    }

    /// Adds many, and wakes whoever waits once.
    pub(crate) fn insert(&self, new: impl IntoIterator<Item = Arc<PartitionHandle>>) {
        self.handles.send_modify(|handles| {
            handles.extend(new.into_iter().map(|handle| (handle.reader.key, handle)));
        });
    }

    pub(crate) fn remove(&self, keys: &[ReplicaKey]) {
        self.handles.send_modify(|handles| {
            for key in keys {
                handles.remove(key);
            }
            // What a deleted topic of thousands took is given back.
            if handles.len() < handles.capacity() / 4 {
                handles.shrink_to_fit();
            }
        });
    }

    /// Forgets everything: followers of tails see them close.
    pub(crate) fn clear(&self) {
        self.handles.send_modify(HashMap::clear);
    }

    /// A partition's role changed: whoever waits looks again.
    pub(crate) fn touch(&self) {
        self.handles.send_modify(|_| {});
    }

    /// Those whose log takes nothing any more.
    pub(crate) fn failed(&self) -> Vec<Arc<PartitionHandle>> {
        let handles = self.handles.borrow();
        let failed = handles.values();
        let failed = failed.filter(|handle| handle.reader.service() == Service::ReadOnly);
        failed.cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.handles.borrow().len()
    }

    /// Sees every change from now on.
    pub(crate) fn changes(&self) -> Changes {
        Changes(self.handles.subscribe())
    }
}

/// Waits for the directory to change.
#[derive(Debug)]
pub(crate) struct Changes(watch::Receiver<Handles>);

impl Changes {
    /// False when the directory is gone.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
