//! The door that followers come in by: one stream per follower and lane, see [`super::stream`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use tidegate_kit::outlet::{Outlet, OutletBody};
use tidegate_kit::tasks::{TaskKind, Tasks};
use tidegate_log::Log;
use tidegate_proto::id::SpuId;
use tidegate_proto::private::Pieces;
use tidegate_proto::private::replicate::Lane;
use tidegate_spu_core::SessionId;
use tracing::info_span;

use super::feed::Feed;
use super::stream::FollowerStream;
use crate::lane::Lane as Reads;
use crate::shard::Directory;

/// Serves the followers of one node.
#[derive(Clone)]
pub struct Followers {
    log: Log,
    directory: Directory,
    reads: Arc<Reads>,
    sessions: Arc<AtomicU64>,
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Followers").finish_non_exhaustive()
    }
}

impl Followers {
    pub(crate) fn new(log: Log, directory: Directory, reads: Reads) -> Self {
        Self {
            log,
            directory,
            reads: Arc::new(reads),
            sessions: Arc::default(),
        }
    }

    /// Serves one stream of a follower; what is sent to it.
    pub(crate) fn serve(
        &self,
        (peer, lane): (SpuId, Lane),
        body: Body,
        age_max: Duration,
        tasks: &Tasks,
    ) -> OutletBody<Pieces> {
        let (outlet, events) = Outlet::new(Pieces::default());
        let feed = Feed {
            log: self.log.clone(),
            reads: Arc::clone(&self.reads),
            tasks: tasks.clone(),
        };
        let stream = FollowerStream::new(self.clone(), (peer, lane), outlet, feed);
        let span = info_span!("follower", %peer, %lane);
        tasks.spawn(
            TaskKind::Stream,
            span,
            stream.run(body, tasks.token(), age_max),
        );
        events
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// A name that no session had before.
    pub(super) fn new_session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}
