//! What a node keeps of the metadata on disk: how much of its history it has seen, and, for a gateway that
//! starts while every controller is down, the last topology.
//!
//! A topology that is behind costs a refusal by a storage unit that leads no longer, never a wrong answer: the
//! units judge by epochs. What was seen proves, after everything was restarted, that a store went back (X1);
//! of the last moments before a crash it may lack some. A file that cannot be read is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tidegate_kit::clock;
use tidegate_kit::controller::{Followed, Known};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::{Seen, Topology};
use tokio::sync::watch;
use tracing::{Span, info_span};

use crate::files::write_private;

const TOPOLOGY_FILE: &str = "topology.json";
const SEEN_FILE: &str = "seen.json";
/// Between two writes, at least.
const PAUSE: Duration = Duration::from_millis(200);
/// And so many times what the last one took: a topology of 100,000 partitions is 30 MB.
const PAUSE_TIMES: u32 = 10;

/// What was kept of it; nothing when nothing was.
pub(crate) fn read_seen(directory: &Path) -> Known {
    Known {
        topology: Arc::default(),
        seen: read(&directory.join(SEEN_FILE)),
    }
}

/// The same with the topology.
pub(crate) fn read_topology(directory: &Path) -> Known {
    let topology: Option<Topology> = read(&directory.join(TOPOLOGY_FILE));
    Known {
        topology: Arc::new(topology.unwrap_or_default()),
        ..read_seen(directory)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    let text = fs::read(path).ok()?;
    let read = serde_json::from_slice(&text);
    read.inspect_err(|error| tracing::warn!(%error, path = %path.display(), "it is not used"))
        .ok()
}

/// Keeps how much was seen, as a task of `tasks`.
pub(crate) fn keep_seen(directory: &Path, followed: &Followed, tasks: &Tasks) {
    let text = |seen: &Option<Seen>| seen.as_ref().map(serde_json::to_vec).transpose();
    spawn(
        directory.join(SEEN_FILE),
        followed.seen.clone(),
        text,
        tasks,
    );
}

/// Keeps what is shown, as a task of `tasks`.
pub(crate) fn keep_topology(directory: &Path, followed: &Followed, tasks: &Tasks) {
    let text = |topology: &Arc<Topology>| serde_json::to_vec(&**topology).map(Some);
    spawn(
        directory.join(TOPOLOGY_FILE),
        followed.topology.clone(),
        text,
        tasks,
    );
}

/// What is written for a value, if anything.
type Text<T> = fn(&T) -> serde_json::Result<Option<Vec<u8>>>;

fn spawn<T: Clone + Send + Sync + 'static>(
    path: PathBuf,
    value: watch::Receiver<T>,
    text: Text<T>,
    tasks: &Tasks,
) {
    let keeper = Keeper {
        path,
        value,
        text,
        tasks: tasks.clone(),
    };
    tasks.spawn(TaskKind::Watch, info_span!("keep"), keeper.run());
}

struct Keeper<T> {
    path: PathBuf,
    value: watch::Receiver<T>,
    text: Text<T>,
    tasks: Tasks,
}

impl<T: Clone + Send + Sync + 'static> Keeper<T> {
    async fn run(mut self) {
        while self.value.changed().await.is_ok() {
            let value = self.value.borrow_and_update().clone();
            let (path, text) = (self.path.clone(), self.text);
            let began = clock::monotonic();
            let write = move || match text(&value).map_err(std::io::Error::other)? {
                Some(text) => write_private(&path, &text),
                None => Ok(()),
            };
            let written = self
                .tasks
                .spawn_blocking(TaskKind::Blocking, Span::current(), write)
                .await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, path = %self.path.display(), "it was not kept on disk");
            }
            let took = clock::monotonic() - began;
            tokio::time::sleep(PAUSE.max(took * PAUSE_TIMES)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_proto::chain::ChainHash;
    use tidegate_proto::id::StoreId;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn what_was_seen_is_there_after_a_restart_and_rubbish_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        assert!(read_topology(directory).seen.is_none());
        let (topology, topologies) = watch::channel(Arc::new(Topology::default()));
        let (seen, seen_rx) = watch::channel(None);
        let followed = Followed {
            topology: topologies,
            seen: seen_rx,
        };
        let tasks = Tasks::new();
        keep_seen(directory, &followed, &tasks);
        keep_topology(directory, &followed, &tasks);
        let told = Seen {
            store_id: StoreId::from_bytes([2; 16]),
            revision: 9,
            hash: ChainHash([7; 32]),
        };
        topology.send_replace(Arc::new(Topology {
            revision: 9,
            ..Topology::default()
        }));
        seen.send_replace(Some(told));
        let until = async {
            loop {
                let known = read_topology(directory);
                if known.seen == Some(told) && known.topology.revision == 9 {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, until).await.unwrap();
        tasks.shutdown(PATIENCE).await;
        fs::write(directory.join(SEEN_FILE), b"{").unwrap();
        assert!(read_seen(directory).seen.is_none());
    }
}
