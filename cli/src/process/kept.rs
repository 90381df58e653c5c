//! The last topology on disk, so that a gateway that starts while every controller is down still knows
//! who leads what.
//!
//! A copy that is behind costs a refusal by a storage unit that leads no longer, never a wrong answer: the
//! units judge by epochs. A copy that cannot be read is none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_kit::clock;
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_proto::control::Topology;
use tokio::sync::watch;
use tracing::{Span, info_span};

use crate::files::write_private;

const TOPOLOGY_FILE: &str = "topology.json";
/// Between two writes, at least.
const PAUSE: Duration = Duration::from_millis(200);
/// And so many times what the last one took: a topology of 100,000 partitions is 30 MB.
const PAUSE_TIMES: u32 = 10;

/// What was kept; empty when nothing was.
pub(crate) fn read(directory: &Path) -> Arc<Topology> {
    let path = directory.join(TOPOLOGY_FILE);
    let kept = fs::read(&path).ok();
    let kept = kept.and_then(|text| serde_json::from_slice(&text).ok());
    Arc::new(kept.unwrap_or_default())
}

/// Keeps what is shown, as a task of `tasks`.
pub(crate) fn keep(directory: &Path, topology: watch::Receiver<Arc<Topology>>, tasks: &Tasks) {
    let keeper = Keeper {
        path: directory.join(TOPOLOGY_FILE),
        topology,
        tasks: tasks.clone(),
    };
    tasks.spawn(TaskKind::Watch, info_span!("keep_topology"), keeper.run());
}

struct Keeper {
    path: PathBuf,
    topology: watch::Receiver<Arc<Topology>>,
    tasks: Tasks,
}

impl Keeper {
    async fn run(mut self) {
        while self.topology.changed().await.is_ok() {
            let topology = Arc::clone(&self.topology.borrow_and_update());
            let path = self.path.clone();
            let began = clock::monotonic();
            let write = move || {
                let text = serde_json::to_vec(&*topology).map_err(std::io::Error::other)?;
                write_private(&path, &text)
            };
            let written = self
                .tasks
                .spawn_blocking(TaskKind::Blocking, Span::current(), write)
                .await;
            if let Ok(Err(error)) = written {
                tracing::warn!(%error, "the topology was not kept on disk");
            }
            let took = clock::monotonic() - began;
            tokio::time::sleep(PAUSE.max(took * PAUSE_TIMES)).await;
        }
    }
}
