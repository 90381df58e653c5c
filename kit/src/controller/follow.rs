//! Keeps the topology: opens a watch stream, takes in what it tells, goes on elsewhere when it ends.
//!
//! What is shown is a revision told whole; many that come together are shown once. While no controller
//! answers, the last one goes on being shown. A stream that does not fit is read again from a snapshot.
//! Invariant: whoever gives a snapshot was told first how much was seen (X1), and of one store nothing
//! older is shown than that.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::StatusCode;
use tidegate_proto::control::{Folded, Seen, Topology, TopologyFold, WatchLine, WatchStart};
use tidegate_proto::error::ErrorCode;
use tidegate_proto::limits::WATCH_ALIVE_MS;
use tokio::sync::watch;
use tracing::info_span;

use super::calls::{CallError, ControllerClient};
use super::lines::Lines;
use crate::backoff::Backoff;
use crate::limits::{WATCH_RETRY_BASE, WATCH_RETRY_MAX};
use crate::secret::random_u64;
use crate::tasks::{TaskKind, Tasks};

/// A stream says every so often that it is alive; after three times that it is not.
const PATIENCE: Duration = Duration::from_millis(3 * WATCH_ALIVE_MS);

/// What an earlier run kept.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Shown until a controller tells a newer one.
    pub topology: Arc<Topology>,
    /// How much of the history was seen.
    pub seen: Option<Seen>,
}

/// What is followed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The newest whole revision; empty, or what was handed in, until the first.
    pub topology: watch::Receiver<Arc<Topology>>,
    /// How much of the history that is, once a controller told it in this run.
    pub seen: watch::Receiver<Option<Seen>>,
}

/// Follows the topology as a task of `tasks`.
pub fn follow(client: ControllerClient, known: Known, tasks: &Tasks) -> Followed {
    let (topology, topologies) = watch::channel(known.topology);
    let (seen, seen_rx) = watch::channel(None);
    let follower = Follower {
        client,
        fold: TopologyFold::new(),
        witness: known.seen,
        topology,
        seen,
        backoff: Backoff::new(
            WATCH_RETRY_BASE,
            WATCH_RETRY_MAX,
            random_u64().unwrap_or_default(),
        ),
        is_open: true,
    };
    tasks.spawn(TaskKind::Watch, info_span!("follow"), follower.run());
    Followed {
        topology: topologies,
        seen: seen_rx,
    }
}

struct Follower {
    client: ControllerClient,
    fold: TopologyFold,
    /// How much was seen, in this run or before.
    witness: Option<Seen>,
    topology: watch::Sender<Arc<Topology>>,
    seen: watch::Sender<Option<Seen>>,
    backoff: Backoff,
    /// A stream told something since it was last said that one broke off.
    is_open: bool,
}

impl Follower {
    async fn run(mut self) {
        loop {
            if let Err(reason) = self.one_stream().await {
                // Once for each time that they are all gone, not once a second.
                if std::mem::replace(&mut self.is_open, false) {
                    tracing::info!(reason, "the watch of the topology broke off");
                } else {
                    tracing::debug!(reason, "the watch of the topology could not be opened");
                }
            }
            self.fold.broke_off();
            tokio::time::sleep(self.backoff.next_delay()).await;
        }
    }

    /// Reads one stream to its end.
    async fn one_stream(&mut self) -> Result<(), String> {
        let start = match (self.fold.resume(), self.witness) {
            (Some(seen), _) => WatchStart::After(seen),
            (None, Some(seen)) => WatchStart::SnapshotFor(seen),
            (None, None) => WatchStart::Snapshot,
        };
        let answer = match self.client.watch(start).await {
            Ok(answer) => answer,
            Err(CallError::Refused(problem)) => {
                if problem.code().status() == StatusCode::GONE.as_u16() {
                    self.fold = TopologyFold::new();
                } else {
                    self.client.channel().try_another();
                }
                return Err(problem.detail().to_owned());
            }
            Err(error) => return Err(error.to_string()),
        };
        let mut lines = Lines::new(Body::new(answer.into_body()));
        while let Some(line) = lines.next(PATIENCE).await? {
            self.is_open = true;
            let mut is_whole = self.take(line)?;
            // What came together is shown together.
            while let Some(line) = lines.here()? {
                is_whole |= self.take(line)?;
            }
            if is_whole {
                self.show()?;
            }
        }
        Err("the controller ended it".to_owned())
    }

    /// Takes a line in; true when a revision became whole.
    fn take(&mut self, line: WatchLine) -> Result<bool, String> {
        match self.fold.take(line) {
            Ok(Folded::Partial) => Ok(false),
            Ok(Folded::Whole) => Ok(true),
            Ok(Folded::Alive { stale_ms }) => {
                if let Some(stale_ms) = stale_ms {
                    tracing::debug!(stale_ms, "the controller has lost its store");
                }
                self.backoff.reset();
                Ok(false)
            }
            Ok(Folded::End(problem)) => {
                if problem.code() != ErrorCode::Overloaded {
                    self.client.channel().try_another();
                }
                Err(problem.detail().to_owned())
            }
            Err(error) => {
                self.fold = TopologyFold::new();
                Err(error.to_string())
            }
        }
    }

    fn show(&mut self) -> Result<(), String> {
        let (Some(topology), Some(seen)) = (self.fold.topology(), self.fold.resume()) else {
            return Ok(());
        };
        let before = self
            .witness
            .filter(|before| before.store_id == seen.store_id);
        if let Some(before) = before
            && before.revision > seen.revision
        {
            self.fold = TopologyFold::new();
            self.client.channel().try_another();
            return Err(format!(
                "the controller is at revision {}, and {} was seen",
                seen.revision, before.revision
            ));
        }
        self.witness = Some(seen);
        self.backoff.reset();
        tracing::debug!(revision = topology.revision, "topology");
        self.topology.send_replace(topology);
        self.seen.send_replace(Some(seen));
        Ok(())
    }
}
